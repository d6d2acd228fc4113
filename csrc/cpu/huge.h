// What Winograd's tiles cannot take: NaN, infinity, and values so large that sums of transformed values could overflow where
// those of the direct convolution do not. Compared as integers: a comparison of floats that may be NaN keeps compilers from
// using vectors.
#pragma once

#include <bit>
#include <cstdint>

#include "../srcnn.h"
#include "target.h"

namespace srcnn::cpu {

inline constexpr float kHugeInput = 1e15f;

// Inlined everywhere: see target.h.
SRCNN_INLINE uint32_t float_bits(float value) { return std::bit_cast<uint32_t>(value); }
SRCNN_INLINE uint32_t float_bits(BFloat16 value) { return static_cast<uint32_t>(value.bits) << 16; }

template <class T>
SRCNN_INLINE bool is_huge(T value) {
  return (float_bits(value) & 0x7fffffffu) > std::bit_cast<uint32_t>(kHugeInput);
}

}  // namespace srcnn::cpu
