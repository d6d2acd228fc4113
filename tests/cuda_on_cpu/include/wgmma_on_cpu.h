// The CPU's side of csrc/cuda/wgmma.cuh: the same functions, by the PTX ISA's description.
//
// The accumulators become NaN at the instruction and get their sums at a wait that covers it; there too, and warp by warp,
// shared memory is read. So what reads accumulators too early gets NaN, and what overwrites operands too early, or comes too
// late with them, changes the product. Errors: no fence before a product, accumulators written while in use, operands in shared
// memory that changed without any fence.proxy.async, warps of a group that do not do the same, products never waited for.
//   Stricter than the hardware: after a wait, the next product needs a fence even if no register was touched.
//   Not seen: fragments of A that change before the wait; a fence.proxy.async that only some of the writers came to.
#pragma once

#include <cstdint>

#include "cuda_on_cpu/kernel.h"
#include "ptx_on_cpu.h"

namespace cuda_on_cpu {

uint64_t wgmma_descriptor(const void* shared, int leading, int stride, const Site& site);
void wgmma_proxy_fence();
void wgmma_registers_fence(const Site& site);
void wgmma_commit_group(const Site& site);
void wgmma_wait_group(int pending, const Site& site);

struct WgmmaOperands {
  MmaType type;
  int tiles;          // of 8 columns
  float* d;           // [tiles][4]
  const uint32_t* a;  // [4], or null: in shared memory
  uint64_t a_described, b_described;
  bool accumulate;
};
void wgmma(const WgmmaOperands& operands, const Site& site);

namespace ptx {

inline uint64_t make_descriptor(const void* shared, int leading, int stride, Site site = Site::current()) {
  return wgmma_descriptor(shared, leading, stride, site);
}

inline void fence_proxy_async() { wgmma_proxy_fence(); }

// Behind a pack there is no room for the caller's place: messages name this one.
template <class... Registers>
void wgmma_fence(Registers&...) {
  wgmma_registers_fence(Site::current());
}

inline void wgmma_commit(Site site = Site::current()) { wgmma_commit_group(site); }

template <int Pending, class... Accumulators>
void wgmma_wait(Accumulators&...) {
  wgmma_wait_group(Pending, Site::current());
}

#define CUDA_ON_CPU_WGMMA(name, type)                                                                                        \
  template <int Tiles>                                                                                                       \
  void name(float (&d)[Tiles][4], uint64_t a, uint64_t b, bool accumulate = true, Site site = Site::current()) {             \
    static_assert(Tiles % 4 == 0 && Tiles >= 4 && Tiles <= 20);                                                              \
    wgmma({type, Tiles, d[0], nullptr, a, b, accumulate}, site);                                                             \
  }                                                                                                                          \
  template <int Tiles>                                                                                                       \
  void name(float (&d)[Tiles][4], const uint32_t (&a)[4], uint64_t b, bool accumulate = true, Site site = Site::current()) { \
    static_assert(Tiles % 4 == 0 && Tiles >= 4 && Tiles <= 20);                                                              \
    wgmma({type, Tiles, d[0], a, 0, b, accumulate}, site);                                                                   \
  }
CUDA_ON_CPU_WGMMA(wgmma_m64k16_f16, MmaType::kF16)
CUDA_ON_CPU_WGMMA(wgmma_m64k16_bf16, MmaType::kBf16)
CUDA_ON_CPU_WGMMA(wgmma_m64k8_tf32, MmaType::kTf32)
#undef CUDA_ON_CPU_WGMMA

}  // namespace ptx
}  // namespace cuda_on_cpu
