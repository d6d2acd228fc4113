// 16-bit numbers as they lie in memory, to and from float; and float itself, for templates over the three.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "srcnn.h"

namespace samples {

inline float to_float(float a) { return a; }
inline float to_float(srcnn::Half a) { return __half2float(__ushort_as_half(a.bits)); }
inline float to_float(srcnn::BFloat16 a) { return __bfloat162float(__ushort_as_bfloat16(a.bits)); }

inline void round_to(float a, float& to) { to = a; }
inline void round_to(float a, srcnn::Half& to) { to.bits = __half_as_ushort(__float2half_rn(a)); }
inline void round_to(float a, srcnn::BFloat16& to) { to.bits = __bfloat16_as_ushort(__float2bfloat16_rn(a)); }

}  // namespace samples
