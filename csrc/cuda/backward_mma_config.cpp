// How the tensor-core backward is laid out on a GPU: host-only arithmetic, tested without one.
#include <algorithm>
#include <sstream>

#include "backward_mma.h"

namespace srcnn::cuda {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Resident {  // sums of weight gradients that stay in shared memory
  bool sum1, sum2, sum3;
};

void lay_out(const BackwardShape& shape, Resident resident, int gap, BackwardMmaConfig& config) {
  constexpr int kBytes = 2;  // of an element
  const int c = shape.channels, k = shape.kernel2, reach2 = k / 2, rows = config.rows, width = config.strip_width;
  config.halo1 = 2 * reach2 + config.input_halo;
  config.halo2 = reach2 + config.input_halo;
  config.halo0 = config.halo1 + kReach1;
  const int columns0 = width + 2 * config.halo0, columns1 = width + 2 * config.halo1, columns2 = width + 2 * config.halo2;
  BackwardMmaShared& shared = config.shared;
  shared = {};
  const auto place = [&](int& offset, int bytes) {
    offset = shared.size;
    shared.size += (bytes + 15) / 16 * 16 + gap;
  };
  const auto place_if = [&](bool there, int& offset, int bytes) {
    offset = -1;
    if (there) place(offset, bytes);
  };
  place(shared.step, kMmaStepBytes);
  place(shared.bias, (kWidth1 + kWidth2) * 4);
  place(shared.units, 2 * backward_steps1(c) * kStepUnits * 4);
  place(shared.taps, tap_tiles1(c) * 8 * 4);
  place(shared.zeros, kPixel2 * kBytes);
  place(shared.input, (rows + 2 * reach2 + 2 * kReach1) * c * 2 * backward_mma_input_stride(columns0) * kBytes);
  place(shared.grad_output, (rows + 2 * kReach3) * c * (columns2 + 2 * kReach3) * kBytes);
  place(shared.hidden1, (rows + 2 * reach2) * columns1 * kPixel1 * kBytes);
  place(shared.hidden2, (rows + 2 * reach2) * columns2 * kPixel2 * kBytes);
  const int given = shape.wanted.input ? 8 * kGivenTiles * given_stride(width) * 4 : 0;
  place(shared.patches, std::max(rows * columns2 * patch_pixel(c) * kBytes, given));
  place_if(shape.wanted.input, shared.grad_input, backward_mma_grad_input_slots(rows) * c * width * 4);
  place_if(resident.sum1, shared.sum1, sum1_floats(c) * 4);
  place_if(resident.sum2, shared.sum2, sum2_splits(k) * sum2_floats(k) * 4);
  place_if(resident.sum3, shared.sum3, kSum3Splits * sum3_floats(c) * 4);
  const int phases = shape.scale > 1 ? static_cast<int>(shape.scale) : 0, tabulated = shape.scale > 1 ? columns0 : 0;
  place(shared.phase_first, phases * 4);
  place(shared.phase_weight, phases * 16);
  place(shared.column_index, tabulated * 16);
  place(shared.column_weight, tabulated * 16);
}

// Cycles of a multiprocessor for a step, as far as arithmetic says. Rates are an H100's: what takes part of shared memory's or
// L2's time is as much more expensive there than products as it is on any GPU.
double step_cycles(const BackwardShape& shape, Resident resident, const BackwardMmaConfig& config) {
  constexpr double kMma = 1.6, kBarrier = 150, kL2 = 30, kSharedMemory = 128;  // clocks; bytes a clock
  const BackwardWanted& wanted = shape.wanted;
  const int c = shape.channels, k = shape.kernel2, reach2 = k / 2, taps2 = k * k, rows = config.rows;
  const int warps = config.threads / 32;
  // Items of so many mma each, each taking half as long again where its loads are the bound.
  double products = 0, moved = 0;
  const auto phase = [&](bool there, int64_t items, double item_products, double loads) {
    if (there) products += static_cast<double>(ceil_div(items, warps) * warps) * item_products * loads;
  };
  const int columns1 = config.strip_width + 2 * config.halo1, columns2 = config.strip_width + 2 * config.halo2;
  const int columns_grad1 = config.strip_width + 2 * config.input_halo, tiles = rows * config.strip_width / 16;
  phase(true, ceil_div(rows * columns1, 32), 16.0 * backward_steps1(c), 1.2);
  phase(wanted.hidden2(), ceil_div(rows * columns2, 32), 8.0 * 4 * taps2, 1.3);
  phase(wanted.weight3, patch_taps(c) / 16 * 2 * kSum3Splits, 2.0 * tiles / kSum3Splits, 2.5);
  phase(wanted.grad2(), ceil_div(rows * columns2, 32), 8.0 * patch_taps(c) / 16, 1.3);
  const int sum2_items = k * 8 / sum2_tiles(k) * sum2_splits(k);
  phase(wanted.weight2 || wanted.bias2, sum2_items, 2.0 * k * sum2_tiles(k) * tiles / sum2_splits(k), k == 1 ? 1.9 : 1.1);
  phase(wanted.grad1(), ceil_div(rows * columns_grad1, 32), 16.0 * 2 * taps2, 1.1);
  phase(wanted.weight1 || wanted.bias1, tap_tiles1(c) / kTapTiles1PerItem * 2, 6.0 * tiles, 1.5);
  phase(wanted.input, static_cast<int64_t>(c) * rows * ceil_div(columns_grad1, 16) * 3, 16, 2);
  const auto add_to = [&](bool there, int floats, bool in_shared) {
    if (there) moved += 8.0 * floats / (in_shared ? kSharedMemory : kL2);
  };
  add_to(wanted.weight1 || wanted.bias1, sum1_floats(c), resident.sum1);
  add_to(wanted.weight2 || wanted.bias2, sum2_splits(k) * sum2_floats(k), resident.sum2);
  add_to(wanted.weight3, kSum3Splits * sum3_floats(c), resident.sum3);
  // What is done without tensor cores: instructions a number, by 128 lanes a clock.
  const int columns0 = config.strip_width + 2 * config.halo0, columns3 = columns2 + 2 * kReach3;
  moved +=
      c * (rows * columns0 * (shape.scale > 1 ? 110.0 : 40.0) + (rows + 4) * columns3 * 40.0 + rows * columns2 * 80.0) / 128;
  moved += 2.0 * 2 * reach2 * (columns1 * kPixel1 + columns2 * kPixel2) * 2 / kSharedMemory;
  const double blocks = config.blocks_per_sm, barriers = 9 + (wanted.input ? 2.0 * rows * c : 0);
  return products * kMma * (1.0 + 4.0 / (blocks * warps)) + moved + barriers * kBarrier / blocks;
}

}  // namespace

std::string BackwardMmaConfig::describe() const {
  std::ostringstream text;
  text << "tensor-core backward, strips of " << strip_width << ", " << rows << " rows at a time, " << threads << " threads, "
       << shared.size / 1024 << " KiB shared, " << blocks_per_sm << " blocks per SM, sums in shared memory:";
  if (shared.sum1 >= 0) text << " weight1";
  if (shared.sum2 >= 0) text << " weight2";
  if (shared.sum3 >= 0) text << " weight3";
  if (shared.sum1 < 0 && shared.sum2 < 0 && shared.sum3 < 0) text << " none";
  return text.str();
}

bool choose_backward_mma_config(const BackwardShape& shape, const DeviceLimits& device, BackwardMmaConfig& config,
                                ForwardTiling& tiling) {
  const BackwardWanted& wanted = shape.wanted;
  const bool sum1 = wanted.weight1 || wanted.bias1, sum2 = wanted.weight2 || wanted.bias2;
  bool found = false;
  double best_cost = 0;  // 0 for an empty batch, whatever the configuration
  for (const int strip_width : {16, 32, 48, 64, 80, 96, 128}) {
    if (strip_width > 16 && strip_width - 16 >= shape.width) break;  // a narrower one has room for all columns
    for (const int rows : {16, 12, 8, 6, 4, 3, 2, 1}) {
      if (rows > 1 && rows - 1 >= shape.height) continue;
      for (int bits = 0; bits < 8; ++bits) {
        const Resident resident{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0};
        if ((resident.sum1 && !sum1) || (resident.sum2 && !sum2) || (resident.sum3 && !wanted.weight3)) {
          continue;
        }
        BackwardMmaConfig candidate{};
        candidate.strip_width = strip_width;
        candidate.rows = rows;
        candidate.input_halo = wanted.input ? kReach1 : 0;
        candidate.threads = backward_mma_threads(shape.kernel2);
        lay_out(shape, resident, device.shared_gap, candidate);
        if (candidate.shared.size > device.shared_memory_per_block) continue;
        // 1 KiB of each block's shared memory is the driver's.
        const int fit =
            std::min(device.shared_memory_per_sm / (candidate.shared.size + 1024), device.threads_per_sm / candidate.threads);
        candidate.blocks_per_sm = std::clamp(fit, 1, backward_mma_blocks(shape.kernel2));
        const int64_t workers = static_cast<int64_t>(device.sm_count) * candidate.blocks_per_sm;
        const int64_t halo_rows = 2 * (2 * (shape.kernel2 / 2) + candidate.input_halo);
        const ForwardTiling tiles = tile_images(shape.batch, shape.height, shape.width, strip_width, rows, halo_rows, workers);
        const double cost = step_cycles(shape, resident, candidate) / rows * candidate.blocks_per_sm * tiles.rows;
        if (!found || cost < best_cost) {
          found = true;
          best_cost = cost;
          config = candidate;
          tiling = tiles;
        }
      }
    }
  }
  return found;
}

}  // namespace srcnn::cuda
