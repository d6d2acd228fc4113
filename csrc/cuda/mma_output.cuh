// The end of the tensor-core forward: the taps that rows of hidden pixels give become rows of the output.
#pragma once

#include "mma_block.cuh"

namespace srcnn::cuda {

// The sums so far of the output rows r - 2 .. r + 1, when row r of hidden2 comes, for each of this thread's pixels and
// channels. In registers, or in shared memory, [row][channel][pixel].
template <class Net>
struct OpenRows {
  static constexpr int kRows = kKernel3 - 1;
  static constexpr bool kShared = keeps_open_rows(Net::kKernel2, Net::kChannels, Net::kPerUnit);
  float kept[kShared ? 1 : Net::kPixelsPerThread][kRows] = {};

  __device__ __forceinline__ float* at(const MmaBlock<Net>& b, int c, int i) {
    if constexpr (!kShared) {
      return kept[i];
    } else {
      return b.template at<float>(b.p.config.shared.open_rows) + c * b.p.config.columns + threadIdx.x + i * blockDim.x;
    }
  }
  __device__ __forceinline__ int stride(const MmaBlock<Net>& b) const {
    return kShared ? Net::kChannels * b.p.config.columns : 1;
  }
  // Zero, as a strip starts. What a thread finds there it has put there: no barrier is needed.
  __device__ __forceinline__ void clear(const MmaBlock<Net>& b) {
    if constexpr (kShared) {
#pragma unroll
      for (int c = 0; c < Net::kChannels; ++c) {
#pragma unroll
        for (int i = 0; i < Net::kPixelsPerThread; ++i) {
          if (static_cast<int>(threadIdx.x + i * blockDim.x) >= b.p.config.columns) continue;
#pragma unroll
          for (int k = 0; k < kRows; ++k) at(b, c, i)[k * stride(b)] = 0.0f;
        }
      }
    }
  }
};

// Adds what row r of hidden2 gives to channel c, the taps in shared memory, to the five output rows it belongs to; row r - 2 is
// finished with this one. A row that is worth nothing (`present` false) only moves the window on.
template <class Net>
__device__ __forceinline__ void add_output(const MmaBlock<Net>& b, const Job& job, int c, int r, bool present,
                                           OpenRows<Net>& open_rows) {
  const auto& problem = b.p.problem;
  const int stride = tap_stride(b.p.config.columns), width = static_cast<int>(problem.output.width);
  const bool replicate = problem.padding == Padding::kReplicate;
  const int y = r - kKernel3 / 2;
#pragma unroll
  for (int i = 0; i < Net::kPixelsPerThread; ++i) {
    const int column = opaque(threadIdx.x) + i * blockDim.x, x = job.x0 + column;
    if (column >= b.p.config.strip_width || x >= width) continue;
    float sum[2 * kColumnPairs] = {};
    if (present) {
      const float2* taps = b.template at<float2>(b.p.config.shared.taps);
#pragma unroll
      for (int kx = 0; kx < kKernel3; ++kx) {
        // Pixel j of the row is image column x0 - 2 + j. Pixels outside the image are zero, or the edge pixel is taken again.
        int pixel = column + kx;
        if (replicate) pixel = min(max(x + kx - kKernel3 / 2, 0), width - 1) - job.x0 + kKernel3 / 2;
#pragma unroll
        for (int k = 0; k < kColumnPairs; ++k) {
          const float2 pair = taps[(kx * kColumnPairs + k) * stride + pixel];
          sum[2 * k] += pair.x;
          sum[2 * k + 1] += pair.y;
        }
      }
    }
    float* open = open_rows.at(b, c, i);
    const int next = open_rows.stride(b);
    if (y >= job.y0) {
      from_float(to_float(problem.conv3.bias[c]) + (open[0] + sum[4]),
                 problem.output.plane(job.image, c)[y * problem.output.stride_h + x * problem.output.stride_w]);
    }
    open[0] = open[next] + sum[3];
    open[next] = open[2 * next] + sum[2];
    open[2 * next] = open[3 * next] + sum[1];
    open[3 * next] = sum[0];
  }
}

}  // namespace srcnn::cuda
