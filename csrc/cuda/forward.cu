// The host side of the fused forward: device limits -> configuration -> launch.
#include <type_traits>

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
  const DeviceLimits device = current_device_limits();
  const ForwardShape shape = shape_of(problem);
  if constexpr (!std::is_same_v<T, float>) {
    ForwardMmaConfig mma;
    if (device.compute_capability >= 80 && choose_forward_mma_config(shape, device, mma)) {
      const ForwardTiling tiling = tile_forward(shape, mma.strip_width, 1, mma.blocks_per_sm, device);
      return launch_srcnn_forward_mma(ForwardMmaParams<T>{problem, mma, tiling}, static_cast<cudaStream_t>(stream));
    }
  }
  const ForwardConfig config = choose_forward_config(shape, device);
  const ForwardTiling tiling = tile_forward(shape, config.strip_width, config.rows, config.blocks_per_sm, device);
  launch_srcnn_forward_fma(ForwardParams<T>{problem, config, tiling}, static_cast<cudaStream_t>(stream));
}

template void srcnn_forward(const ForwardProblemOf<float>& problem, void* stream);
template void srcnn_forward(const ForwardProblemOf<Half>& problem, void* stream);
template void srcnn_forward(const ForwardProblemOf<BFloat16>& problem, void* stream);

}  // namespace srcnn::cuda
