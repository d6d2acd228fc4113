// 8 floats; AVX2 and FMA. Included between SRCNN_TARGET_BEGIN and _END.
#pragma once

namespace srcnn::cpu {

struct Avx2 {
  using Vec = __m256;
  static constexpr int kLanes = 8;
  static constexpr int kVectors = 3;  // 4 x 3 accumulators, 3 inputs, 1 weight: all 16 registers
  static constexpr int kChannelBlock = 4;
  static constexpr int kConv3Vectors = 2;  // 4 rows x 2 accumulators, 5 weights, 1 input: 14

  static constexpr int kPixelVectors = 2;  // pixels.h: 6 x 2 sums, 2 weights, 1 input
  static constexpr int kPixelSums = 12;
  static constexpr int kGradientVectors = 2;  // 6 x 2 sums, 2 gradients, 1 input
  static constexpr int kGradientTaps = 6;
  static constexpr int kSpreadVectors = 1;  // input_gradient.h: 9 sums, 1 gradient, 1 weight

  static SRCNN_INLINE Vec set1(float a) { return _mm256_set1_ps(a); }
  static SRCNN_INLINE Vec load(const float* p) { return _mm256_loadu_ps(p); }
  // A value that stays in its register: g++ would rather load it again for each of two multiply-adds.
  static SRCNN_INLINE Vec held(Vec a) {
    asm("" : "+x"(a));
    return a;
  }
  static SRCNN_INLINE void store(float* p, Vec a) { _mm256_storeu_ps(p, a); }
  static SRCNN_INLINE Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
  static SRCNN_INLINE Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
  static SRCNN_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
  // max(a, 0) that keeps NaN, as in torch.relu: vmaxps returns its second operand when either is NaN.
  static SRCNN_INLINE Vec relu(Vec a) { return _mm256_max_ps(_mm256_setzero_ps(), a); }
  // b where a is not <= 0, that is positive or NaN; 0 elsewhere.
  static SRCNN_INLINE Vec pass_positive(Vec a, Vec b) {
    return _mm256_and_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NLE_UQ), b);
  }
  static SRCNN_INLINE void store_first(float* p, Vec a, int n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane), a);
  }
};

}  // namespace srcnn::cpu
