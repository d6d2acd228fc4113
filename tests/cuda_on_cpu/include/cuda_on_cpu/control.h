// What a test says to the stand-in and hears from it: the imaginary GPU, the scheduler's seed, the errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace cuda_on_cpu {

// Thrown out of SRCNN_LAUNCH. The message names the kernel, the block, the threads, the places and the seed.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct BarrierError : Error {  // divergent barriers, exit before a barrier, deadlock
  using Error::Error;
};
struct WarpError : Error {  // masks and call sites of warp collectives, mma, ldmatrix
  using Error::Error;
};
struct SharedMemoryError : Error {  // a red zone was written, an address lies outside the block's shared memory
  using Error::Error;
};
struct WgmmaError : Error {  // fences, operands, waits of wgmma; warps of a warpgroup that differ
  using Error::Error;
};
struct AsyncCopyError : Error {  // misaligned or misplaced cp.async
  using Error::Error;
};

// The imaginary GPU. A test may change any member; `gpu()` starts as an sm_90 with 132 multiprocessors.
struct Gpu {
  int compute_capability = 90;
  int multiprocessors = 132;
  int shared_per_block = 48 * 1024;
  int shared_per_block_optin = 227 * 1024;
  int shared_per_multiprocessor = 228 * 1024;
  int reserved_shared_per_block = 1024;
  int registers_per_multiprocessor = 64 * 1024;
  int threads_per_multiprocessor = 2048;
  int blocks_per_multiprocessor = 32;
  int l2_bytes = 50 * 1024 * 1024;

  bool operator==(const Gpu&) const = default;
};
Gpu& gpu();

// A member of the named generation: 75, 80, 86, 89, 90, 100 or 120.
Gpu gpu_of(int compute_capability);

// The seed from which every launch draws its order of blocks and threads: SRCNN_CUDA_ON_CPU_SEED, or 1, until it is set.
// Equal seeds give equal orders, whatever ran before.
uint64_t seed();
void set_seed(uint64_t seed);

// Calls test(seed) for `count` seeds, from seed() on, and puts the old seed back.
template <class Test>
void for_seeds(int count, Test&& test) {
  struct Restore {
    uint64_t old = seed();
    ~Restore() { set_seed(old); }
  } restore;
  for (int i = 0; i < count; ++i) {
    set_seed(restore.old + static_cast<uint64_t>(i));
    test(restore.old + static_cast<uint64_t>(i));
  }
}

}  // namespace cuda_on_cpu
