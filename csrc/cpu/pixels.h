// The inner loops of the backward. Features and their gradients lie pixel after pixel, the channels of a pixel side by side,
// and vectors run along the channels: rows of any length leave no vector half empty, and a sum over pixels (a gradient of
// weights) needs no sum over the lanes of a vector. A pixel's neighbourhood in one row of its input is then one piece of
// memory, so every layer is rows x taps numbers times a vector of weights each:
//
//   convolution   out[pixel][channel]         += in[row][pixel * stride + tap] * weight[row][tap][channel]
//   its gradient  grad_weight[row][tap][channel] += in[row][pixel * stride + tap] * grad[pixel][channel]
//
// with stride = the input's channels and taps = kernel_size * channels; an input kept as planes (the image, the gradient of the
// output) is channels * kernel_size rows of kernel_size taps, with stride 1. A gradient of an input is a convolution, too, with
// the weights turned around. As in conv.h nothing knows of borders.
#pragma once

#include <cstdint>

#include "target.h"

namespace srcnn::cpu {

// Calls call(Number<n>) for an n known at run time only, 1 <= n <= kMost.
template <int n>
struct Number {
  static constexpr int kValue = n;
};
template <int kMost, class Call>
SRCNN_INLINE void with_number(int n, const Call& call) {
  if constexpr (kMost > 1) {
    if (n < kMost) return with_number<kMost - 1>(n, call);
  }
  call(Number<kMost>{});
}

// Cuts n into pieces of at most kMost, as even as they can be, so that no small one waits for its own multiply-adds:
// piece(begin, length).
template <int kMost, class Piece>
SRCNN_INLINE void for_each_piece(int n, const Piece& piece) {
  for (int left = (n + kMost - 1) / kMost, at = 0; left > 0; --left) {
    const int length = (n - at + left - 1) / left;
    piece(at, length);
    at += length;
  }
}

// V vectors of channels of P pixels. weight: [row][tap][V vectors]; bias is null for a gradient, which has neither bias nor
// ReLU. Per tap: V loads, P broadcasts, V * P multiply-adds.
template <class S, int V, int P, int kStride>
__attribute__((noinline)) void convolve_block(const float* const* rows, int64_t offset, int row_count, int taps,
                                              const float* weight, const float* bias, float* out, int64_t out_stride) {
  using Vec = typename S::Vec;
  Vec sum[P][V];
  SRCNN_UNROLL
  for (int v = 0; v < V; ++v) {
    const Vec start = bias ? S::load(bias + v * S::kLanes) : S::set1(0.0f);
    SRCNN_UNROLL
    for (int p = 0; p < P; ++p) sum[p][v] = start;
  }
  for (int r = 0; r < row_count; ++r) {
    const float* in = rows[r] + offset;
    for (const float* const end = in + taps; in < end; ++in, weight += V * S::kLanes) {
      Vec w[V];
      SRCNN_UNROLL
      for (int v = 0; v < V; ++v) w[v] = S::load(weight + v * S::kLanes);
      SRCNN_UNROLL
      for (int p = 0; p < P; ++p) {
        const Vec x = S::set1(in[p * kStride]);
        SRCNN_UNROLL
        for (int v = 0; v < V; ++v) sum[p][v] = S::fma(x, w[v], sum[p][v]);
      }
    }
  }
  SRCNN_UNROLL
  for (int p = 0; p < P; ++p) {
    SRCNN_UNROLL
    for (int v = 0; v < V; ++v) {
      S::store(out + p * out_stride + v * S::kLanes, bias ? S::relu(sum[p][v]) : sum[p][v]);
    }
  }
}

// All kChannels channels of `pixels` pixels; rows[r] is the first tap of the first pixel. weight: [channel / block][row][tap]
// [block], the block being kBlock<S, kChannels> channels.
template <class S, int kChannels>
inline constexpr int kPixelVectors = kChannels / S::kLanes < S::kPixelVectors ? kChannels / S::kLanes : S::kPixelVectors;
template <class S, int kChannels>
inline constexpr int kPixelBlock = kPixelVectors<S, kChannels> * S::kLanes;

template <class S, int kChannels, int kStride>
void convolve_pixels(const float* const* rows, int row_count, int taps, const float* weight, const float* bias, int pixels,
                     float* out) {
  constexpr int V = kPixelVectors<S, kChannels>, kBlock = kPixelBlock<S, kChannels>;
  const int64_t block_size = static_cast<int64_t>(row_count) * taps * kBlock;
  for_each_piece<S::kPixelSums / V>(pixels, [&](int pixel, int count) {
    with_number<S::kPixelSums / V>(count, [&](auto p) {
      for (int c = 0; c < kChannels; c += kBlock) {
        convolve_block<S, V, decltype(p)::kValue, kStride>(rows, static_cast<int64_t>(pixel) * kStride, row_count, taps,
                                                           weight + c / kBlock * block_size, bias ? bias + c : nullptr,
                                                           out + static_cast<int64_t>(pixel) * kChannels + c, kChannels);
      }
    });
  });
}

// V vectors of channels of K neighbouring taps, added up over `pixels` pixels. Per pixel: V loads, K broadcasts, V * K
// multiply-adds.
template <class S, int V, int K, int kTapStride = 1>
__attribute__((noinline)) void gradient_block(const float* in, int64_t in_stride, const float* grad, int64_t grad_stride,
                                              int pixels, float* out, int64_t out_stride) {
  using Vec = typename S::Vec;
  Vec sum[K][V];
  SRCNN_UNROLL
  for (int k = 0; k < K; ++k) {
    SRCNN_UNROLL
    for (int v = 0; v < V; ++v) sum[k][v] = S::set1(0.0f);
  }
  for (int p = 0; p < pixels; ++p, in += in_stride, grad += grad_stride) {
    Vec g[V];
    SRCNN_UNROLL
    for (int v = 0; v < V; ++v) g[v] = S::load(grad + v * S::kLanes);
    SRCNN_UNROLL
    for (int k = 0; k < K; ++k) {
      const Vec x = S::set1(in[k * kTapStride]);
      SRCNN_UNROLL
      for (int v = 0; v < V; ++v) sum[k][v] = S::fma(x, g[v], sum[k][v]);
    }
  }
  SRCNN_UNROLL
  for (int k = 0; k < K; ++k) {
    SRCNN_UNROLL
    for (int v = 0; v < V; ++v) {
      float* const to = out + k * out_stride + v * S::kLanes;
      S::store(to, S::add(S::load(to), sum[k][v]));
    }
  }
}

// Pixels whose gradients and inputs stay in L1 while all taps pass over them.
inline constexpr int kGradientPixels = 64;

// Adds the gradient of all weights over `pixels` pixels to out, [row][tap][kChannels]; grad: [pixel][kChannels].
template <class S, int kChannels>
void add_weight_gradient(const float* const* rows, int row_count, int taps, int64_t stride, const float* grad, int pixels,
                         float* out) {
  constexpr int V = S::kGradientVectors, kMostTaps = S::kGradientTaps;
  for (int pixel = 0; pixel < pixels; pixel += kGradientPixels) {
    const int count = pixels - pixel < kGradientPixels ? pixels - pixel : kGradientPixels;
    const float* const g = grad + static_cast<int64_t>(pixel) * kChannels;
    for (int r = 0; r < row_count; ++r) {
      const float* const in = rows[r] + pixel * stride;
      float* const row_out = out + static_cast<int64_t>(r) * taps * kChannels;
      for_each_piece<kMostTaps>(taps, [&](int tap, int some) {
        with_number<kMostTaps>(some, [&](auto k) {
          for (int c = 0; c < kChannels; c += V * S::kLanes) {
            gradient_block<S, V, decltype(k)::kValue>(in + tap, stride, g + c, kChannels, count,
                                                      row_out + static_cast<int64_t>(tap) * kChannels + c, kChannels);
          }
        });
      });
    }
  }
}

// What the ReLU lets through: grad where the feature is not 0 (where it is NaN, too, as torch.relu's derivative does). Adds the
// gradients of pixels [sum_begin, sum_end) to bias, unless that is null.
template <class S, int kChannels>
void relu_backward(float* grad, const float* feature, int pixels, int sum_begin, int sum_end, float* bias) {
  using Vec = typename S::Vec;
  for (int c = 0; c < kChannels; c += S::kLanes) {
    Vec sum = S::set1(0.0f);
    for (int p = 0; p < pixels; ++p) {
      float* const at = grad + static_cast<int64_t>(p) * kChannels + c;
      const Vec g = S::pass_positive(S::load(feature + static_cast<int64_t>(p) * kChannels + c), S::load(at));
      S::store(at, g);
      if (p >= sum_begin && p < sum_end) sum = S::add(sum, g);
    }
    if (bias) S::store(bias + c, S::add(S::load(bias + c), sum));
  }
}

}  // namespace srcnn::cpu
