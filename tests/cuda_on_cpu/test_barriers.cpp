// Barriers: correct kernels over many orders, and planted faults that must be caught.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "platform.cuh"

namespace {

using cuda_on_cpu::for_seeds;

enum class Fault { kNone, kNoBarrier };

__global__ void reduce_kernel(const float* x, float* sum, Fault fault) {
  SRCNN_DYNAMIC_SHARED(float, values);
  const unsigned t = threadIdx.x;
  values[t] = x[blockIdx.x * blockDim.x + t];
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (fault != Fault::kNoBarrier || half != 8) __syncthreads();
    if (t < half) values[t] += values[t + half];
  }
  if (t == 0) sum[blockIdx.x] = values[0];
}

TEST_CASE("a reduction is right in every order") {
  std::vector<float> x(4 * 128), sum(4);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  for_seeds(50, [&](uint64_t) {
    std::fill(sum.begin(), sum.end(), NAN);
    SRCNN_LAUNCH(reduce_kernel, 4, 128, 128 * sizeof(float), nullptr, x.data(), sum.data(), Fault::kNone);
    REQUIRE(cudaGetLastError() == cudaSuccess);
    for (size_t b = 0; b < 4; ++b) REQUIRE(sum[b] == static_cast<float>(128 * 128 * b + 127 * 64));
  });
}

}  // namespace
