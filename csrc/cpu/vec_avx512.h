// 16 floats; AVX-512F. Included between SRCNN_TARGET_BEGIN and _END.
#pragma once

namespace srcnn::cpu {

struct Avx512 {
  using Vec = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kVectors = 3;  // 8 x 3 accumulators, 3 inputs, 1 weight: 28 of 32 registers
  static constexpr int kChannelBlock = 8;
  static constexpr int kConv3Vectors = 4;  // 4 rows x 4 accumulators, 5 weights, 1 input: 22

  static constexpr int kPixelVectors = 4;  // pixels.h: 24 sums, at most 4 weights, 1 input
  static constexpr int kPixelSums = 24;
  static constexpr int kGradientVectors = 2;  // 12 x 2 sums, 2 gradients, 1 input
  static constexpr int kGradientTaps = 12;
  static constexpr int kSpreadVectors = 2;  // input_gradient.h: 9 x 2 sums, 2 gradients, 1 weight

  static SRCNN_INLINE Vec set1(float a) { return _mm512_set1_ps(a); }
  static SRCNN_INLINE Vec load(const float* p) { return _mm512_loadu_ps(p); }
  // A value that stays in its register: g++ would rather load it again for each of two multiply-adds.
  static SRCNN_INLINE Vec held(Vec a) {
    asm("" : "+v"(a));
    return a;
  }
  static SRCNN_INLINE void store(float* p, Vec a) { _mm512_storeu_ps(p, a); }
  static SRCNN_INLINE Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
  static SRCNN_INLINE Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
  static SRCNN_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
  // max(a, 0); vmaxps returns its second operand when either is NaN, so NaN stays NaN, as in torch.relu.
  // (The masked form with a full mask is the same instruction, without GCC 12's false alarm about _mm512_undefined_ps.)
  static SRCNN_INLINE Vec relu(Vec a) { return _mm512_maskz_max_ps(0xffff, _mm512_setzero_ps(), a); }
  // b where a is not <= 0, that is positive or NaN; 0 elsewhere.
  static SRCNN_INLINE Vec pass_positive(Vec a, Vec b) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NLE_UQ), b);
  }
  static SRCNN_INLINE void store_first(float* p, Vec a, int n) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), a);
  }
};

}  // namespace srcnn::cpu
