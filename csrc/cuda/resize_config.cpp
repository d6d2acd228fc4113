#include <algorithm>
#include <cmath>
#include <sstream>

#include "resize.h"

namespace srcnn::cuda {
namespace {

// What every GPU gives a block without being asked; less leaves room for more blocks.
constexpr int kSharedLimit = 48 * 1024;
constexpr int kColumnTable = 16 * 1024;  // bytes for the weights of a tile's columns

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// As many threads to a window as leave each 8 taps of it: neighbours then read neighbouring pixels.
int lanes_for(int taps) {
  int lanes = 1;
  while (lanes < 32 && lanes * 16 <= taps) lanes *= 2;
  return lanes;
}

// Source positions from the first of a tile's windows to the end of its last.
int64_t span(const ResizeAxis& axis, int64_t outputs) {
  if (axis.folded) return axis.taps;
  // One more than the distance of the first and last window, which are rounded apart.
  const auto between = static_cast<double>(outputs - 1) / axis.resample.scale;
  const auto all = static_cast<int64_t>(std::min(std::ceil(between), 1e9)) + axis.taps + (axis.copied ? 0 : 1);
  // Only windows that are cut stay inside the image.
  return axis.resample.bicubic == Bicubic::kPil ? std::min(all, axis.resample.in_size) : all;
}

// Fits chunk and band into shared memory; false where no useful band does.
bool lay_out(const ResizeAxis& rows, const ResizeAxis& columns, int gap, ResizeConfig& config) {
  const int width = config.tile_width(), height = config.tile_height;
  config.chunk = std::max(1, std::min(columns.taps, kColumnTable / 4 / width));
  config.column_stride = config.chunk | 1;  // odd: neighbouring columns lie in different banks
  const int64_t whole = span(rows, height);
  const auto arrange = [&](int64_t band) {
    config.band = static_cast<int>(band);
    config.row_stride = std::min(rows.taps, config.band);
    ResizeShared& at = config.shared;
    at = {};
    const auto place = [&](int& offset, int64_t bytes) {
      offset = at.size;
      at.size += static_cast<int>((bytes + 15) / 16 * 16) + gap;
    };
    place(at.column_first, width * 8);
    place(at.column_norm, width * 8);
    place(at.column_count, width * 4);
    place(at.column_weight, int64_t{width} * config.column_stride * 4);
    place(at.row_first, height * 8);
    place(at.row_norm, height * 8);
    place(at.row_count, height * 4);
    place(at.row_begin, height * 4);
    place(at.row_weight, int64_t{height} * config.row_stride * 4);
    place(at.inner, band * width * 4);
    place(at.sums, band < whole ? height * width * 4 : 0);
    return at.size <= kSharedLimit;
  };
  if (whole <= kSharedLimit / 4 && arrange(whole)) return true;
  for (int64_t band = 512; band >= 8; band -= 8) {
    if (band < whole && arrange(band)) return true;
  }
  return false;
}

// Cycles of the busiest multiprocessor, up to a factor: multiply-adds, weights in double, barriers.
double estimated_cost(const ResizeAxis& rows, const ResizeAxis& columns, const ResizeConfig& config, int blocks_per_sm,
                      const DeviceLimits& device) {
  const double width = config.tile_width(), height = config.tile_height;
  const auto source_rows = static_cast<double>(span(rows, config.tile_height));
  const double bands = std::ceil(source_rows / config.band);
  const double chunks = std::ceil(static_cast<double>(columns.taps) / config.chunk);
  const double shuffles = 4 * std::log2(config.column_lanes) * config.column_lanes;
  const double horizontal = source_rows * width * (2.0 * columns.taps + shuffles + 8);
  const double vertical = width * height * (2.0 * rows.taps + 8 * bands);
  double weights = 2 * height * rows.taps;
  if (chunks > 1) weights += width * columns.taps * bands;
  const double barriers = 4000 * bands * (1 + chunks);
  const double tile = horizontal + vertical + 16 * weights + barriers;
  const auto rounds = static_cast<double>(ceil_div(config.tiles, device.sm_count));
  return rounds * tile * (1.0 + 2.0 / std::min<double>(blocks_per_sm, rounds));
}

}  // namespace

ResizeAxis make_resize_axis(Bicubic bicubic, int64_t in_size, int64_t out_size, double scale) {
  ResizeAxis axis{make_resample_axis(bicubic, in_size, scale), out_size, in_size == out_size && scale == 1.0, false, 0};
  axis.folded = !axis.copied && bicubic == Bicubic::kMatlab && axis.resample.taps >= 2 * in_size;
  axis.taps = axis.copied ? 1 : axis.resample.taps;
  if (axis.folded || bicubic == Bicubic::kPil) axis.taps = static_cast<int>(std::min<int64_t>(axis.taps, in_size));
  return axis;
}

std::string ResizeConfig::describe() const {
  std::ostringstream text;
  text << "tiles of " << tile_height << " x " << tile_width() << ", " << band << " source rows and " << chunk
       << " taps of a column at once, " << column_lanes << " threads to a column's window, " << row_lanes << " to a row's, "
       << shared.size << " bytes shared, " << blocks << " blocks for " << tiles << " tiles";
  return text.str();
}

ResizeConfig choose_resize_config(int64_t planes, const ResizeAxis& rows, const ResizeAxis& columns,
                                  const DeviceLimits& device) {
  ResizeConfig best{};
  double best_cost = 0;
  for (int width_bits = 0; width_bits <= 8; ++width_bits) {
    for (int height = 1; height <= 64; height *= 2) {
      ResizeConfig config{};
      config.width_bits = width_bits;
      config.tile_height = height;
      // Windows that leave out source rows between them are walked one at a time.
      if (height > 1 && 1.0 / rows.resample.scale > rows.taps) break;
      if (height * config.tile_width() > 4096 || !lay_out(rows, columns, device.shared_gap, config)) break;
      config.column_lanes = lanes_for(config.chunk);
      config.row_lanes = lanes_for(rows.taps);
      config.tiles_x = ceil_div(columns.out_size, config.tile_width());
      config.tiles_y = ceil_div(rows.out_size, height);
      config.tiles = config.tiles_x * config.tiles_y * planes;
      const int blocks_per_sm = std::max(1, std::min({kResizeBlocks, device.shared_memory_per_sm / (config.shared.size + 1024),
                                                      device.threads_per_sm / kResizeThreads}));
      config.blocks = static_cast<int>(std::min(config.tiles, int64_t{device.sm_count} * blocks_per_sm));
      const double cost = estimated_cost(rows, columns, config, blocks_per_sm, device);
      if (best.blocks == 0 || cost < best_cost) {
        best = config;
        best_cost = cost;
      }
    }
  }
  return best;
}

}  // namespace srcnn::cuda
