// The element types of images and weights: float, or 16 bits that are converted on the way in and out. Sums are always float.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "../srcnn.h"
#include "platform.cuh"

namespace srcnn::cuda {

__device__ __forceinline__ float to_float(float a) { return a; }
__device__ __forceinline__ float to_float(Half a) { return __half2float(__ushort_as_half(a.bits)); }
__device__ __forceinline__ float to_float(BFloat16 a) { return __bfloat162float(__ushort_as_bfloat16(a.bits)); }

__device__ __forceinline__ void from_float(float a, float& to) { to = a; }
__device__ __forceinline__ void from_float(float a, Half& to) { to.bits = __half_as_ushort(__float2half_rn(a)); }
__device__ __forceinline__ void from_float(float a, BFloat16& to) { to.bits = __bfloat16_as_ushort(__float2bfloat16_rn(a)); }

// Two numbers as one register of an mma operand, the first in the lower half.
template <class T>
__device__ __forceinline__ uint32_t pack(float low, float high) {
  T a, b;
  from_float(low, a);
  from_float(high, b);
  return static_cast<uint32_t>(a.bits) | static_cast<uint32_t>(b.bits) << 16;
}

}  // namespace srcnn::cuda
