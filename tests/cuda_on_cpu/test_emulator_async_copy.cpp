// cp.async: a double-buffered matrix product, and the ways to get its waits wrong.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "planted_faults.h"
#include "ptx.cuh"

namespace {

using cuda_on_cpu::AsyncCopyError;
using cuda_on_cpu::for_seeds;
namespace ptx = srcnn::cuda::ptx;

constexpr int kSeeds = 50;
constexpr int kTile = 16;

enum class Fault { kNone, kNoWait, kWaitTooShort, kNoBarrierAfterWait, kNoBarrierBeforeReuse, kNoCommit };

// C = A B for square matrices, 16 x 16 tiles by 256 threads, the next pair of tiles under way while one is multiplied.
__global__ void matmul_kernel(const float* a, const float* b, float* c, int n, Fault fault) {
  SRCNN_DYNAMIC_SHARED(float, tiles);  // [2][a, b][16][16]
  const int tx = static_cast<int>(threadIdx.x), ty = static_cast<int>(threadIdx.y);
  const int row = static_cast<int>(blockIdx.y) * kTile + ty, column = static_cast<int>(blockIdx.x) * kTile + tx;
  const auto fetch = [&](int k0, int stage) {
    float* target = tiles + stage * 512 + ty * kTile + tx;
    const bool a_inside = row < n && k0 + tx < n, b_inside = column < n && k0 + ty < n;
    ptx::cp_async<4>(target, a_inside ? a + row * n + k0 + tx : a, a_inside ? 4 : 0);
    ptx::cp_async<4>(target + 256, b_inside ? b + (k0 + ty) * n + column : b, b_inside ? 4 : 0);
    if (fault != Fault::kNoCommit) ptx::cp_async_commit();
  };
  fetch(0, 0);
  float sum = 0.0f;
  for (int k0 = 0, stage = 0; k0 < n; k0 += kTile, stage ^= 1) {
    if (k0 + kTile < n) {
      fetch(k0 + kTile, stage ^ 1);
      if (fault == Fault::kWaitTooShort) ptx::cp_async_wait<2>();
      if (fault != Fault::kNoWait && fault != Fault::kWaitTooShort) ptx::cp_async_wait<1>();
    } else {
      if (fault != Fault::kNoWait) ptx::cp_async_wait<0>();
    }
    if (fault != Fault::kNoBarrierAfterWait) __syncthreads();
    const float* tile = tiles + stage * 512;
    for (int k = 0; k < kTile; ++k) sum += tile[ty * kTile + k] * tile[256 + k * kTile + tx];
    if (fault != Fault::kNoBarrierBeforeReuse) __syncthreads();
  }
  if (row < n && column < n) c[row * n + column] = sum;
}

bool product_is_right(Fault fault) {
  const int n = 45;
  const std::vector<float> a = small_integers(n * n, 1), b = small_integers(n * n, 2);
  std::vector<float> c(n * n, NAN);
  SRCNN_LAUNCH(matmul_kernel, dim3(3, 3), dim3(16, 16), 4 * 256 * sizeof(float), nullptr, a.data(), b.data(), c.data(), n,
               fault);
  REQUIRE(cudaGetLastError() == cudaSuccess);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      float sum = 0.0f;
      for (int k = 0; k < n; ++k) sum += a[i * n + k] * b[k * n + j];
      if (c[i * n + j] != sum) return false;
    }
  }
  return true;
}

TEST_CASE("matrix product, double-buffered") {
  CHECK(caught(kSeeds, [] { return product_is_right(Fault::kNone); }) == 0);
}

TEST_CASE("missing waits, commits and barriers around cp.async are caught on every seed") {
  for (const Fault fault :
       {Fault::kNoWait, Fault::kWaitTooShort, Fault::kNoBarrierAfterWait, Fault::kNoBarrierBeforeReuse, Fault::kNoCommit}) {
    CAPTURE(static_cast<int>(fault));
    CHECK(caught(20, [&] { return product_is_right(fault); }) == 20);
  }
}

__global__ void sizes_kernel(const unsigned char* source, unsigned char* out) {
  SRCNN_DYNAMIC_SHARED(unsigned char, memory);
  ptx::cp_async<16>(memory, source);
  ptx::cp_async<16>(memory + 16, source + 16, 5);
  ptx::cp_async<8>(memory + 32, source + 32, 3);
  ptx::cp_async<4>(memory + 40, nullptr, 0);
  ptx::cp_async<4>(memory + 44, source + 44);
  ptx::cp_async_wait_all();  // committed or not
  for (int i = 0; i < 48; ++i) out[i] = memory[i];
}

TEST_CASE("sizes and zeros") {
  alignas(16) unsigned char source[48];
  for (int i = 0; i < 48; ++i) source[i] = static_cast<unsigned char>(i + 1);
  std::vector<unsigned char> out(48);
  SRCNN_LAUNCH(sizes_kernel, 1, 1, 48, nullptr, source, out.data());
  for (int i = 0; i < 48; ++i) {
    CAPTURE(i);
    const bool zero = (i >= 21 && i < 32) || (i >= 35 && i < 44);
    CHECK(out[i] == (zero ? 0 : i + 1));
  }
}

enum class Misuse { kTarget, kSource, kOutside, kGap, kGlobalTarget, kTooMany, kNone };

__global__ void misuse_kernel(float* source, Misuse misuse) {
  SRCNN_DYNAMIC_SHARED(float, memory);
  switch (misuse) {
    case Misuse::kTarget:
      return ptx::cp_async<16>(memory + 1, source);
    case Misuse::kSource:
      return ptx::cp_async<8>(memory, source + 1);
    case Misuse::kOutside:
      return ptx::cp_async<16>(memory + 16, source);
    case Misuse::kGap:
      srcnn::cuda::shared_red_zone(memory + 4, 16);
      return ptx::cp_async<4>(memory + 5, source);
    case Misuse::kGlobalTarget:
      return ptx::cp_async<4>(source, source);
    case Misuse::kTooMany:
      return ptx::cp_async<4>(memory, source, 5);
    case Misuse::kNone:
      return ptx::cp_async<4>(memory, source);
  }
}

TEST_CASE("addresses that the instruction does not take") {
  alignas(16) float source[8] = {};
  const auto message = [&](Misuse misuse) {
    return message_of<AsyncCopyError>([&] { SRCNN_LAUNCH(misuse_kernel, 1, 1, 64, nullptr, source, misuse); });
  };
  CHECK(contains(message(Misuse::kTarget), "cp.async of 16 bytes (test_emulator_async_copy.cpp:"));
  CHECK(contains(message(Misuse::kTarget), "the target is not aligned to its size"));
  CHECK(contains(message(Misuse::kSource), "the source is not aligned to its size"));
  CHECK(contains(message(Misuse::kOutside), "the target is not in the block's shared memory"));
  CHECK(contains(message(Misuse::kGap), "the target is not in the block's shared memory"));
  CHECK(contains(message(Misuse::kGlobalTarget), "the target is not in the block's shared memory"));
  CHECK(contains(message(Misuse::kTooMany), "the source's size must be 0 to 4, got 5"));
}

#if defined(__SANITIZE_ADDRESS__)  // which alone knows where a buffer ends
TEST_CASE("a source beyond the end of its buffer") {
  std::vector<float> source(5);
  CHECK(contains(
      message_of<AsyncCopyError>([&] { SRCNN_LAUNCH(misuse_kernel, 1, 1, 64, nullptr, source.data() + 5, Misuse::kNone); }),
      "the source cannot be read"));
}
#endif

}  // namespace
