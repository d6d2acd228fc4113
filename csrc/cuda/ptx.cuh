// The instructions that C++ has no words for: cp.async, ldmatrix, mma.sync, named barriers. The descriptions are the
// PTX ISA's, under the instructions' names. On the CPU the functions of tests/cuda_on_cpu/include/ptx_on_cpu.h take their
// place, by the same names.
//
// mma and ldmatrix are for whole, converged warps. Below sm_80 cp.async is an ordinary copy and mma a trap.
//
// Fragments of the m16n8kK products D = A B + C, with g = lane / 4, t = lane % 4 ("Matrix Fragments for mma.m16n8k16" and so
// on):
//   16 bits  A register i: row g + 8 (i % 2), columns 8 (i / 2) + 2t and + 1      B register i: rows 8 i + 2t and + 1, column g
//   tf32     A register i: row g + 8 (i % 2), column 4 (i / 2) + t                B register i: row 4 i + t, column g
//   C and D  register i: row g + 8 (i / 2), column 2t + i % 2
// Of a pair in one register, the lower half has the lower index.
#pragma once

#include <cstdint>

#include "platform.cuh"

#ifndef __CUDACC__

#include <ptx_on_cpu.h>

namespace srcnn::cuda {
namespace ptx = ::cuda_on_cpu::ptx;
}

#else

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define SRCNN_PTX_SM80 1
#endif

namespace srcnn::cuda::ptx {

__device__ __forceinline__ uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// cp.async: copies 4, 8 or 16 bytes to shared memory, without registers and without waiting; both addresses are
// multiples of Bytes. Bytes from source_bytes on become zero; with source_bytes = 0 nothing is read. 16 bytes go past L1.
template <int Bytes>
__device__ __forceinline__ void cp_async(void* shared, const void* global, int source_bytes = Bytes) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
#ifdef SRCNN_PTX_SM80
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(source_bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)), "l"(global), "n"(Bytes),
                 "r"(source_bytes)
                 : "memory");
  }
#else
  for (int i = 0; i < Bytes; ++i) {
    static_cast<char*>(shared)[i] = i < source_bytes ? static_cast<const char*>(global)[i] : 0;
  }
#endif
}

// cp.async.commit_group: this thread's copies since the last commit become a group.
__device__ __forceinline__ void cp_async_commit() {
#ifdef SRCNN_PTX_SM80
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// cp.async.wait_group: waits for all of this thread's groups but the newest Pending. Other threads see the
// copies after a barrier.
template <int Pending>
__device__ __forceinline__ void cp_async_wait() {
#ifdef SRCNN_PTX_SM80
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#endif
}

// cp.async.wait_all: waits for all of this thread's copies, committed or not.
__device__ __forceinline__ void cp_async_wait_all() {
#ifdef SRCNN_PTX_SM80
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// ldmatrix: Matrices 8x8 matrices of 16-bit numbers from shared memory. Lane 8 m + r gives the address of matrix
// m's row r, 16 bytes at a multiple of 16; register m of each lane is row g, columns 2t and 2t + 1 of matrix m, or with
// Transpose rows 2t and 2t + 1 of column g.
template <int Matrices, bool Transpose = false>
__device__ __forceinline__ void ldmatrix(uint32_t (&registers)[Matrices], const void* row) {
  static_assert(Matrices == 1 || Matrices == 2 || Matrices == 4);
  uint32_t* r = registers;
  const uint32_t address = shared_address(row);
  if constexpr (Matrices == 1 && !Transpose) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  } else if constexpr (Matrices == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  } else if constexpr (Matrices == 2 && !Transpose) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(address) : "memory");
  } else if constexpr (Matrices == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  } else if constexpr (!Transpose) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  }
}

// mma.sync, row-major A, column-major B: d += a b, in float32.
#ifdef SRCNN_PTX_SM80
#define SRCNN_MMA_A2_B1(name, instruction)                                                                  \
  __device__ __forceinline__ void name(float (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[1]) {     \
    asm volatile("mma.sync.aligned." instruction ".f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};" \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                           \
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]));                                                        \
  }
#define SRCNN_MMA_A4_B2(name, instruction)                                                                              \
  __device__ __forceinline__ void name(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {                 \
    asm volatile("mma.sync.aligned." instruction ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                       \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                                   \
  }
#else
#define SRCNN_MMA_A2_B1(name, instruction) \
  __device__ __forceinline__ void name(float (&)[4], const uint32_t (&)[2], const uint32_t (&)[1]) { __trap(); }
#define SRCNN_MMA_A4_B2(name, instruction) \
  __device__ __forceinline__ void name(float (&)[4], const uint32_t (&)[4], const uint32_t (&)[2]) { __trap(); }
#endif
SRCNN_MMA_A2_B1(mma_m16n8k8_f16, "m16n8k8.row.col.f32.f16.f16")
SRCNN_MMA_A2_B1(mma_m16n8k8_bf16, "m16n8k8.row.col.f32.bf16.bf16")
SRCNN_MMA_A4_B2(mma_m16n8k16_f16, "m16n8k16.row.col.f32.f16.f16")
SRCNN_MMA_A4_B2(mma_m16n8k16_bf16, "m16n8k16.row.col.f32.bf16.bf16")
SRCNN_MMA_A2_B1(mma_m16n8k4_tf32, "m16n8k4.row.col.f32.tf32.tf32")
SRCNN_MMA_A4_B2(mma_m16n8k8_tf32, "m16n8k8.row.col.f32.tf32.tf32")
#undef SRCNN_MMA_A2_B1
#undef SRCNN_MMA_A4_B2

// cvt.rna.tf32.f32: to nearest, ties away from zero. mma itself cuts the low 13 bits off.
__device__ __forceinline__ uint32_t to_tf32(float value) {
#ifdef SRCNN_PTX_SM80
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
#else
  __trap();
  return 0;
#endif
}

// cvt.rn.relu: two floats, cut at zero (NaN stays NaN) and rounded to 16 bits, the first in the lower half.
#ifdef SRCNN_PTX_SM80
#define SRCNN_PACK_RELU(name, type)                                                   \
  __device__ __forceinline__ uint32_t name(float low, float high) {                   \
    uint32_t bits;                                                                    \
    asm("cvt.rn.relu." type "x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low)); \
    return bits;                                                                      \
  }
#else
#define SRCNN_PACK_RELU(name, type)                        \
  __device__ __forceinline__ uint32_t name(float, float) { \
    __trap();                                              \
    return 0;                                              \
  }
#endif
SRCNN_PACK_RELU(pack_relu_f16, "f16")
SRCNN_PACK_RELU(pack_relu_bf16, "bf16")
#undef SRCNN_PACK_RELU

// bar.sync, bar.arrive: barrier `id` (1 to 15) of `threads` threads, a multiple of 32, those that only arrive
// included. Call sites may differ: the threads of a block need not all take part, nor do the same work.
__device__ __forceinline__ void barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace srcnn::cuda::ptx

#endif
