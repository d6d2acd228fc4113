// Host-side helpers and the launchers that forward.cu chooses from.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "forward_fma.h"
#include "forward_mma.h"

namespace srcnn::cuda {

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

// Exact products and sums in float, any GPU; instantiated for float, Half and BFloat16.
template <class T>
void launch_srcnn_forward_fma(const ForwardParams<T>& params, cudaStream_t stream);

// 16-bit products on tensor cores, sums in float, sm_80 and later; instantiated for Half and BFloat16.
template <class T>
void launch_srcnn_forward_mma(const ForwardMmaParams<T>& params, cudaStream_t stream);

}  // namespace srcnn::cuda
