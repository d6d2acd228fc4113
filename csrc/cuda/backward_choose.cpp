#include "backward_choose.h"

#include <sstream>
#include <stdexcept>

namespace srcnn::cuda {
namespace {

// Why the tensor cores cannot run the problem, or nothing; fills the plan where they can.
std::string try_mma(const BackwardShape& shape, Element element, const DeviceLimits& device, BackwardPlan& plan) {
  if (element == Element::kFloat) return "it is not for float32";
  if (device.compute_capability < 80) return "the GPU has no such tensor cores (they come with sm_80)";
  if (shape.scale > kMaxPhases) {
    return "it tabulates the bicubic weights of scales up to " + std::to_string(kMaxPhases) + ", this one is " +
           std::to_string(shape.scale);
  }
  if (!choose_backward_mma_config(shape, device, plan.mma, plan.tiling)) {
    return "its rows do not fit the " + std::to_string(device.shared_memory_per_block) +
           " bytes of shared memory that a block has";
  }
  plan.kernel = BackwardKernel::kMma;
  return "";
}

}  // namespace

const char* name_of(BackwardKernel kernel) { return kernel == BackwardKernel::kFma ? "fma" : "mma"; }

std::string BackwardPlan::describe() const {
  std::ostringstream text;
  text << name_of(kernel) << " (" << why << "): " << (kernel == BackwardKernel::kFma ? fma.describe() : mma.describe()) << "; "
       << tiling.strips << " x " << tiling.segments << " tiles an image, " << tiling.blocks << " blocks";
  return text.str();
}

BackwardPlan choose_backward(const BackwardShape& shape, Element element, const std::string& forced,
                             const DeviceLimits& device) {
  BackwardPlan plan{};
  plan.why = "forced";
  if (forced != "fma") {
    const std::string refusal = try_mma(shape, element, device, plan);
    if (forced == "mma") {
      if (!refusal.empty()) throw std::runtime_error("SRCNN_FUSED_CUDA_KERNEL=mma: " + refusal + " (the backward)");
      return plan;
    }
    if (forced != "auto" && forced != "tf32" && forced != "tf32x3" && forced != "wgmma") {
      throw std::runtime_error("SRCNN_FUSED_CUDA_KERNEL must be auto, fma, mma, tf32, tf32x3 or wgmma, got '" + forced + "'");
    }
    plan.why = refusal.empty()              ? "16 bits on tensor cores"
               : element == Element::kFloat ? "float32 is computed exactly"
                                            : "not mma: " + refusal;
    if (refusal.empty()) return plan;
  }
  plan.kernel = BackwardKernel::kFma;
  plan.fma = choose_backward_config(shape, device);
  plan.tiling = tile_backward(shape, plan.fma, device);
  return plan;
}

}  // namespace srcnn::cuda
