// The gradient of the (enlarged) input in the tensor-core backward: a pixel of hidden1's gradient gives, through conv1, 81
// numbers to its neighbours, a matrix product of pixels x 64 channels x taps. They pass through shared memory, row by row and
// channel by channel, and are added to sums of the input's rows, which stay there until they are complete.
#pragma once

#include "backward_mma_layers.cuh"

namespace srcnn::cuda {
namespace {

template <class Net>
__device__ __forceinline__ float* grad_input_row(const BackwardMmaBlock<Net>& b, int y) {
  const int slot = y % backward_mma_grad_input_slots(b.p.config.rows);
  return b.template at<float>(b.p.config.shared.grad_input) + slot * b.channels() * b.p.config.strip_width;
}

// Zero in all sums: a segment begins. All threads; a barrier is due.
template <class Net>
__device__ void clear_grad_input(const BackwardMmaBlock<Net>& b) {
  clear<Net>(b.template at<float>(b.p.config.shared.grad_input),
             backward_mma_grad_input_slots(b.p.config.rows) * b.channels() * b.p.config.strip_width);
}

// What row r of hidden1's gradient gives to channel c, [tap][column from x0 - 4].
template <class Net>
__device__ void make_given(const BackwardMmaBlock<Net>& b, int r, int c) {
  using Operand = typename Net::Operand;
  constexpr int kTiles = 4, kGroups = kGivenTiles / kTiles, kSteps = kWidth1 / kStepDepth;
  const int columns = b.p.config.strip_width + 2 * kReach1, stride = given_stride(b.p.config.strip_width);
  const int tiles = (columns + kTilePixels - 1) / kTilePixels;
  const auto* row = b.hidden1() + (r * b.columns1() + 2 * Net::kReach2) * kPixel1 + b.lane / 16 * 8;
  for (int item = b.warp; item < tiles * kGroups; item += Net::kWarps) {
    const int tile = item / kGroups, group = item % kGroups;
    const auto* pixel = row + min(tile * kTilePixels + b.lane % 16, columns - 1) * kPixel1;
    const uint4* weight = b.fragments(b.p.weights_at.back1) + (c * kSteps * kGivenTiles + group * kTiles) / 2 * 32;
    Sums<1, kTiles> sum = {};
#pragma unroll
    for (int q = 0; q < kSteps; ++q, weight += kGivenTiles / 2 * 32) {
      typename Operand::A a[1];
      ptx::ldmatrix<4>(a[0].word, pixel + q * kStepDepth);
      multiply<Operand>(sum, a, weight, b.lane);
    }
    float* given = b.template at<float>(b.p.config.shared.patches) + tile * kTilePixels + b.g();
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) given[((group * kTiles + j) * 8 + 2 * b.t() + e % 2) * stride + e / 2 * 8] = sum[0][j][e];
    }
  }
}

// Adds it to the rows of the input that row y of hidden1's gradient is part of; with replicate padding what rows and columns
// outside the image are given belongs to the edge that they repeat.
template <class Net>
__device__ void add_given(const BackwardMmaBlock<Net>& b, const Job& job, int y, int c) {
  const int width = b.p.config.strip_width, stride = given_stride(width), last_row = b.height() - 1, last = b.width() - 1;
  const float* given = b.template at<float>(b.p.config.shared.patches);
  for (int i = opaque(threadIdx.x); i < kKernel1 * width; i += Net::kThreads) {
    const int k = i / width, j = i - k * width, x = job.x0 + j, to = y - kReach1 + k;
    if (to < job.y0 || to >= job.y1 || x > last) continue;
    const int ky_begin = b.replicate() && to == 0 ? 0 : k, ky_end = b.replicate() && to == last_row ? kKernel1 : k + 1;
    const int before = b.replicate() && x == 0 ? kReach1 : 0, behind = b.replicate() && x == last ? kReach1 : 0;
    float sum = 0.0f;
#pragma unroll 1
    for (int ky = ky_begin; ky < ky_end; ++ky) {
#pragma unroll 1
      for (int copy = -before; copy <= behind; ++copy) {
#pragma unroll
        for (int kx = 0; kx < kKernel1; ++kx) {
          const int from = j + copy + 2 * kReach1 - kx;
          if (copy == 0 || b.has_column(job.x0 - kReach1 + from)) sum += given[(ky * kKernel1 + kx) * stride + from];
        }
      }
    }
    grad_input_row(b, to)[c * width + j] += sum;
  }
}

// What the step's rows of hidden1's gradient give. All threads; what was in the place of `given` must be needed no more, and
// another barrier is due.
template <class Net>
__device__ void give_grad_input(const BackwardMmaBlock<Net>& b) {
  const MmaStep& step = b.step();
  for (int r = step.grad1.begin; r < step.grad1.end; ++r) {
    for (int c = 0; c < b.channels(); ++c) {
      make_given(afresh(b), r, c);
      __syncthreads();
      add_given(afresh(b), step.job, step.first - Net::kReach2 + r, c);
      __syncthreads();
    }
  }
}

// Writes the rows of the input's gradient that are complete with the step, and makes room for others.
template <class Net>
__device__ void write_grad_input(const BackwardMmaBlock<Net>& b) {
  const Job& job = b.step().job;
  const auto complete = [&](int top) { return max(job.y0, min(job.y1, top - kReach1)); };
  const int top = b.step().first - Net::kReach2;  // row of hidden1's gradient
  const Rows rows{complete(top), b.step().ends ? job.y1 : complete(top + b.p.config.rows)};
  const int width = b.p.config.strip_width, line = b.channels() * width;
  const auto write = [&]<class Out>(Out) {
    const ImageView<Out> output = typed<Out>(b.p.grad_input);
    for (int i = opaque(threadIdx.x); i < rows.count() * line; i += Net::kThreads) {
      const int r = i / line, place = i - r * line, c = place / width, x = job.x0 + place - c * width;
      const int y = rows.begin + r;
      float* sum = grad_input_row(b, y) + place;
      if (x < b.width()) from_float(*sum, output.plane(job.image, c)[y * output.stride_h + x * output.stride_w]);
      *sum = 0.0f;
    }
  };
  if (b.p.grad_is_float) {
    write(float{});
  } else {
    write(typename Net::T{});
  }
}

}  // namespace
}  // namespace srcnn::cuda
