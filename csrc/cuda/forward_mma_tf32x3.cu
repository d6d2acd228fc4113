// The fused forward on tensor cores for fp32 images and weights, products of fp32 accuracy.
#include "forward_mma.cuh"

namespace srcnn::cuda {

void launch_srcnn_forward_mma_tf32x3(const ForwardMmaParams<float>& params, cudaStream_t stream) {
  launch_network<Tf32x3>(params, stream);
}

}  // namespace srcnn::cuda
