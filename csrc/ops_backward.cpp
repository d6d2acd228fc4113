// srcnn_backward on the CPU (ops_cuda.cpp has the GPU's). What has no kernel runs through the reference, see
// srcnn_fused/_op_registration.py.
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

std::vector<Tensor> backward_float32(const Tensor& grad_output, const Tensor& x, const Tensor& weight1, const Tensor& bias1,
                                     const Tensor& weight2, const Tensor& bias2, const Tensor& weight3, const Tensor& bias3,
                                     int64_t scale, const std::string& bicubic, const std::string& padding_mode,
                                     const std::vector<bool>& output_mask) {
  return run_backward<float>(grad_output, x, weight1, bias1, weight2, bias2, weight3, bias3, scale, bicubic, padding_mode,
                             output_mask,
                             [](const BackwardProblem& problem) { cpu::srcnn_backward(problem, torch_threads()); });
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
