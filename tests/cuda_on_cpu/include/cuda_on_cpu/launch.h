// Running a kernel: the CPU's side of SRCNN_LAUNCH and of the dynamic shared memory.
#pragma once

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#include "cuda_on_cpu/types.h"

using cudaStream_t = struct CUstream_st*;

namespace cuda_on_cpu {

struct Launch {
  const char* kernel_name;
  const void* kernel;
  dim3 grid, block;
  size_t shared_bytes;
  void (*call)(void* context);  // runs the kernel for one thread
  void* context;
};

// Runs every block on the calling OS thread, in an order drawn from the seed. A launch that the GPU's limits do not allow
// leaves its error to cudaGetLastError(), as the real runtime does; a fault in the kernel is thrown.
void run(const Launch& launch);

template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t /*stream*/, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "a kernel is launched with all its arguments");
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<std::decay_t<Parameters>...> parameters;
  } call{kernel, std::tuple<std::decay_t<Parameters>...>(std::forward<Arguments>(arguments)...)};
  run({name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes,
       [](void* context) {
         const Call& self = *static_cast<Call*>(context);
         std::apply(self.kernel, self.parameters);  // parameters are passed by value: each thread has its own copy
       },
       &call});
}

// The running block's dynamic shared memory: NaN bytes (0xFF) at the block's start.
void* dynamic_shared();

// Forbids the bytes to the block from now on: under ASan every access ends the program, otherwise a write is reported when
// the block ends, and a read gives NaN.
void shared_red_zone(const void* gap, size_t bytes);

}  // namespace cuda_on_cpu
