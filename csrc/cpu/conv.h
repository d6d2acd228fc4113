// The inner loops: direct convolution of planar rows, vectors along x. A block of output channels times a few vectors of
// neighbouring pixels stays in registers while all taps of all input channels are added up; weights are broadcast. Nothing
// here knows of borders: rows outside the image and columns outside the strip are ordinary memory.
//
// Per step of one tap and one input channel: `vectors` loads, `block` broadcasts, block * vectors multiply-adds. With AVX-512
// (8 x 3) that is 11 loads for 24 multiply-adds, below the two loads per two multiply-adds a core can start in a cycle.
#pragma once

#include <cstdint>

#include "../srcnn.h"
#include "target.h"

namespace srcnn::cpu {

// relu(conv(rows) + bias) for one block of output channels and V vectors of pixels.
// rows[ky]: first tap of input channel 0; weight: [in][ky][kx][block].
template <class S, int V, int F>
SRCNN_INLINE void conv_relu_block(const float* const* rows, int64_t row_stride, int in_channels, const float* weight,
                                  const float* bias, float* out, int64_t out_stride) {
  constexpr int kBlock = S::kChannelBlock;
  using Vec = typename S::Vec;
  Vec sum[kBlock][V];
  SRCNN_UNROLL
  for (int c = 0; c < kBlock; ++c) {
    SRCNN_UNROLL
    for (int v = 0; v < V; ++v) sum[c][v] = S::set1(bias[c]);
  }
  for (int i = 0; i < in_channels; ++i) {
    for (int ky = 0; ky < F; ++ky) {
      const float* row = rows[ky] + i * row_stride;
      for (int kx = 0; kx < F; ++kx, weight += kBlock) {
        Vec x[V];
        SRCNN_UNROLL
        for (int v = 0; v < V; ++v) x[v] = S::load(row + kx + v * S::kLanes);
        SRCNN_UNROLL
        for (int c = 0; c < kBlock; ++c) {
          const Vec w = S::set1(weight[c]);
          SRCNN_UNROLL
          for (int v = 0; v < V; ++v) sum[c][v] = S::fma(w, x[v], sum[c][v]);
        }
      }
    }
  }
  SRCNN_UNROLL
  for (int c = 0; c < kBlock; ++c) {
    SRCNN_UNROLL
    for (int v = 0; v < V; ++v) S::store(out + c * out_stride + v * S::kLanes, S::relu(sum[c][v]));
  }
}

// All output channels for V vectors of pixels.
template <class S, int V, int F>
__attribute__((noinline)) void conv_relu_columns(const float* const* rows, int64_t row_stride, int in_channels,
                                                 int out_channels, const float* weight, const float* bias, float* out,
                                                 int64_t out_stride) {
  for (int c = 0; c < out_channels; c += S::kChannelBlock) {
    conv_relu_block<S, V, F>(rows, row_stride, in_channels, weight + static_cast<int64_t>(c) * in_channels * F * F, bias + c,
                             out + c * out_stride, out_stride);
  }
}

// The same for V known only at run time, 1 <= v <= S::kVectors.
template <class S, int F>
SRCNN_INLINE void conv_relu_columns(int v, const float* const* rows, int64_t row_stride, int in_channels, int out_channels,
                                    const float* weight, const float* bias, float* out, int64_t out_stride) {
  if constexpr (S::kVectors >= 3) {
    if (v == 3) {
      return conv_relu_columns<S, 3, F>(rows, row_stride, in_channels, out_channels, weight, bias, out, out_stride);
    }
  }
  if (v == 2) {
    return conv_relu_columns<S, 2, F>(rows, row_stride, in_channels, out_channels, weight, bias, out, out_stride);
  }
  conv_relu_columns<S, 1, F>(rows, row_stride, in_channels, out_channels, weight, bias, out, out_stride);
}

// Vectors in the next block of columns when `left` are to do: never a lone vector at the end, which would leave half of the
// multiply-adds waiting for one another.
template <class S>
SRCNN_INLINE int next_vectors(int left) {
  if (S::kVectors > 2 && left == S::kVectors + 1) return S::kVectors - 1;
  return left < S::kVectors ? left : S::kVectors;
}

inline constexpr int kConv3Rows = 4;  // output rows made together: each input vector serves up to 4
inline constexpr int kConv3Inputs = kConv3Rows + kKernel3 - 1;

// conv3 has one output channel at a time, so the block in registers is 4 rows x V vectors instead of channels x vectors.
// rows[r]: first tap of channel 0 of input row r of 8; weight: [in][kx][ky]; sums go to out[row], the first `rows_wanted` of
// them and `columns_wanted` columns.
template <class S, int V>
__attribute__((noinline)) void conv3_columns(const float* const* rows, int64_t row_stride, const float* weight, float bias,
                                             float* const* out, int rows_wanted, int64_t columns_wanted) {
  using Vec = typename S::Vec;
  Vec sum[kConv3Rows][V];
  SRCNN_UNROLL
  for (int o = 0; o < kConv3Rows; ++o) {
    SRCNN_UNROLL
    for (int v = 0; v < V; ++v) sum[o][v] = S::set1(bias);
  }
  for (int i = 0; i < kWidth2; ++i) {
    for (int kx = 0; kx < kKernel3; ++kx, weight += kKernel3) {
      Vec w[kKernel3];
      SRCNN_UNROLL
      for (int ky = 0; ky < kKernel3; ++ky) w[ky] = S::set1(weight[ky]);
      SRCNN_UNROLL
      for (int r = 0; r < kConv3Inputs; ++r) {
        SRCNN_UNROLL
        for (int v = 0; v < V; ++v) {
          const Vec x = S::load(rows[r] + i * row_stride + kx + v * S::kLanes);
          SRCNN_UNROLL
          for (int o = 0; o < kConv3Rows; ++o) {
            if (r - o >= 0 && r - o < kKernel3) sum[o][v] = S::fma(w[r - o], x, sum[o][v]);
          }
        }
      }
    }
  }
  SRCNN_UNROLL
  for (int o = 0; o < kConv3Rows; ++o) {
    for (int v = 0; v < V; ++v) {
      const int64_t left = o < rows_wanted ? columns_wanted - v * S::kLanes : 0;
      if (left >= S::kLanes) {
        S::store(out[o] + v * S::kLanes, sum[o][v]);
      } else if (left > 0) {
        S::store_first(out[o] + v * S::kLanes, sum[o][v], static_cast<int>(left));
      }
    }
  }
}

}  // namespace srcnn::cpu
