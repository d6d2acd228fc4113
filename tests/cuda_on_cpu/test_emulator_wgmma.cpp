// wgmma: products of a warpgroup against float64, and what goes wrong when a step is forgotten.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "planted_faults.h"
#include "ptx.cuh"
#include "wgmma.cuh"

namespace {

using cuda_on_cpu::for_seeds;
using cuda_on_cpu::SharedMemoryError;
using cuda_on_cpu::WarpError;
using cuda_on_cpu::WgmmaError;
using srcnn::BFloat16;
using srcnn::Half;
namespace ptx = srcnn::cuda::ptx;

constexpr int kSeeds = 20, kM = 64, kSteps = 3;  // kSteps products of depth 16 (tf32: 8), the first two in one group

enum class Fault {
  kNone,
  kOffsetsSwapped,
  kRowsOfA,
  kColumnsOfD,
  kNoBarrier,
  kNoProxyFence,
  kNoFence,
  kNoCommit,
  kNoWait,
  kEarlyRead,
  kEarlyWrite,
  kOverwritten,
  kOneWarpSkips,
  kOneLaneDiffers,
  kPastTheEnd,
  kMisaligned,
};

template <class T>
constexpr int kDepth = sizeof(T) == 2 ? 16 : 8;

template <class T>
T rounded(float a) {
  if constexpr (std::is_same_v<T, Half>) {
    return {__half_as_ushort(__float2half_rn(a))};
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return {__bfloat16_as_ushort(__float2bfloat16_rn(a))};
  } else {
    return __uint_as_float(ptx::to_tf32(a));
  }
}

float widened(Half a) { return __half2float(__ushort_as_half(a.bits)); }
float widened(BFloat16 a) { return __bfloat162float(__ushort_as_bfloat16(a.bits)); }
float widened(float a) { return a; }

// Element (row, k) of an operand of `rows` rows: core matrices of 8 rows x 16 bytes, those of one k behind one another.
template <class T>
int place(int row, int k, int rows) {
  constexpr int kChunk = 16 / sizeof(T);
  return k / kChunk * rows * kChunk + row * kChunk + k % kChunk;
}

template <class T, int Tiles, class A>
void multiply(float (&d)[Tiles][4], const A& a, uint64_t b, bool accumulate) {
  if constexpr (sizeof(T) == 2) {
    ptx::wgmma_m64k16<T>(d, a, b, accumulate);
  } else {
    ptx::wgmma_m64k8_tf32(d, a, b, accumulate);
  }
}

// D [64, N] = A [64, K] B [N, K]^T, K = kSteps depths; all of A and B in shared memory, or A in registers.
template <class T, int N>
__global__ void product_kernel(const T* a, const T* b, float* out, bool a_in_registers, Fault fault) {
  SRCNN_DYNAMIC_SHARED(T, shared);
  constexpr int K = kSteps * kDepth<T>, kParts = 4 / static_cast<int>(sizeof(T));
  T *a_tile = shared, *b_tile = shared + kM * K;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, g = thread % 32 / 4, t = thread % 4;
  for (int i = thread; i < kM * K; i += 128) a_tile[place<T>(i / K, i % K, kM)] = a[i];
  for (int i = thread; i < N * K; i += 128) b_tile[place<T>(i / K, i % K, N)] = b[i];
  if (fault != Fault::kNoProxyFence) ptx::fence_proxy_async();
  if (fault != Fault::kNoBarrier) __syncthreads();

  int leading_a = kM * 16, leading_b = N * 16, stride = 128;
  if (fault == Fault::kOffsetsSwapped) std::swap(leading_b, stride), leading_a = 128;
  if (fault == Fault::kPastTheEnd) leading_b += 8192;
  float d[N / 8][4];
  uint32_t fragment[kSteps][4];
  for (int step = 0; step < kSteps; ++step) {
    for (int i = 0; i < 4; ++i) {
      T pair[2] = {};
      for (int part = 0; part < kParts; ++part) {
        const int row = 16 * warp + g + 8 * (fault == Fault::kRowsOfA ? i / 2 : i % 2);
        const int half = fault == Fault::kRowsOfA ? i % 2 : i / 2;
        pair[part] = a[row * K + step * kDepth<T> + 4 * kParts * half + kParts * t + part];
      }
      std::memcpy(&fragment[step][i], pair, 4);
    }
  }
  const uint64_t at_a = ptx::make_descriptor(a_tile, leading_a, stride);
  const uint64_t at_b = ptx::make_descriptor(b_tile + (fault == Fault::kMisaligned ? 1 : 0), leading_b, stride);
  if (fault != Fault::kNoFence) ptx::wgmma_fence(d, fragment[0], fragment[1], fragment[2]);
  for (int step = 0; step < kSteps; ++step) {
    if (fault == Fault::kOneWarpSkips && warp == 2 && step == 1) continue;
    // 32 bytes of k further on: two core matrices.
    const uint64_t a_step = at_a + static_cast<uint64_t>(step) * 2 * kM, lane_fault = fault == Fault::kOneLaneDiffers && t == 3;
    const uint64_t b_step = at_b + static_cast<uint64_t>(step) * 2 * N + lane_fault;
    if (a_in_registers) {
      multiply<T>(d, fragment[step], b_step, step > 0);
    } else {
      multiply<T>(d, a_step, b_step, step > 0);
    }
    if (step > 0 && fault != Fault::kNoCommit) ptx::wgmma_commit();
  }
  ptx::wgmma_wait<1>();  // the third product's accumulators are those of the others
  float early = 0.0f;
  if (fault == Fault::kEarlyRead) early = d[1][2];
  if (fault == Fault::kEarlyWrite) d[1][2] = 0.0f;
  if (fault == Fault::kOverwritten) b_tile[place<T>(thread % N, K - 1, N)] = rounded<T>(9.0f);
  if (fault != Fault::kNoWait) ptx::wgmma_wait<0>(d);
  for (int j = 0; j < N / 8; ++j) {
    for (int i = 0; i < 4; ++i) {
      const int column = fault == Fault::kColumnsOfD ? t + i % 2 * 4 : 2 * t + i % 2;
      out[(16 * warp + g + 8 * (i / 2)) * N + 8 * j + column] = d[j][i] + early;
    }
  }
}

template <class T, int N>
bool product_is_right(bool a_in_registers, Fault fault) {
  constexpr int K = kSteps * kDepth<T>;
  std::vector<T> a(kM * K), b(N * K);
  for (size_t i = 0; i < a.size(); ++i) a[i] = rounded<T>(std::sin(static_cast<float>(i) + 1.0f));
  for (size_t i = 0; i < b.size(); ++i) b[i] = rounded<T>(std::cos(3.0f * static_cast<float>(i)));
  std::vector<float> d(kM * N, NAN);
  SRCNN_LAUNCH((product_kernel<T, N>), 1, 128, (kM + N) * K * sizeof(T), nullptr, a.data(), b.data(), d.data(), a_in_registers,
               fault);
  for (int row = 0; row < kM; ++row) {
    for (int column = 0; column < N; ++column) {
      double sum = 0.0;
      for (int k = 0; k < K; ++k) sum += double{widened(a[row * K + k])} * double{widened(b[column * K + k])};
      if (!(std::abs(d[row * N + column] - sum) < 1e-5)) return false;
    }
  }
  return true;
}

TEST_CASE("products of a warpgroup") {
  for_seeds(kSeeds, [](uint64_t seed) {
    CAPTURE(seed);
    for (const bool in_registers : {false, true}) {
      CHECK(product_is_right<Half, 96>(in_registers, Fault::kNone));
      CHECK(product_is_right<Half, 160>(in_registers, Fault::kNone));
      CHECK(product_is_right<BFloat16, 64>(in_registers, Fault::kNone));
      CHECK(product_is_right<BFloat16, 160>(in_registers, Fault::kNone));
      CHECK(product_is_right<float, 32>(in_registers, Fault::kNone));
      CHECK(product_is_right<float, 96>(in_registers, Fault::kNone));
      CHECK(product_is_right<float, 128>(in_registers, Fault::kNone));
    }
  });
}

TEST_CASE("a wrong layout, an early access, a missing barrier give a wrong product on every seed") {
  for (const Fault fault :
       {Fault::kOffsetsSwapped, Fault::kColumnsOfD, Fault::kEarlyRead, Fault::kOverwritten, Fault::kNoBarrier}) {
    CAPTURE(static_cast<int>(fault));
    CHECK(caught(kSeeds, [&] { return product_is_right<Half, 96>(false, fault); }) == kSeeds);
    CHECK(caught(kSeeds, [&] { return product_is_right<float, 96>(false, fault); }) == kSeeds);
  }
  CHECK_FALSE(product_is_right<Half, 96>(true, Fault::kRowsOfA));
  CHECK_FALSE(product_is_right<float, 96>(true, Fault::kRowsOfA));
}

TEST_CASE("a forgotten step is an error on every seed") {
  const auto message = [](Fault fault) { return message_of<WgmmaError>([&] { product_is_right<Half, 96>(false, fault); }); };
  for_seeds(kSeeds, [&](uint64_t) {
    CHECK(contains(message(Fault::kNoProxyFence), "was written, but no fence.proxy.async came after that"));
    CHECK(contains(message(Fault::kNoFence), "no wgmma.fence came before"));
    CHECK(contains(message(Fault::kNoCommit), "the kernel ended before a wgmma was waited for"));
    CHECK(contains(message(Fault::kNoWait), "the kernel ended before a wgmma was waited for"));
    CHECK(contains(message(Fault::kEarlyWrite), "wrote an accumulator while the product was under way"));
    CHECK(contains(message(Fault::kOneLaneDiffers), "lanes 0 and 3 differ in their descriptors"));
    CHECK(contains(message(Fault::kPastTheEnd), "outside the block's shared memory"));
    CHECK(contains(message(Fault::kMisaligned), "the address must be a multiple of 16, got 6146"));
    CHECK(contains(message(Fault::kOneWarpSkips), " of the warpgroup does wgmma"));
  });
}

__global__ void small_block_kernel() { ptx::wgmma_fence(); }

TEST_CASE("a block without a whole warpgroup has no wgmma") {
  CHECK(contains(message_of<WgmmaError>([] { SRCNN_LAUNCH(small_block_kernel, 1, 96, 0, nullptr); }),
                 "has no whole warpgroup: the block has 96 threads"));
}

__global__ void rewritten_kernel(float* out, bool fenced) {
  SRCNN_DYNAMIC_SHARED(float, shared);
  const int thread = static_cast<int>(threadIdx.x);
  const uint32_t ones[4] = {__float_as_uint(1.0f), __float_as_uint(1.0f), __float_as_uint(1.0f), __float_as_uint(1.0f)};
  float d[4][4] = {};
  for (int round = 0; round < 2; ++round) {
    for (int i = thread; i < 32 * 8; i += 128) shared[i] = static_cast<float>(round + 1);
    if (round == 0 || fenced) ptx::fence_proxy_async();
    __syncthreads();
    ptx::wgmma_fence(d);
    ptx::wgmma_m64k8_tf32(d, ones, ptx::make_descriptor(shared, 512, 128));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>(d);
    __syncthreads();
  }
  out[thread] = d[3][3];
}

TEST_CASE("operands that are written again need another fence.proxy.async") {
  std::vector<float> out(128, NAN);
  SRCNN_LAUNCH(rewritten_kernel, 1, 128, 1024, nullptr, out.data(), true);
  for (const float value : out) CHECK(value == 8.0f + 16.0f);
  CHECK(contains(message_of<WgmmaError>([&] { SRCNN_LAUNCH(rewritten_kernel, 1, 128, 1024, nullptr, out.data(), false); }),
                 "no fence.proxy.async came after that"));
}

}  // namespace
