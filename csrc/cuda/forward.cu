// The host side of the fused forward: device limits -> plan -> launch.
#include <cstdlib>
#include <string>
#include <type_traits>
#include <utility>

#include "choose.h"
#include "kernels.h"
#include "launch.cuh"
#include "platform.cuh"

namespace srcnn::cuda {

DeviceLimits current_device_limits() {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  const auto attribute = [device](cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
    return value;
  };
  return {attribute(cudaDevAttrMultiProcessorCount),
          attribute(cudaDevAttrComputeCapabilityMajor) * 10 + attribute(cudaDevAttrComputeCapabilityMinor),
          attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin),
          attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor),
          attribute(cudaDevAttrMaxThreadsPerMultiProcessor),
          kSharedGap};
}

namespace {

// What a plan depends on.
struct PlanKey {
  ForwardShape shape;
  Element element;
  bool allow_tf32;
  std::string forced;
  int device;
  bool operator==(const PlanKey&) const = default;
};

// Choosing takes tens of microseconds, as long as a small image; most calls are like the one before.
template <class T>
const ForwardPlan& plan_of(const ForwardProblemOf<T>& problem) {
  thread_local PlanKey last{};
  thread_local ForwardPlan plan;
  const char* forced = std::getenv("SRCNN_FUSED_CUDA_KERNEL");
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  PlanKey key{shape_of(problem), kElementOf<T>, problem.allow_tf32, forced != nullptr && *forced != '\0' ? forced : "auto",
              device};
  if (!(key == last)) {
    plan = choose_forward(key.shape, key.element, key.allow_tf32, key.forced, current_device_limits());
    last = std::move(key);
  }
  return plan;
}

}  // namespace

template <class T>
size_t srcnn_forward_workspace(const ForwardProblemOf<T>& problem) {
  return static_cast<size_t>(plan_of(problem).mma.workspace_bytes());
}

template <class T>
void srcnn_forward(const ForwardProblemOf<T>& problem, void* workspace, void* stream) {
  const ForwardPlan& plan = plan_of(problem);
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  const ForwardMmaParams<T> mma{problem, plan.mma, plan.tiling, workspace};
  if (plan.kernel == ForwardKernel::kFma) {
    return launch_srcnn_forward_fma(ForwardParams<T>{problem, plan.fma, plan.tiling}, cuda_stream);
  }
  const bool wgmma = plan.kernel == ForwardKernel::kWgmma;
  if constexpr (std::is_same_v<T, Half>) {
    (wgmma ? launch_srcnn_forward_wgmma_f16 : launch_srcnn_forward_mma_f16)(mma, cuda_stream);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    (wgmma ? launch_srcnn_forward_wgmma_bf16 : launch_srcnn_forward_mma_bf16)(mma, cuda_stream);
  } else if (plan.kernel == ForwardKernel::kTf32x3) {
    launch_srcnn_forward_mma_tf32x3(mma, cuda_stream);
  } else {
    (wgmma ? launch_srcnn_forward_wgmma_tf32 : launch_srcnn_forward_mma_tf32)(mma, cuda_stream);
  }
}

template size_t srcnn_forward_workspace(const ForwardProblemOf<float>& problem);
template size_t srcnn_forward_workspace(const ForwardProblemOf<Half>& problem);
template size_t srcnn_forward_workspace(const ForwardProblemOf<BFloat16>& problem);
template void srcnn_forward(const ForwardProblemOf<float>& problem, void* workspace, void* stream);
template void srcnn_forward(const ForwardProblemOf<Half>& problem, void* workspace, void* stream);
template void srcnn_forward(const ForwardProblemOf<BFloat16>& problem, void* workspace, void* stream);

}  // namespace srcnn::cuda
