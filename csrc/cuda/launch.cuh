// Host-side helpers and the launchers that forward.cu chooses from.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "forward_fma.h"

namespace srcnn::cuda {

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

void launch_srcnn_forward_fma(const ForwardParams& params, int kernel2, cudaStream_t stream);

}  // namespace srcnn::cuda
