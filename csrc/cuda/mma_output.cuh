// The end of the tensor-core forward: the taps that rows of hidden pixels give become rows of the output.
#pragma once

#include "mma_block.cuh"

namespace srcnn::cuda {

// For each of this thread's pixels and channels: the sums so far of rows r - 2 .. r + 1 of the output, when row r comes.
template <class Net>
using UnfinishedRows = float[Net::kPixelsPerThread][Net::kChannels][kKernel3 - 1];

// Adds the taps of row r of hidden2, those that lie in shared memory, to the five output rows they belong to; row r - 2 is
// finished with this one. A row that is worth nothing (`present` false) only moves the window on.
template <class Net>
__device__ void add_output(const MmaBlock<Net>& b, const Job& job, int r, bool present, UnfinishedRows<Net>& unfinished) {
  const auto& problem = b.p.problem;
  const int stride = tap_stride(b.p.config.columns), width = static_cast<int>(problem.output.width);
  const bool replicate = problem.padding == Padding::kReplicate;
  const int y = r - kKernel3 / 2;
#pragma unroll
  for (int i = 0; i < Net::kPixelsPerThread; ++i) {
    const int column = threadIdx.x + i * blockDim.x, x = job.x0 + column;
    if (column >= b.p.config.strip_width || x >= width) continue;
#pragma unroll
    for (int c = 0; c < Net::kChannels; ++c) {
      float sum[2 * kTapPairs] = {};
      if (present) {
        const float2* taps = b.template at<float2>(b.p.config.shared.taps) + c * (kKernel3 * kTapPairs) * stride;
#pragma unroll
        for (int kx = 0; kx < kKernel3; ++kx) {
          // Pixel j of the row is image column x0 - 2 + j. Pixels outside the image are zero, or the edge pixel is taken again.
          int pixel = column + kx;
          if (replicate) pixel = min(max(x + kx - kKernel3 / 2, 0), width - 1) - job.x0 + kKernel3 / 2;
#pragma unroll
          for (int k = 0; k < kTapPairs; ++k) {
            const float2 pair = taps[(kx * kTapPairs + k) * stride + pixel];
            sum[2 * k] += pair.x;
            sum[2 * k + 1] += pair.y;
          }
        }
      }
      float (&open)[kKernel3 - 1] = unfinished[i][c];
      if (y >= job.y0) {
        from_float(to_float(problem.conv3.bias[c]) + (open[0] + sum[4]),
                   problem.output.plane(job.image, c)[y * problem.output.stride_h + x * problem.output.stride_w]);
      }
      open[0] = open[1] + sum[3];
      open[1] = open[2] + sum[2];
      open[2] = open[3] + sum[1];
      open[3] = sum[0];
    }
  }
}

}  // namespace srcnn::cuda
