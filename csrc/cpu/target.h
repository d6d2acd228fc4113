// SRCNN_TARGET_BEGIN("avx2,fma") ... SRCNN_TARGET_END: functions in between may use that instruction set, whatever the
// compiler's flags say. Standard headers are included outside, so that nothing the linker shares between files is compiled
// for a machine that may not be there; inside, templates carry the instruction set in their vector type for the same reason.
#pragma once

#define SRCNN_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define SRCNN_TARGET_BEGIN(isa) SRCNN_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define SRCNN_TARGET_END SRCNN_PRAGMA(clang attribute pop)
#else
#define SRCNN_TARGET_BEGIN(isa)  \
  SRCNN_PRAGMA(GCC push_options) \
  SRCNN_PRAGMA(GCC target(isa))
#define SRCNN_TARGET_END SRCNN_PRAGMA(GCC pop_options)
#endif

#define SRCNN_INLINE inline __attribute__((always_inline))

// Arrays of accumulators live in registers only when every loop over them is unrolled; -O3 alone leaves them on the stack.
#define SRCNN_UNROLL SRCNN_PRAGMA(GCC unroll 16)
