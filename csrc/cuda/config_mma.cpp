// The tensor-core forward's configuration: how wide a strip, how many warps and blocks, and where things lie in shared memory.
#include <algorithm>
#include <sstream>

#include "config.h"
#include "forward_mma.h"

namespace srcnn::cuda {
namespace {

int weight2_steps(int kernel2, int per_unit) { return kernel2 * channel_steps(kWidth1, per_unit); }
int weight2_step_bytes(int kernel2) { return conv2_tiles(kernel2) / 2 * kFragmentBytes; }

ForwardMmaShared lay_out(const ForwardShape& shape, int per_unit, int columns, bool stream_weight2, int gap) {
  const int c = shape.channels, kernel2 = shape.kernel2;
  const int copies = per_unit, bytes = 4 / per_unit;  // of a row of the input, and of its elements
  ForwardMmaShared at{};
  const auto place = [&](int& offset, int size) {
    offset = at.size;
    at.size += (size + 15) / 16 * 16 + gap;
  };
  place(at.weight1, conv1_steps(c, per_unit) * kWidth1 / 16 * kFragmentBytes);
  place(at.weight2, (stream_weight2 ? kWeight2Buffers : weight2_steps(kernel2, per_unit)) * weight2_step_bytes(kernel2));
  place(at.weight3, channel_steps(kWidth2, per_unit) * c * kTapTiles / 2 * kFragmentBytes);
  place(at.bias1, kWidth1 * 4);
  place(at.bias2, kWidth2 * 4);
  place(at.input, (kInputSlots + 1) * c * copies * mma_input_stride(columns) * bytes);
  place(at.units, 2 * copies * conv1_steps(c, per_unit) * kStepUnits * 4);
  if (kernel2 > 1) place(at.hidden1, hidden1_chunks(per_unit) * hidden1_pixels(columns) * 16);
  place(at.taps, kTapPairs * tap_stride(columns) * 8);
  if (keeps_open_rows(kernel2, c, per_unit)) place(at.open_rows, (kKernel3 - 1) * c * columns * 4);
  if (shape.scale > 1) {
    const int scale = static_cast<int>(shape.scale);
    place(at.phase_first, scale * 4);
    place(at.phase_weight, scale * 16);
    place(at.column_index, mma_input_stride(columns) * 16);
    place(at.column_weight, mma_input_stride(columns) * 16);
  }
  return at;
}

// Of a multiprocessor, by the rate of mma.sync on Hopper: 5 / 8 of 2048 multiply-adds of 16 bits.
double estimated_cycles(const ForwardShape& shape, OperandFormat format, const ForwardMmaConfig& config,
                        const ForwardTiling& tiling, const DeviceLimits& device) {
  const int c = shape.channels, k2 = shape.kernel2;
  const double macs = 8.0 * format.per_unit * kWidth1 * conv1_steps(c, format.per_unit) + 2048.0 * k2 * k2 + 1024.0 * c;
  const double cycles_per_pixel = macs * format.products * 2 / format.per_unit / 1280;
  // The blocks that an SM really gets take turns; few warps leave it idle at their barriers.
  const double blocks = static_cast<double>((tiling.blocks + device.sm_count - 1) / device.sm_count);
  const double idle = 4.0 / (config.warps * blocks) * (config.stream_weight2 ? 1.5 : 1.0);
  // A block's start: about 50 instructions for each weight that it unpacks, four warps at a time.
  const double weights = 5184.0 * c + (k2 == 1 ? 2048 : 0) + 800.0 * c;
  const double start = weights * 50 / 32 / std::min(4.0, config.warps * blocks) * blocks + 5000;
  return start + tiling.rows * config.columns * blocks * cycles_per_pixel * (1.0 + idle);
}

}  // namespace

std::string ForwardMmaConfig::describe() const {
  std::ostringstream text;
  text << "strips of " << strip_width << " (" << columns << " columns), " << threads() << " threads, " << shared.size / 1024
       << " KiB shared, " << blocks_per_sm << " blocks per SM" << (stream_weight2 ? ", conv2 weights streamed" : "");
  return text.str();
}

bool choose_forward_mma_config(const ForwardShape& shape, OperandFormat format, const DeviceLimits& device,
                               ForwardMmaConfig& config) {
  const int kernel2 = shape.kernel2;

  double best_cost = 0;
  for (int choice = 2 * max_warps(kernel2, format.products); choice >= 2; --choice) {
    const int warps = choice / 2;
    const bool stream = choice % 2 != 0;
    if (format.warpgroups && (warps % 4 != 0 || stream != wgmma_streams(kernel2, format.per_unit))) continue;
    if (stream && kernel2 == 1) continue;  // 8 or 16 KiB
    const int columns = warps * warp_tiles(kernel2, format.products) * kTilePixels;
    const int strip_width = columns - 2 * (kernel2 / 2) - 2 * (kKernel3 / 2);
    ForwardMmaConfig candidate{columns,
                               warps,
                               strip_width,
                               1,
                               stream,
                               kernel2 == 1 ? 0 : weight2_steps(kernel2, format.per_unit) * weight2_step_bytes(kernel2),
                               lay_out(shape, format.per_unit, columns, stream, device.shared_gap)};
    if (strip_width < kTilePixels || candidate.shared.size > device.shared_memory_per_block) continue;
    // 1 KiB of each block's shared memory is the driver's. Registers hold 8 warps of 255 each.
    candidate.blocks_per_sm = std::max(1, std::min(device.shared_memory_per_sm / (candidate.shared.size + 1024), 8 / warps));
    const ForwardTiling tiling = tile_forward(shape, strip_width, 1, candidate.blocks_per_sm, device);
    const double cost = estimated_cycles(shape, format, candidate, tiling, device);
    if (best_cost == 0 || cost < best_cost) {
      best_cost = cost;
      config = candidate;
    }
  }
  return best_cost > 0;
}

}  // namespace srcnn::cuda
