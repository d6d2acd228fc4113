// mma, ldmatrix and the 16-bit formats: matrix products against float64, and wrong fragments.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "planted_faults.h"
#include "ptx.cuh"

namespace {

using cuda_on_cpu::for_seeds;
namespace ptx = srcnn::cuda::ptx;

constexpr int kSeeds = 50;

enum class Type { kF16, kBf16, kTf32 };
enum class Fault { kNone, kRowsOfA, kHalvesOfA, kRowOfB, kColumnOfD, kNoBarrier };

__device__ uint32_t pack(Type type, float low, float high) {
  if (type == Type::kF16) return __half_as_ushort(__float2half_rn(low)) | __half_as_ushort(__float2half_rn(high)) << 16;
  return __bfloat16_as_ushort(__float2bfloat16_rn(low)) | static_cast<uint32_t>(__bfloat16_as_ushort(__float2bfloat16_rn(high)))
                                                              << 16;
}

// D = A B for A [16, K], B [K, 8], fragments gathered by hand from global memory.
template <int K>
__global__ void mma_kernel(Type type, const float* a, const float* b, float* d, Fault fault) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  float sums[4] = {};
  if constexpr (K == 16) {
    uint32_t fa[4], fb[2];
    for (int i = 0; i < 4; ++i) {
      const int row = g + 8 * (fault == Fault::kRowsOfA ? i / 2 : i % 2);
      const int column = 8 * (fault == Fault::kRowsOfA ? i % 2 : i / 2) + 2 * t;
      fa[i] = pack(type, a[row * K + column], a[row * K + column + 1]);
      if (fault == Fault::kHalvesOfA) fa[i] = pack(type, a[row * K + column + 1], a[row * K + column]);
    }
    for (int i = 0; i < 2; ++i) {
      const int row = 8 * i + (fault == Fault::kRowOfB ? t : 2 * t);
      fb[i] = pack(type, b[row * 8 + g], b[(row + 1) * 8 + g]);
    }
    type == Type::kF16 ? ptx::mma_m16n8k16_f16(sums, fa, fb) : ptx::mma_m16n8k16_bf16(sums, fa, fb);
  } else if (type == Type::kTf32) {
    uint32_t fa[4], fb[2];
    for (int i = 0; i < 4; ++i) {
      const int row = g + 8 * (fault == Fault::kRowsOfA ? i / 2 : i % 2);
      fa[i] = ptx::to_tf32(a[row * K + 4 * (fault == Fault::kRowsOfA ? i % 2 : i / 2) + t]);
    }
    for (int i = 0; i < 2; ++i) fb[i] = ptx::to_tf32(b[(fault == Fault::kRowOfB ? 4 - 4 * i + t : 4 * i + t) * 8 + g]);
    ptx::mma_m16n8k8_tf32(sums, fa, fb);
  } else {
    uint32_t fa[2], fb[1];
    for (int i = 0; i < 2; ++i) fa[i] = pack(type, a[(g + 8 * i) * K + 2 * t], a[(g + 8 * i) * K + 2 * t + 1]);
    fb[0] = pack(type, b[2 * t * 8 + g], b[(2 * t + 1) * 8 + g]);
    type == Type::kF16 ? ptx::mma_m16n8k8_f16(sums, fa, fb) : ptx::mma_m16n8k8_bf16(sums, fa, fb);
  }
  for (int i = 0; i < 4; ++i) {
    const int column = fault == Fault::kColumnOfD ? t + 4 * (i % 2) : 2 * t + i % 2;
    d[(g + 8 * (i / 2)) * 8 + column] = sums[i];
  }
}

double rounded(Type type, float x) {
  if (type == Type::kF16) return __half2float(__float2half_rn(x));
  if (type == Type::kBf16) return __bfloat162float(__float2bfloat16_rn(x));
  return __uint_as_float(ptx::to_tf32(x));
}

template <int K>
bool mma_is_right(Type type, Fault fault) {
  std::vector<float> a(16 * K), b(K * 8), d(16 * 8, NAN);
  for (size_t i = 0; i < a.size(); ++i) a[i] = std::sin(static_cast<float>(i) + 1.0f);
  for (size_t i = 0; i < b.size(); ++i) b[i] = std::cos(3.0f * static_cast<float>(i));
  SRCNN_LAUNCH(mma_kernel<K>, 1, 32, 0, nullptr, type, a.data(), b.data(), d.data(), fault);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      double sum = 0.0;
      for (int k = 0; k < K; ++k) sum += rounded(type, a[row * K + k]) * rounded(type, b[k * 8 + column]);
      if (!(std::abs(d[row * 8 + column] - sum) < 1e-6)) return false;
    }
  }
  return true;
}

TEST_CASE("products of single fragments") {
  for_seeds(kSeeds, [](uint64_t) {
    CHECK(mma_is_right<16>(Type::kF16, Fault::kNone));
    CHECK(mma_is_right<16>(Type::kBf16, Fault::kNone));
    CHECK(mma_is_right<8>(Type::kF16, Fault::kNone));
    CHECK(mma_is_right<8>(Type::kBf16, Fault::kNone));
    CHECK(mma_is_right<8>(Type::kTf32, Fault::kNone));
  });
}

TEST_CASE("a wrong fragment index gives a wrong product, on any seed") {
  for (const Fault fault : {Fault::kRowsOfA, Fault::kHalvesOfA, Fault::kRowOfB, Fault::kColumnOfD}) {
    CAPTURE(static_cast<int>(fault));
    CHECK_FALSE(mma_is_right<16>(Type::kF16, fault));
    CHECK_FALSE(mma_is_right<16>(Type::kBf16, fault));
    if (fault != Fault::kHalvesOfA) CHECK_FALSE(mma_is_right<8>(Type::kTf32, fault));
  }
}

__global__ void tf32_bits_kernel(float value, float* d) {
  const uint32_t a[4] = {__float_as_uint(value), 0, 0, 0}, b[2] = {__float_as_uint(1.0f), 0};
  float sums[4] = {};
  ptx::mma_m16n8k8_tf32(sums, a, b);
  if (threadIdx.x == 0) *d = sums[0];
}

TEST_CASE("mma cuts tf32's low bits off, and the conversion rounds") {
  const float ulp = 0x1p-10f;
  float d = NAN;
  SRCNN_LAUNCH(tf32_bits_kernel, 1, 32, 0, nullptr, 1.0f + 0.75f * ulp, &d);
  CHECK(d == 4.0f);  // four lanes of the row
  CHECK(__uint_as_float(ptx::to_tf32(1.0f + 0.75f * ulp)) == 1.0f + ulp);
  CHECK(__uint_as_float(ptx::to_tf32(1.0f + 0.5f * ulp)) == 1.0f + ulp);
  CHECK(__uint_as_float(ptx::to_tf32(-1.0f - 1.5f * ulp)) == -1.0f - 2.0f * ulp);
  CHECK(std::isinf(__uint_as_float(ptx::to_tf32(INFINITY))));
}

// D [M, N] = A [M, K] B [K, N] in 16 bits, a warp a 16 x 8 tile, through shared memory, cp.async and ldmatrix.
__global__ void matmul_kernel(const uint16_t* a, const uint16_t* b, float* d, int k_size, int n, Fault fault) {
  SRCNN_DYNAMIC_SHARED(uint16_t, memory);
  uint16_t* a_tile = memory;            // [16][24]: 16 columns and a pad against bank conflicts
  uint16_t* b_tile = memory + 16 * 24;  // [16][8 warps + 8]
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32, b_pitch = 8 * warps + 8;
  const int row0 = static_cast<int>(blockIdx.x) * 16;
  float sums[4] = {};
  for (int k0 = 0; k0 < k_size; k0 += 16) {
    for (int i = static_cast<int>(threadIdx.x); i < 32; i += static_cast<int>(blockDim.x)) {
      ptx::cp_async<16>(a_tile + i / 2 * 24 + i % 2 * 8, a + (row0 + i / 2) * k_size + k0 + i % 2 * 8);
    }
    for (int i = static_cast<int>(threadIdx.x); i < 16 * warps; i += static_cast<int>(blockDim.x)) {
      ptx::cp_async<16>(b_tile + i / warps * b_pitch + i % warps * 8, b + (k0 + i / warps) * n + i % warps * 8);
    }
    ptx::cp_async_wait_all();
    if (fault != Fault::kNoBarrier) __syncthreads();
    uint32_t fa[4], fb[2];
    ptx::ldmatrix<4>(fa, a_tile + lane % 16 * 24 + lane / 16 * 8);
    ptx::ldmatrix<2, true>(fb, b_tile + lane % 16 * b_pitch + warp * 8);
    ptx::mma_m16n8k16_f16(sums, fa, fb);
    __syncthreads();
  }
  for (int i = 0; i < 4; ++i) d[(row0 + lane / 4 + 8 * (i / 2)) * n + warp * 8 + 2 * (lane % 4) + i % 2] = sums[i];
}

bool matmul_is_right(Fault fault) {
  const int m = 48, k_size = 64, n = 32;
  std::vector<float> a(m * k_size), b(k_size * n), d(m * n, NAN);
  std::vector<uint16_t> a16(a.size()), b16(b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    a16[i] = __half_as_ushort(__float2half_rn(std::sin(static_cast<float>(i))));
    a[i] = __half2float(__ushort_as_half(a16[i]));
  }
  for (size_t i = 0; i < b.size(); ++i) {
    b16[i] = __half_as_ushort(__float2half_rn(std::cos(static_cast<float>(i))));
    b[i] = __half2float(__ushort_as_half(b16[i]));
  }
  SRCNN_LAUNCH(matmul_kernel, m / 16, 4 * n, 2 * (16 * 24 + 16 * (n + 8)), nullptr, a16.data(), b16.data(), d.data(), k_size, n,
               fault);
  for (int row = 0; row < m; ++row) {
    for (int column = 0; column < n; ++column) {
      double sum = 0.0;
      for (int k = 0; k < k_size; ++k) sum += double{a[row * k_size + k]} * double{b[k * n + column]};
      if (!(std::abs(d[row * n + column] - sum) < 1e-5)) return false;
    }
  }
  return true;
}

TEST_CASE("matrix product by cp.async, ldmatrix and mma") {
  CHECK(caught(kSeeds, [] { return matmul_is_right(Fault::kNone); }) == 0);
}

TEST_CASE("the same without its barrier is caught on every seed") {
  CHECK(caught(20, [] { return matmul_is_right(Fault::kNoBarrier); }) == 20);
}

__global__ void ldmatrix_kernel(uint32_t* out, int offset) {
  SRCNN_DYNAMIC_SHARED(uint16_t, memory);
  for (unsigned i = threadIdx.x; i < 256; i += 32) memory[i] = static_cast<uint16_t>(i);
  __syncwarp();
  const uint16_t* row = memory + 8 * threadIdx.x + offset;
  uint32_t one[1], two[2], four[4], transposed[4];
  ptx::ldmatrix<1>(one, row);
  ptx::ldmatrix<2>(two, row);
  ptx::ldmatrix<4>(four, row);
  ptx::ldmatrix<4, true>(transposed, row);
  const uint32_t all[11] = {one[0],  two[0],        two[1],        four[0],       four[1],      four[2],
                            four[3], transposed[0], transposed[1], transposed[2], transposed[3]};
  for (unsigned i = 0; i < 11; ++i) out[11 * threadIdx.x + i] = all[i];
}

TEST_CASE("ldmatrix") {
  std::vector<uint32_t> out(32 * 11);
  SRCNN_LAUNCH(ldmatrix_kernel, 1, 32, 512, nullptr, out.data(), 0);
  for (int lane = 0; lane < 32; ++lane) {
    CAPTURE(lane);
    const int g = lane / 4, t = lane % 4;
    const int matrices[11] = {0, 0, 1, 0, 1, 2, 3, 0, 1, 2, 3};
    for (int i = 0; i < 11; ++i) {
      const int first = 64 * matrices[i] + (i < 7 ? 8 * g + 2 * t : 8 * 2 * t + g), second = first + (i < 7 ? 1 : 8);
      CHECK(out[11 * lane + i] == static_cast<uint32_t>(first | second << 16));
    }
  }
  CHECK(contains(
      message_of<cuda_on_cpu::SharedMemoryError>([&] { SRCNN_LAUNCH(ldmatrix_kernel, 1, 32, 512, nullptr, out.data(), 4); }),
      "the row is not aligned to 16 bytes"));
  CHECK(contains(
      message_of<cuda_on_cpu::SharedMemoryError>([&] { SRCNN_LAUNCH(ldmatrix_kernel, 1, 32, 512, nullptr, out.data(), 8); }),
      "the row is not in the block's shared memory"));
}

// Every number of a 16-bit format, and the points half-way between neighbours.
template <class ToFloat, class FromFloat>
void check_format(int infinity, ToFloat to_float, FromFloat from_float) {
  int wrong = 0;
  for (int bits = 0; bits < infinity; ++bits) {
    const float value = to_float(static_cast<uint16_t>(bits)), next = to_float(static_cast<uint16_t>(bits + 1));
    wrong += from_float(value) != bits;
    wrong += from_float(-value) != (bits | 0x8000);
    if (bits + 1 == infinity) continue;
    const float middle = static_cast<float>((double{value} + double{next}) / 2);
    wrong += from_float(middle) != (bits % 2 == 0 ? bits : bits + 1);
    wrong += from_float(std::nextafter(middle, INFINITY)) != bits + 1;
    wrong += from_float(std::nextafter(middle, 0.0f)) != bits;
  }
  CHECK(wrong == 0);
  CHECK(std::isinf(to_float(static_cast<uint16_t>(infinity))));
  CHECK(from_float(INFINITY) == infinity);
  CHECK(from_float(-INFINITY) == (infinity | 0x8000));
  CHECK(from_float(std::numeric_limits<float>::max()) == infinity);
  CHECK(from_float(NAN) == 0x7fff);
  CHECK(std::isnan(to_float(0x7fff)));
  CHECK(std::isnan(to_float(0xffff)));
}

TEST_CASE("half and bfloat16 round to nearest even") {
  check_format(0x7c00, cuda_on_cpu::half_to_float, cuda_on_cpu::float_to_half);
  check_format(0x7f80, cuda_on_cpu::bfloat16_to_float, cuda_on_cpu::float_to_bfloat16);
  CHECK(cuda_on_cpu::half_to_float(0x3555) == 0x1.554p-2f);
  CHECK(cuda_on_cpu::half_to_float(0x0001) == 0x1p-24f);
  CHECK(cuda_on_cpu::float_to_half(65519.996f) == 0x7bff);
  CHECK(cuda_on_cpu::float_to_half(65520.0f) == 0x7c00);
  CHECK(cuda_on_cpu::bfloat16_to_float(0x4049) == 3.140625f);
}

}  // namespace
