#include "config.h"

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "forward_fma.h"

namespace srcnn::cuda {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

ForwardShared lay_out(const ForwardShape& shape, const ForwardConfig& config, int gap) {
  const int c = shape.channels, kernel2 = shape.kernel2;
  ForwardShared shared{};
  const auto place = [&](int& offset, int floats) {
    offset = shared.size;
    shared.size += (floats + 3) / 4 * 4 + gap;  // whole float4s
  };
  // Weights that pass through for every group of rows, and conv3's partial sums, are never there at the same time.
  int passing = kKernel3 * kChannelGroups * config.columns * config.rows;
  const auto place_weights = [&](int& offset, int floats, bool resident) {
    if (resident) {
      place(offset, floats);
    } else {
      passing = std::max(passing, floats);
    }
  };
  const bool resident1 = config.weight1_rows == kKernel1 * c, resident2 = config.weight2_channels == kWidth1;
  place_weights(shared.weight1, config.weight1_rows * kKernel1 * kWidth1, resident1);
  place_weights(shared.weight2, config.weight2_channels * kernel2 * kernel2 * kWidth2, resident2);
  place(shared.weight3, c * kWidth2 * kTaps3);
  place(shared.bias, kWidth1 + kWidth2 + c);
  place(shared.input, input_slots(config.rows) * c * input_stride(config.columns));
  place(shared.hidden1, hidden1_slots(config.rows, kernel2) * hidden_row(kWidth1, config.columns));
  place(shared.hidden2, config.rows * hidden_row(kWidth2, config.columns));
  place(shared.partial, passing);
  if (!resident1) shared.weight1 = shared.partial;
  if (!resident2) shared.weight2 = shared.partial;
  place(shared.open_rows, c * open_slots(config.rows) * config.columns);
  if (shape.scale > 1) {
    place(shared.column_index, 4 * input_stride(config.columns));
    place(shared.column_weight, 4 * input_stride(config.columns));
    place(shared.row_index, 4 * kRowTable);
    place(shared.row_weight, 4 * kRowTable);
  }
  return shared;
}

// Cycles per useful output pixel, up to a factor: multiply-adds on all computed positions, a share for re-reading weights, and
// what one block alone leaves idle at its barriers.
double estimated_cost(const ForwardShape& shape, const ForwardConfig& config) {
  const int k2 = shape.kernel2, c = shape.channels;
  const double macs = 64.0 * 81 * c + 2048.0 * k2 * k2 + 800.0 * c;
  const int positions = config.columns * config.rows;
  double reload = 0;  // floats copied from global memory per group of rows; one costs about as much as 8 multiply-adds
  if (config.weight1_rows < kKernel1 * c) reload += 64.0 * 81 * c;
  if (config.weight2_channels < kWidth1) reload += 2048.0 * k2 * k2 * (1.0 + 1.0 / config.weight2_channels);
  const double waste = static_cast<double>(config.columns) / config.strip_width;
  const double warps = config.blocks_per_sm * config.threads() / 32.0;
  return waste * (macs + 8 * reload / positions) * (1.0 + 4.0 / warps);
}

}  // namespace

std::string ForwardConfig::describe() const {
  std::ostringstream text;
  text << "fp32 FMA, strips of " << strip_width << " (" << rows << " x " << columns << " positions), " << threads()
       << " threads, " << shared_bytes() / 1024 << " KiB shared, " << blocks_per_sm << " blocks per SM, conv1 weights "
       << weight1_rows << " rows at a time, conv2 weights " << weight2_channels << " channels at a time";
  return text.str();
}

ForwardConfig choose_forward_config(const ForwardShape& shape, const DeviceLimits& device) {
  const int c = shape.channels, kernel2 = shape.kernel2;
  ForwardConfig best{};
  double best_cost = 0;
  for (const int columns : {128, 96, 64, 48, 32, 24, 16}) {
    for (const int rows : {4, 2, 1}) {
      if (columns * rows > 128 || columns * rows % 16 != 0) continue;  // whole warps
      for (const int weight1_rows : {kKernel1 * c, kKernel1, 1}) {
        for (const int weight2_channels : {kWidth1, 16, 4, 2}) {
          ForwardConfig config{columns, rows, weight1_rows, weight2_channels, 0, 0, {}};
          config.strip_width = columns - 2 * (kernel2 / 2) - 2 * (kKernel3 / 2);
          config.shared = lay_out(shape, config, device.shared_gap / static_cast<int>(sizeof(float)));
          if (config.shared_bytes() > device.shared_memory_per_block) continue;
          // 1 KiB of each block's shared memory is the driver's.
          config.blocks_per_sm = std::min(device.shared_memory_per_sm / (config.shared_bytes() + 1024),
                                          std::min(device.threads_per_sm, 512) / config.threads());
          config.blocks_per_sm = std::max(config.blocks_per_sm, 1);
          const double cost = estimated_cost(shape, config);
          if (best.columns == 0 || cost < best_cost) {
            best = config;
            best_cost = cost;
          }
        }
      }
    }
  }
  if (best.columns == 0) {
    throw std::runtime_error("the device has " + std::to_string(device.shared_memory_per_block) +
                             " bytes of shared memory per block, too few for the fused forward");
  }
  return best;
}

ForwardTiling tile_images(int64_t batch, int64_t height, int64_t width, int strip_width, int rows, int64_t halo_rows,
                          int64_t workers) {
  const int64_t strips = ceil_div(width, strip_width);
  // Cut into as many segments as keep every block busy, if the rows made twice do not cost more.
  int64_t best_height = height;
  double best_cost = 0;
  for (int64_t cut = 1; cut <= std::max<int64_t>(1, std::min<int64_t>(height / 8, 4 * workers)); ++cut) {
    const int64_t segment = ceil_div(ceil_div(height, cut), rows) * rows;
    const int64_t rounds = ceil_div(batch * strips * ceil_div(height, segment), workers);
    const double cost = static_cast<double>(rounds) * static_cast<double>(std::min(segment, height) + halo_rows);
    if (best_cost == 0 || cost < best_cost) {
      best_cost = cost;
      best_height = segment;
    }
  }
  const int64_t segments = ceil_div(height, best_height);
  const int64_t jobs = batch * strips * segments;
  return {static_cast<int>(strips),
          static_cast<int>(segments),
          static_cast<int>(best_height),
          static_cast<int>(std::min(jobs, workers)),
          jobs,
          best_cost};
}

ForwardTiling tile_forward(const ForwardShape& shape, int strip_width, int rows, int blocks_per_sm,
                           const DeviceLimits& device) {
  const int64_t workers = static_cast<int64_t>(device.sm_count) * blocks_per_sm;
  const int64_t halo_rows = 2 * (kKernel3 / 2) + 2 * (shape.kernel2 / 2);
  return tile_images(shape.batch, shape.height, shape.width, strip_width, rows, halo_rows, workers);
}

}  // namespace srcnn::cuda
