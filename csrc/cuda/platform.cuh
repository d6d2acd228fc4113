// The only file of csrc/cuda/ that knows which compiler reads it: nvcc, or a C++ compiler with tests/cuda_on_cpu/include on
// its path, where a block's threads are fibers of one CPU thread. Everything else comes from <cuda_runtime.h>, the
// toolkit's or the stand-in's.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#ifdef __CUDACC__

// Declares `type* name`, the block's dynamic shared memory, 16-byte aligned.
#define SRCNN_DYNAMIC_SHARED(type, name)                                       \
  extern __shared__ __align__(16) unsigned char srcnn_dynamic_shared_memory[]; \
  type* const name = reinterpret_cast<type*>(srcnn_dynamic_shared_memory)

// kernel<<<grid, block, shared_bytes, stream>>>(...). A template's instance with a comma in its name goes in parentheses.
#define SRCNN_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  (kernel)<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__)

namespace srcnn::cuda {

// Bytes to leave free behind each array carved out of dynamic shared memory.
inline constexpr int kSharedGap = 0;

// The value, of which the compiler knows nothing: what is computed from it is not moved out of the loop that it is in.
__device__ __forceinline__ int opaque(int value) {
  asm volatile("" : "+r"(value));
  return value;
}

// Marks such a gap; one thread of the block calls it for each, before the first barrier.
__device__ __forceinline__ void shared_red_zone(const void* /*gap*/, size_t /*bytes*/) {}

}  // namespace srcnn::cuda

#else

#define SRCNN_DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(::cuda_on_cpu::dynamic_shared())

#define SRCNN_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  ::cuda_on_cpu::launch(#kernel, kernel, (grid), (block), (shared_bytes), (stream)__VA_OPT__(, ) __VA_ARGS__)

namespace srcnn::cuda {

inline constexpr int kSharedGap = 64;

inline int opaque(int value) { return value; }

inline void shared_red_zone(const void* gap, size_t bytes) { ::cuda_on_cpu::shared_red_zone(gap, bytes); }

}  // namespace srcnn::cuda

#endif
