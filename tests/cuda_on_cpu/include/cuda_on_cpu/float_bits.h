// float <-> the bits of binary16, bfloat16 and tf32.
#pragma once

#include <bit>
#include <cstdint>

namespace cuda_on_cpu {

inline float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16, magnitude = static_cast<uint32_t>(bits & 0x7fff) << 13;
  if (magnitude >= 0x0f800000u) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x007fffffu));  // Inf, NaN
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f));
}

// To nearest, ties to even; NaN becomes 0x7fff, as the hardware's conversion makes it.
inline uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0x7fff;
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00);  // 65520 and above
  if (magnitude < 0x38800000u) {  // subnormal: 0.5's last place is that of the result
    const float rounded = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(rounded) - 0x3f000000u));
  }
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xfff + (magnitude >> 13 & 1)) >> 13));
}

inline float bfloat16_to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// To nearest, ties to even; NaN becomes 0x7fff.
inline uint16_t float_to_bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// cvt.rna.tf32.f32: to nearest, ties away from zero.
inline uint32_t float_to_tf32(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return ((bits & 0x7fffffffu) < 0x7f800000u ? bits + 0x1000 : bits) & 0xffffe000u;
}

// What mma makes of a 32-bit register: the low 13 bits are not looked at.
inline float tf32_to_float(uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000u); }

}  // namespace cuda_on_cpu
