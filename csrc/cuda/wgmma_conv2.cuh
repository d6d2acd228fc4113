// conv2 of 9-3-5 and 9-5-5 by wgmma, which multiplies twice as fast as mma.sync does on Hopper: the same products into the same
// sums as conv2_give of mma_layers.cuh, with both operands read from shared memory by the tensor cores themselves.
//
// A, a row of hidden1, lies as it does for ldmatrix: [chunk][pixel], 16 bytes each. 8 neighbouring pixels are a core matrix,
// wherever a kernel column starts, so no swizzle is needed: a kernel column is an offset of 16 bytes. B, a step of weights, is
// [half of k][column], 16 bytes each. For 64 pixels and 160 columns an instruction takes 80 cycles and reads 7 KB, 90 of the
// 128 bytes that shared memory gives a cycle.
#pragma once

#include "mma_layers.cuh"

namespace srcnn::cuda {

// sums += A B, of a step: operands by their descriptors.
template <class Operand, int N>
__device__ __forceinline__ void wgmma_step(float (&sum)[N][4], uint64_t a, uint64_t b) {
  if constexpr (Operand::kPerUnit == 2) {
    ptx::wgmma_m64k16<typename Operand::Image>(sum, a, b);
  } else {
    ptx::wgmma_m64k8_tf32(sum, a, b);
  }
}

template <int M, int N>
__device__ __forceinline__ void wait_for_sums(Sums<M, N>& sum) {
  static_assert(M == 2);
  ptx::wgmma_wait<0>(sum[0], sum[1]);
}

template <class Net>
__device__ __forceinline__ void conv2_give_wgmma(const MmaBlock<Net>& b, Weight2Stream& stream,
                                                 Sums<Net::kTiles, conv2_tiles(Net::kKernel2)>& sum) {
  constexpr int kKernel2 = Net::kKernel2, kColumns = 8 * conv2_tiles(kKernel2);
  constexpr int kCoreMatrix = 128;  // bytes
  const int chunk = 16 * hidden1_pixels(b.p.config.columns);
  // Of the warpgroup's first pixel, and of the first step. Descriptors count in 16 bytes: pixels, columns.
  uint64_t row = ptx::make_descriptor(hidden1_at(b, 0, b.first_pixel() - b.warp % 4 * kTilePixels), chunk, kCoreMatrix);
  uint64_t weight = ptx::make_descriptor(b.shared + b.p.config.shared.weight2, kColumns * 16, kCoreMatrix);
  const auto multiply_step = [&sum](uint64_t pixels, uint64_t columns) {
#pragma unroll
    for (int m = 0; m < Net::kTiles; ++m) wgmma_step<typename Net::Operand>(sum[m], pixels + Net::kTileStride * m, columns);
  };
  const auto fence = [&sum] {
#pragma unroll
    for (int m = 0; m < Net::kTiles; ++m) ptx::wgmma_fence(sum[m]);
  };

  fence();
  if constexpr (wgmma_streams(kKernel2, Net::kPerUnit)) {
#pragma unroll 1
    for (int q = 0; q < Net::kConv2Steps; ++q) {
#pragma unroll 1
      for (int kx = 0; kx < kKernel2; ++kx) {
        const uint64_t columns = weight + next_weights2(b, stream) * kWeight2Words<Net>;
        ptx::wgmma_fence();
        multiply_step(row + kx, columns);
        ptx::wgmma_commit();
        ptx::wgmma_wait<1>();  // the step before this one has been multiplied: its buffer is free after the next barrier
      }
      row += 2 * chunk / 16;
    }
  } else {
#pragma unroll 1
    for (int q = 0; q < Net::kConv2Steps; ++q) {
#pragma unroll
      for (int kx = 0; kx < kKernel2; ++kx) multiply_step(row + kx, weight + kx * kWeight2Words<Net>);
      row += 2 * chunk / 16;
      weight += kKernel2 * kWeight2Words<Net>;
    }
    ptx::wgmma_commit();
  }
  wait_for_sums(sum);
}

}  // namespace srcnn::cuda
