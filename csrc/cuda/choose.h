// Which forward kernel runs a problem, and how: host-only, printable, tested without a GPU.
#pragma once

#include <string>

#include "config.h"

namespace srcnn::cuda {

enum class Element { kFloat, kHalf, kBFloat16 };
template <class T>
inline constexpr Element kElementOf = Element::kFloat;
template <>
inline constexpr Element kElementOf<Half> = Element::kHalf;
template <>
inline constexpr Element kElementOf<BFloat16> = Element::kBFloat16;

enum class ForwardKernel {
  kFma,     // exact fp32 products, any GPU, any element type
  kMma,     // tensor cores, 16-bit products of 16-bit images
  kTf32,    // tensor cores, TF32 products of float images
  kTf32x3,  // tensor cores, three TF32 products for each fp32 one
  kWgmma,   // kMma or kTf32 with Hopper's wgmma for conv2 of 9-3-5 and 9-5-5
};

// "fma", "mma", "tf32", "tf32x3", "wgmma": how SRCNN_FUSED_CUDA_KERNEL names them.
const char* name_of(ForwardKernel kernel);

struct ForwardPlan {
  ForwardKernel kernel;
  ForwardConfig fma;     // for kFma
  ForwardMmaConfig mma;  // for the others
  ForwardTiling tiling;
  std::string why;  // this kernel, and not another

  std::string describe() const;
};

// `forced`: a kernel's name, or "auto". Throws std::runtime_error for an unknown name, and where the kernel that is forced
// cannot do it or not even the FMA kernel fits the device.
ForwardPlan choose_forward(const ForwardShape& shape, Element element, bool allow_tf32, const std::string& forced,
                           const DeviceLimits& device);

}  // namespace srcnn::cuda
