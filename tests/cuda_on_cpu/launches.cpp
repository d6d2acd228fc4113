// Prints how each forward kernel is laid out on one GPU of each generation, a line of JSON each, for
// scripts/kernel_resources.py and scripts/kernel_model.py: 1920x1080, already enlarged, batch 1. A kernel that a GPU cannot run
// has no line there.
#include <cuda_runtime.h>

#include <cstdio>
#include <stdexcept>
#include <string>

#include "choose.h"

using namespace srcnn::cuda;

namespace {

struct Product {  // what a user asks for
  const char* name;
  Element element;
  bool allow_tf32;
};
constexpr Product kProducts[] = {{"float32", Element::kFloat, false},
                                 {"tf32", Element::kFloat, true},
                                 {"float16", Element::kHalf, false},
                                 {"bfloat16", Element::kBFloat16, false}};

// The products for which `auto` takes this kernel, as the inside of a JSON list. bfloat16's kernels are laid out as float16's,
// and FMA's are the same for all: one line for each pair of a kernel and a size of element.
std::string taken_by_auto(ForwardKernel kernel, Element element, const ForwardShape& shape, const DeviceLimits& device) {
  std::string names;
  for (const Product& product : kProducts) {
    const bool same = (product.element == Element::kFloat) == (element == Element::kFloat);
    if (kernel != ForwardKernel::kFma && !same) continue;
    if (choose_forward(shape, product.element, product.allow_tf32, "auto", device).kernel != kernel) continue;
    names += std::string(names.empty() ? "" : ", ") + '"' + product.name + '"';
  }
  return names;
}

void print(int generation, ForwardKernel kernel, Element element, const ForwardShape& shape, const DeviceLimits& device) {
  ForwardPlan plan;
  try {
    plan = choose_forward(shape, element, true, name_of(kernel), device);
  } catch (const std::runtime_error&) {
    return;  // it is not for these elements, this network or this GPU
  }
  const bool fma = kernel == ForwardKernel::kFma;
  const int threads = fma ? plan.fma.threads() : plan.mma.threads();
  const int shared_bytes = fma ? plan.fma.shared_bytes() : plan.mma.shared.size;
  const int columns = fma ? plan.fma.columns : plan.mma.columns, rows = fma ? plan.fma.rows : 1;
  const int strip_width = fma ? plan.fma.strip_width : plan.mma.strip_width;
  const int blocks_per_sm = fma ? plan.fma.blocks_per_sm : plan.mma.blocks_per_sm;
  std::printf(
      "{\"sm\": %d, \"multiprocessors\": %d, \"kernel\": \"%s\", \"element_bytes\": %d, \"auto\": [%s], \"kernel2\": %d, "
      "\"channels\": %d, \"threads\": %d, \"shared_bytes\": %d, \"streamed_bytes\": %d, \"blocks_per_sm\": %d, \"columns\": "
      "%d, "
      "\"strip_width\": %d, \"rows\": %d, \"strips\": %d, \"segments\": %d, \"segment_height\": %d, \"blocks\": %d}\n",
      generation, device.sm_count, name_of(kernel), element == Element::kFloat ? 4 : 2,
      taken_by_auto(kernel, element, shape, device).c_str(), shape.kernel2, shape.channels, threads, shared_bytes,
      !fma && plan.mma.stream_weight2 ? plan.mma.workspace_bytes() : 0, blocks_per_sm, columns, strip_width, rows,
      plan.tiling.strips, plan.tiling.segments, plan.tiling.segment_height, plan.tiling.blocks);
}

}  // namespace

int main() {
  for (const int generation : {75, 80, 86, 89, 90, 100, 120}) {
    const cuda_on_cpu::Gpu gpu = cuda_on_cpu::gpu_of(generation);
    const DeviceLimits device{gpu.multiprocessors, generation, gpu.shared_per_block_optin, gpu.shared_per_multiprocessor,
                              gpu.threads_per_multiprocessor};  // no red zones
    for (const int kernel2 : {1, 3, 5}) {
      for (const int channels : {1, 3}) {
        const ForwardShape shape{1, channels, kernel2, 1, 1080, 1920};
        print(generation, ForwardKernel::kFma, Element::kFloat, shape, device);
        print(generation, ForwardKernel::kMma, Element::kHalf, shape, device);
        print(generation, ForwardKernel::kTf32, Element::kFloat, shape, device);
        print(generation, ForwardKernel::kTf32x3, Element::kFloat, shape, device);
        print(generation, ForwardKernel::kWgmma, Element::kHalf, shape, device);
        print(generation, ForwardKernel::kWgmma, Element::kFloat, shape, device);
      }
    }
  }
}
