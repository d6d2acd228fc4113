// conv1 of the backward by Winograd (winograd_transform.h), forward and for the gradient of its weights. As in the forward
// (winograd_kernels.h) nine taps are three groups of three in both directions, nine F(4x4,3x3) with a quarter of the products,
// but here vectors run along the 64 channels (pixels.h): images of any width leave no vector half empty.
//
//   output              y  = A^T [sum of terms (G g) * (B^T d)] A      a term: one group of taps of one input channel
//   gradient of weights dg = G^T [sum of tiles (A dy) * (B^T d)] G
//
// A band is up to four rows, a tile four columns of it. The input's points are broadcast, so their order is that of the
// products: [tile][horizontal point][term][vertical point], term = (channel, horizontal group, vertical group).
#pragma once

#include <cstdint>
#include <cstring>

#include "backward_engine.h"
#include "conv1_points.h"
#include "pixel_tiles.h"
#include "pixels.h"
#include "target.h"
#include "winograd_tile.h"

namespace srcnn::cpu {

// 6 points x kVectors x kTiles sums; the vectors of weights that are loaded for them, and one broadcast.
template <class S>
struct Conv1Blocks {
  static constexpr int kVectors = 2;
  static constexpr int kTiles = S::kLanes >= 16 ? 2 : 1;
  static constexpr int kChannels = kVectors * S::kLanes;
};

// B^T d of `tiles` tiles. rows: [channel][12], from the first tile's first tap on; columns: scratch,
// [column][kConv1ColumnPoints].
template <class S>
__attribute__((noinline)) void conv1_input_points(const float* const* rows, int channels, int tiles, float* columns,
                                                  float* out) {
  using Vec = typename S::Vec;
  const int terms = channels * kConv1Terms, width = tiles * kTile + kKernel1 - 1;
  for (int channel = 0; channel < channels; ++channel, rows += kBandInputs) {
    for (int x = 0; x < width; x += S::kLanes) {
      Vec d[kBandInputs];
      SRCNN_UNROLL
      for (int r = 0; r < kBandInputs; ++r) d[r] = S::load(rows[r] + x);
      float points[kConv1ColumnPoints][S::kLanes];
      SRCNN_UNROLL
      for (int group = 0; group < kConv1Groups; ++group) {
        Vec transformed[kConv1SidePoints];
        transform_input<S, Winograd3>(d + group * Winograd3::kR, transformed);
        SRCNN_UNROLL
        for (int p = 0; p < kConv1SidePoints; ++p) S::store(points[group * kConv1SidePoints + p], transformed[p]);
      }
      for (int lane = 0; lane < S::kLanes && x + lane < width; ++lane) {
        float* const to = columns + (x + lane) * kConv1ColumnPoints;
        for (int p = 0; p < kConv1ColumnPoints; ++p) to[p] = points[p][lane];
      }
    }
    for (int t = 0; t < tiles; ++t) {
      for (int group = 0; group < kConv1Groups; ++group) {
        const float* const from = columns + (t * kTile + group * Winograd3::kR) * kConv1ColumnPoints;
        float* const to =
            out + ((t * kConv1SidePoints * terms) + channel * kConv1Terms + group * kConv1Groups) * kConv1SidePoints;
        // The last vector overlaps the one before it.
        for (int left = kConv1ColumnPoints; left > 0; left -= S::kLanes) {
          const int at = left >= S::kLanes ? kConv1ColumnPoints - left : kConv1ColumnPoints - S::kLanes;
          Vec d[kConv1SidePoints], transformed[kConv1SidePoints];
          SRCNN_UNROLL
          for (int i = 0; i < kConv1SidePoints; ++i) d[i] = S::load(from + i * kConv1ColumnPoints + at);
          transform_input<S, Winograd3>(d, transformed);
          SRCNN_UNROLL
          for (int p = 0; p < kConv1SidePoints; ++p) S::store(to + p * terms * kConv1SidePoints + at, transformed[p]);
        }
      }
    }
  }
}

// One horizontal point of P tiles and V vectors of channels: products, sums over terms, vertical inverse.
// weight: [term][vertical point][V vectors]; half: [tile][row][horizontal point][64].
template <class S, int V, int P>
__attribute__((noinline)) void conv1_multiply_block(const float* points, int64_t tile_stride, int terms, const float* weight,
                                                    float* half) {
  using Vec = typename S::Vec;
  Vec sum[P][V][kConv1SidePoints];
  SRCNN_UNROLL
  for (int p = 0; p < P; ++p) {
    SRCNN_UNROLL
    for (int v = 0; v < V; ++v) {
      SRCNN_UNROLL
      for (int i = 0; i < kConv1SidePoints; ++i) sum[p][v][i] = S::set1(0.0f);
    }
  }
  for (int k = 0; k < terms; ++k, points += kConv1SidePoints) {
    SRCNN_UNROLL
    for (int i = 0; i < kConv1SidePoints; ++i, weight += V * S::kLanes) {
      Vec w[V];
      SRCNN_UNROLL
      for (int v = 0; v < V; ++v) w[v] = S::load(weight + v * S::kLanes);
      SRCNN_UNROLL
      for (int p = 0; p < P; ++p) {
        const Vec x = S::set1(points[p * tile_stride + i]);
        SRCNN_UNROLL
        for (int v = 0; v < V; ++v) sum[p][v][i] = S::fma(x, w[v], sum[p][v][i]);
      }
    }
  }
  SRCNN_UNROLL
  for (int p = 0; p < P; ++p) {
    SRCNN_UNROLL
    for (int v = 0; v < V; ++v) {
      Vec y[kTile];
      transform_output<S, Winograd3>(sum[p][v], y);
      SRCNN_UNROLL
      for (int r = 0; r < kTile; ++r) S::store(half + ((p * kTile + r) * kConv1SidePoints) * kWidth1 + v * S::kLanes, y[r]);
    }
  }
}

// All horizontal points of all tiles. weight: [channel block][horizontal point][term][vertical point][block].
template <class S>
void conv1_multiply(const float* points, int tiles, int terms, const float* weight, float* half) {
  using Blocks = Conv1Blocks<S>;
  constexpr int64_t kHalfTile = int64_t{kBand} * kConv1SidePoints * kWidth1;
  const int64_t tile_stride = int64_t{kConv1TilePoints} * terms;
  for (int c = 0; c < kWidth1; c += Blocks::kChannels) {
    for (int column = 0; column < kConv1SidePoints; ++column, weight += int64_t{kConv1SidePoints} * terms * Blocks::kChannels) {
      const float* from = points + column * terms * kConv1SidePoints;
      float* to = half + column * kWidth1 + c;
      for_each_piece<Blocks::kTiles>(tiles, [&](int tile, int count) {
        with_number<Blocks::kTiles>(count, [&](auto p) {
          conv1_multiply_block<S, Blocks::kVectors, decltype(p)::kValue>(from + tile * tile_stride, tile_stride, terms, weight,
                                                                         to + tile * kHalfTile);
        });
      });
    }
  }
}

// Adds the products of the two, over all tiles, to sums: [horizontal point, vertical point][term][64].
template <class S>
void conv1_add_gradient(const float* points, const float* gradients, int tiles, int terms, float* sums) {
  constexpr int V = S::kGradientVectors, kMostTerms = S::kGradientTaps;
  const int64_t tile_stride = int64_t{kConv1TilePoints} * terms;
  for (int q = 0; q < kConv1SidePoints; ++q) {
    for (int p = 0; p < kConv1SidePoints; ++p, gradients += int64_t{tiles} * kWidth1, sums += int64_t{terms} * kWidth1) {
      const float* const from = points + q * terms * kConv1SidePoints + p;
      for_each_piece<kMostTerms>(terms, [&](int term, int some) {
        with_number<kMostTerms>(some, [&](auto k) {
          for (int c = 0; c < kWidth1; c += V * S::kLanes) {
            gradient_block<S, V, decltype(k)::kValue, kConv1SidePoints>(from + term * kConv1SidePoints, tile_stride,
                                                                        gradients + c, kWidth1, tiles,
                                                                        sums + int64_t{term} * kWidth1 + c, kWidth1);
          }
        });
      });
    }
  }
}

template <class S>
class TiledConv1 {
 public:
  TiledConv1(const BackwardPlan& plan, float* workspace)
      : plan_(plan),
        layout_(plan.layout.conv1),
        channels_(static_cast<int>(plan.problem->input.channels)),
        terms_(channels_ * kConv1Terms),
        points_(workspace + layout_.points),
        columns_(workspace + layout_.columns),
        tiles_(workspace + layout_.tiles),
        sums_(workspace + layout_.sums),
        zeros_(workspace + plan.layout.zeros_offset) {}

  // Columns that the tiles of so many outputs read.
  static int64_t inputs_of(int64_t pixels) { return int64_t{kTile} * tiles_of(pixels) + kKernel1 - 1; }

  // relu(conv1 + bias) of `count` rows. rows: [channel][12], from the first output's first tap on.
  void convolve(const float* const* rows, int count, int64_t pixels, float* const* out) const {
    const int tiles = tiles_of(pixels);
    conv1_input_points<S>(rows, channels_, tiles, columns_, points_);
    conv1_multiply<S>(points_, tiles, terms_, plan_.weight1_points, tiles_);
    for (int r = 0; r < count; ++r) {
      tile_inverse_columns<S, Winograd3, kWidth1>(tiles_ + r * kConv1SidePoints * kWidth1, plan_.problem->conv1.bias,
                                                  static_cast<int>(pixels), out[r]);
    }
  }

  // The gradient of the weights: clear, add what bands say, and finish, which adds all of it to `out`. grads: four rows of
  // conv1's gradient, null for rows that say nothing.
  void clear() const { std::memset(sums_, 0, static_cast<size_t>(kConv1TilePoints) * terms_ * kWidth1 * sizeof(float)); }
  void add_gradient(const float* const* rows, const float* const* grads, int64_t pixels) const {
    const int tiles = tiles_of(pixels);
    conv1_input_points<S>(rows, channels_, tiles, columns_, points_);
    tile_output_gradients<S, Winograd3, kWidth1>(grads, zeros_, 0, static_cast<int>(pixels), tiles, tiles_,
                                                 int64_t{tiles} * kWidth1);
    conv1_add_gradient<S>(points_, tiles_, tiles, terms_, sums_);
  }
  void finish(float* out) const {
    for (int term = 0; term < terms_; ++term) {
      const int row = term / kConv1Terms * kKernel1 + term % kConv1Groups * Winograd3::kR;
      const int column = term / kConv1Groups % kConv1Groups * Winograd3::kR;
      tile_weight_gradient<S, Winograd3>(sums_ + int64_t{term} * kWidth1, int64_t{terms_} * kWidth1, kWidth1,
                                         out + (int64_t{row} * kKernel1 + column) * kWidth1, kKernel1 * kWidth1, kWidth1);
    }
  }

 private:
  static int tiles_of(int64_t pixels) { return static_cast<int>((pixels + kTile - 1) / kTile); }

  const BackwardPlan& plan_;
  const TiledConv1Layout& layout_;
  const int channels_, terms_;
  float *const points_, *const columns_, *const tiles_, *const sums_;
  const float* const zeros_;
};

}  // namespace srcnn::cpu
