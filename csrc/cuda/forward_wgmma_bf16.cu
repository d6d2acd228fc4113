// The fused forward with wgmma for conv2, for bfloat16 images and weights.
#include "forward_mma.cuh"

namespace srcnn::cuda {

void launch_srcnn_forward_wgmma_bf16(const ForwardMmaParams<BFloat16>& params, cudaStream_t stream) {
  launch_network_wgmma<Sixteen<BFloat16>>(params, stream);
}

}  // namespace srcnn::cuda
