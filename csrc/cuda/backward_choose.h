// Which backward kernel runs a problem, and how: host-only, printable, tested without a GPU.
#pragma once

#include <string>

#include "backward.h"
#include "backward_mma.h"

namespace srcnn::cuda {

// "fma", "mma": how SRCNN_FUSED_CUDA_KERNEL names them.
const char* name_of(BackwardKernel kernel);

struct BackwardPlan {
  BackwardKernel kernel;
  BackwardConfig fma;     // for kFma
  BackwardMmaConfig mma;  // for kMma
  ForwardTiling tiling;
  std::string why;  // this kernel, and not another

  std::string describe() const;
};

// `forced`: "fma", "mma", or "auto"; the forward's other kernels have no backward of their own and count as "auto". Throws
// std::runtime_error for an unknown name, and where the kernel that is forced cannot do it or not even the FMA kernel fits the
// device.
BackwardPlan choose_backward(const BackwardShape& shape, Element element, const std::string& forced,
                             const DeviceLimits& device);

}  // namespace srcnn::cuda
