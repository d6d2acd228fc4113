// A kernel of 5 along a row with fewer multiplications (Toom-Cook; Winograd's F(4, 5)): four outputs from eight inputs by eight
// products instead of twenty, in either direction and for the gradient of the weights alike:
//
//   output              y  = A^T [(G g) * (B^T d)]        d: 8 inputs, g: 5 weights of the kernel's row
//   gradient of weights dg = G^T [(A dy) * (B^T d)]       dy: gradients of 4 outputs
//
// at the points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity. Between the transforms, row and channels are summed as ever: a point
// of all tiles of a row is a row of "pixels" to pixels.h, and the kernel there is 5 rows of one tap. Rounding errors are about
// twice those of the direct sum.
#pragma once

#include <cstdint>

#include "target.h"

namespace srcnn::cpu {

inline constexpr int kTile = 4;      // outputs of a tile
inline constexpr int kTileTaps = 5;  // of the kernel
inline constexpr int kPoints = 8;    // and inputs of a tile
static_assert(kPoints == kTile + kTileTaps - 1);

inline constexpr float kTileInput[kPoints][kPoints] = {
    // B^T
    {1.0f, 0.0f, -5.25f, 0.0f, 5.25f, 0.0f, -1.0f, 0.0f},  {0.0f, 1.0f, 1.0f, -4.25f, -4.25f, 1.0f, 1.0f, 0.0f},
    {0.0f, -1.0f, 1.0f, 4.25f, -4.25f, -1.0f, 1.0f, 0.0f}, {0.0f, 0.5f, 0.25f, -2.5f, -1.25f, 2.0f, 1.0f, 0.0f},
    {0.0f, -0.5f, 0.25f, 2.5f, -1.25f, -2.0f, 1.0f, 0.0f}, {0.0f, 2.0f, 4.0f, -2.5f, -5.0f, 0.5f, 1.0f, 0.0f},
    {0.0f, -2.0f, 4.0f, 2.5f, -5.0f, -0.5f, 1.0f, 0.0f},   {0.0f, -1.0f, 0.0f, 5.25f, 0.0f, -5.25f, 0.0f, 1.0f},
};

inline constexpr float kTileOutput[kPoints][kTile] = {
    // A
    {1.0f, 0.0f, 0.0f, 0.0f},   {1.0f, 1.0f, 1.0f, 1.0f},    {1.0f, -1.0f, 1.0f, -1.0f},    {1.0f, 2.0f, 4.0f, 8.0f},
    {1.0f, -2.0f, 4.0f, -8.0f}, {1.0f, 0.5f, 0.25f, 0.125f}, {1.0f, -0.5f, 0.25f, -0.125f}, {0.0f, 0.0f, 0.0f, 1.0f},
};

// G: each point's powers, scaled to go with B; the last is infinity.
inline constexpr double kTileWeight[kPoints][kTileTaps] = {
    {1.0, 0.0, 0.0, 0.0, 0.0},
    {-2.0 / 9, -2.0 / 9, -2.0 / 9, -2.0 / 9, -2.0 / 9},
    {-2.0 / 9, 2.0 / 9, -2.0 / 9, 2.0 / 9, -2.0 / 9},
    {1.0 / 90, 2.0 / 90, 4.0 / 90, 8.0 / 90, 16.0 / 90},
    {1.0 / 90, -2.0 / 90, 4.0 / 90, -8.0 / 90, 16.0 / 90},
    {32.0 / 45, 16.0 / 45, 8.0 / 45, 4.0 / 45, 2.0 / 45},
    {32.0 / 45, -16.0 / 45, 8.0 / 45, -4.0 / 45, 2.0 / 45},
    {0.0, 0.0, 0.0, 0.0, 1.0},
};

// Sum of `column` of a matrix times x, zeros left out.
template <class S, int kRows, int kColumns>
SRCNN_INLINE typename S::Vec weighted_sum_of_column(const float (&matrix)[kRows][kColumns], int column,
                                                    const typename S::Vec (&x)[kRows]) {
  typename S::Vec sum = S::set1(0.0f);
  SRCNN_UNROLL
  for (int i = 0; i < kRows; ++i) {
    if (matrix[i][column] != 0.0f) sum = S::fma(S::set1(matrix[i][column]), x[i], sum);
  }
  return sum;
}

template <class S, int kRows, int kColumns>
SRCNN_INLINE typename S::Vec weighted_sum_of_row(const float (&matrix)[kRows][kColumns], int row,
                                                 const typename S::Vec (&x)[kColumns]) {
  typename S::Vec sum = S::set1(0.0f);
  SRCNN_UNROLL
  for (int i = 0; i < kColumns; ++i) {
    if (matrix[row][i] != 0.0f) sum = S::fma(S::set1(matrix[row][i]), x[i], sum);
  }
  return sum;
}

// B^T d: row: [pixel][kChannels], from the first tile's first input on, 4 * tiles + 4 pixels; out: [point][tile][kChannels],
// points point_stride apart.
template <class S, int kChannels>
__attribute__((noinline)) void transform_inputs(const float* row, int tiles, float* out, int64_t point_stride) {
  using Vec = typename S::Vec;
  for (int t = 0; t < tiles; ++t, row += kTile * kChannels, out += kChannels) {
    for (int c = 0; c < kChannels; c += S::kLanes) {
      Vec d[kPoints];
      SRCNN_UNROLL
      for (int i = 0; i < kPoints; ++i) d[i] = S::load(row + i * kChannels + c);
      SRCNN_UNROLL
      for (int p = 0; p < kPoints; ++p) S::store(out + p * point_stride + c, weighted_sum_of_row<S>(kTileInput, p, d));
    }
  }
}

// A dy: row: [pixel][kChannels], from the first tile's first output on; pixels outside [begin, end) count as 0.
template <class S, int kChannels>
__attribute__((noinline)) void transform_output_gradients(const float* row, int tiles, int begin, int end, float* out,
                                                          int64_t point_stride) {
  using Vec = typename S::Vec;
  for (int t = 0; t < tiles; ++t, out += kChannels) {
    for (int c = 0; c < kChannels; c += S::kLanes) {
      Vec dy[kTile];
      SRCNN_UNROLL
      for (int i = 0; i < kTile; ++i) {
        const int pixel = t * kTile + i;
        dy[i] = pixel >= begin && pixel < end ? S::load(row + static_cast<int64_t>(pixel) * kChannels + c) : S::set1(0.0f);
      }
      SRCNN_UNROLL
      for (int p = 0; p < kPoints; ++p) S::store(out + p * point_stride + c, weighted_sum_of_row<S>(kTileOutput, p, dy));
    }
  }
}

// A^T of the products, `pixels` outputs; with a bias they are features: bias and ReLU. Returns whether all of them are finite:
// a tile smears one NaN or infinity over its four outputs.
template <class S, int kChannels>
__attribute__((noinline)) bool transform_outputs(const float* products, int64_t point_stride, const float* bias, int pixels,
                                                 float* out) {
  using Vec = typename S::Vec;
  Vec zeros = S::set1(0.0f);  // until 0 times something is not
  for (int x = 0; x < pixels; x += kTile, products += kChannels) {
    for (int c = 0; c < kChannels; c += S::kLanes) {
      Vec m[kPoints];
      SRCNN_UNROLL
      for (int p = 0; p < kPoints; ++p) m[p] = S::load(products + p * point_stride + c);
      SRCNN_UNROLL
      for (int i = 0; i < kTile; ++i) {
        Vec y = weighted_sum_of_column<S>(kTileOutput, i, m);
        zeros = S::fma(y, S::set1(0.0f), zeros);
        if (bias) y = S::relu(S::add(y, S::load(bias + c)));
        if (x + i < pixels) S::store(out + static_cast<int64_t>(x + i) * kChannels + c, y);
      }
    }
  }
  float lanes[S::kLanes];
  S::store(lanes, zeros);
  for (int i = 0; i < S::kLanes; ++i) {
    if (lanes[i] != 0.0f) return false;
  }
  return true;
}

}  // namespace srcnn::cpu
