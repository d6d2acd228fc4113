// srcnn_backward on the CPU. What has no kernel here runs through the reference, see srcnn_fused/_op_registration.py.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cpu/kernels.h"
#include "op_arguments.h"
#include "op_threads.h"

namespace srcnn {
namespace {

constexpr size_t kArguments = 7;  // x, weight1, bias1, ..., bias3: those that have a gradient

std::vector<Tensor> backward_float32(const Tensor& grad_output,  // [N, c, scale * h, scale * w]
                                     const Tensor& x,            // [N, c, h, w]
                                     const Tensor& weight1,      // [64, c, 9, 9]
                                     const Tensor& bias1,        // [64]
                                     const Tensor& weight2,      // [32, 64, k, k]
                                     const Tensor& bias2,        // [32]
                                     const Tensor& weight3,      // [c, 32, 5, 5]
                                     const Tensor& bias3,        // [c]
                                     int64_t scale, const std::string& bicubic, const std::string& padding_mode,
                                     const std::vector<bool>& output_mask) {
  check_forward<float>(x, weight1, bias1, weight2, bias2, weight3, bias3, scale);
  BackwardProblem problem;
  problem.scale = scale;
  problem.bicubic = parse_bicubic(bicubic, "bicubic");
  problem.padding = parse_padding(padding_mode);
  check_shape(grad_output, "grad_output", {x.size(0), x.size(1), scale * x.size(2), scale * x.size(3)});
  check_type<float>(grad_output, "grad_output");
  check(output_mask.size() == kArguments, "output_mask must have 7 entries, got ", output_mask.size());

  const Tensor* const arguments[kArguments] = {&x, &weight1, &bias1, &weight2, &bias2, &weight3, &bias3};
  std::vector<Tensor> gradients;
  float* data[kArguments] = {};
  for (size_t i = 0; i < kArguments; ++i) {
    if (!output_mask[i]) continue;
    std::vector<int64_t> shape;
    for (int64_t d = 0; d < arguments[i]->dim(); ++d) shape.push_back(arguments[i]->size(d));
    gradients.push_back(new_output(x, shape));
    data[i] = static_cast<float*>(gradients.back().mutable_data_ptr());
    if (i == 0) problem.grad_input = view_of<float>(gradients.back());
  }
  if (gradients.empty()) return gradients;
  const ConvArgument<float> conv1(weight1, bias1), conv2(weight2, bias2), conv3(weight3, bias3);
  problem.grad_output = view_of<const float>(grad_output);
  problem.input = view_of<const float>(x);
  problem.conv1 = conv1.view();
  problem.conv2 = conv2.view();
  problem.conv3 = conv3.view();
  problem.grad1 = {data[1], data[2]};
  problem.grad2 = {data[3], data[4]};
  problem.grad3 = {data[5], data[6]};
  cpu::srcnn_backward(problem, torch_threads());
  return gradients;
}

Tensor as(const Tensor& tensor, ScalarType type) { return torch::stable::to(tensor, type); }

// bfloat16 is widened first and rounded last: copies of x, grad_output and the gradient of x in float32.
std::vector<Tensor> srcnn_backward_cpu(const Tensor& grad_output, const Tensor& x, const Tensor& weight1, const Tensor& bias1,
                                       const Tensor& weight2, const Tensor& bias2, const Tensor& weight3, const Tensor& bias3,
                                       int64_t scale, const std::string& bicubic, const std::string& padding_mode,
                                       const std::vector<bool>& output_mask, bool /*allow_tf32*/) {
  if (x.scalar_type() != ScalarType::BFloat16) {
    return backward_float32(grad_output, x, weight1, bias1, weight2, bias2, weight3, bias3, scale, bicubic, padding_mode,
                            output_mask);
  }
  check_forward<BFloat16>(x, weight1, bias1, weight2, bias2, weight3, bias3, scale);
  check_type<BFloat16>(grad_output, "grad_output");
  constexpr ScalarType kFloat = ScalarType::Float;
  std::vector<Tensor> gradients =
      backward_float32(as(grad_output, kFloat), as(x, kFloat), as(weight1, kFloat), as(bias1, kFloat), as(weight2, kFloat),
                       as(bias2, kFloat), as(weight3, kFloat), as(bias3, kFloat), scale, bicubic, padding_mode, output_mask);
  for (Tensor& gradient : gradients) gradient = as(gradient, ScalarType::BFloat16);
  return gradients;
}

}  // namespace
}  // namespace srcnn

STABLE_TORCH_LIBRARY_IMPL(srcnn_fused, CPU, m) { m.impl("srcnn_backward", TORCH_BOX(&srcnn::srcnn_backward_cpu)); }
