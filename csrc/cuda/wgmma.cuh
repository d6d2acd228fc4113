// wgmma: the matrix product of a warpgroup (4 warps, the first a multiple of 4), asynchronous, sm_90a only. The descriptions
// are the PTX ISA's, "Asynchronous Warpgroup Level Matrix Instructions". On the CPU the functions of
// tests/cuda_on_cpu/include/wgmma_on_cpu.h take their place.
//
//   D [64, N] += A [64, K] B [K, N], N = 32, 64, 96, 128 or 160; 16 bits: K = 16; tf32: K = 8. All of the warpgroup's threads
//   come to the same instruction with the same descriptors.
//   D, A   warp w of the group has rows 16 w .. 16 w + 15, in the fragments of mma.sync (ptx.cuh): d[j] is columns 8 j .. 8 j +
//   7 B, A   in shared memory, described by a descriptor: "core matrices" of 8 rows (of A, or columns of B) x 16 bytes of k,
//   row
//          after row, without swizzle. The next 16 bytes of k are `leading` bytes further, the next 8 rows `stride` bytes.
//
// The order of things:
//   write shared memory; fence_proxy_async; barrier           wgmma reads it past the ordinary path
//   wgmma_fence(d, a)                                         registers are as they should be
//   wgmma_m64k16<T>(d, ...) ...; wgmma_commit()
//   wgmma_wait<Pending>(d)                                    until then: d is not touched, shared memory not overwritten, and
//                                                             a barrier before another warp overwrites it
#pragma once

#include <cstdint>
#include <type_traits>

#include "../srcnn.h"
#include "platform.cuh"

#ifndef __CUDACC__

#include <wgmma_on_cpu.h>

namespace cuda_on_cpu::ptx {

template <class T, int Tiles, class A>
void wgmma_m64k16(float (&d)[Tiles][4], const A& a, uint64_t b, bool accumulate = true, Site site = Site::current()) {
  static_assert(std::is_same_v<T, srcnn::Half> || std::is_same_v<T, srcnn::BFloat16>);
  if constexpr (std::is_same_v<T, srcnn::Half>) {
    wgmma_m64k16_f16(d, a, b, accumulate, site);
  } else {
    wgmma_m64k16_bf16(d, a, b, accumulate, site);
  }
}

}  // namespace cuda_on_cpu::ptx

namespace srcnn::cuda {
namespace ptx = ::cuda_on_cpu::ptx;
}

#else

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SRCNN_PTX_SM90A 1
#endif

namespace srcnn::cuda::ptx {

// "Matrix descriptor": addresses and offsets in units of 16 bytes; no swizzle. Adding bytes / 16 to it moves the start.
__device__ __forceinline__ uint64_t make_descriptor(const void* shared, int leading, int stride) {
  const auto encode = [](uint32_t bytes) { return static_cast<uint64_t>((bytes & 0x3ffff) >> 4); };
  return encode(static_cast<uint32_t>(__cvta_generic_to_shared(shared))) | encode(static_cast<uint32_t>(leading)) << 16 |
         encode(static_cast<uint32_t>(stride)) << 32;
}

// Keeps the compiler from moving accesses to these registers, which it does not know to be in use, past this place.
template <int Tiles>
__device__ __forceinline__ void hold(float (&d)[Tiles][4]) {
#pragma unroll
  for (int j = 0; j < Tiles; ++j) asm volatile("" : "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])::"memory");
}
__device__ __forceinline__ void hold(uint32_t (&a)[4]) {
  asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3])::"memory");
}

// fence.proxy.async: this thread's writes to shared memory so far will be seen by wgmma.
__device__ __forceinline__ void fence_proxy_async() {
#ifdef SRCNN_PTX_SM90A
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// wgmma.fence: before the first product, and after other accesses to `registers`, which are accumulators and fragments of A.
template <class... Registers>
__device__ __forceinline__ void wgmma_fence(Registers&... registers) {
#ifdef SRCNN_PTX_SM90A
  (hold(registers), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

// wgmma.commit_group: the products since the last commit become a group.
__device__ __forceinline__ void wgmma_commit() {
#ifdef SRCNN_PTX_SM90A
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

// wgmma.wait_group: waits for all groups but the newest Pending. `finished`: the accumulators that are complete thereby.
template <int Pending, int... Tiles>
__device__ __forceinline__ void wgmma_wait(float (&... finished)[Tiles][4]) {
#ifdef SRCNN_PTX_SM90A
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
  (hold(finished), ...);
#endif
}

// wgmma.mma_async. The registers of D in blocks of 16 = 4 tiles = 32 columns.
#define SRCNN_D0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define SRCNN_D1 SRCNN_D0 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define SRCNN_D2 SRCNN_D1 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define SRCNN_D3 SRCNN_D2 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define SRCNN_D4 SRCNN_D3 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define SRCNN_TILE(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define SRCNN_TILES(j) SRCNN_TILE(j), SRCNN_TILE(j + 1), SRCNN_TILE(j + 2), SRCNN_TILE(j + 3)
#define SRCNN_R0 SRCNN_TILES(0)
#define SRCNN_R1 SRCNN_R0, SRCNN_TILES(4)
#define SRCNN_R2 SRCNN_R1, SRCNN_TILES(8)
#define SRCNN_R3 SRCNN_R2, SRCNN_TILES(12)
#define SRCNN_R4 SRCNN_R3, SRCNN_TILES(16)

// n columns, whose registers are blocks 0 .. last; p0 .. p5: the numbers of the operands behind them. `factors` are the signs
// and transpositions: plain.
#define SRCNN_WGMMA_SHARED(n, k, types, last, p0, p1, p2, factors)                                                     \
  if constexpr (8 * Tiles == n) {                                                                                      \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #p2 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n k ".f32." types \
                 " {" SRCNN_D##last "}, %" #p0 ", %" #p1 ", p, 1, 1" factors ";\n}"                                    \
                 : SRCNN_R##last                                                                                       \
                 : "l"(a), "l"(b), "r"(static_cast<int>(accumulate))                                                   \
                 : "memory");                                                                                          \
  }
#define SRCNN_WGMMA_REGISTERS(n, k, types, last, p0, p1, p2, p3, p4, p5, factors)                                      \
  if constexpr (8 * Tiles == n) {                                                                                      \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #p5 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n k ".f32." types \
                 " {" SRCNN_D##last "}, {%" #p0 ", %" #p1 ", %" #p2 ", %" #p3 "}, %" #p4 ", p, 1, 1" factors ";\n}"    \
                 : SRCNN_R##last                                                                                       \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate))               \
                 : "memory");                                                                                          \
  }
#ifdef SRCNN_PTX_SM90A
#define SRCNN_WGMMA(name, k, types, factors_shared, factors_registers)                                                     \
  template <int Tiles>                                                                                                     \
  __device__ __forceinline__ void name(float (&d)[Tiles][4], uint64_t a, uint64_t b, bool accumulate = true) {             \
    static_assert(Tiles % 4 == 0 && Tiles >= 4 && Tiles <= 20);                                                            \
    SRCNN_WGMMA_SHARED(32, k, types, 0, 16, 17, 18, factors_shared)                                                        \
    SRCNN_WGMMA_SHARED(64, k, types, 1, 32, 33, 34, factors_shared)                                                        \
    SRCNN_WGMMA_SHARED(96, k, types, 2, 48, 49, 50, factors_shared)                                                        \
    SRCNN_WGMMA_SHARED(128, k, types, 3, 64, 65, 66, factors_shared)                                                       \
    SRCNN_WGMMA_SHARED(160, k, types, 4, 80, 81, 82, factors_shared)                                                       \
  }                                                                                                                        \
  template <int Tiles>                                                                                                     \
  __device__ __forceinline__ void name(float (&d)[Tiles][4], const uint32_t (&a)[4], uint64_t b, bool accumulate = true) { \
    static_assert(Tiles % 4 == 0 && Tiles >= 4 && Tiles <= 20);                                                            \
    SRCNN_WGMMA_REGISTERS(32, k, types, 0, 16, 17, 18, 19, 20, 21, factors_registers)                                      \
    SRCNN_WGMMA_REGISTERS(64, k, types, 1, 32, 33, 34, 35, 36, 37, factors_registers)                                      \
    SRCNN_WGMMA_REGISTERS(96, k, types, 2, 48, 49, 50, 51, 52, 53, factors_registers)                                      \
    SRCNN_WGMMA_REGISTERS(128, k, types, 3, 64, 65, 66, 67, 68, 69, factors_registers)                                     \
    SRCNN_WGMMA_REGISTERS(160, k, types, 4, 80, 81, 82, 83, 84, 85, factors_registers)                                     \
  }
#else
#define SRCNN_WGMMA(name, k, types, factors_shared, factors_registers)                         \
  template <int Tiles, class A>                                                                \
  __device__ __forceinline__ void name(float (&)[Tiles][4], const A&, uint64_t, bool = true) { \
    __trap();                                                                                  \
  }
#endif
SRCNN_WGMMA(wgmma_m64k16_f16, "k16", "f16.f16", ", 0, 0", ", 0")
SRCNN_WGMMA(wgmma_m64k16_bf16, "k16", "bf16.bf16", ", 0, 0", ", 0")
SRCNN_WGMMA(wgmma_m64k8_tf32, "k8", "tf32.tf32", "", "")

// d += a b, or d = a b. a: a descriptor, or the fragment in const uint32_t (&)[4].
template <class T, int Tiles, class A>
__device__ __forceinline__ void wgmma_m64k16(float (&d)[Tiles][4], const A& a, uint64_t b, bool accumulate = true) {
  static_assert(std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>);
  if constexpr (std::is_same_v<T, Half>) {
    wgmma_m64k16_f16(d, a, b, accumulate);
  } else {
    wgmma_m64k16_bf16(d, a, b, accumulate);
  }
}
#undef SRCNN_WGMMA
#undef SRCNN_WGMMA_SHARED
#undef SRCNN_WGMMA_REGISTERS
#undef SRCNN_D0
#undef SRCNN_D1
#undef SRCNN_D2
#undef SRCNN_D3
#undef SRCNN_D4
#undef SRCNN_TILE
#undef SRCNN_TILES
#undef SRCNN_R0
#undef SRCNN_R1
#undef SRCNN_R2
#undef SRCNN_R3
#undef SRCNN_R4

}  // namespace srcnn::cuda::ptx

#endif
