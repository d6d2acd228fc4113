// Host-side helpers and the launchers that forward.cu chooses from.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "forward_fma.h"
#include "forward_mma.h"

namespace srcnn::cuda {

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // forgets it: the next call is not to find it again
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

// Exact products and sums in float, any GPU; instantiated for float, Half and BFloat16.
template <class T>
void launch_srcnn_forward_fma(const ForwardParams<T>& params, cudaStream_t stream);

// Products on tensor cores, sums in float, sm_80 and later.
void launch_srcnn_forward_mma_f16(const ForwardMmaParams<Half>& params, cudaStream_t stream);
void launch_srcnn_forward_mma_bf16(const ForwardMmaParams<BFloat16>& params, cudaStream_t stream);
void launch_srcnn_forward_mma_tf32(const ForwardMmaParams<float>& params, cudaStream_t stream);
void launch_srcnn_forward_mma_tf32x3(const ForwardMmaParams<float>& params, cudaStream_t stream);

// The same with wgmma for conv2, sm_90a, 9-3-5 and 9-5-5; float means TF32 products.
void launch_srcnn_forward_wgmma_f16(const ForwardMmaParams<Half>& params, cudaStream_t stream);
void launch_srcnn_forward_wgmma_bf16(const ForwardMmaParams<BFloat16>& params, cudaStream_t stream);
void launch_srcnn_forward_wgmma_tf32(const ForwardMmaParams<float>& params, cudaStream_t stream);

}  // namespace srcnn::cuda
