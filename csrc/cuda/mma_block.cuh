// What the parts of the tensor-core forward share: the network as a type, a thread's place in its block, sums in registers, and
// the one loop that multiplies.
#pragma once

#include "mma_operand.cuh"
#include "phased_input.cuh"

namespace srcnn::cuda {

template <int kKernel2_, int kChannels_, class Operand_, bool kWgmma_ = false>
struct MmaNetwork {
  using Operand = Operand_;
  using Image = typename Operand::Image;
  using Stored = typename Operand::Stored;
  static constexpr bool kWgmma = kWgmma_;  // for conv2
  static constexpr int kKernel2 = kKernel2_, kChannels = kChannels_, kPerUnit = Operand::kPerUnit;
  static constexpr int kTiles = warp_tiles(kKernel2, Operand::kProducts);
  static constexpr int kMaxThreads = 32 * max_warps(kKernel2, Operand::kProducts);
  // Pixels of a row, if each is one thread's.
  static constexpr int kPixelsPerThread = (kTiles * kTilePixels + 31) / 32;
  // From a warp's tile of 16 pixels to its next: wgmma shares tiles of 64 out among 4 warps.
  static constexpr int kTileStride = kWgmma ? 4 * kTilePixels : kTilePixels;
  // Whether an input row is under way while conv1 runs, or there are no registers for it.
  static constexpr bool kLoadsAhead = kChannels == 1 || kPerUnit == 2 || kKernel2 == 3;
  static constexpr int kConv1Steps = conv1_steps(kChannels, kPerUnit);
  static constexpr int kConv2Steps = channel_steps(kWidth1, kPerUnit);  // for each kx
  static constexpr int kConv3Steps = channel_steps(kWidth2, kPerUnit);
  static constexpr int kHalo2 = kKernel3 / 2, kHalo1 = kHalo2 + kKernel2 / 2, kHalo0 = kHalo1 + kKernel1 / 2;
};

template <class Net>
struct MmaBlock {
  const ForwardMmaParams<typename Net::Image>& p;
  unsigned char* shared;
  int lane, warp;

  template <class U>
  __device__ __forceinline__ U* at(int offset) const {
    return reinterpret_cast<U*>(shared + offset);
  }
  __device__ __forceinline__ int g() const { return lane / 4; }  // as in the PTX ISA: a lane's row of a tile of A
  __device__ __forceinline__ int t() const { return lane % 4; }
  __device__ __forceinline__ int first_pixel() const {
    if constexpr (Net::kWgmma) return warp / 4 * (Net::kTiles * Net::kTileStride) + warp % 4 * kTilePixels;
    return warp * (Net::kTiles * kTilePixels);
  }
};

// The same block, whose addresses the compiler works out here: kept over a whole row they would push others out of registers.
template <class Net>
__device__ __forceinline__ MmaBlock<Net> afresh(const MmaBlock<Net>& b) {
  return {b.p, b.shared, opaque(b.lane), opaque(b.warp)};
}

// A warp's sums: M tiles of 16 pixels x N tiles of 8 channels. Lane (g, t) holds, of each, channels 2t and 2t + 1 of pixels g
// (elements 0, 1) and g + 8 (elements 2, 3).
template <int M, int N>
using Sums = float[M][N][4];

// Starts tiles [first, first + tiles) with the bias of their channels.
template <int M, int N>
__device__ __forceinline__ void start_sums(Sums<M, N>& sum, int first, int tiles, const float* bias, int t) {
#pragma unroll
  for (int j = 0; j < tiles; ++j) {
    const float2 pair = *reinterpret_cast<const float2*>(bias + 8 * j + 2 * t);
#pragma unroll
    for (int m = 0; m < M; ++m) {
      sum[m][first + j][0] = sum[m][first + j][2] = pair.x;
      sum[m][first + j][1] = sum[m][first + j][3] = pair.y;
    }
  }
}

// sum += A x (N tiles of weights), one step of k. `weight` is the step's first fragment.
template <class Operand, int M, int N>
__device__ __forceinline__ void multiply(Sums<M, N>& sum, const typename Operand::A (&a)[M], const uint4* weight, int lane) {
  static_assert(N % 2 == 0);
#pragma unroll
  for (int j = 0; j < N; j += 2) {
    const uint4 w = weight[j / 2 * 32 + lane];
    const typename Operand::B left = Operand::prepare_b(w.x, w.y), right = Operand::prepare_b(w.z, w.w);
#pragma unroll
    for (int m = 0; m < M; ++m) Operand::mma(sum[m][j], a[m], left);
#pragma unroll
    for (int m = 0; m < M; ++m) Operand::mma(sum[m][j + 1], a[m], right);
  }
}

}  // namespace srcnn::cuda
