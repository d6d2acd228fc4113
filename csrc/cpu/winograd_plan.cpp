#include "winograd_plan.h"

#include <algorithm>

#include "pack.h"
#include "workspace.h"

namespace srcnn::cpu {
namespace {

// Tiles of F1 in the widest strip. With a 5x5 conv2 rings and transformed rows of one worker take 35 to 39 kB a tile, with a
// 1x1 the points of F2 4 kB. What is used at a time is less, and wider strips have less halo; but those of 96 tiles of 8 lanes
// share 960 columns out badly (docs/cpu_kernels.md has the times of 32 to 128).
int64_t widest_tiles(int kernel2, int64_t lanes) { return lanes < 16 ? 64 : kernel2 > 1 ? 48 : 96; }

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Tiles of F1 beyond those of F2 in a strip.
int64_t extra_tiles(int kernel2) { return kernel2 == 1 ? 0 : 1; }

// How far the tiles of F2 begin left of and above a region. conv3 wants two columns; four put the tiles on the image's edge, so
// that an image of 64 columns is 16 of them and not 17, which would be twice the vectors. Where conv2 wants columns of its
// own, F1 would have to begin further out still, and rows of it be kept longer.
int hidden2_halo(int kernel2) { return kernel2 == 1 ? kTile : kKernel3 / 2; }

// Tiles of F2 in a row of a strip, those outside the image included.
int64_t hidden2_tiles(int kernel2, int64_t strip_width) {
  return ceil_div(hidden2_halo(kernel2) + strip_width + kKernel3 / 2, kTile);
}

// Vectors of tiles of F1 that are made for a row of the strip at column x0.
int64_t made_vectors(int kernel2, int64_t width, int64_t x0, int64_t strip_width, int64_t lanes) {
  const int64_t halo1 = hidden2_halo(kernel2) + kernel2 / 2;
  const int64_t tiles = hidden2_tiles(kernel2, strip_width) + extra_tiles(kernel2);
  const int64_t first = std::max<int64_t>(0, halo1 - x0) / kTile;
  return ceil_div(std::min(tiles, ceil_div(width - x0 + halo1, kTile)) - first, lanes);
}

// The widest strip whose rows are so many vectors, wherever in the image it lies.
int64_t widest_strip_of(int kernel2, int64_t width, int64_t tiles) {
  if (kernel2 > 1) return kTile * (tiles - extra_tiles(kernel2)) - kKernel3 / 2 - hidden2_halo(kernel2);
  // A neighbour costs a tile; the image's edge does not.
  if (width <= kTile * tiles) return width;
  return width <= 2 * kTile * (tiles - 1) ? kTile * (tiles - 1) : kTile * (tiles - 2);
}

// What the longest worker has to do, for one row of a segment: a share of everything, and no less than its strips' whole rows.
double longest_share(const Tiling& tiling, int kernel2, int64_t batch, int64_t lanes, int threads) {
  const auto made = [&](int64_t strip) {
    return made_vectors(kernel2, tiling.width, strip * tiling.strip_width, tiling.strip_width, lanes);
  };
  const int64_t last = tiling.strips - 1;
  const int64_t inner = std::max<int64_t>(0, last - 1), whole = inner > 0 ? std::max(made(0), made(1)) : made(0);
  const int64_t sum = made(last) + (last > 0 ? made(0) : 0) + inner * whole;
  const int64_t largest = std::max(whole, made(last));
  const int64_t large = made(last) == largest ? tiling.strips : last;
  const int64_t columns = batch * tiling.segments;
  return std::max(static_cast<double>(columns * sum) / threads,
                  static_cast<double>(ceil_div(columns * large, threads) * largest));
}

}  // namespace

Tiling plan_winograd_tiling(const ForwardProblem& problem, const WinogradEngine& engine, int threads) {
  const int64_t width = problem.output.width, height = problem.output.height, batch = problem.output.batch;
  const int kernel2 = problem.conv2.kernel_size;
  const int64_t halo_rows = hidden2_halo(kernel2) + kKernel3 / 2 + 2 * (kernel2 / 2);
  const int64_t widest = widest_tiles(kernel2, engine.lanes) / engine.lanes;

  // Whole vectors of tiles; among all ways to cut, the one whose longest worker has least to do.
  Tiling best{};
  double best_cost = 0;
  for (int64_t vectors = widest; vectors >= 1; --vectors) {
    const int64_t room = widest_strip_of(kernel2, width, vectors * engine.lanes);
    if (room <= 0) break;
    const int64_t strip_width = std::min(width, room);
    const int64_t strips = ceil_div(width, strip_width);
    const int64_t most_segments = std::max<int64_t>(1, std::min<int64_t>(height / 16, 4 * threads));
    for (int64_t cut = 1; cut <= most_segments; ++cut) {
      if (cut > 1 && batch * strips * (cut - 1) >= 4 * threads) break;  // enough jobs for an even share
      const int64_t segment_height = round_up(ceil_div(height, cut), kTile);
      const int64_t segments = ceil_div(height, segment_height);
      const Tiling tiling{width, height, strip_width, segment_height, strips, segments};
      const double cost = static_cast<double>(std::min(height, segment_height) + halo_rows) *
                          longest_share(tiling, kernel2, batch, engine.lanes, threads);
      if (best.strips == 0 || cost < best_cost) {
        best = tiling;
        best_cost = cost;
      }
    }
  }
  return best;
}

WinogradLayout plan_winograd_layout(const ForwardProblem& problem, const WinogradEngine& engine, int64_t strip_width) {
  const int kernel2 = problem.conv2.kernel_size;
  const int64_t lanes = engine.lanes, channels = problem.input.channels;
  const int halo2 = hidden2_halo(kernel2), halo1 = halo2 + kernel2 / 2, halo0 = halo1 + kKernel1 / 2;

  // Tiles that matter of each stage, backwards from the output. A tile mixes all its columns, so that they are defined to its
  // end; the vectors that follow are not, and harm no one, since lanes are not mixed.
  const int64_t tiles2 = hidden2_tiles(kernel2, strip_width);
  const int64_t tiles1 = tiles2 + extra_tiles(kernel2);
  const int64_t tiles0 = tiles1 + (kKernel1 - 1) / kTile;
  // Rows hold whole vectors of the stage's own tiles, the first of which may be left out, and of the next one's, which begin up
  // to two tiles further right.
  const auto row = [&](int64_t count, int halo, int64_t tiles) {
    const int64_t phase = round_up(round_up(tiles, lanes) + 3, kLineFloats);
    // An odd number of cache lines, so that the channels of a row do not all fall into the same cache sets.
    return PhaseRowLayout{static_cast<int>(count), halo, static_cast<int>(tiles), phase, kTile * phase + kLineFloats};
  };

  WinogradLayout layout{};
  layout.input = {0, kTile + kKernel1 - 1, row(channels, halo0, tiles0)};
  layout.hidden2.row = row(kWidth2, halo2, tiles2);
  layout.hidden2.point_stride = layout.hidden2.row.size() + kLineFloats;
  if (problem.scale > 1) layout.source = plan_ring(4, channels, 0, round_up(tiles0 * kTile, lanes));
  // Whatever rows four of F2 want lie in two groups.
  if (kernel2 > 1) layout.hidden1 = {0, 2 * kTile, row(kWidth1, halo1, tiles1)};

  const auto place = [&](int64_t floats) {
    const int64_t at = layout.size;
    layout.size += round_up(floats, kLineFloats);
    return at;
  };
  layout.source.offset = place(layout.source.size());
  layout.planar = place(channels * layout.source.stride);
  layout.input.offset = place(layout.input.size());
  layout.hidden1.offset = place(layout.hidden1.size());
  layout.hidden2.offset = place(Winograd5::kPoints * layout.hidden2.point_stride);

  constexpr int64_t kGroups = kKernel1 / Winograd3::kR, kPoints1 = Winograd3::kPoints;
  layout.rows1 = place(kGroups * channels * kPoints1 * kTile * layout.input.row.phase_stride);
  layout.tiles1 = place(kPoints1 * kPoints1 * kGroups * kGroups * channels * engine.conv1_vectors * lanes);
  const auto place_points = [&](int64_t points, int64_t floats) {
    const int64_t stride = (round_up(floats, kLineFloats) / kLineFloats | 1) * kLineFloats;
    return PointsLayout{place(points * stride), stride};
  };
  if (kernel2 == 1) {
    layout.block1 = place_points(engine.conv1_vectors * kTile, kWidth1 * kTile * lanes);
  } else {
    const int64_t points = kTile + kernel2 - 1, width = engine.product_vectors * lanes;
    layout.rows2 = place_points(points, kWidth1 * kTile * layout.hidden1.row.phase_stride);
    layout.tiles2 = place_points(points, kWidth1 * width);
    layout.products = place_points(points, kWidth2 * width);
    layout.halves = place_points(points, kWidth2 * kTile * layout.hidden2.row.phase_stride);
  }
  layout.pending_stride = round_up(strip_width, engine.conv3_vectors * kTile * lanes);
  layout.pending = place(channels * kTile * layout.pending_stride);
  layout.zeros = place(std::max(layout.input.row.size(), layout.hidden1.row.size()));
  layout.converted = place(widest_source_row(tiles0 * kTile));
  return layout;
}

namespace {

// u[p][q] = sum over i, j of G[p][i] G[q][j] weight[i * row_stride + j]
template <class W, class Store>
void transform_weight(const float* weight, int row_stride, const Store& store) {
  for (int p = 0; p < W::kPoints; ++p) {
    double row[W::kR] = {};
    for (int i = 0; i < W::kR; ++i) {
      for (int j = 0; j < W::kR; ++j) row[j] += W::kWeight.at[p][i] * static_cast<double>(weight[i * row_stride + j]);
    }
    for (int q = 0; q < W::kPoints; ++q) {
      double sum = 0;
      for (int j = 0; j < W::kR; ++j) sum += W::kWeight.at[q][j] * row[j];
      store(p, q, static_cast<float>(sum));
    }
  }
}

// [out / block][q][p / together][term][p % together][block], see conv1_tiles
std::vector<float> pack_conv1(const ConvWeights& conv, int block, int together) {
  constexpr int n = Winograd3::kPoints, r = Winograd3::kR, kGroups = kKernel1 / r;
  const int terms = kGroups * kGroups * conv.in_channels;
  std::vector<float> packed(static_cast<size_t>(conv.out_channels) * n * n * terms);
  for (int o = 0; o < conv.out_channels; ++o) {
    for (int i = 0; i < conv.in_channels; ++i) {
      const float* taps = conv.weight + (o * conv.in_channels + i) * kKernel1 * kKernel1;
      for (int group = 0; group < kGroups * kGroups; ++group) {
        const int term = group * conv.in_channels + i;
        float* to = packed.data() + static_cast<size_t>(o / block) * n * terms * n * block + o % block;
        transform_weight<Winograd3>(taps + group / kGroups * r * kKernel1 + group % kGroups * r, kKernel1,
                                    [&](int p, int q, float u) {
                                      const int first = q * n + p / together * together;
                                      to[(first * terms + term * together + p % together) * block] = u;
                                    });
      }
    }
  }
  return packed;
}

template <class W>
std::vector<float> pack_conv2(const ConvWeights& conv, int block, const Threads& threads) {
  constexpr int n = W::kPoints;
  const size_t products = static_cast<size_t>(conv.out_channels) * conv.in_channels;
  std::vector<float> packed(products * n * n);
  const auto pack = [&](int o) {
    for (int i = 0; i < conv.in_channels; ++i) {
      float* to = packed.data() + (o / block * conv.in_channels + i) * block + o % block;
      transform_weight<W>(conv.weight + (o * conv.in_channels + i) * W::kR * W::kR, W::kR,
                          [&](int p, int q, float u) { to[static_cast<size_t>(p * n + q) * products] = u; });
    }
  };
  // Nearly a millisecond of work with 5x5 kernels: too much for one of many threads.
  constexpr int kShare = 8;  // output channels
  const int shares = (conv.out_channels + kShare - 1) / kShare;
  const int workers = std::min(threads.count, shares);
  threads.run(workers, [&](int worker) {
    for (int share = worker; share < shares; share += workers) {
      for (int o = share * kShare; o < std::min(conv.out_channels, (share + 1) * kShare); ++o) pack(o);
    }
  });
  return packed;
}

// [out][point][in][kx], upside down: see winograd_conv3.h
std::vector<float> pack_conv3(const ConvWeights& conv) {
  constexpr int n = Winograd5::kPoints, k = kKernel3;
  std::vector<float> packed(static_cast<size_t>(conv.out_channels) * n * conv.in_channels * k);
  float* to = packed.data();
  for (int o = 0; o < conv.out_channels; ++o) {
    for (int p = 0; p < n; ++p) {
      for (int i = 0; i < conv.in_channels; ++i) {
        const float* taps = conv.weight + (o * conv.in_channels + i) * k * k;
        for (int x = 0; x < k; ++x) {
          double sum = 0;
          for (int j = 0; j < k; ++j) sum += Winograd5::kWeight.at[p][j] * static_cast<double>(taps[(k - 1 - j) * k + x]);
          *to++ = static_cast<float>(sum);
        }
      }
    }
  }
  return packed;
}

}  // namespace

WinogradWeights::WinogradWeights(const ForwardProblem& problem, const WinogradEngine& engine, const Threads& threads)
    : conv1(pack_conv1(problem.conv1, engine.conv1_channels, engine.conv1_points)), conv3(pack_conv3(problem.conv3)) {
  switch (problem.conv2.kernel_size) {
    case 1:
      conv2 = pack_channel_blocks(problem.conv2, engine.pointwise_channels);
      break;
    case 3:
      conv2 = pack_conv2<Winograd3>(problem.conv2, engine.product_channels, threads);
      break;
    default:
      conv2 = pack_conv2<Winograd5>(problem.conv2, engine.product_channels, threads);
  }
}

}  // namespace srcnn::cpu
