// 16 floats by the compiler's vector extension: AVX-512's lanes, and so its blocks, on a machine that has none.
#pragma once

#include <cstring>

#include "cpu/target.h"

namespace samples {

struct Sixteen {
  typedef float Vec __attribute__((vector_size(64)));
  static constexpr int kLanes = 16;

  static SRCNN_INLINE Vec set1(float a) { return Vec{} + a; }
  static SRCNN_INLINE Vec load(const float* p) {
    Vec a;
    std::memcpy(&a, p, sizeof a);
    return a;
  }
  static SRCNN_INLINE void store(float* p, Vec a) { std::memcpy(p, &a, sizeof a); }
  static SRCNN_INLINE Vec mul(Vec a, Vec b) { return a * b; }
  static SRCNN_INLINE Vec add(Vec a, Vec b) { return a + b; }
  static SRCNN_INLINE Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
  static SRCNN_INLINE Vec relu(Vec a) { return a < Vec{} ? Vec{} : a; }
};

}  // namespace samples
