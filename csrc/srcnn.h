// The problem as plain structs: shapes, pointers, strides, enums. No torch, no CUDA, no SIMD; every layer below ops.cpp
// speaks in these terms.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define SRCNN_HOST_DEVICE __host__ __device__
#else
#define SRCNN_HOST_DEVICE
#endif

namespace srcnn {

// What a pixel outside the image is worth, at the input of every convolution.
enum class Padding { kZeros, kReplicate };

// The three meanings of "bicubic" in this field; see bicubic.h.
enum class Bicubic { kMatlab, kPil, kTorch };

// A batch of planar images of any strides (in elements), so that slices, transposes and channels_last are read in place.
template <class T>
struct ImageView {
  T* data = nullptr;
  int64_t batch = 0, channels = 0, height = 0, width = 0;
  int64_t stride_n = 0, stride_c = 0, stride_h = 0, stride_w = 0;

  SRCNN_HOST_DEVICE T* plane(int64_t n, int64_t c) const { return data + n * stride_n + c * stride_c; }
};

// 16-bit floats as they lie in memory; the CUDA kernels know how to convert them.
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// A convolution as nn.Conv2d stores it, contiguous.
template <class T>
struct ConvWeightsOf {
  const T* weight = nullptr;  // [out_channels, in_channels, kernel_size, kernel_size]
  const T* bias = nullptr;    // [out_channels]
  int out_channels = 0, in_channels = 0, kernel_size = 0;
};

// bicubic(scale) -> conv1 -> ReLU -> conv2 -> ReLU -> conv3 over a batch of images.
template <class T>
struct ForwardProblemOf {
  ImageView<const T> input;  // [N, c, h, w]
  ImageView<T> output;       // [N, c, scale * h, scale * w], stride_w 1
  ConvWeightsOf<T> conv1, conv2, conv3;
  int64_t scale = 1;  // 1: the input is already enlarged
  Bicubic bicubic = Bicubic::kMatlab;
  Padding padding = Padding::kZeros;
  bool allow_tf32 = false;  // float on a GPU: products may be rounded to TF32, as PyTorch's own convolutions' may
};

using ConvWeights = ConvWeightsOf<float>;
using ForwardProblem = ForwardProblemOf<float>;

// Where the gradients of a convolution go, contiguous as the weights are; null where nobody asks for them.
template <class T>
struct ConvGradientsOf {
  T* weight = nullptr;  // [out_channels, in_channels, kernel_size, kernel_size]
  T* bias = nullptr;    // [out_channels]
};

// The gradients of a forward, from that of its output. Only what has a place to go is computed.
template <class T>
struct BackwardProblemOf {
  ImageView<const T> grad_output;  // [N, c, scale * h, scale * w]
  ImageView<const T> input;        // [N, c, h, w]
  ConvWeightsOf<T> conv1, conv2, conv3;
  int64_t scale = 1;
  Bicubic bicubic = Bicubic::kMatlab;
  Padding padding = Padding::kZeros;
  ImageView<T> grad_input;  // [N, c, h, w], stride_w 1; data is null where it is not wanted
  ConvGradientsOf<T> grad1, grad2, grad3;
};

using ConvGradients = ConvGradientsOf<float>;
using BackwardProblem = BackwardProblemOf<float>;

// bicubic resampling of a batch of images; the scales are output / input unless the caller asked for others.
template <class T>
struct ResizeProblemOf {
  ImageView<const T> input;  // [N, C, h, w]
  ImageView<T> output;       // [N, C, H, W], stride_w 1
  double scale_height = 1, scale_width = 1;
  Bicubic bicubic = Bicubic::kMatlab;
};

using ResizeProblem = ResizeProblemOf<float>;

// The networks that run fused: the papers' n1 = 64, n2 = 32, f1 = 9, f3 = 5 with f2 = 1, 3 or 5, on luma or RGB.
inline constexpr int kKernel1 = 9;
inline constexpr int kKernel3 = 5;
inline constexpr int kWidth1 = 64;
inline constexpr int kWidth2 = 32;

}  // namespace srcnn
