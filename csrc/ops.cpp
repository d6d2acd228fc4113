// The torch side of the package: op schemas, the CPU's implementations, and the pybind11 module (ops_cuda.cpp has the GPU's).
// Only the LibTorch stable ABI is used, so that one binary serves every torch from 2.10 on.

// torch 2.10 closes its copy of pybind11 to files that target the stable ABI, though pybind11 uses nothing of torch.
#pragma push_macro("TORCH_TARGET_VERSION")
#undef TORCH_TARGET_VERSION
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#pragma pop_macro("TORCH_TARGET_VERSION")

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <map>
#include <string>
#include <vector>

#include "bicubic.h"
#include "cpu/algorithm.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/plan.h"
#include "op_arguments.h"
#include "op_threads.h"

namespace srcnn {
namespace {

Tensor srcnn_forward_cpu(const Tensor& x, const Tensor& weight1, const Tensor& bias1, const Tensor& weight2,
                         const Tensor& bias2, const Tensor& weight3, const Tensor& bias3, int64_t scale,
                         const std::string& bicubic, const std::string& padding_mode, bool allow_tf32) {
  const auto run = [](const auto& problem) { cpu::srcnn_forward(problem, torch_threads()); };
  if (x.scalar_type() == ScalarType::BFloat16) {
    return run_forward<BFloat16>(x, weight1, bias1, weight2, bias2, weight3, bias3, scale, bicubic, padding_mode, allow_tf32,
                                 run);
  }
  return run_forward<float>(x, weight1, bias1, weight2, bias2, weight3, bias3, scale, bicubic, padding_mode, allow_tf32, run);
}

Tensor bicubic_resize_cpu(const Tensor& x, int64_t out_height, int64_t out_width, double scale_height, double scale_width,
                          const std::string& convention) {
  return run_resize<float>(x, out_height, out_width, scale_height, scale_width, convention,
                           [](const ResizeProblem& problem) { cpu::bicubic_resize(problem, torch_threads()); });
}

}  // namespace
}  // namespace srcnn

STABLE_TORCH_LIBRARY(srcnn_fused, m) {
  m.def(
      "srcnn_forward(Tensor x, Tensor weight1, Tensor bias1, Tensor weight2, Tensor bias2, Tensor weight3, Tensor bias3, "
      "int scale, str bicubic, str padding_mode, bool allow_tf32=False) -> Tensor");
  m.def(
      "srcnn_backward(Tensor grad_output, Tensor x, Tensor weight1, Tensor bias1, Tensor weight2, Tensor bias2, "
      "Tensor weight3, Tensor bias3, int scale, str bicubic, str padding_mode, bool[] output_mask, bool allow_tf32=False) "
      "-> Tensor[]");
  m.def(
      "bicubic_resize(Tensor x, int out_height, int out_width, float scale_height, float scale_width, str convention) "
      "-> Tensor");
  m.def(
      "bicubic_resize_backward(Tensor grad_output, int height, int width, float scale_height, float scale_width, "
      "str convention) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(srcnn_fused, CPU, m) {
  m.impl("srcnn_forward", TORCH_BOX(&srcnn::srcnn_forward_cpu));
  m.impl("bicubic_resize", TORCH_BOX(&srcnn::bicubic_resize_cpu));
}

PYBIND11_MODULE(_C, m) {
  m.doc() = "Compiled kernels of srcnn_fused; importing it registers torch.ops.srcnn_fused.";
  m.def(
      "build_info",
      [] {
        return std::map<std::string, std::string>{
            {"version", SRCNN_FUSED_VERSION},
            {"python", SRCNN_FUSED_BUILD_PYTHON},
            {"torch", SRCNN_FUSED_BUILD_TORCH},
            {"compiler", SRCNN_FUSED_BUILD_COMPILER},
            {"flags", SRCNN_FUSED_BUILD_FLAGS},
            {"cuda", SRCNN_FUSED_BUILD_CUDA},
            {"cuda_archs", SRCNN_FUSED_BUILD_CUDA_ARCHS},
        };
      },
      "What this binary was built from and with (macros that setup.py sets).");
  m.def(
      "cpu_isas",
      [] {
        std::vector<std::string> names;
        for (const srcnn::cpu::Isa isa : srcnn::cpu::usable_isas()) names.emplace_back(srcnn::cpu::isa_name(isa));
        return names;
      },
      "Instruction sets this machine can run, best first.");
  m.def("cpu_widest_strip", &srcnn::cpu::widest_strip,
        "Widest strip of columns the CPU works on at once, for a second layer of this kernel size; tests go around it.");
  m.def(
      "cpu_isa", [] { return std::string(srcnn::cpu::isa_name(srcnn::cpu::selected_isa())); },
      "The instruction set the next call will use: the best one, or what SRCNN_FUSED_CPU_ISA says.");
  m.def(
      "cpu_algorithm",
      [](int kernel2, int64_t channels) {
        const srcnn::cpu::Isa isa = srcnn::cpu::selected_isa();
        return std::string(srcnn::cpu::algorithm_name(srcnn::cpu::selected_algorithm(kernel2, channels, 1080, 1920, isa)));
      },
      pybind11::arg("kernel2"), pybind11::arg("channels"),
      "The algorithm of the next call on an image of a usual size, for a second layer of this kernel size: the faster one, or "
      "what SRCNN_FUSED_CPU_ALGO says.");
}
