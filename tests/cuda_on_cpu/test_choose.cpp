// Which forward kernel is chosen for a problem on a GPU, and how it is laid out: all of it is host arithmetic.
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "choose.h"
#include "kernels.h"
#include "planted_faults.h"

using namespace srcnn::cuda;

namespace {

DeviceLimits limits_of(int generation) {
  const cuda_on_cpu::Gpu gpu = cuda_on_cpu::gpu_of(generation);
  return {gpu.multiprocessors,           gpu.compute_capability,         gpu.shared_per_block_optin,
          gpu.shared_per_multiprocessor, gpu.threads_per_multiprocessor, 0};
}

constexpr ForwardShape kFullHd5{1, 1, 5, 1, 1080, 1920};

ForwardShape full_hd(int kernel2, int channels = 1) { return {1, channels, kernel2, 1, 1080, 1920}; }

}  // namespace

TEST_CASE("tensor cores for 16 bits, and for float where TF32 is allowed; else exact multiply-adds") {
  for (const int generation : {75, 80, 86, 89, 90, 100, 120}) {
    const DeviceLimits device = limits_of(generation);
    for (const int kernel2 : {1, 3, 5}) {
      for (const int channels : {1, 3}) {
        const ForwardShape shape = full_hd(kernel2, channels);
        const bool tensor_cores = generation >= 80;
        const std::string where =
            "sm_" + std::to_string(generation) + " 9-" + std::to_string(kernel2) + "-5 c" + std::to_string(channels);
        for (const Element element : {Element::kHalf, Element::kBFloat16}) {
          const ForwardPlan plan = choose_forward(shape, element, false, "auto", device);
          INFO(where, ": ", plan.describe());
          CHECK(plan.kernel == (tensor_cores ? ForwardKernel::kMma : ForwardKernel::kFma));
        }
        const ForwardPlan exact = choose_forward(shape, Element::kFloat, false, "auto", device);
        INFO(where, ": ", exact.describe());
        CHECK(exact.kernel == ForwardKernel::kFma);
        const ForwardPlan tf32 = choose_forward(shape, Element::kFloat, true, "auto", device);
        INFO(where, ": ", tf32.describe());
        MESSAGE(where, ": ", tf32.describe());
        MESSAGE(where, ": ", choose_forward(shape, Element::kHalf, true, "auto", device).describe());
      }
    }
  }
}
