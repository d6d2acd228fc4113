// The host side of the fused forward: device limits -> configuration -> launch.
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
  return {attribute(cudaDevAttrMultiProcessorCount), attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin),
          attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor), attribute(cudaDevAttrMaxThreadsPerMultiProcessor), kSharedGap};
}

void srcnn_forward(const ForwardProblem& problem, void* stream) {
  const DeviceLimits device = current_device_limits();
  ForwardParams params{problem.input,        problem.output,       problem.conv1.weight, problem.conv1.bias, problem.conv2.weight,
                       problem.conv2.bias,   problem.conv3.weight, problem.conv3.bias,   problem.scale,      problem.bicubic,
                       problem.padding,      {},                   {}};
  params.config = choose_forward_config(problem, device);
  params.tiling = tile_forward(problem, params.config, device);
  launch_srcnn_forward_fma(params, problem.conv2.kernel_size, static_cast<cudaStream_t>(stream));
}

}  // namespace srcnn::cuda
