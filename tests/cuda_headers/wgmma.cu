// Compiles csrc/cuda/wgmma.cuh for sm_90a in every shape that it offers; no kernel uses it yet.
#include "cuda/wgmma.cuh"

namespace {

namespace ptx = srcnn::cuda::ptx;

template <class T, int N>
__device__ void product(uint64_t a, uint64_t b, float* out) {
  float d[N / 8][4] = {};
  uint32_t fragment[4] = {threadIdx.x, 1, 2, 3};
  ptx::wgmma_fence(d, fragment);
  if constexpr (sizeof(T) == 2) {
    ptx::wgmma_m64k16<T>(d, a, b, false);
    ptx::wgmma_m64k16<T>(d, fragment, b);
  } else {
    ptx::wgmma_m64k8_tf32(d, a, b, false);
    ptx::wgmma_m64k8_tf32(d, fragment, b);
  }
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>(d);
  for (int i = 0; i < N / 2; ++i) out[i] += d[i / 4][i % 4];
}

template <class T>
__global__ void every_width(float* out) {
  extern __shared__ __align__(16) unsigned char shared[];
  shared[threadIdx.x] = 0;
  ptx::fence_proxy_async();
  __syncthreads();
  const uint64_t a = ptx::make_descriptor(shared, 1024, 128), b = ptx::make_descriptor(shared + 2048, 1024, 128);
  product<T, 32>(a, b, out);
  product<T, 64>(a, b, out);
  product<T, 96>(a, b, out);
  product<T, 128>(a, b, out);
  product<T, 160>(a, b, out);
}

template __global__ void every_width<srcnn::Half>(float*);
template __global__ void every_width<srcnn::BFloat16>(float*);
template __global__ void every_width<float>(float*);

}  // namespace
