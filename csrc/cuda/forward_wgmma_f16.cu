// The fused forward with wgmma for conv2, for fp16 images and weights.
#include "forward_mma.cuh"

namespace srcnn::cuda {

void launch_srcnn_forward_wgmma_f16(const ForwardMmaParams<Half>& params, cudaStream_t stream) {
  launch_network_wgmma<Sixteen<Half>>(params, stream);
}

}  // namespace srcnn::cuda
