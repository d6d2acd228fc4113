// Which forward kernel is chosen for a problem on a GPU, and how it is laid out: all of it is host arithmetic.
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <cstdint>
#include <set>
#include <stdexcept>
#include <string>

#include "choose.h"
#include "planted_faults.h"

using namespace srcnn::cuda;

namespace {

constexpr int kGenerations[] = {75, 80, 86, 89, 90, 100, 120};

DeviceLimits limits_of(int generation) {
  const cuda_on_cpu::Gpu gpu = cuda_on_cpu::gpu_of(generation);
  return {gpu.multiprocessors,           gpu.compute_capability,         gpu.shared_per_block_optin,
          gpu.shared_per_multiprocessor, gpu.threads_per_multiprocessor, 0};
}

ForwardShape full_hd(int kernel2, int channels = 1, int64_t scale = 1) { return {1, channels, kernel2, scale, 1080, 1920}; }

std::string refusal(const ForwardShape& shape, Element element, const std::string& forced, const DeviceLimits& device) {
  return message_of<std::runtime_error>([&] { choose_forward(shape, element, true, forced, device); });
}

}  // namespace

TEST_CASE("tensor cores for 16 bits, and for float where TF32 is allowed; else exact multiply-adds") {
  for (const int generation : kGenerations) {
    const DeviceLimits device = limits_of(generation);
    const bool tensor_cores = generation >= 80;
    for (const int kernel2 : {1, 3, 5}) {
      for (const int channels : {1, 3}) {
        const ForwardShape shape = full_hd(kernel2, channels);
        for (const Element element : {Element::kHalf, Element::kBFloat16}) {
          const ForwardPlan plan = choose_forward(shape, element, false, "auto", device);
          INFO("sm_", generation, ": ", plan.describe());
          CHECK(plan.kernel == (tensor_cores ? ForwardKernel::kMma : ForwardKernel::kFma));
        }
        const ForwardPlan exact = choose_forward(shape, Element::kFloat, false, "auto", device);
        CHECK(exact.kernel == ForwardKernel::kFma);
        CHECK(contains(exact.describe(), "fma (float32 without TF32 is computed exactly): "));
        const ForwardPlan tf32 = choose_forward(shape, Element::kFloat, true, "auto", device);
        INFO("sm_", generation, ": ", tf32.describe());
        if (tf32.kernel == ForwardKernel::kFma) CHECK(contains(tf32.describe(), "fma (not tf32: "));
        if (generation == 80 || generation == 90 || generation == 100) CHECK(tf32.kernel == ForwardKernel::kTf32);
        if (!tensor_cores) CHECK(tf32.kernel == ForwardKernel::kFma);
      }
    }
  }
}

TEST_CASE("every layout fits the device, covers the image once and keeps its blocks busy") {
  std::set<std::string> plans;
  const ForwardShape shapes[] = {full_hd(1),
                                 full_hd(3, 3),
                                 full_hd(5),
                                 full_hd(5, 3, 2),
                                 {64, 1, 5, 1, 256, 256},
                                 {1, 1, 1, 3, 3, 3},
                                 {1, 1, 3, 1, 20000, 64},
                                 {1, 3, 5, 1, 4320, 7680}};
  for (const int generation : kGenerations) {
    const DeviceLimits device = limits_of(generation);
    for (const ForwardShape& shape : shapes) {
      for (const char* kernel : {"fma", "mma", "tf32", "tf32x3", "wgmma"}) {
        const Element element = std::string(kernel) == "mma" ? Element::kHalf : Element::kFloat;
        ForwardPlan plan;
        try {
          plan = choose_forward(shape, element, true, kernel, device);
        } catch (const std::runtime_error&) {
          continue;
        }
        plans.insert(plan.describe());
        const bool fma = plan.kernel == ForwardKernel::kFma;
        const int shared = fma ? plan.fma.shared_bytes() : plan.mma.shared.size;
        const int blocks = fma ? plan.fma.blocks_per_sm : plan.mma.blocks_per_sm;
        const int width = fma ? plan.fma.strip_width : plan.mma.strip_width;
        const int threads = fma ? plan.fma.threads() : plan.mma.threads();
        INFO("sm_", generation, " ", shape.height, "x", shape.width, ": ", plan.describe());
        CHECK(shared <= device.shared_memory_per_block);
        CHECK(static_cast<int64_t>(blocks) * (shared + (generation < 80 ? 0 : 1024)) <= device.shared_memory_per_sm);
        CHECK(threads % 32 == 0);
        CHECK(threads <= 256);
        const ForwardTiling& tiling = plan.tiling;
        CHECK(static_cast<int64_t>(tiling.strips) * width >= shape.width);
        CHECK(static_cast<int64_t>(tiling.strips - 1) * width < shape.width);
        CHECK(static_cast<int64_t>(tiling.segments) * tiling.segment_height >= shape.height);
        CHECK(static_cast<int64_t>(tiling.segments - 1) * tiling.segment_height < shape.height);
        CHECK(tiling.jobs == shape.batch * tiling.strips * tiling.segments);
        CHECK(tiling.blocks <= tiling.jobs);
        if (shape.height * shape.width > 1000000) CHECK(tiling.blocks >= device.sm_count / 2);
      }
    }
  }
  CHECK(plans.size() > 100);
}

TEST_CASE("a kernel that is forced and cannot do it says why") {
  const DeviceLimits turing = limits_of(75), ada = limits_of(89), hopper = limits_of(90);
  const std::string name = "SRCNN_FUSED_CUDA_KERNEL";
  CHECK(refusal(full_hd(1), Element::kHalf, "fastest", hopper) ==
        name + " must be auto, fma, mma, tf32, tf32x3 or wgmma, got 'fastest'");
  CHECK(refusal(full_hd(1), Element::kFloat, "mma", hopper) == name + "=mma: it is not for float32");
  CHECK(refusal(full_hd(1), Element::kBFloat16, "tf32", hopper) == name + "=tf32: it is not for bfloat16");
  CHECK(refusal(full_hd(1), Element::kHalf, "mma", turing) ==
        name + "=mma: the GPU has no such tensor cores (they come with sm_80)");
  CHECK(refusal(full_hd(5), Element::kHalf, "wgmma", ada) == name + "=wgmma: it is for sm_90a alone");
  CHECK(refusal(full_hd(1), Element::kHalf, "wgmma", hopper) == name + "=wgmma: conv2 of 9-1-5 never leaves the registers");
  CHECK(refusal(full_hd(1, 1, 300), Element::kHalf, "mma", hopper) ==
        name + "=mma: it tabulates the bicubic weights of scales up to 256, this one is 300");
  DeviceLimits small = hopper;
  small.shared_memory_per_block = 40000;
  CHECK(refusal(full_hd(3), Element::kFloat, "tf32x3", small) ==
        name + "=tf32x3: its weights do not fit the 40000 bytes of shared memory that a block has");
  CHECK(choose_forward(full_hd(5), Element::kFloat, false, "tf32x3", hopper).why == "forced");
}

TEST_CASE("conv2's weights pass through a workspace of their size, and are streamed where they do not fit") {
  const ForwardPlan resident = choose_forward(full_hd(5), Element::kHalf, false, "auto", limits_of(90));
  CHECK_FALSE(resident.mma.stream_weight2);
  CHECK(resident.mma.workspace_bytes() == 32 * 64 * 25 * 2);
  CHECK(choose_forward(full_hd(1), Element::kHalf, false, "auto", limits_of(90)).mma.workspace_bytes() == 0);
  const ForwardPlan tf32 = choose_forward(full_hd(5), Element::kFloat, true, "auto", limits_of(90));
  CHECK(tf32.mma.stream_weight2);
  CHECK(tf32.mma.workspace_bytes() == 32 * 64 * 25 * 4);
  CHECK(contains(tf32.describe(), "conv2 weights streamed"));
  const ForwardPlan consumer = choose_forward(full_hd(5), Element::kHalf, false, "auto", limits_of(89));
  CHECK(consumer.mma.stream_weight2);
  CHECK(consumer.mma.workspace_bytes() == 32 * 64 * 25 * 2);
}
