// Winograd's transforms (winograd_transform.h) of tiles of 4 x 4 pixels that lie pixel after pixel, the vectors along the
// channels (pixels.h). With two inputs and one output there are three of everything:
//
//   output                  y = A^T [(G g G^T) * (B^T d B)] A
//   gradient of the input   the same, of the gradient of the output, with the kernel turned around
//   gradient of weights     dg = G^T [(A dy A^T) * (B^T d B)] G
//
// and the products between the transforms are matrix products over channels or tiles, one a point: convolve_pixels and
// gradient_block. Points are numbered [horizontal][vertical], and a buffer of points is [point][tile][channel].
#pragma once

#include <cstdint>

#include "conv1_points.h"
#include "huge.h"
#include "target.h"
#include "winograd_tile.h"

namespace srcnn::cpu {

// B^T d B of `tiles` tiles. rows: W::kPoints, from the first tile's first tap on; columns: scratch, as many rows.
template <class S, class W, int kChannels>
__attribute__((noinline)) void tile_inputs(const float* const* rows, int tiles, float* columns, float* out,
                                           int64_t point_stride) {
  using Vec = typename S::Vec;
  constexpr int n = W::kPoints;
  const int64_t floats = int64_t{tiles * kTile + W::kR - 1} * kChannels;
  for (int64_t i = 0; i < floats; i += S::kLanes) {
    Vec d[n], transformed[n];
    SRCNN_UNROLL
    for (int r = 0; r < n; ++r) d[r] = S::load(rows[r] + i);
    transform_input<S, W>(d, transformed);
    SRCNN_UNROLL
    for (int q = 0; q < n; ++q) S::store(columns + q * floats + i, transformed[q]);
  }
  for (int q = 0; q < n; ++q, columns += floats, out += point_stride) {
    for (int t = 0; t < tiles; ++t) {
      const float* const from = columns + int64_t{t} * kTile * kChannels;
      for (int c = 0; c < kChannels; c += S::kLanes) {
        Vec d[n], transformed[n];
        SRCNN_UNROLL
        for (int i = 0; i < n; ++i) d[i] = S::load(from + i * kChannels + c);
        transform_input<S, W>(d, transformed);
        SRCNN_UNROLL
        for (int p = 0; p < n; ++p) S::store(out + p * n * point_stride + t * kChannels + c, transformed[p]);
      }
    }
  }
}

// The inverse of one horizontal point down the columns. products: [vertical point][tile][channel]; half: of that horizontal
// point, [tile][row][horizontal point][channel].
template <class S, class W, int kChannels>
__attribute__((noinline)) void tile_inverse_rows(const float* products, int tiles, float* half) {
  using Vec = typename S::Vec;
  const int64_t point_stride = int64_t{tiles} * kChannels;
  for (int t = 0; t < tiles; ++t, products += kChannels, half += kTile * W::kPoints * kChannels) {
    for (int c = 0; c < kChannels; c += S::kLanes) {
      Vec m[W::kPoints], y[kTile];
      SRCNN_UNROLL
      for (int q = 0; q < W::kPoints; ++q) m[q] = S::load(products + q * point_stride + c);
      transform_output<S, W>(m, y);
      SRCNN_UNROLL
      for (int r = 0; r < kTile; ++r) S::store(half + r * W::kPoints * kChannels + c, y[r]);
    }
  }
}

// And along one row of `pixels` pixels, with bias and ReLU unless bias is null (a gradient). half: the row of the first tile.
// Returns whether all is finite and far below kHugeInput: a tile smears one NaN or infinity, or the rounding error of a huge
// value, over its pixels.
template <class S, class W, int kChannels>
__attribute__((noinline)) bool tile_inverse_columns(const float* half, const float* bias, int pixels, float* out) {
  using Vec = typename S::Vec;
  constexpr float kScale = 1e38f / kHugeInput;  // so that sums overflow
  Vec scaled = S::set1(0.0f);
  for (int x = 0; x < pixels; x += kTile, half += kTile * W::kPoints * kChannels, out += kTile * kChannels) {
    for (int c = 0; c < kChannels; c += S::kLanes) {
      Vec m[W::kPoints], y[kTile];
      SRCNN_UNROLL
      for (int p = 0; p < W::kPoints; ++p) m[p] = S::load(half + p * kChannels + c);
      transform_output<S, W>(m, y);
      SRCNN_UNROLL
      for (int i = 0; i < kTile; ++i) {
        scaled = S::fma(y[i], S::set1(kScale), scaled);
        if (bias) y[i] = S::relu(S::add(y[i], S::load(bias + c)));
        if (x + i < pixels) S::store(out + i * kChannels + c, y[i]);
      }
    }
  }
  float lanes[S::kLanes];
  S::store(lanes, scaled);
  for (int i = 0; i < S::kLanes; ++i) {
    if (lanes[i] * 0.0f != 0.0f) return false;  // infinite or NaN
  }
  return true;
}

// A dy A^T of `tiles` tiles. rows: four of gradients, null for rows of zeros; pixels outside [begin, end) count as 0.
template <class S, class W, int kChannels>
__attribute__((noinline)) void tile_output_gradients(const float* const* rows, const float* zeros, int begin, int end,
                                                     int tiles, float* out, int64_t point_stride) {
  using Vec = typename S::Vec;
  constexpr int n = W::kPoints;
  for (int t = 0; t < tiles; ++t, out += kChannels) {
    const float* from[kTile][kTile];
    for (int r = 0; r < kTile; ++r) {
      for (int i = 0; i < kTile; ++i) {
        const int pixel = t * kTile + i;
        from[r][i] = rows[r] && pixel >= begin && pixel < end ? rows[r] + int64_t{pixel} * kChannels : zeros;
      }
    }
    for (int c = 0; c < kChannels; c += S::kLanes) {
      Vec half[kTile][n];  // [column][vertical point]
      SRCNN_UNROLL
      for (int i = 0; i < kTile; ++i) {
        Vec dy[kTile];
        SRCNN_UNROLL
        for (int r = 0; r < kTile; ++r) dy[r] = S::load(from[r][i] + c);
        evaluate<S, W>(dy, half[i]);
      }
      SRCNN_UNROLL
      for (int q = 0; q < n; ++q) {
        Vec dy[kTile], points[n];
        SRCNN_UNROLL
        for (int i = 0; i < kTile; ++i) dy[i] = half[i][q];
        evaluate<S, W>(dy, points);
        SRCNN_UNROLL
        for (int p = 0; p < n; ++p) S::store(out + (p * n + q) * point_stride + c, points[p]);
      }
    }
  }
}

// Adds G^T sums G to out: `count` weights side by side, points and taps at their strides.
template <class S, class W>
__attribute__((noinline)) void tile_weight_gradient(const float* sums, int64_t point_stride, int count, float* out,
                                                    int64_t row_stride, int64_t column_stride) {
  using Vec = typename S::Vec;
  constexpr int n = W::kPoints;
  for (int c = 0; c < count; c += S::kLanes) {
    Vec half[W::kR][n];  // [kx][vertical point]
    SRCNN_UNROLL
    for (int q = 0; q < n; ++q) {
      Vec m[n], taps[W::kR];
      SRCNN_UNROLL
      for (int p = 0; p < n; ++p) m[p] = S::load(sums + (p * n + q) * point_stride + c);
      transform_weight_gradient<S, W>(m, taps);
      SRCNN_UNROLL
      for (int kx = 0; kx < W::kR; ++kx) half[kx][q] = taps[kx];
    }
    SRCNN_UNROLL
    for (int kx = 0; kx < W::kR; ++kx) {
      Vec taps[W::kR];
      transform_weight_gradient<S, W>(half[kx], taps);
      SRCNN_UNROLL
      for (int ky = 0; ky < W::kR; ++ky) {
        float* const to = out + ky * row_stride + kx * column_stride + c;
        S::store(to, S::add(S::load(to), taps[ky]));
      }
    }
  }
}

// G g G^T of `count` kernels side by side. taps: [ky][kx][count]; points at their stride.
template <class S, class W>
__attribute__((noinline)) void tile_weights(const float* taps, int64_t count, float* points, int64_t point_stride) {
  using Vec = typename S::Vec;
  constexpr int n = W::kPoints;
  const auto transform = [](const Vec* g, Vec* out) __attribute__((always_inline)) {
    SRCNN_UNROLL
    for (int p = 0; p < n; ++p) {
      out[p] = S::set1(0.0f);
      SRCNN_UNROLL
      for (int k = 0; k < W::kR; ++k) {
        if (W::kWeight.at[p][k] != 0) out[p] = S::fma(S::set1(static_cast<float>(W::kWeight.at[p][k])), g[k], out[p]);
      }
    }
  };
  for (int64_t c = 0; c < count; c += S::kLanes) {
    Vec half[W::kR][n];  // [kx][vertical point]
    SRCNN_UNROLL
    for (int kx = 0; kx < W::kR; ++kx) {
      Vec g[W::kR];
      SRCNN_UNROLL
      for (int ky = 0; ky < W::kR; ++ky) g[ky] = S::load(taps + (ky * W::kR + kx) * count + c);
      transform(g, half[kx]);
    }
    SRCNN_UNROLL
    for (int q = 0; q < n; ++q) {
      Vec g[W::kR], out[n];
      SRCNN_UNROLL
      for (int kx = 0; kx < W::kR; ++kx) g[kx] = half[kx][q];
      transform(g, out);
      SRCNN_UNROLL
      for (int p = 0; p < n; ++p) S::store(points + (p * n + q) * point_stride + c, out[p]);
    }
  }
}

}  // namespace srcnn::cpu
