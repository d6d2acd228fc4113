// The host side of the fused forward: device limits -> plan -> launch.
#include <cstdlib>
#include <type_traits>

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

template <class T>
void srcnn_forward(const ForwardProblemOf<T>& problem, void* stream) {
  const char* forced = std::getenv("SRCNN_FUSED_CUDA_KERNEL");
  const ForwardPlan plan = choose_forward(shape_of(problem), kElementOf<T>, problem.allow_tf32,
                                          forced != nullptr && *forced != '\0' ? forced : "auto", current_device_limits());
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  const ForwardMmaParams<T> mma{problem, plan.mma, plan.tiling};
  if (plan.kernel == ForwardKernel::kFma) {
    return launch_srcnn_forward_fma(ForwardParams<T>{problem, plan.fma, plan.tiling}, cuda_stream);
  }
  if constexpr (std::is_same_v<T, Half>) {
    launch_srcnn_forward_mma_f16(mma, cuda_stream);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    launch_srcnn_forward_mma_bf16(mma, cuda_stream);
  } else if (plan.kernel == ForwardKernel::kTf32) {
    launch_srcnn_forward_mma_tf32(mma, cuda_stream);
  } else {
    launch_srcnn_forward_mma_tf32x3(mma, cuda_stream);
  }
}

template void srcnn_forward(const ForwardProblemOf<float>& problem, void* stream);
template void srcnn_forward(const ForwardProblemOf<Half>& problem, void* stream);
template void srcnn_forward(const ForwardProblemOf<BFloat16>& problem, void* stream);

}  // namespace srcnn::cuda
