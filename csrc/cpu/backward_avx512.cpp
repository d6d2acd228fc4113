// The CPU backward for AVX-512.
#if defined(__x86_64__)

#include <immintrin.h>

#include <bit>
#include <cstdint>
#include <cstring>

#include "backward_engine.h"
#include "target.h"

SRCNN_TARGET_BEGIN("avx512f,avx512vl,avx2,fma")
#include "vec_avx512.h"
// After the vector type, inside the target region:
#include "backward_strip.h"
SRCNN_TARGET_END

namespace srcnn::cpu {
// constinit: start-up code built for this instruction set would crash a machine without it.
constinit const BackwardEngine kAvx512BackwardEngine = make_backward_engine<Avx512>();
}  // namespace srcnn::cpu

#endif
