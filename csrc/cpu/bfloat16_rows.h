// Rows of bfloat16 images: widened to float as they are read, rounded as they are written. Everything between is float, since
// the Winograd kernels in float beat what products of bfloat16 could reach (docs/cpu_kernels.md).
#pragma once

#include <cstdint>
#include <cstring>

#include "../srcnn.h"
#include "target.h"

namespace srcnn::cpu {

// The images of a forward in bfloat16; its ForwardProblem then has their shapes and no data of its own.
struct BFloat16Images {
  ImageView<const BFloat16> input;
  ImageView<BFloat16> output;
};

// (Templates only so that each instruction set has its own: see target.h.)
template <class S>
SRCNN_INLINE float widened(BFloat16 a) {
  const uint32_t bits = static_cast<uint32_t>(a.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class S>
void widen_row(const BFloat16* from, int64_t stride, int64_t count, float* to) {
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) to[i] = widened<S>(from[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = widened<S>(from[i * stride]);
  }
}

// To the nearest, ties to even; a NaN stays one (its payload may lie in the bits that are lost). On integers throughout, so
// that compilers use vectors.
template <class S>
void round_row(const float* from, int64_t count, BFloat16* to) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, from + i, sizeof bits);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const uint32_t quiet = bits >> 16 | 0x40u;
    to[i].bits = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
  }
}

}  // namespace srcnn::cpu
