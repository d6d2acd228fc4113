#include "backward_plan.h"

#include <algorithm>

#include "conv1_points.h"
#include "plan.h"
#include "workspace.h"

namespace srcnn::cpu {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Rows below which a tile is not cut: its neighbours make 2 * (f2 - 1) rows of conv1 and f2 - 1 of conv2 again, more where the
// gradient of the input is wanted.
int64_t shortest_segment(int kernel2, bool input_wanted) { return kernel2 == 1 && !input_wanted ? 16 : 48; }

}  // namespace

Depth wanted_depth(const BackwardProblem& problem) {
  if (problem.grad_input.data || problem.grad1.weight || problem.grad1.bias) return Depth::kConv1;
  if (problem.grad2.weight || problem.grad2.bias) return Depth::kConv2;
  if (problem.grad3.weight) return Depth::kConv3;
  return Depth::kBias3;
}

// A row of the features of a 1x1 conv2 is used up at once: it should stay in L1. Others are kept in rings of f2 rows, which
// fill half of a 1 MB L2 cache, and narrow pieces would make too many columns again.
int64_t widest_piece(int kernel2, bool input_wanted) {
  if (kernel2 == 1) return input_wanted ? 128 : 64;
  return kernel2 == 3 ? 160 : 96;
}

BackwardTile BackwardTiling::tile(int64_t tile) const {
  const int64_t x0 = tile % strips * strip_width;
  const int64_t y0 = tile / strips % segments * segment_height;
  const Region cut{x0, std::min(width, x0 + strip_width), y0, std::min(height, y0 + segment_height)};
  if (!input_wanted) return {cut, {}, {}};
  if (scale == 1) return {cut, cut, cut};
  // An output is made of inputs less than 2 away from it (mirrored ones included): 1.5 more input pixels on either side.
  const int64_t reach = (3 * scale + 1) / 2;
  const Region owned{scale * cut.x0, scale * cut.x1, scale * cut.y0, scale * cut.y1};
  const Region spread{std::max<int64_t>(0, owned.x0 - reach), std::min(out_width, owned.x1 + reach),
                      std::max<int64_t>(0, owned.y0 - reach), std::min(out_height, owned.y1 + reach)};
  return {owned, spread, cut};
}

BackwardTiling plan_backward_tiling(const BackwardProblem& problem) {
  const int kernel2 = problem.conv2.kernel_size;
  BackwardTiling tiling{};
  tiling.input_wanted = problem.grad_input.data != nullptr;
  tiling.scale = problem.scale;
  tiling.out_height = problem.scale * problem.input.height;
  tiling.out_width = problem.scale * problem.input.width;
  tiling.height = tiling.input_wanted ? problem.input.height : tiling.out_height;
  tiling.width = tiling.input_wanted ? problem.input.width : tiling.out_width;

  // In the units of what is cut. Of an enlarged image 1.5 inputs a side are made again.
  const int64_t unit = tiling.input_wanted ? problem.scale : 1;
  const int64_t widest = widest_piece(kernel2, tiling.input_wanted);
  const int64_t columns = std::max<int64_t>(1, unit == 1 ? widest : widest / unit - 3);
  const int64_t rows = std::max<int64_t>(1, shortest_segment(kernel2, tiling.input_wanted) / unit);
  tiling.strips = ceil_div(tiling.width, columns);
  tiling.strip_width = ceil_div(tiling.width, tiling.strips);
  tiling.strips = ceil_div(tiling.width, tiling.strip_width);
  const int64_t all_strips = std::max<int64_t>(1, problem.input.batch * tiling.strips);
  const int64_t wanted = std::clamp<int64_t>(tiling.height / rows, 1, ceil_div(kMostGroups, all_strips));
  tiling.segment_height = ceil_div(tiling.height, wanted);
  tiling.segments = ceil_div(tiling.height, tiling.segment_height);
  tiling.tiles = problem.input.batch * tiling.strips * tiling.segments;
  tiling.groups = std::min(tiling.tiles, kMostGroups);
  return tiling;
}

BackwardLayout plan_backward_layout(const BackwardProblem& problem, const BackwardEngine& engine, int64_t columns,
                                    Depth depth) {
  const int kernel2 = problem.conv2.kernel_size;
  const int channels = static_cast<int>(problem.input.channels);
  const int halo1 = kKernel1 / 2, halo2 = kernel2 / 2, halo3 = kKernel3 / 2;
  const bool input_wanted = problem.grad_input.data != nullptr;
  const bool replicate = problem.padding == Padding::kReplicate;
  BackwardLayout layout{};
  const auto place = [&](int64_t floats) {
    const int64_t offset = layout.size;
    layout.size += round_up(floats, kLineFloats);
    return offset;
  };
  int64_t row_of_zeros = 0;
  // An odd number of cache lines a channel, so that channels do not all fall into the same cache sets.
  const auto planes = [&](int slots, int count, int left, int64_t slack) {
    const int64_t stride = (ceil_div(columns + 2 * left + slack, kLineFloats) | 1) * kLineFloats;
    row_of_zeros = std::max(row_of_zeros, stride);
    return PlaneRows{place(slots * count * stride), slots, left, count * stride, stride};
  };
  const auto pixels = [&](int slots, int count, int left) {
    const int64_t row_size = count * (columns + 2 * left + (kernel2 > 1 ? kTile : 0));  // the last tile may go beyond
    row_of_zeros = std::max(row_of_zeros, row_size);
    return PixelRows{place(slots * row_size), slots, left, row_size};
  };

  // Columns left of the piece that each stage can be asked for (and as many right of it): see the regions in backward_strip.h.
  const int left1 = input_wanted ? halo1 : 0;                    // grad1
  const int left2 = left1 + std::max(2 * halo2, halo2 + halo3);  // grad2, with what a replicated edge adds
  const int left_input = left1 + 2 * halo2 + halo1;              // the enlarged image
  if (problem.scale > 1) {
    layout.source = plan_ring(4, channels, 0, columns + 2 * left_input + engine.lanes);
    layout.source.offset = place(layout.source.size());
  }
  // conv2's bands are of more than four rows where a row has few tiles.
  const int64_t tiles2 = ceil_div(columns + 2 * (left1 + halo2), kTile);
  const int64_t band2 = kernel2 == 1 ? 1 : kTile * std::clamp<int64_t>(kBandTiles / tiles2, 1, kMostBandGroups);
  // A band of conv1's gradient comes when F2's next band has been made, for which F1 has been, up to the end of its own band.
  const int ahead1 = static_cast<int>(2 * band2) + 2 * halo2 + kBand - 1;
  // Vectors of columns may begin at any of those that the last tile reads.
  layout.input = planes(ahead1 + kBand + kKernel1, channels, left_input, 2 * engine.lanes + kTile);
  layout.hidden1 = pixels(ahead1, kWidth1, left1 + 2 * halo2);
  if (depth == Depth::kForward) {
    layout.hidden2 = pixels(static_cast<int>(band2) + kKernel3 - 1, kWidth2, halo3);
  } else {
    layout.hidden2 = pixels(static_cast<int>(band2), kWidth2, left1 + halo2 + halo3);
    layout.grad = planes(kKernel3, channels, left1 + halo2 + 2 * halo3, 0);
    layout.grad2 = pixels(static_cast<int>(2 * band2) + 2 * halo2 - 1, kWidth2, left2);
    layout.grad1 = pixels(static_cast<int>(band2) + kBand - 1, kWidth1, left1 + halo2);
    if (replicate) layout.grad_sums = planes(kKernel3, channels, layout.grad.left, 0);
    if (replicate && kernel2 > 1) layout.grad2_sums = pixels(kernel2, kWidth2, left2);
  }
  const int64_t tiles1 = ceil_div(columns + 2 * (left1 + 2 * halo2), kTile), terms1 = int64_t{kConv1Terms} * channels;
  layout.conv1.columns = place(kConv1ColumnPoints * (kTile * tiles1 + kKernel1 - 1));
  layout.conv1.points = place(kConv1TilePoints * terms1 * tiles1);
  layout.conv1.tiles = place(kConv1TilePoints * kWidth1 * tiles1);
  layout.conv1.sums = place(problem.grad1.weight ? kConv1TilePoints * terms1 * kWidth1 : 0);
  layout.conv2.rows = band2;
  if (kernel2 > 1) {
    const int64_t side = kTile + kernel2 - 1, tiles = band2 / kTile * tiles2;
    layout.conv2.columns = place(side * (kTile * tiles2 + kernel2 - 1) * kWidth1);
    layout.conv2.points = place(side * side * tiles * kWidth1);
    layout.conv2.products = place(side * tiles * kWidth1);
    layout.conv2.half = place(side * tiles * std::max<int64_t>(kTile * kWidth1, side * kWidth2));
    layout.conv2.sums = place(problem.grad2.weight ? side * side * kWidth1 * kWidth2 : 0);
  }
  if (input_wanted) {
    layout.grad1_planes = planes(1, kWidth1, 2 * halo1, engine.spread_columns);
    layout.spread = planes(kKernel1, channels, halo1, engine.spread_columns);
    layout.narrow_offset = place(problem.scale == 1 ? 0 : columns);
  }
  layout.zeros_offset = place(row_of_zeros);
  return layout;
}

PartialLayout plan_partial(const BackwardProblem& problem) {
  PartialLayout layout{};
  const auto place = [&](const float* wanted, int64_t floats) {
    const int64_t offset = layout.size;
    if (wanted) layout.size += round_up(floats, kLineFloats);
    return offset;
  };
  const auto weights = [](const ConvWeights& conv) {
    return static_cast<int64_t>(conv.out_channels) * conv.in_channels * conv.kernel_size * conv.kernel_size;
  };
  layout.weight1 = place(problem.grad1.weight, weights(problem.conv1));
  layout.bias1 = place(problem.grad1.bias, problem.conv1.out_channels);
  layout.weight2 = place(problem.grad2.weight, weights(problem.conv2));
  layout.bias2 = place(problem.grad2.bias, problem.conv2.out_channels);
  layout.weight3 = place(problem.grad3.weight, weights(problem.conv3));
  layout.bias3 = place(problem.grad3.bias, problem.conv3.out_channels);
  return layout;
}

}  // namespace srcnn::cpu
