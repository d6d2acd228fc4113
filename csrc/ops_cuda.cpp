// The ops on CUDA tensors: device guard, current stream, and the launches of cuda/. Empty in a build without CUDA kernels.
#if defined(SRCNN_FUSED_WITH_CUDA)

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>

#include <string>
#include <vector>

#include "cuda/backward.h"
#include "cuda/kernels.h"
#include "cuda/resize.h"
#include "op_arguments.h"

// Weak: a torch without CUDA does not have it, and never calls a CUDA kernel.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device_index, void** ret_stream);

namespace srcnn {
namespace {

void* current_stream(int32_t device) {
  void* stream = nullptr;
  check(aoti_torch_get_current_cuda_stream != nullptr, "this torch has no CUDA");
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
  return stream;
}

// solve(T{}) for the kernels' element type T that x has, or for float, whose checks then refuse x.
template <class Solve>
auto for_type_of(const Tensor& x, const Solve& solve) {
  switch (x.scalar_type()) {
    case ScalarType::Half:
      return solve(Half{});
    case ScalarType::BFloat16:
      return solve(BFloat16{});
    default:
      return solve(float{});
  }
}

Tensor srcnn_forward_cuda(const Tensor& x, const Tensor& weight1, const Tensor& bias1, const Tensor& weight2,
                          const Tensor& bias2, const Tensor& weight3, const Tensor& bias3, int64_t scale,
                          const std::string& bicubic, const std::string& padding_mode, bool allow_tf32) {
  check(x.is_cuda(), "x must be on the same device as the weights");
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const auto run = [&](const auto& problem) {
    // Freed to torch's allocator while the kernels may still run, which reuses it in the same stream only.
    const auto bytes = static_cast<int64_t>(cuda::srcnn_forward_workspace(problem));
    Tensor workspace = torch::stable::new_empty(x, {bytes}, ScalarType::Byte);
    cuda::srcnn_forward(problem, workspace.mutable_data_ptr(), current_stream(x.get_device_index()));
  };
  return for_type_of(x, [&]<class T>(T) {
    return run_forward<T>(x, weight1, bias1, weight2, bias2, weight3, bias3, scale, bicubic, padding_mode, allow_tf32, run);
  });
}

// TF32 or not, products of float32 are exact; those of 16 bits may be tensor cores' (cuda/backward_choose.h).
std::vector<Tensor> srcnn_backward_cuda(const Tensor& grad_output, const Tensor& x, const Tensor& weight1, const Tensor& bias1,
                                        const Tensor& weight2, const Tensor& bias2, const Tensor& weight3, const Tensor& bias3,
                                        int64_t scale, const std::string& bicubic, const std::string& padding_mode,
                                        const std::vector<bool>& output_mask, bool /*allow_tf32*/) {
  check(x.is_cuda(), "x must be on the same device as the weights");
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const auto run = [&](const auto& problem) {
    const auto bytes = static_cast<int64_t>(cuda::srcnn_backward_workspace(problem));
    Tensor workspace = torch::stable::new_empty(x, {bytes}, ScalarType::Byte);
    cuda::srcnn_backward(problem, workspace.mutable_data_ptr(), current_stream(x.get_device_index()));
  };
  return for_type_of(x, [&]<class T>(T) {
    return run_backward<T>(grad_output, x, weight1, bias1, weight2, bias2, weight3, bias3, scale, bicubic, padding_mode,
                           output_mask, run);
  });
}

Tensor bicubic_resize_cuda(const Tensor& x, int64_t out_height, int64_t out_width, double scale_height, double scale_width,
                           const std::string& convention) {
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const auto run = [&](const auto& problem) { cuda::bicubic_resize(problem, current_stream(x.get_device_index())); };
  return for_type_of(
      x, [&]<class T>(T) { return run_resize<T>(x, out_height, out_width, scale_height, scale_width, convention, run); });
}

}  // namespace
}  // namespace srcnn

STABLE_TORCH_LIBRARY_IMPL(srcnn_fused, CUDA, m) {
  m.impl("srcnn_forward", TORCH_BOX(&srcnn::srcnn_forward_cuda));
  m.impl("srcnn_backward", TORCH_BOX(&srcnn::srcnn_backward_cuda));
  m.impl("bicubic_resize", TORCH_BOX(&srcnn::bicubic_resize_cuda));
}

#endif
