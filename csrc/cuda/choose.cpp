#include "choose.h"

#include <sstream>
#include <stdexcept>
#include <string>

// Whether there is code for sm_90a: setup.py says so of an extension with CUDA kernels. Elsewhere (the plain library, which is
// not launched, and the tests on the CPU) nothing depends on it.
#if defined(SRCNN_FUSED_SM90A) || !defined(SRCNN_FUSED_WITH_CUDA)
inline constexpr bool kBuiltForSm90a = true;
#else
inline constexpr bool kBuiltForSm90a = false;
#endif

namespace srcnn::cuda {
namespace {

const char* name_of(Element element) {
  return element == Element::kHalf ? "float16" : element == Element::kBFloat16 ? "bfloat16" : "float32";
}

// Why `kernel` cannot run the problem, or nothing; fills the plan's configuration where it can.
std::string try_kernel(ForwardKernel kernel, const ForwardShape& shape, Element element, const DeviceLimits& device,
                       ForwardPlan& plan) {
  plan.kernel = kernel;
  if (kernel == ForwardKernel::kFma) {
    plan.fma = choose_forward_config(shape, device);
    plan.tiling = tile_forward(shape, plan.fma.strip_width, plan.fma.rows, plan.fma.blocks_per_sm, device);
    return "";
  }
  const bool sixteen = element != Element::kFloat;
  const bool wgmma = kernel == ForwardKernel::kWgmma;
  if (!wgmma && sixteen != (kernel == ForwardKernel::kMma)) return std::string("it is not for ") + name_of(element);
  if (device.compute_capability < 80) return "the GPU has no such tensor cores (they come with sm_80)";
  if (wgmma && device.compute_capability != 90) return "it is for sm_90a alone";
  if (wgmma && !kBuiltForSm90a) return "the extension was built without sm_90a (TORCH_CUDA_ARCH_LIST=9.0a)";
  if (wgmma && shape.kernel2 == 1) return "conv2 of 9-1-5 never leaves the registers";
  if (shape.scale > kMaxPhases) {
    return "it tabulates the bicubic weights of scales up to " + std::to_string(kMaxPhases) + ", this one is " +
           std::to_string(shape.scale);
  }
  const OperandFormat format{sixteen ? 2 : 1, kernel == ForwardKernel::kTf32x3 ? 3 : 1, wgmma};
  if (!choose_forward_mma_config(shape, format, device, plan.mma)) {
    return "its weights do not fit the " + std::to_string(device.shared_memory_per_block) +
           " bytes of shared memory that a block has";
  }
  plan.tiling = tile_forward(shape, plan.mma.strip_width, 1, plan.mma.blocks_per_sm, device);
  return "";
}

}  // namespace

const char* name_of(ForwardKernel kernel) {
  switch (kernel) {
    case ForwardKernel::kFma:
      return "fma";
    case ForwardKernel::kMma:
      return "mma";
    case ForwardKernel::kTf32:
      return "tf32";
    case ForwardKernel::kTf32x3:
      return "tf32x3";
    default:
      return "wgmma";
  }
}

std::string ForwardPlan::describe() const {
  std::ostringstream text;
  text << name_of(kernel) << " (" << why << "): " << (kernel == ForwardKernel::kFma ? fma.describe() : mma.describe()) << "; "
       << tiling.strips << " x " << tiling.segments << " tiles an image, " << tiling.blocks << " blocks";
  return text.str();
}

ForwardPlan choose_forward(const ForwardShape& shape, Element element, bool allow_tf32, const std::string& forced,
                           const DeviceLimits& device) {
  ForwardPlan plan{};
  if (forced != "auto") {
    for (const ForwardKernel kernel :
         {ForwardKernel::kFma, ForwardKernel::kMma, ForwardKernel::kTf32, ForwardKernel::kTf32x3, ForwardKernel::kWgmma}) {
      if (forced != name_of(kernel)) continue;
      const std::string refusal = try_kernel(kernel, shape, element, device, plan);
      if (!refusal.empty()) throw std::runtime_error("SRCNN_FUSED_CUDA_KERNEL=" + forced + ": " + refusal);
      plan.why = "forced";
      return plan;
    }
    throw std::runtime_error("SRCNN_FUSED_CUDA_KERNEL must be auto, fma, mma, tf32, tf32x3 or wgmma, got '" + forced + "'");
  }
  // Float without TF32 takes exact multiply-adds until tf32x3 has been measured to be faster.
  std::string why = "float32 without TF32 is computed exactly";
  if (element != Element::kFloat || allow_tf32) {
    const ForwardKernel wanted = element == Element::kFloat ? ForwardKernel::kTf32 : ForwardKernel::kMma;
    const std::string refusal = try_kernel(wanted, shape, element, device, plan);
    if (refusal.empty()) {
      plan.why = wanted == ForwardKernel::kMma ? std::string(name_of(element)) + " on tensor cores" : "TF32 is allowed";
      return plan;
    }
    why = std::string("not ") + name_of(wanted) + ": " + refusal;
  }
  try_kernel(ForwardKernel::kFma, shape, element, device, plan);
  plan.why = why;
  return plan;
}

}  // namespace srcnn::cuda
