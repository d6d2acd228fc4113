// The fused forward on tensor cores for fp16 images and weights.
#include "forward_mma.cuh"

namespace srcnn::cuda {

void launch_srcnn_forward_mma_f16(const ForwardMmaParams<Half>& params, cudaStream_t stream) {
  launch_network<Sixteen<Half>>(params, stream);
}

}  // namespace srcnn::cuda
