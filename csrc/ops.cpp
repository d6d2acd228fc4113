// The torch side of the package: op schemas, argument checks, dispatch to cpu/ (and later cuda/), and the pybind11 module.
// Only the LibTorch stable ABI is used, so that one binary serves every torch from 2.10 on. Argument checks are repeated by
// the fake kernels in srcnn_fused/ops.py, word for word.

// torch 2.10 closes its copy of pybind11 to files that target the stable ABI, though pybind11 uses nothing of torch.
#pragma push_macro("TORCH_TARGET_VERSION")
#undef TORCH_TARGET_VERSION
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#pragma pop_macro("TORCH_TARGET_VERSION")

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "srcnn.h"

namespace srcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// ---------------------------------------------------------------------------------------------------- argument checks

std::string shape_of(const Tensor& t) {
  std::ostringstream out;
  out << '[';
  for (int64_t d = 0; d < t.dim(); ++d) out << (d ? ", " : "") << t.size(d);
  out << ']';
  return out.str();
}

Bicubic parse_bicubic(const std::string& name, const char* argument) {
  if (name == "matlab") return Bicubic::kMatlab;
  if (name == "pil") return Bicubic::kPil;
  STD_TORCH_CHECK(name == "torch", argument, " must be 'matlab', 'pil' or 'torch', got '", name, "'");
  return Bicubic::kTorch;
}

Padding parse_padding(const std::string& name) {
  if (name == "zeros") return Padding::kZeros;
  STD_TORCH_CHECK(name == "replicate", "padding_mode must be 'zeros' or 'replicate', got '", name, "'");
  return Padding::kReplicate;
}

void check_float32(const Tensor& t, const char* name) {
  STD_TORCH_CHECK(t.scalar_type() == ScalarType::Float, name, " must be float32");
}

void check_image(const Tensor& x) {
  STD_TORCH_CHECK(x.dim() == 4 && x.size(2) >= 1 && x.size(3) >= 1, "x must be [N, C, H, W] with H and W at least 1, got ",
                  shape_of(x));
  STD_TORCH_CHECK(x.size(2) < INT32_MAX && x.size(3) < INT32_MAX, "x must have sides below 2^31, got ", shape_of(x));
  check_float32(x, "x");
}

void check_shape(const Tensor& t, const char* name, const std::vector<int64_t>& expected) {
  bool equal = t.dim() == static_cast<int64_t>(expected.size());
  for (size_t d = 0; equal && d < expected.size(); ++d) equal = t.size(static_cast<int64_t>(d)) == expected[d];
  std::ostringstream text;
  for (size_t d = 0; d < expected.size(); ++d) text << (d ? ", " : "") << expected[d];
  STD_TORCH_CHECK(equal, name, " must be [", text.str(), "], got ", shape_of(t));
}

template <class T>
ImageView<T> view_of(const Tensor& t) {
  T* data;
  if constexpr (std::is_const_v<T>) {
    data = static_cast<T*>(t.const_data_ptr());
  } else {
    data = static_cast<T*>(t.mutable_data_ptr());
  }
  return {data, t.size(0), t.size(1), t.size(2), t.size(3), t.stride(0), t.stride(1), t.stride(2), t.stride(3)};
}

// A convolution of fixed kernel size, its tensors checked and made contiguous (they are a few kilobytes); holds them alive.
struct ConvArgument {
  Tensor weight, bias;

  ConvArgument(const Tensor& w, const Tensor& b) : weight(torch::stable::contiguous(w)), bias(torch::stable::contiguous(b)) {}

  ConvWeights view() const {
    return {static_cast<const float*>(weight.const_data_ptr()), static_cast<const float*>(bias.const_data_ptr()),
            static_cast<int>(weight.size(0)), static_cast<int>(weight.size(1)), static_cast<int>(weight.size(2))};
  }
};

void check_network(const Tensor& x, const Tensor& weight1, const Tensor& bias1, const Tensor& weight2, const Tensor& bias2,
                   const Tensor& weight3, const Tensor& bias3) {
  const int64_t c = x.size(1);
  STD_TORCH_CHECK(c == 1 || c == 3, "x must have 1 or 3 channels, got ", shape_of(x));
  const std::pair<const char*, const Tensor*> all[] = {{"weight1", &weight1}, {"bias1", &bias1},     {"weight2", &weight2},
                                                       {"bias2", &bias2},     {"weight3", &weight3}, {"bias3", &bias3}};
  for (const auto& [name, tensor] : all) check_float32(*tensor, name);
  check_shape(weight1, "weight1", {kWidth1, c, kKernel1, kKernel1});
  check_shape(bias1, "bias1", {kWidth1});
  const int64_t kernel2 = weight2.dim() == 4 ? weight2.size(3) : 0;
  STD_TORCH_CHECK(kernel2 == 1 || kernel2 == 3 || kernel2 == 5, "weight2 must be [32, 64, k, k] with k = 1, 3 or 5, got ",
                  shape_of(weight2));
  check_shape(weight2, "weight2", {kWidth2, kWidth1, kernel2, kernel2});
  check_shape(bias2, "bias2", {kWidth2});
  check_shape(weight3, "weight3", {c, kWidth2, kKernel3, kKernel3});
  check_shape(bias3, "bias3", {c});
}

// ------------------------------------------------------------------------------------------------------------ CPU ops

// The CPU kernels see torch's thread pool only through this.
cpu::Threads torch_threads() {
  return {static_cast<int>(torch::stable::get_num_threads()), [](int workers, const std::function<void(int)>& work) {
            torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
              for (int64_t worker = begin; worker < end; ++worker) work(static_cast<int>(worker));
            });
          }};
}

Tensor srcnn_forward_cpu(const Tensor& x,        // [N, c, h, w]
                         const Tensor& weight1,  // [64, c, 9, 9]
                         const Tensor& bias1,    // [64]
                         const Tensor& weight2,  // [32, 64, k, k]
                         const Tensor& bias2,    // [32]
                         const Tensor& weight3,  // [c, 32, 5, 5]
                         const Tensor& bias3,    // [c]
                         int64_t scale, const std::string& bicubic, const std::string& padding_mode) {
  check_image(x);
  check_network(x, weight1, bias1, weight2, bias2, weight3, bias3);
  STD_TORCH_CHECK(scale >= 1, "scale must be at least 1, got ", scale);
  STD_TORCH_CHECK(x.size(2) < INT32_MAX / scale && x.size(3) < INT32_MAX / scale, "scale must keep the sides below 2^31, got ",
                  scale, " for x of ", shape_of(x));
  ForwardProblem problem;
  problem.scale = scale;
  problem.bicubic = parse_bicubic(bicubic, "bicubic");
  problem.padding = parse_padding(padding_mode);
  Tensor output = torch::stable::new_empty(x, {x.size(0), x.size(1), scale * x.size(2), scale * x.size(3)});
  if (output.numel() == 0) return output;
  const ConvArgument conv1(weight1, bias1), conv2(weight2, bias2), conv3(weight3, bias3);
  problem.input = view_of<const float>(x);
  problem.output = view_of<float>(output);
  problem.conv1 = conv1.view();
  problem.conv2 = conv2.view();
  problem.conv3 = conv3.view();
  cpu::srcnn_forward(problem, torch_threads());
  return output;
}

Tensor bicubic_resize_cpu(const Tensor& x,  // [N, C, h, w]
                          int64_t out_height, int64_t out_width, double scale_height, double scale_width,
                          const std::string& convention) {
  check_image(x);
  STD_TORCH_CHECK(out_height >= 1 && out_width >= 1 && out_height < INT32_MAX && out_width < INT32_MAX,
                  "size must be at least 1 and below 2^31, got (", out_height, ", ", out_width, ")");
  STD_TORCH_CHECK(scale_height > 0 && scale_width > 0 && scale_height <= 1e9 && scale_width <= 1e9,
                  "scale must be positive and finite, got (", scale_height, ", ", scale_width, ")");
  ResizeProblem problem;
  problem.bicubic = parse_bicubic(convention, "convention");
  problem.scale_height = scale_height;
  problem.scale_width = scale_width;
  Tensor output = torch::stable::new_empty(x, {x.size(0), x.size(1), out_height, out_width});
  if (output.numel() == 0) return output;
  problem.input = view_of<const float>(x);
  problem.output = view_of<float>(output);
  cpu::bicubic_resize(problem, torch_threads());
  return output;
}

}  // namespace
}  // namespace srcnn

STABLE_TORCH_LIBRARY(srcnn_fused, m) {
  m.def(
      "srcnn_forward(Tensor x, Tensor weight1, Tensor bias1, Tensor weight2, Tensor bias2, Tensor weight3, Tensor bias3, "
      "int scale, str bicubic, str padding_mode) -> Tensor");
  m.def(
      "srcnn_backward(Tensor grad_output, Tensor x, Tensor weight1, Tensor bias1, Tensor weight2, Tensor bias2, "
      "Tensor weight3, Tensor bias3, int scale, str bicubic, str padding_mode, bool[] output_mask) -> Tensor[]");
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
  m.def(
      "cpu_isa", [] { return std::string(srcnn::cpu::isa_name(srcnn::cpu::selected_isa())); },
      "The instruction set the next call will use: the best one, or what SRCNN_FUSED_CPU_ISA says.");
}
