// The fused backward on tensor cores for fp16 images and weights.
#include "backward_mma.cuh"

namespace srcnn::cuda {

void launch_srcnn_backward_mma_f16(const BackwardMmaParams<Half>& params, cudaStream_t stream) {
  launch_network(params, stream);
}

}  // namespace srcnn::cuda
