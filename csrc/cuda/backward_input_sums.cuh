// The gradient of the (enlarged) input in the plain-FMA backward: rows of hidden1's gradient are given, through conv1, to the 9
// rows that each is part of, whose sums stay in shared memory until they are complete.
#pragma once

#include "backward_layers.cuh"

namespace srcnn::cuda {
namespace {

inline constexpr int kInputGroups = 8;  // neighbouring threads that share a quad, each with every eighth channel of hidden1

// Zero in all sums: a segment begins.
template <int kKernel2>
__device__ void clear_grad_input(const BackwardBlock<kKernel2>& b) {
  const Ring ring = b.grad_input();
  for (int i = threadIdx.x; i < ring.slots * ring.pitch; i += kBackwardThreads) ring.data[i] = 0.0f;
}

// What rows `made` of hidden1's gradient give, to rows of `own` (and with replicate padding through rows and columns outside
// the image, which are copies of the first and last ones).
template <int kKernel2>
__device__ void give_grad_input(const BackwardBlock<kKernel2>& b, const Job& job, Rows made, Rows own) {
  const Ring grad = b.hidden1(), ring = b.grad_input();
  const BackwardConfig& config = b.config();
  const Rows rows = own.within({made.begin - kReach1, made.end + kReach1});
  const int quads = config.strip_width / kQuad, lane = threadIdx.x % kInputGroups;
  const int tasks = b.channels() * rows.count() * quads * kInputGroups;
  for_each_chunk(b.p.weights + b.p.weights_at.weight1, b.shared + config.shared.weight1, kKernel1 * b.channels(),
                 config.chunks.weight1, kKernel1 * kWidth1, [&](int first, int units, const float* weight) {
                   // Whole warps, for the shuffles.
                   for (int i = threadIdx.x; (i & ~31) < tasks; i += kBackwardThreads) {
                     const int place = i / kInputGroups, quad = place % quads, line = place / quads;
                     const int c = rows.count() > 0 ? line / rows.count() : 0, t = rows.begin + line - c * rows.count();
                     const int column = quad * kQuad, x = job.x0 + column;
                     const bool wanted = i < tasks && x < b.width();
                     const bool left = b.replicate() && x == 0, right = b.replicate() && x + kQuad >= b.width();
                     const Rows copies = b.copies_of(t, kReach1);
                     float sum[kQuad] = {}, left_sum = 0.0f, right_sum = 0.0f;
                     for (int u = max(first, c * kKernel1); wanted && u < min(first + units, (c + 1) * kKernel1); ++u) {
                       const int ky = u - c * kKernel1;
                       for (int copy = copies.begin; copy < copies.end; ++copy) {
                         const int r = copy - ky + kReach1;
                         if (!made.has(r)) continue;
                         const float* quad_of = grad.row(r) + column + lane * grad.stride;
                         const float* taps = weight + (u - first) * kKernel1 * kWidth1 + lane;
#pragma unroll 1
                         for (int o = 0; o < kWidth1;
                              o += kInputGroups, quad_of += kInputGroups * grad.stride, taps += kInputGroups) {
                           float g[kPixels<kKernel1>];
                           load_window<kKernel1>(quad_of, g);
#pragma unroll
                           for (int kx = 0; kx < kKernel1; ++kx) {
                             const float w = taps[kx * kWidth1];
#pragma unroll
                             for (int q = 0; q < kQuad; ++q) sum[q] = fmaf(w, g[kKernel1 - 1 - kx + q], sum[q]);
                           }
                           if (!left && !right) continue;
                           for (int outside = 1; outside <= kReach1; ++outside) {
                             for (int kx = 0; kx < kKernel1; ++kx) {
                               const int tap = kx - kReach1, last = b.width() - 1 - x;
                               const float w = taps[kx * kWidth1];
                               if (left && outside + tap <= 0) left_sum = fmaf(w, quad_of[-outside - tap], left_sum);
                               if (right && outside - tap <= 0) right_sum = fmaf(w, quad_of[last + outside - tap], right_sum);
                             }
                           }
                         }
                       }
                     }
#pragma unroll
                     for (int q = 0; q < kQuad; ++q) {
                       sum[q] += x + q == 0 ? left_sum : 0.0f;
                       sum[q] += x + q == b.width() - 1 ? right_sum : 0.0f;
#pragma unroll
                       for (int step = kInputGroups / 2; step > 0; step /= 2) sum[q] += __shfl_xor_sync(~0u, sum[q], step);
                     }
                     if (!wanted || lane != 0) continue;
                     float* to = ring.row(t) + c * ring.stride + column;
                     const float4 before = load4(to);
                     const float after[kQuad] = {before.x + sum[0], before.y + sum[1], before.z + sum[2], before.w + sum[3]};
                     store4(to, after);
                   }
                 });
}

// Writes rows, which are complete, and makes room for others.
template <int kKernel2>
__device__ void write_grad_input(const BackwardBlock<kKernel2>& b, const Job& job, Rows rows) {
  const Ring ring = b.grad_input();
  const auto write = [&]<class T>(T) {
    const ImageView<T> output = typed<T>(b.p.grad_input);
    for (int i = threadIdx.x; i < rows.count() * ring.pitch; i += kBackwardThreads) {
      const int line = i / ring.pitch, place = i - line * ring.pitch, c = place / ring.stride, j = place - c * ring.stride;
      float* sum = ring.row(rows.begin + line) + place;
      const int64_t y = rows.begin + line, x = job.x0 + j;
      if (x < b.width()) from_float(*sum, output.plane(job.image, c)[y * output.stride_h + x * output.stride_w]);
      *sum = 0.0f;
    }
  };
  if (b.p.grad_is_float) {
    write(float{});
  } else {
    with_element(b.p.element, write);
  }
}

}  // namespace
}  // namespace srcnn::cuda
