// The fused backward on tensor cores for bf16 images and weights.
#include "backward_mma.cuh"

namespace srcnn::cuda {

void launch_srcnn_backward_mma_bf16(const BackwardMmaParams<BFloat16>& params, cudaStream_t stream) {
  launch_network(params, stream);
}

}  // namespace srcnn::cuda
