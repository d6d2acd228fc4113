#include "plan.h"

#include <algorithm>

#include "conv.h"
#include "workspace.h"

namespace srcnn::cpu {
namespace {

// Rings of one worker, in floats: with input and weights they leave room in the 1 MB of L2 cache of a current core.
constexpr int64_t kRingBudget = 640 * 1024 / sizeof(float);

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Floats of rings per column of a strip.
int64_t ring_floats_per_column(int kernel2) {
  const int64_t hidden1 = kernel2 == 1 ? 0 : int64_t{kernel2} * kWidth1;
  return hidden1 + int64_t{kConv3Inputs} * kWidth2;
}

}  // namespace

int64_t widest_strip(int kernel2) { return kRingBudget / ring_floats_per_column(kernel2); }

Region Tiling::region(int64_t job) const {
  const int64_t x0 = job % strips * strip_width;
  const int64_t y0 = job / strips % segments * segment_height;
  return {x0, std::min(width, x0 + strip_width), y0, std::min(height, y0 + segment_height)};
}

// Strips no wider than the cache allows; among all ways to cut further, the one whose longest worker has least to do. A job
// costs (rows + rows made again by its neighbour) x (vectors, the halo's among them).
Tiling plan_tiling(const ForwardProblem& problem, const Engine& engine, int threads) {
  const int64_t width = problem.output.width, height = problem.output.height;
  const int kernel2 = problem.conv2.kernel_size;
  const int64_t halo_columns = 2 * (kKernel3 / 2);
  const int64_t halo_rows = 2 * (kKernel3 / 2) + 2 * (kernel2 / 2);
  const int64_t fewest = ceil_div(width, widest_strip(kernel2));
  const int64_t most = std::max(fewest, std::min(width / (4 * engine.lanes), fewest + 4 * threads));

  Tiling best{};
  double best_cost = 0;
  for (int64_t wanted = fewest; wanted <= most; ++wanted) {
    const int64_t vectors = ceil_div(ceil_div(width, wanted) + halo_columns, engine.lanes);
    const int64_t strip_width = std::min(width, vectors * engine.lanes - halo_columns);
    const int64_t strips = ceil_div(width, strip_width);
    const int64_t most_segments = std::max<int64_t>(1, std::min<int64_t>(height / 16, 4 * threads));
    for (int64_t cut = 1; cut <= most_segments; ++cut) {
      if (cut > 1 && problem.output.batch * wanted * (cut - 1) >= 4 * threads) break;  // enough jobs for an even share
      const int64_t segment_height = round_up(ceil_div(height, cut), kConv3Rows);
      const int64_t segments = ceil_div(height, segment_height);
      const Tiling tiling{width, height, strip_width, segment_height, strips, segments};
      const int64_t rounds = ceil_div(tiling.jobs(problem.output.batch), threads);
      const double cost = static_cast<double>(rounds) * static_cast<double>(std::min(height, segment_height) + halo_rows) *
                          static_cast<double>(vectors);
      if (best.strips == 0 || cost < best_cost) {
        best = tiling;
        best_cost = cost;
      }
    }
  }
  return best;
}

RingLayout plan_ring(int slots, int64_t channels, int halo, int64_t width) {
  // An odd number of cache lines, so that the channels of a row do not all fall into the same cache sets.
  const int64_t lines = ceil_div(width, kLineFloats);
  return {0, slots, static_cast<int>(channels), halo, (lines | 1) * kLineFloats};
}

StripLayout plan_strip_layout(const ForwardProblem& problem, const Engine& engine, int64_t strip_width) {
  const int kernel2 = problem.conv2.kernel_size;
  const int lanes = engine.lanes;
  const int64_t channels = problem.input.channels;
  const int halo2 = kKernel3 / 2, halo1 = halo2 + kernel2 / 2, halo0 = halo1 + kKernel1 / 2;

  // Backwards from the output: the columns that are read of each stage, more than matter since vectors are whole.
  const int64_t read2 = round_up(strip_width, engine.conv3_vectors * lanes) + kKernel3 - 1;
  const int64_t made2 = round_up(strip_width + 2 * halo2, lanes);
  const int64_t read1 = made2 + kernel2 - 1;
  const int64_t made1 = round_up(strip_width + 2 * halo1, lanes);
  const int64_t read0 = made1 + kKernel1 - 1;
  const int64_t resampled = round_up(strip_width + 2 * halo0, lanes);

  StripLayout layout{};
  if (problem.scale > 1) layout.source = plan_ring(4, channels, 0, resampled);
  // Resampled rows begin anywhere up to the halo.
  layout.input = plan_ring(kKernel1, channels, halo0, std::max(read0, halo0 + resampled));
  layout.hidden1 = kernel2 == 1 ? plan_ring(1, kWidth1, halo1, engine.vectors * lanes)
                                : plan_ring(kernel2, kWidth1, halo1, std::max(read1, made1));
  layout.hidden2 = plan_ring(kConv3Inputs, kWidth2, halo2, std::max(read2, made2));

  int64_t row_of_zeros = 0;
  for (RingLayout* ring : {&layout.source, &layout.input, &layout.hidden1, &layout.hidden2}) {
    ring->offset = layout.size;
    layout.size += round_up(ring->size(), kLineFloats);
    row_of_zeros = std::max(row_of_zeros, ring->row_size());
  }
  layout.zeros_offset = layout.size;
  layout.size += round_up(row_of_zeros, kLineFloats);
  layout.converted = layout.size;
  layout.size += round_up(
      std::max(widest_source_row(strip_width + 2 * halo0), int64_t{kConv3Rows} * engine.conv3_vectors * lanes), kLineFloats);
  return layout;
}

}  // namespace srcnn::cpu
