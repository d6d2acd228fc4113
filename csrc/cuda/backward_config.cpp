// How a backward is laid out on a GPU: host-only arithmetic, tested without one.
#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "backward.h"
#include "backward_fma.h"
#include "backward_mma.h"

namespace srcnn::cuda {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int whole_quads(int columns) { return (columns + kQuad - 1) / kQuad * kQuad; }

void lay_out(const BackwardShape& shape, BackwardConfig& config, int gap) {
  const int c = shape.channels, k = shape.kernel2, reach2 = k / 2;
  config.halo1 = whole_quads(2 * reach2 + config.input_halo);
  config.halo2 = whole_quads(reach2 + config.input_halo);
  config.halo0 = config.halo1 + kReach1;
  config.halo3 = config.halo2 + kQuad;
  BackwardShared& shared = config.shared;
  shared = {};
  const auto place = [&](int& offset, int floats) {
    offset = shared.size;
    shared.size += whole_quads(floats) + gap;
  };
  int passing = 0;
  const auto place_weights = [&](int& offset, int floats, bool resident) {
    if (resident) {
      place(offset, floats);
    } else {
      passing = std::max(passing, floats);
    }
  };
  const BackwardChunks& chunks = config.chunks;
  const bool resident1 = chunks.weight1 == kKernel1 * c, resident2 = chunks.weight2 == kWidth1,
             resident_transposed2 = chunks.transposed2 == kWidth2;
  place_weights(shared.weight1, chunks.weight1 * kKernel1 * kWidth1, resident1);
  place_weights(shared.weight2, chunks.weight2 * k * k * kWidth2, resident2);
  place_weights(shared.transposed2, chunks.transposed2 * k * k * kWidth1, resident_transposed2);
  place(shared.transposed3, c * kTaps3 * kWidth2);
  place(shared.bias, kWidth1 + kWidth2);
  const int columns0 = config.strip_width + 2 * config.halo0;
  place(shared.input, backward_input_slots(config.rows, k) * c * plane_stride(columns0));
  place(shared.grad_output, (config.rows + 2 * kReach3) * c * plane_stride(config.strip_width + 2 * config.halo3));
  // Quads that are read beside an array's first and last one are never used.
  place(shared.hidden1, 2 * kQuad + hidden_slots(config.rows, k) * row_pitch(kWidth1, config.strip_width + 2 * config.halo1));
  shared.hidden1 += kQuad;
  place(shared.hidden2, 2 * kQuad + hidden_slots(config.rows, k) * row_pitch(kWidth2, config.strip_width + 2 * config.halo2));
  shared.hidden2 += kQuad;
  if (shape.wanted.input) place(shared.grad_input, grad_input_slots(config.rows, k) * c * config.strip_width);
  if (passing > 0) place(shared.passing, passing);
  if (!resident1) shared.weight1 = shared.passing;
  if (!resident2) shared.weight2 = shared.passing;
  if (!resident_transposed2) shared.transposed2 = shared.passing;
  if (shape.scale > 1) {
    place(shared.column_index, 4 * columns0);
    place(shared.column_weight, 4 * columns0);
    place(shared.row_index, 4 * kRowTable);
    place(shared.row_weight, 4 * kRowTable);
  }
}

// Cycles of a multiprocessor per pixel whose gradients are added up, halos and idle threads included, as far as arithmetic
// says.
double estimated_cost(const BackwardShape& shape, const BackwardConfig& config) {
  constexpr double kLatency = 600;  // of a chunk of weights from L2 and its two barriers
  constexpr double kBarriers = 12 * 150;
  const int c = shape.channels, k = shape.kernel2, taps2 = k * k, rows = config.rows;
  const BackwardWanted& wanted = shape.wanted;
  const BackwardChunks& chunks = config.chunks;
  const auto rounds = [](int tasks) { return static_cast<int>(ceil_div(tasks, kBackwardThreads)); };
  const int quads = config.strip_width / kQuad;
  const int quads1 = quads + 2 * config.halo1 / kQuad, quads2 = quads + 2 * config.halo2 / kQuad;
  const int quads_grad1 = quads + 2 * config.input_halo / kQuad;
  const double part = static_cast<double>(ceil_div(rows, kBackwardSplits)) * quads;  // quads of a split

  double products = 0, passes = 0;  // of a thread; chunks of weights
  const auto layer = [&](int tasks, int units, int chunk, double unit_products) {
    products += rounds(tasks) * units * unit_products;
    if (chunk < units) passes += rounds(tasks) * static_cast<double>(units / chunk);
  };
  layer(rows * quads1 * (kWidth1 / 8), kKernel1 * c, chunks.weight1, 32 * kKernel1);
  if (wanted.hidden2()) layer(rows * quads2 * (kWidth2 / 8), kWidth1, chunks.weight2, 32 * taps2);
  if (wanted.weight3) products += rounds(kWidth2 * kKernel3 * c) * rows * quads * 20;
  if (wanted.grad2()) products += rounds(rows * quads2 * (kWidth2 / 8)) * 32 * kTaps3 * c;
  const int pairs = 4 * channels2_per_thread(k);  // of channels, of a thread
  if (wanted.weight2) products += rounds(kBackwardSplits * k * kWidth1 * kWidth2 / pairs) * part * kQuad * k * pairs;
  if (wanted.grad1()) layer(rows * quads_grad1 * (kWidth1 / 8), kWidth2, chunks.transposed2, 32 * taps2);
  if (wanted.weight1) products += rounds(kBackwardSplits * 16 * kKernel1 * c) * part * kQuad * 4 * kKernel1;
  // The rows' gradients come from shared memory half as fast as they would have to.
  if (wanted.input) layer(rows * quads * 8 * c, kKernel1 * c, chunks.weight1, 2.0 * 8 * kQuad * kKernel1 / c);

  // A warp's product takes a quarter of a cycle. While one block waits, another may go on.
  const double blocks = config.blocks_per_sm, warps = kBackwardThreads / 32.0;
  const double busy = products * warps / 4 * (1.0 + 4.0 / (blocks * warps));
  const double cycles = busy + (passes * kLatency + kBarriers) / (blocks * blocks);
  const double strips = static_cast<double>(ceil_div(shape.width, config.strip_width));
  return cycles * strips / (rows * static_cast<double>(shape.width));
}

}  // namespace

std::string BackwardConfig::describe() const {
  std::ostringstream text;
  text << "fp32 FMA backward, strips of " << strip_width << ", " << rows << " rows at a time, " << kBackwardThreads
       << " threads, " << shared_bytes() / 1024 << " KiB shared, " << blocks_per_sm << " blocks per SM, conv1 weights "
       << chunks.weight1 << " rows at a time, conv2 weights " << chunks.weight2 << " and " << chunks.transposed2
       << " channels at a time";
  return text.str();
}

BackwardConfig choose_backward_config(const BackwardShape& shape, const DeviceLimits& device) {
  BackwardConfig best{};
  double best_cost = 0;
  const BackwardChunks all{kKernel1 * shape.channels, kWidth1, kWidth2};
  for (const int strip_width : {4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 52, 60, 68}) {
    if (strip_width > kQuad && strip_width - kQuad >= shape.width) break;  // the one before had room for all columns
    for (const int rows : {8, 6, 4, 3, 2, 1}) {
      if (rows > 1 && rows - 1 >= shape.height) continue;
      for (const int few : {16, 8, 4, 2, 1}) {
        for (int resident = 0; resident < 8; ++resident) {
          BackwardConfig config{};
          config.strip_width = strip_width;
          config.rows = rows;
          config.input_halo = shape.wanted.input ? kReach1 : 0;
          config.chunks = {resident & 1 ? all.weight1 : (few >= 4 ? 3 : 1), resident & 2 ? all.weight2 : few,
                           resident & 4 ? all.transposed2 : few};
          lay_out(shape, config, device.shared_gap / static_cast<int>(sizeof(float)));
          if (config.shared_bytes() > device.shared_memory_per_block) continue;
          // 1 KiB of each block's shared memory is the driver's.
          const int fit =
              std::min(device.shared_memory_per_sm / (config.shared_bytes() + 1024), device.threads_per_sm / kBackwardThreads);
          config.blocks_per_sm = std::clamp(fit, 1, kBackwardBlocks);
          const double cost = estimated_cost(shape, config);
          if (best.strip_width == 0 || cost < best_cost) {
            best = config;
            best_cost = cost;
          }
        }
      }
    }
  }
  if (best.strip_width == 0) {
    throw std::runtime_error("the device has " + std::to_string(device.shared_memory_per_block) +
                             " bytes of shared memory per block, too few for the fused backward");
  }
  return best;
}

ForwardTiling tile_backward(const BackwardShape& shape, const BackwardConfig& config, const DeviceLimits& device) {
  const int64_t workers = static_cast<int64_t>(device.sm_count) * config.blocks_per_sm;
  const int64_t halo_rows = 2 * (2 * (shape.kernel2 / 2) + config.input_halo);
  return tile_images(shape.batch, shape.height, shape.width, config.strip_width, config.rows, halo_rows, workers);
}

BackwardWorkspace lay_out_workspace(const BackwardShape& shape, BackwardKernel kernel, int blocks) {
  const int c = shape.channels, k = shape.kernel2, taps2 = k * k;
  const int size1 = kKernel1 * kKernel1 * c * kWidth1, size2 = taps2 * kWidth1 * kWidth2, size3 = c * kTaps3 * kWidth2;
  const bool mma = kernel == BackwardKernel::kMma;
  BackwardWorkspace workspace{};
  const auto place = [](auto& size, auto& offset, auto floats) {
    offset = size;
    size += (floats + 3) / 4 * 4;  // whole float4s
  };
  if (mma) {
    const auto fragments = [](int steps, int columns) { return steps * kStepDepth * columns / 2; };  // in floats
    BackwardMmaWeights& weights = workspace.fragments;
    place(weights.size, weights.weight1, fragments(backward_steps1(c), kWidth1));
    place(weights.size, weights.weight2, fragments(taps2 * kWidth1 / kStepDepth, kWidth2));
    place(weights.size, weights.back1, fragments(c * kWidth1 / kStepDepth, 8 * kGivenTiles));
    place(weights.size, weights.back2, fragments(taps2 * kWidth2 / kStepDepth, kWidth1));
    place(weights.size, weights.back3, fragments(patch_taps(c) / kStepDepth, kWidth2));
    place(weights.size, weights.bias, kWidth1 + kWidth2);
  } else {
    BackwardWeights& weights = workspace.weights;
    place(weights.size, weights.weight1, size1);
    place(weights.size, weights.weight2, size2);
    place(weights.size, weights.transposed2, size2);
    place(weights.size, weights.transposed3, size3);
    place(weights.size, weights.bias, kWidth1 + kWidth2);
  }

  BackwardPartials& partials = workspace.partials;
  const BackwardWanted& wanted = shape.wanted;
  partials.tiles = mma;
  partials.splits1 = mma ? 1 : kBackwardSplits;
  partials.splits2 = mma ? sum2_splits(k) : kBackwardSplits;
  partials.splits3 = mma ? kSum3Splits : 1;
  partials.bias3_splits = mma ? backward_mma_threads(k) / 32 : 1;
  // Tensor cores sum a bias with its weights.
  const bool sum1 = wanted.weight1 || (mma && wanted.bias1), sum2 = wanted.weight2 || (mma && wanted.bias2);
  const int bias1 = mma ? kBias1Floats : kWidth1, bias2 = mma ? partials.splits2 * kBias2Floats : kWidth2;
  place(partials.size, partials.weight1, sum1 ? partials.splits1 * (mma ? sum1_floats(c) : size1) : 0);
  place(partials.size, partials.weight2, sum2 ? partials.splits2 * (mma ? sum2_floats(k) : size2) : 0);
  place(partials.size, partials.weight3, wanted.weight3 ? partials.splits3 * (mma ? sum3_floats(c) : size3) : 0);
  place(partials.size, partials.bias1, wanted.bias1 ? bias1 : 0);
  place(partials.size, partials.bias2, wanted.bias2 ? bias2 : 0);
  place(partials.size, partials.bias3, wanted.bias3 ? partials.bias3_splits * c : 0);

  const bool through_bicubic = wanted.input && shape.scale > 1;
  const int64_t enlarged = through_bicubic ? shape.batch * c * shape.height * shape.width : 0;
  int64_t weights_at = 0;
  place(workspace.size, weights_at, static_cast<int64_t>(mma ? workspace.fragments.size : workspace.weights.size));
  place(workspace.size, workspace.partials_at, static_cast<int64_t>(partials.size) * blocks);
  place(workspace.size, workspace.enlarged_at, enlarged);
  place(workspace.size, workspace.rows_at, enlarged / shape.scale);
  return workspace;
}

}  // namespace srcnn::cuda
