// The fused forward with wgmma for conv2, for fp32 images and weights, products in TF32.
#include "forward_mma.cuh"

namespace srcnn::cuda {

void launch_srcnn_forward_wgmma_tf32(const ForwardMmaParams<float>& params, cudaStream_t stream) {
  launch_network_wgmma<Tf32>(params, stream);
}

}  // namespace srcnn::cuda
