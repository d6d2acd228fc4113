// The CPU's side of csrc/cuda/ptx.cuh: the same functions, by the PTX ISA's description.
//
// cp.async: the target becomes NaN at the instruction, and the bytes arrive at a wait that covers the copy. So what reads the
// target too early, or still needs what was there before, gets NaN whenever it runs.
// mma: products and sums in double, rounded to float once; the hardware's own summation is a little less exact.
#pragma once

#include <cstdint>

#include "cuda_on_cpu/float_bits.h"
#include "cuda_on_cpu/kernel.h"

namespace cuda_on_cpu {

void async_copy(void* shared, const void* global, int bytes, int source_bytes, const Site& site);
void async_copy_commit();
void async_copy_wait(int pending);
void async_copy_wait_all();

void load_matrices(uint32_t* registers, int matrices, bool transpose, const void* row, const Site& site);

enum class MmaType { kF16, kBf16, kTf32 };
float mma_element(MmaType type, uint32_t bits, int half);  // number `half` of the numbers in a register
void mma_m16n8(MmaType type, int k, float* d, const uint32_t* a, const uint32_t* b, const Site& site);

namespace ptx {

template <int Bytes>
void cp_async(void* shared, const void* global, int source_bytes = Bytes, Site site = Site::current()) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  async_copy(shared, global, Bytes, source_bytes, site);
}

inline void cp_async_commit() { async_copy_commit(); }

template <int Pending>
void cp_async_wait() {
  async_copy_wait(Pending);
}

inline void cp_async_wait_all() { async_copy_wait_all(); }

template <int Matrices, bool Transpose = false>
void ldmatrix(uint32_t (&registers)[Matrices], const void* row, Site site = Site::current()) {
  static_assert(Matrices == 1 || Matrices == 2 || Matrices == 4);
  load_matrices(registers, Matrices, Transpose, row, site);
}

using Accumulators = float[4];

inline void mma_m16n8k8_f16(Accumulators& d, const uint32_t (&a)[2], const uint32_t (&b)[1], Site site = Site::current()) {
  mma_m16n8(MmaType::kF16, 8, d, a, b, site);
}
inline void mma_m16n8k8_bf16(Accumulators& d, const uint32_t (&a)[2], const uint32_t (&b)[1], Site site = Site::current()) {
  mma_m16n8(MmaType::kBf16, 8, d, a, b, site);
}
inline void mma_m16n8k16_f16(Accumulators& d, const uint32_t (&a)[4], const uint32_t (&b)[2], Site site = Site::current()) {
  mma_m16n8(MmaType::kF16, 16, d, a, b, site);
}
inline void mma_m16n8k16_bf16(Accumulators& d, const uint32_t (&a)[4], const uint32_t (&b)[2], Site site = Site::current()) {
  mma_m16n8(MmaType::kBf16, 16, d, a, b, site);
}
inline void mma_m16n8k4_tf32(Accumulators& d, const uint32_t (&a)[2], const uint32_t (&b)[1], Site site = Site::current()) {
  mma_m16n8(MmaType::kTf32, 4, d, a, b, site);
}
inline void mma_m16n8k8_tf32(Accumulators& d, const uint32_t (&a)[4], const uint32_t (&b)[2], Site site = Site::current()) {
  mma_m16n8(MmaType::kTf32, 8, d, a, b, site);
}

inline uint32_t to_tf32(float value) { return float_to_tf32(value); }

inline uint32_t pack(uint16_t low, uint16_t high) { return low | static_cast<uint32_t>(high) << 16; }
inline uint32_t pack_relu_f16(float low, float high) {
  return pack(float_to_half(low < 0 ? 0.0f : low), float_to_half(high < 0 ? 0.0f : high));
}
inline uint32_t pack_relu_bf16(float low, float high) {
  return pack(float_to_bfloat16(low < 0 ? 0.0f : low), float_to_bfloat16(high < 0 ? 0.0f : high));
}

inline void barrier_sync(int id, int threads, Site site = Site::current()) { named_barrier(id, threads, true, site); }
inline void barrier_arrive(int id, int threads, Site site = Site::current()) { named_barrier(id, threads, false, site); }

}  // namespace ptx
}  // namespace cuda_on_cpu
