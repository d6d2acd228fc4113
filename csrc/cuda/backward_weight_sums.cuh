// The gradients of weights and biases in the plain-FMA backward: sums over the strip's own positions of a group of rows.
//
// Such a sum is a matrix product over positions. A thread has a few output channels x a few input channels x a row of taps in
// registers, reads the positions four at a time, and when the rows are through adds its sums to the block's own in global
// memory (L2): each element of those belongs to one thread for the whole launch, and rows come in order, so that the same input
// gives the same bits. To occupy all threads, the rows are split in two, whose sums stay apart until all blocks are done.
#pragma once

#include "backward_layers.cuh"

namespace srcnn::cuda {
namespace {

// The strip's own positions in some rows: of the image, not of a halo.
struct Own {
  Rows rows;
  int columns;

  __device__ __forceinline__ Rows part(int split) const {
    const int half = rows.begin + (rows.count() + 1) / kBackwardSplits;
    return split == 0 ? Rows{rows.begin, half} : Rows{half, rows.end};
  }
};

template <int kKernel2>
__device__ __forceinline__ Own own_of(const BackwardBlock<kKernel2>& b, const Job& job, Rows rows) {
  return {rows.within({job.y0, job.y1}), min(b.config().strip_width, b.width() - job.x0)};
}

// Adds to a sum in global memory, or begins it.
__device__ __forceinline__ void add_to(float* sum, float value, bool begin) { *sum = begin ? value : *sum + value; }

// Sum over a channel's own positions; row(r): its row, from the strip's first column on.
template <class Row>
__device__ __forceinline__ float sum_of_channel(const Own& own, const Row& row) {
  float sum = 0.0f;
  for (int r = own.rows.begin; r < own.rows.end; ++r) {
    const float* values = row(r);
    for (int j = 0; j < own.columns; j += kQuad) {
      const float4 v = load4(values + j);
      const float value[kQuad] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int q = 0; q < kQuad; ++q) sum += j + q < own.columns ? value[q] : 0.0f;
    }
  }
  return sum;
}

// conv3: hidden2 times the output's gradient. An item is an input channel and a row of taps.
template <int kKernel2>
__device__ void sum_weight3(const BackwardBlock<kKernel2>& b, const Job& job, int first_row, const Own& own, bool begin) {
  const Ring hidden = b.hidden2(), grad = b.grad_output();
  float* sums = b.partials() + b.p.partials_at.weight3;
  const int items = b.channels() * kKernel3 * kWidth2;
  for (int item = threadIdx.x; b.p.wanted.weight3 && item < items; item += kBackwardThreads) {
    const int i = item % kWidth2, unit = item / kWidth2, c = unit / kKernel3, ky = unit - c * kKernel3;
    float sum[kKernel3] = {};
    for (int t = own.rows.begin; t < own.rows.end; ++t) {
      const Rows copies = b.copies_of(t, kReach3);
      for (int copy = copies.begin; copy < copies.end; ++copy) {
        const int r = copy - ky + kReach3;  // of the output, to which this tap takes the row
        if (r < 0 || r >= b.height()) continue;
        const float* features = hidden.row(t) + i * hidden.stride;
        const float* row = grad.slot(r - first_row + kReach3) + c * grad.stride;
        for (int j = 0; j < own.columns; j += kQuad) {
          const float4 f = load4(features + j);
          const float feature[kQuad] = {f.x, f.y, f.z, f.w};
          float g[kPixels<kKernel3>];
          load_window<kKernel3>(row + j, g);
#pragma unroll
          for (int q = 0; q < kQuad; ++q) {
            if (j + q >= own.columns) continue;
#pragma unroll
            for (int kx = 0; kx < kKernel3; ++kx) {
              sum[kx] = fmaf(feature[q], g[kFirstTap<kKernel3> + kKernel3 - 1 - kx + q], sum[kx]);
            }
          }
        }
        if (!b.replicate()) continue;
        // Columns outside the image are copies of its first and last one.
        const int last = b.width() - 1 - job.x0;
#pragma unroll
        for (int kx = 0; kx < kKernel3; ++kx) {
          for (int outside = 1; outside <= kReach3; ++outside) {
            const int tap = kx - kReach3;
            if (job.x0 == 0 && outside + tap <= 0) sum[kx] = fmaf(features[0], row[-outside - tap], sum[kx]);
            if (last < own.columns && outside - tap <= 0) sum[kx] = fmaf(features[last], row[last + outside - tap], sum[kx]);
          }
        }
      }
    }
#pragma unroll
    for (int kx = 0; kx < kKernel3; ++kx) add_to(sums + (unit * kKernel3 + kx) * kWidth2 + i, sum[kx], begin);
  }
  const int c = static_cast<int>(threadIdx.x) - (kBackwardThreads - 32);  // the last warp has the least to do
  if (b.p.wanted.bias3 && c >= 0 && c < b.channels()) {
    const float sum = sum_of_channel(own, [&](int r) { return grad.slot(r - first_row + kReach3) + c * grad.stride; });
    add_to(b.partials() + b.p.partials_at.bias3 + c, sum, begin);
  }
}

// conv2: hidden2's gradient times hidden1. An item is 4 output channels, 2 input channels (4 of 9-1-5) and a row of taps;
// channels of an item are far apart, so that a warp's are neighbours, whose quads are in different banks.
template <int kKernel2>
__device__ void sum_weight2(const BackwardBlock<kKernel2>& b, const Own& own, bool begin) {
  constexpr int kOut = 4, kIn = channels2_per_thread(kKernel2);
  constexpr int kOutGroups = kWidth2 / kOut, kInGroups = kWidth1 / kIn, kItems = kKernel2 * kOutGroups * kInGroups;
  const Ring hidden = b.hidden1(), grad = b.hidden2();
  for (int item = threadIdx.x; b.p.wanted.weight2 && item < kBackwardSplits * kItems; item += kBackwardThreads) {
    const int i = item % kInGroups, o = item / kInGroups % kOutGroups, ky = item / (kInGroups * kOutGroups) % kKernel2;
    const int split = item / kItems;
    const Rows rows = own.part(split);
    float sum[kOut][kIn][kKernel2] = {};
#pragma unroll 1
    for (int r = rows.begin; r < rows.end; ++r) {
      const int slot = Window<kKernel2>(r, hidden.slots, b.height(), b.replicate()).slot_of(ky);
      if (slot < 0) continue;
      const float* grads = grad.row(r) + o * grad.stride;
      const float* features = hidden.slot(slot) + i * hidden.stride;
#pragma unroll 1
      for (int j = 0; j < own.columns; j += kQuad) {
        float g[kOut][kQuad];
#pragma unroll
        for (int a = 0; a < kOut; ++a) {
          const float4 v = load4(grads + a * kOutGroups * grad.stride + j);
          g[a][0] = v.x;
          g[a][1] = v.y;
          g[a][2] = v.z;
          g[a][3] = v.w;
        }
#pragma unroll
        for (int e = 0; e < kIn; ++e) {
          float x[kPixels<kKernel2>];
          load_window<kKernel2>(features + e * kInGroups * hidden.stride + j, x);
#pragma unroll
          for (int q = 0; q < kQuad; ++q) {
            if (j + q >= own.columns) continue;
#pragma unroll
            for (int kx = 0; kx < kKernel2; ++kx) {
#pragma unroll
              for (int a = 0; a < kOut; ++a) {
                sum[a][e][kx] = fmaf(g[a][q], x[kFirstTap<kKernel2> + kx + q], sum[a][e][kx]);
              }
            }
          }
        }
      }
    }
    float* sums = b.partials() + b.p.partials_at.weight2 + split * kKernel2 * kKernel2 * kWidth1 * kWidth2;
#pragma unroll
    for (int kx = 0; kx < kKernel2; ++kx) {
#pragma unroll
      for (int a = 0; a < kOut; ++a) {
#pragma unroll
        for (int e = 0; e < kIn; ++e) {
          add_to(sums + ((ky * kKernel2 + kx) * kWidth2 + o + a * kOutGroups) * kWidth1 + i + e * kInGroups, sum[a][e][kx],
                 begin);
        }
      }
    }
  }
  const int o = static_cast<int>(threadIdx.x) - (kBackwardThreads - kWidth2);
  if (b.p.wanted.bias2 && o >= 0) {
    const float sum = sum_of_channel(own, [&](int r) { return grad.row(r) + o * grad.stride; });
    add_to(b.partials() + b.p.partials_at.bias2 + o, sum, begin);
  }
}

// conv1: hidden1's gradient times the input. An item is 4 output channels, far apart as above, and a row of taps of a channel.
template <int kKernel2>
__device__ void sum_weight1(const BackwardBlock<kKernel2>& b, const Own& own, bool begin) {
  constexpr int kOut = 4, kGroups = kWidth1 / kOut;
  const Ring input = b.input(), grad = b.hidden1();
  const int units = kKernel1 * b.channels(), items = units * kGroups;
  for (int item = threadIdx.x; b.p.wanted.weight1 && item < kBackwardSplits * items; item += kBackwardThreads) {
    const int o = item % kGroups, unit = item / kGroups % units, split = item / items;
    const int c = unit / kKernel1, ky = unit - c * kKernel1;
    const Rows rows = own.part(split);
    float sum[kOut][kKernel1] = {};
#pragma unroll 1
    for (int r = rows.begin; r < rows.end; ++r) {
      const int slot = Window<kKernel1>(r, input.slots, b.height(), b.replicate()).slot_of(ky);
      if (slot < 0) continue;
      const float* grads = grad.row(r) + o * grad.stride;
      const float* pixels = input.slot(slot) + c * input.stride;
#pragma unroll 1
      for (int j = 0; j < own.columns; j += kQuad) {
        float x[kPixels<kKernel1>];
        load_window<kKernel1>(pixels + j, x);
        float g[kOut][kQuad];
#pragma unroll
        for (int a = 0; a < kOut; ++a) {
          const float4 v = load4(grads + a * kGroups * grad.stride + j);
          g[a][0] = v.x;
          g[a][1] = v.y;
          g[a][2] = v.z;
          g[a][3] = v.w;
        }
#pragma unroll
        for (int q = 0; q < kQuad; ++q) {
          if (j + q >= own.columns) continue;
#pragma unroll
          for (int kx = 0; kx < kKernel1; ++kx) {
#pragma unroll
            for (int a = 0; a < kOut; ++a) sum[a][kx] = fmaf(g[a][q], x[kFirstTap<kKernel1> + kx + q], sum[a][kx]);
          }
        }
      }
    }
    float* sums = b.partials() + b.p.partials_at.weight1 + split * items * kKernel1 * kOut;
#pragma unroll
    for (int kx = 0; kx < kKernel1; ++kx) {
#pragma unroll
      for (int a = 0; a < kOut; ++a) add_to(sums + (unit * kKernel1 + kx) * kWidth1 + o + a * kGroups, sum[a][kx], begin);
    }
  }
  const int o = static_cast<int>(threadIdx.x) - (kBackwardThreads - kWidth1);
  if (b.p.wanted.bias1 && o >= 0) {
    const float sum = sum_of_channel(own, [&](int r) { return grad.row(r) + o * grad.stride; });
    add_to(b.partials() + b.p.partials_at.bias1 + o, sum, begin);
  }
}

}  // namespace
}  // namespace srcnn::cuda
