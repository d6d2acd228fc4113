// Shared memory: NaN at the start, red zones, overruns. And the limits of a launch.
#include <doctest/doctest.h>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <string>
#include <vector>

#include "planted_faults.h"

namespace {

using cuda_on_cpu::for_seeds;
using cuda_on_cpu::Gpu;
using cuda_on_cpu::gpu;
using cuda_on_cpu::SharedMemoryError;

constexpr int kSeeds = 50;

__global__ void unset_kernel(float* floats, __half* halves, __nv_bfloat16* bfloats) {
  SRCNN_DYNAMIC_SHARED(unsigned char, memory);
  const unsigned t = threadIdx.x;
  floats[t] = reinterpret_cast<float*>(memory)[t];
  halves[t] = reinterpret_cast<__half*>(memory)[t];
  bfloats[t] = reinterpret_cast<__nv_bfloat16*>(memory)[t];
  memory[t] = 0;  // for the next block
}

TEST_CASE("shared memory is NaN when a block begins") {
  std::vector<float> floats(32);
  std::vector<__half> halves(32);
  std::vector<__nv_bfloat16> bfloats(32);
  SRCNN_LAUNCH(unset_kernel, 2, 1, 128, nullptr, floats.data(), halves.data(), bfloats.data());
  CHECK(std::isnan(floats[0]));
  CHECK(std::isnan(__half2float(halves[0])));
  CHECK(std::isnan(__bfloat162float(bfloats[0])));
}

enum class Access { kInside, kReadGap, kWriteGap, kReadEnd, kWriteEnd, kWriteFront, kGapTooLate };

// Two arrays of 32 floats with a gap behind each.
__global__ void gap_kernel(float* y, Access access) {
  using srcnn::cuda::kSharedGap;
  SRCNN_DYNAMIC_SHARED(unsigned char, memory);
  auto* first = reinterpret_cast<float*>(memory);
  auto* second = reinterpret_cast<float*>(memory + 128 + kSharedGap);
  if (access == Access::kGapTooLate) first[33] = 0.0f;
  if (threadIdx.x == 0) {
    srcnn::cuda::shared_red_zone(memory + 128, kSharedGap);
    srcnn::cuda::shared_red_zone(memory + 256 + kSharedGap, kSharedGap);
  }
  __syncthreads();
  first[threadIdx.x] = 1.0f;
  second[threadIdx.x] = 2.0f;
  __syncthreads();
  const int end = 64 + 2 * kSharedGap / 4;
  if (access == Access::kWriteGap && threadIdx.x == 7) first[32] = 3.0f;
  if (access == Access::kWriteEnd && threadIdx.x == 7) first[end] = 3.0f;
  if (access == Access::kWriteFront && threadIdx.x == 7) first[-1] = 3.0f;
  y[threadIdx.x] = first[access == Access::kReadGap ? threadIdx.x + 1 : threadIdx.x] + second[threadIdx.x];
  if (access == Access::kReadEnd) y[threadIdx.x] = first[end];
}

void launch_gap_kernel(float* y, Access access) {
  SRCNN_LAUNCH(gap_kernel, 2, 32, 256 + 2 * srcnn::cuda::kSharedGap, nullptr, y, access);
}

TEST_CASE("arrays between red zones") {
  std::vector<float> y(32, NAN);
  CHECK(caught(kSeeds, [&] {
          launch_gap_kernel(y.data(), Access::kInside);
          return y == std::vector<float>(32, 3.0f);
        }) == 0);
}

TEST_CASE("what lies outside an array is caught: by ASan at the access, otherwise by NaN or when the block ends") {
  std::vector<float> y(32, 0.0f);
  for (const Access access : {Access::kReadGap, Access::kReadEnd, Access::kWriteGap, Access::kWriteEnd, Access::kWriteFront}) {
    CAPTURE(static_cast<int>(access));
    const bool reads = access == Access::kReadGap || access == Access::kReadEnd;
    for_seeds(kAsan ? 3 : kSeeds, [&](uint64_t) {  // a process each under ASan
      if (kAsan) {
        const std::string words = last_words([&] { launch_gap_kernel(y.data(), access); });
        CAPTURE(words);
        CHECK(contains(words, "AddressSanitizer: use-after-poison"));
        CHECK(contains(words, reads ? "READ of size 4" : "WRITE of size 4"));
        CHECK(contains(words, "gap_kernel"));
      } else if (reads) {
        launch_gap_kernel(y.data(), access);
        CHECK(std::isnan(y[31]));
      } else {
        const std::string message = message_of<SharedMemoryError>([&] { launch_gap_kernel(y.data(), access); });
        CAPTURE(message);
        const char* words = access == Access::kWriteGap   ? "first at byte 128"
                            : access == Access::kWriteEnd ? "byte 384 was written, but the block has 384 bytes"
                                                          : "in front of";
        CHECK(contains(message, words));
      }
    });
  }
}

TEST_CASE("a gap that was written before it was announced") {
  std::vector<float> y(32);
  // Thread 0 writes the gap itself before it announces it, so every order shows it.
  CHECK(contains(message_of<SharedMemoryError>([&] { launch_gap_kernel(y.data(), Access::kGapTooLate); }), "was written"));
}

__global__ void empty_kernel() {}
__global__ void other_kernel() {}

struct RestoreGpu {
  Gpu old = gpu();
  ~RestoreGpu() { gpu() = old; }
};

cudaError_t launch_empty(dim3 grid, dim3 block, size_t shared_bytes = 0) {
  SRCNN_LAUNCH(empty_kernel, grid, block, shared_bytes, nullptr);
  CHECK(cudaPeekAtLastError() == cudaPeekAtLastError());
  return cudaGetLastError();
}

TEST_CASE("launches beyond the limits leave the real runtime's errors") {
  CHECK(launch_empty(1, 1024) == cudaSuccess);
  CHECK(launch_empty(1, 1025) == cudaErrorInvalidConfiguration);
  CHECK(launch_empty(1, dim3(32, 33)) == cudaErrorInvalidConfiguration);
  CHECK(launch_empty(1, dim3(1, 1, 65)) == cudaErrorInvalidConfiguration);
  CHECK(launch_empty(1, 0) == cudaErrorInvalidConfiguration);
  CHECK(launch_empty(0, 1) == cudaErrorInvalidConfiguration);
  CHECK(launch_empty(dim3(1, 65536), 1) == cudaErrorInvalidConfiguration);
  CHECK(launch_empty(0x80000000u, 1) == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaSuccess);  // forgotten
  CHECK(std::string(cudaGetErrorString(cudaErrorInvalidConfiguration)) == "invalid configuration argument");
}

TEST_CASE("more than 48 KiB of shared memory must be asked for") {
  const RestoreGpu restore;
  const int optin = gpu().shared_per_block_optin;
  CHECK(launch_empty(1, 1, 48 * 1024) == cudaSuccess);
  CHECK(launch_empty(1, 1, 48 * 1024 + 1) == cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(other_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, optin) == cudaSuccess);
  CHECK(launch_empty(1, 1, 48 * 1024 + 1) == cudaErrorInvalidValue);  // for another kernel
  CHECK(cudaFuncSetAttribute(empty_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, optin + 1) == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(empty_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 100000) == cudaSuccess);
  CHECK(launch_empty(1, 1, 100000) == cudaSuccess);
  CHECK(launch_empty(1, 1, 100001) == cudaErrorInvalidValue);
  gpu() = cuda_on_cpu::gpu_of(75);
  CHECK(cudaFuncSetAttribute(empty_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 65537) == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
}

TEST_CASE("the imaginary GPU") {
  const RestoreGpu restore;
  const auto current = [] {
    int device = -1;
    REQUIRE(cudaGetDevice(&device) == cudaSuccess);
    return device;
  };
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = -1;
    REQUIRE(cudaDeviceGetAttribute(&value, which, current()) == cudaSuccess);
    return value;
  };
  const int before = current();
  gpu() = cuda_on_cpu::gpu_of(86);
  gpu().multiprocessors = 3;
  CHECK(current() != before);  // what is known of one GPU is not taken for another's
  CHECK(attribute(cudaDevAttrMultiProcessorCount) == 3);
  CHECK(attribute(cudaDevAttrComputeCapabilityMajor) == 8);
  CHECK(attribute(cudaDevAttrComputeCapabilityMinor) == 6);
  CHECK(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin) == 101376);
  int value = 0;
  CHECK(cudaDeviceGetAttribute(&value, cudaDevAttrWarpSize, before) == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaErrorInvalidDevice);
  CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&value, other_kernel, 256, 0) == cudaSuccess);
  CHECK(value == 6);
  CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&value, other_kernel, 256, 40 * 1024) == cudaSuccess);
  CHECK(value == 2);
}

}  // namespace
