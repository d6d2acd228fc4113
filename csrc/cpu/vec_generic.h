// Floats by the compiler's vector extension: SSE on x86, NEON on ARM, VSX on POWER, plain code elsewhere.
#pragma once

#include <cstring>

#include "target.h"

namespace srcnn::cpu {

// N of them. The tests take 16, which are AVX-512's blocks on a machine that has none.
template <int N>
struct ExtensionVector {
  typedef float Vec __attribute__((vector_size(N * sizeof(float))));
  static constexpr int kLanes = N;

  static SRCNN_INLINE Vec set1(float a) { return a - Vec{}; }  // of a + 0, -0 would be 0
  static SRCNN_INLINE Vec load(const float* p) {
    Vec a;
    std::memcpy(&a, p, sizeof a);
    return a;
  }
  static SRCNN_INLINE Vec held(Vec a) { return a; }
  static SRCNN_INLINE void store(float* p, Vec a) { std::memcpy(p, &a, sizeof a); }
  static SRCNN_INLINE Vec mul(Vec a, Vec b) { return a * b; }
  static SRCNN_INLINE Vec add(Vec a, Vec b) { return a + b; }
  static SRCNN_INLINE Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
  static SRCNN_INLINE Vec relu(Vec a) { return a < Vec{} ? Vec{} : a; }  // NaN < 0 is false: NaN stays, as in torch.relu
  // b where a is not <= 0, that is positive or NaN; 0 elsewhere.
  static SRCNN_INLINE Vec pass_positive(Vec a, Vec b) { return a <= Vec{} ? Vec{} : b; }
  static SRCNN_INLINE void store_first(float* p, Vec a, int n) { std::memcpy(p, &a, static_cast<size_t>(n) * sizeof(float)); }
};

struct Generic : ExtensionVector<4> {
  static constexpr int kVectors = 2;  // 4 x 2 accumulators, 2 inputs, 1 weight, 1 product: 12 of SSE's 16
  static constexpr int kChannelBlock = 4;
  static constexpr int kConv3Vectors = 2;

  static constexpr int kPixelVectors = 2;  // pixels.h: 4 x 2 sums, 2 weights, 1 input, 1 product
  static constexpr int kPixelSums = 8;
  static constexpr int kGradientVectors = 2;  // 4 x 2 sums, 2 gradients, 1 input, 1 product
  static constexpr int kGradientTaps = 4;
  static constexpr int kSpreadVectors = 1;  // input_gradient.h: 9 sums, 1 gradient, 1 weight, 1 product
};

}  // namespace srcnn::cpu
