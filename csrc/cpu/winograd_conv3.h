// conv3 by Winograd, four rows of F2 at a time.
//
// With 32 channels in and one out, what is transformed should be the output. Four rows of F2 are the coefficients of a
// polynomial in the vertical direction, a column of five taps, upside down, those of another; the product's eight coefficients
// are what the four rows add to eight rows of output. Its values at eight points are products of values (`evaluate`, in
// conv2's last step), summed over channels and horizontal taps; `interpolate` follows, once. That is F(4, 5) transposed. In
// both directions it would need 128 products instead of 320, but 336 operations instead of 112 before them.
#pragma once

#include <cstdint>

#include "../srcnn.h"
#include "target.h"
#include "winograd_engine.h"
#include "winograd_tile.h"

namespace srcnn::cpu {

inline constexpr int kConv3Points = Winograd5::kPoints;
inline constexpr int kConv3Columns = kTile + kKernel3 - 1;  // columns under four of the output

// What conv3 takes of four rows y of F2: their values at the points of F(4, 5), `point_stride` apart.
template <class S>
SRCNN_INLINE void store_points(typename S::Vec* y, const RowsInImage& rows, float* out, int64_t point_stride) {
  using Vec = typename S::Vec;
  if (rows.first > 0 || rows.end < kTile) {
    const Vec zero = S::set1(0.0f);
    SRCNN_UNROLL
    for (int r = kTile - 2; r >= 0; --r) {
      if (r < rows.first) y[r] = y[r + 1];
    }
    SRCNN_UNROLL
    for (int r = 1; r < kTile; ++r) {
      if (r >= rows.end) y[r] = y[r - 1];
    }
    SRCNN_UNROLL
    for (int r = 0; r < kTile; ++r) {
      if (rows.zeros && (r < rows.first || r >= rows.end)) y[r] = zero;
    }
  }
  Vec points[Winograd5::kPoints];
  evaluate<S, Winograd5>(y, points);
  SRCNN_UNROLL
  for (int p = 0; p < Winograd5::kPoints; ++p) S::store(out + p * point_stride, points[p]);
}

// The sums of all points, for all four phases of V vectors of tiles. points: [point][channel], strides apart, at the first
// tile; column[k]: where column k of eight lies from there; weight: [point][in][kx]; sums: [point][vector][phase][lane].
template <class S, int V>
__attribute__((noinline)) void conv3_points(const float* points, int64_t point_stride, int64_t channel_stride,
                                            const int64_t* column, const float* weight, float* sums) {
  using Vec = typename S::Vec;
  for (int p = 0; p < kConv3Points; ++p, points += point_stride) {
    Vec sum[V][kTile];
    SRCNN_UNROLL
    for (int v = 0; v < V; ++v) {
      SRCNN_UNROLL
      for (int phase = 0; phase < kTile; ++phase) sum[v][phase] = S::set1(0.0f);
    }
    const float* x = points;
    for (int c = 0; c < kWidth2; ++c, x += channel_stride, weight += kKernel3) {
      Vec w[kKernel3];
      SRCNN_UNROLL
      for (int kx = 0; kx < kKernel3; ++kx) w[kx] = S::set1(weight[kx]);
      SRCNN_UNROLL
      for (int k = 0; k < kConv3Columns; ++k) {
        SRCNN_UNROLL
        for (int v = 0; v < V; ++v) {
          const Vec in = S::load(x + column[k] + v * S::kLanes);
          SRCNN_UNROLL
          for (int phase = 0; phase < kTile; ++phase) {
            if (k - phase >= 0 && k - phase < kKernel3) sum[v][phase] = S::fma(w[k - phase], in, sum[v][phase]);
          }
        }
      }
    }
    SRCNN_UNROLL
    for (int v = 0; v < V; ++v) {
      SRCNN_UNROLL
      for (int phase = 0; phase < kTile; ++phase, sums += S::kLanes) S::store(sums, sum[v][phase]);
    }
  }
}

// What sums[point][unit][lane] add to eight rows. The four upper ones are complete with that: made[row][unit][lane] = pending +
// theirs + bias; the four lower ones are pending now: [row][...], `pending_stride` apart.
template <class S>
__attribute__((noinline)) void conv3_rows(const float* sums, int units, float bias, float* pending, int64_t pending_stride,
                                          float* made) {
  using Vec = typename S::Vec;
  const Vec b = S::set1(bias);
  const int64_t row = int64_t{units} * S::kLanes;
  for (int64_t at = 0; at < row; at += S::kLanes) {
    Vec m[kConv3Points], add[kConv3Points];
    SRCNN_UNROLL
    for (int p = 0; p < kConv3Points; ++p) m[p] = S::load(sums + p * row + at);
    interpolate<S, Winograd5>(m, add);
    SRCNN_UNROLL
    for (int r = 0; r < kTile; ++r) {
      float* const to = pending + r * pending_stride + at;
      S::store(made + r * row + at, S::load(to) + add[r] + b);
      S::store(to, add[kTile + r]);
    }
  }
}

}  // namespace srcnn::cpu
