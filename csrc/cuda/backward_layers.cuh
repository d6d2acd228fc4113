// The convolutions of the plain-FMA backward: the forward's two, and those that take gradients back through conv3 and conv2.
// A task is 8 output channels of 4 neighbouring positions of a row; threads take task after task.
#pragma once

#include "backward_block.cuh"

namespace srcnn::cuda {
namespace {

inline constexpr int kOutputs = 8;  // of a task

// A task: which row (from the first), which quad, which channels. Quads go first, so that a warp shares its weights.
struct Task {
  int row, quad, output;

  __device__ __forceinline__ Task(int index, int rows, int quads) {
    const int group = index / (rows * quads), place = index - group * rows * quads;
    row = place / quads;
    quad = place - row * quads;
    output = group * kOutputs;
  }
};

// The pixels that F taps of 4 positions read, and which of them is the first tap's. They begin a quad before the first
// position, so that all loads are aligned; what no tap reads of the quads at the ends is not loaded.
template <int F>
inline constexpr int kPixels = F == 1 ? kQuad : 3 * kQuad;
template <int F>
inline constexpr int kFirstTap = F == 1 ? 0 : kQuad - F / 2;

template <int F>
__device__ __forceinline__ void load_window(const float* quad, float (&x)[kPixels<F>]) {
  static_assert(F == 1 || F == 3 || F == 5 || F == 9);
  const auto put = [&](int at, const float4& q) {
    x[at] = q.x;
    x[at + 1] = q.y;
    x[at + 2] = q.z;
    x[at + 3] = q.w;
  };
  put(F == 1 ? 0 : kQuad, load4(quad));
  if constexpr (F == 3) {
    x[3] = quad[-1];
    x[8] = quad[4];
  } else if constexpr (F == 5) {
    const float2 left = *reinterpret_cast<const float2*>(quad - 2), right = *reinterpret_cast<const float2*>(quad + 4);
    x[2] = left.x;
    x[3] = left.y;
    x[8] = right.x;
    x[9] = right.y;
  } else if constexpr (F == 9) {
    put(0, load4(quad - 4));
    put(8, load4(quad + 4));
  }
}

// Adds F taps of one (input channel, ky) to a task's sums. weight: [F][outputs].
template <int F>
__device__ __forceinline__ void correlate(const float* quad, const float* weight, int outputs, QuadSums<kOutputs>& sum) {
  float x[kPixels<F>];
  load_window<F>(quad, x);
#pragma unroll
  for (int kx = 0; kx < F; ++kx) {
#pragma unroll
    for (int o = 0; o < kOutputs; o += 4) {
      const float4 w = load4(weight + kx * outputs + o);
#pragma unroll
      for (int q = 0; q < kQuad; ++q) {
        const float pixel = x[kFirstTap<F> + kx + q];
        sum[o][q] = fmaf(w.x, pixel, sum[o][q]);
        sum[o + 1][q] = fmaf(w.y, pixel, sum[o + 1][q]);
        sum[o + 2][q] = fmaf(w.z, pixel, sum[o + 2][q]);
        sum[o + 3][q] = fmaf(w.w, pixel, sum[o + 3][q]);
      }
    }
  }
}

// With replicate padding the columns outside the image that repeat column 0 (or the last one) give it what they get: the taps
// of those columns, which end in the image. `column`: column 0 (the last one) of the row.
template <int F, bool kLeft>
__device__ __forceinline__ void correlate_copies(const float* column, const float* weight, int outputs,
                                                 float (&sum)[kOutputs]) {
  constexpr int kReach = F / 2;
#pragma unroll 1
  for (int outside = 1; outside <= kReach; ++outside) {
    const int first = kLeft ? kReach + outside : 0, end = kLeft ? F : kReach + 1 - outside;
    const float* pixel = column + (kLeft ? -outside : outside) - kReach;
    for (int kx = first; kx < end; ++kx) {
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) sum[o] = fmaf(weight[kx * outputs + o], pixel[kx], sum[o]);
    }
  }
}

// Both sides of a task's quad, whose first position is image column x. rows(add) calls add(row at the quad, weights) for all
// (input channel, ky).
template <int F, class ForEachRow>
__device__ __forceinline__ void add_copies(int x, int width, int outputs, QuadSums<kOutputs>& sum, const ForEachRow& rows) {
  if (x <= 0 && x + kQuad > 0) {
    float side[kOutputs] = {};
    rows([&](const float* quad, const float* weight) { correlate_copies<F, true>(quad - x, weight, outputs, side); });
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
#pragma unroll
      for (int q = 0; q < kQuad; ++q) sum[o][q] += x + q == 0 ? side[o] : 0.0f;
    }
  }
  if (x < width && x + kQuad >= width) {
    float side[kOutputs] = {};
    rows([&](const float* quad, const float* weight) {
      correlate_copies<F, false>(quad + width - 1 - x, weight, outputs, side);
    });
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
#pragma unroll
      for (int q = 0; q < kQuad; ++q) sum[o][q] += x + q == width - 1 ? side[o] : 0.0f;
    }
  }
}

// The sums where the feature they replace is not zero, zero elsewhere, also outside the image.
__device__ __forceinline__ void store_masked(float* feature, int stride, int x, int width, const QuadSums<kOutputs>& sum) {
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    const float4 f = load4(feature + o * stride);
    const float features[kQuad] = {f.x, f.y, f.z, f.w};
    float value[kQuad];
#pragma unroll
    for (int q = 0; q < kQuad; ++q) {
      const bool passes = x + q >= 0 && x + q < width && !(features[q] <= 0.0f);  // NaN passes, as in torch
      value[q] = passes ? sum[o][q] : 0.0f;
    }
    store4(feature + o * stride, value);
  }
}

// ------------------------------------------------------------------------------------------------------ the forward, again

// Rows of conv1 + ReLU, all in the image.
template <int kKernel2>
__device__ void make_hidden1(const BackwardBlock<kKernel2>& b, const Job& job, Rows rows) {
  const Ring input = b.input(), hidden = b.hidden1();
  const BackwardConfig& config = b.config();
  const int quads = (config.strip_width + 2 * hidden.halo) / kQuad, count = rows.count();
  const int tasks = count * quads * (kWidth1 / kOutputs);
  for (int round = 0; round < tasks; round += kBackwardThreads) {
    const bool wanted = round + static_cast<int>(threadIdx.x) < tasks;
    const Task task(wanted ? round + static_cast<int>(threadIdx.x) : 0, max(count, 1), quads);
    const int r = rows.begin + task.row, column = task.quad * kQuad - hidden.halo, x = job.x0 + column;
    const bool in_image = wanted && x + kQuad > 0 && x < b.width();
    const Window<kKernel1> window(r, input.slots, b.height(), b.replicate());
    QuadSums<kOutputs> sum;
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
      const float bias = b.shared[config.shared.bias + task.output + o];
#pragma unroll
      for (int q = 0; q < kQuad; ++q) sum[o][q] = bias;
    }
    for_each_chunk(b.p.weights + b.p.weights_at.weight1, b.shared + config.shared.weight1, kKernel1 * b.channels(),
                   config.chunks.weight1, kKernel1 * kWidth1, [&](int first, int units, const float* weight) {
                     if (!in_image) return;
#pragma unroll 1
                     for (int u = 0; u < units; ++u) {
                       const int c = (first + u) / kKernel1, slot = window.slot_of(first + u - c * kKernel1);
                       if (slot < 0) continue;
                       correlate<kKernel1>(input.slot(slot) + c * input.stride + column,
                                           weight + u * kKernel1 * kWidth1 + task.output, kWidth1, sum);
                     }
                   });
    if (wanted) store_hidden(hidden.row(r) + task.output * hidden.stride + column, hidden.stride, x, b.width(), sum);
  }
  if (!b.replicate()) return;
  // Columns outside the image repeat its first and last one.
  const int left = -job.x0, right = b.width() - job.x0;  // the image's, from x0
  if (left <= -hidden.halo && right >= config.strip_width + hidden.halo) return;
  __syncthreads();
  for (int i = threadIdx.x; i < count * kWidth1; i += kBackwardThreads) {
    float* row = hidden.row(rows.begin + i / kWidth1) + i % kWidth1 * hidden.stride;
    for (int j = -hidden.halo; j < left; ++j) row[j] = row[left];
    for (int j = right; j < config.strip_width + hidden.halo; ++j) row[j] = row[right - 1];
  }
}

// Rows of conv2 + ReLU, all in the image.
template <int kKernel2>
__device__ void make_hidden2(const BackwardBlock<kKernel2>& b, const Job& job, Rows rows) {
  const Ring input = b.hidden1(), hidden = b.hidden2();
  const BackwardConfig& config = b.config();
  const int quads = (config.strip_width + 2 * hidden.halo) / kQuad, count = rows.count();
  const int tasks = count * quads * (kWidth2 / kOutputs);
  constexpr int kUnit = kKernel2 * kKernel2 * kWidth2;
  for (int round = 0; round < tasks; round += kBackwardThreads) {
    const bool wanted = round + static_cast<int>(threadIdx.x) < tasks;
    const Task task(wanted ? round + static_cast<int>(threadIdx.x) : 0, count, quads);
    const int r = rows.begin + task.row, column = task.quad * kQuad - hidden.halo, x = job.x0 + column;
    const bool in_image = wanted && x + kQuad > 0 && x < b.width();
    const Window<kKernel2> window(r, input.slots, b.height(), b.replicate());
    int offset[kKernel2];
#pragma unroll
    for (int ky = 0; ky < kKernel2; ++ky) {
      const int slot = window.slot_of(ky);
      offset[ky] = slot < 0 ? -1 : slot * input.pitch;
    }
    QuadSums<kOutputs> sum;
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
      const float bias = b.shared[config.shared.bias + kWidth1 + task.output + o];
#pragma unroll
      for (int q = 0; q < kQuad; ++q) sum[o][q] = bias;
    }
    for_each_chunk(b.p.weights + b.p.weights_at.weight2, b.shared + config.shared.weight2, kWidth1, config.chunks.weight2,
                   kUnit, [&](int first, int units, const float* weight) {
                     if (!in_image) return;
                     const float* from = input.slot(0) + first * input.stride + column;
                     weight += task.output;
#pragma unroll 1
                     for (int i = 0; i < units; ++i, from += input.stride, weight += kUnit) {
#pragma unroll
                       for (int ky = 0; ky < kKernel2; ++ky) {
                         if (ky != kKernel2 / 2 && offset[ky] < 0) continue;  // the middle row is in the image
                         correlate<kKernel2>(from + offset[ky], weight + ky * kKernel2 * kWidth2, kWidth2, sum);
                       }
                     }
                   });
    if (wanted) store_hidden(hidden.row(r) + task.output * hidden.stride + column, hidden.stride, x, b.width(), sum);
  }
}

// ------------------------------------------------------------------------------------------------------ gradients, back

// Rows of hidden2's gradient in the place of hidden2: conv3's output gradient through conv3 and the ReLU.
template <int kKernel2>
__device__ void make_grad2(const BackwardBlock<kKernel2>& b, const Job& job, Rows rows) {
  const Ring grad = b.grad_output(), hidden = b.hidden2();
  const BackwardConfig& config = b.config();
  const int quads = (config.strip_width + 2 * hidden.halo) / kQuad, count = rows.count();
  for (int i = threadIdx.x; i < count * quads * (kWidth2 / kOutputs); i += kBackwardThreads) {
    const Task task(i, count, quads);
    const int t = rows.begin + task.row, column = task.quad * kQuad - hidden.halo, x = job.x0 + column;
    const float* weights = b.shared + config.shared.transposed3 + task.output;
    QuadSums<kOutputs> sum = {};
    const auto for_each_row = [&](const auto& add) {
      const Rows copies = b.copies_of(t, kReach3);
#pragma unroll 1
      for (int c = 0; c < b.channels(); ++c) {
#pragma unroll 1
        for (int copy = copies.begin; copy < copies.end; ++copy) {
#pragma unroll 1
          for (int ky = 0; ky < kKernel3; ++ky) {
            const int r = copy - kReach3 + ky;
            if (r < 0 || r >= b.height()) continue;
            add(grad.slot(r - rows.begin + kReach3) + c * grad.stride + column,
                weights + (c * kKernel3 + ky) * kKernel3 * kWidth2);
          }
        }
      }
    };
    if (x + kQuad > 0 && x < b.width()) {
      for_each_row([&](const float* quad, const float* weight) { correlate<kKernel3>(quad, weight, kWidth2, sum); });
      if (b.replicate()) add_copies<kKernel3>(x, b.width(), kWidth2, sum, for_each_row);
    }
    store_masked(hidden.row(t) + task.output * hidden.stride + column, hidden.stride, x, b.width(), sum);
  }
}

// Rows of hidden1's gradient in the place of hidden1: hidden2's gradient through conv2 and the ReLU.
template <int kKernel2>
__device__ void make_grad1(const BackwardBlock<kKernel2>& b, const Job& job, Rows rows) {
  constexpr int kReach2 = kKernel2 / 2, kUnit = kKernel2 * kKernel2 * kWidth1;
  const Ring grad = b.hidden2(), hidden = b.hidden1();
  const BackwardConfig& config = b.config();
  const int quads = (config.strip_width + 2 * config.input_halo) / kQuad, count = rows.count();
  const int tasks = count * quads * (kWidth1 / kOutputs);
  for (int round = 0; round < tasks; round += kBackwardThreads) {
    const bool wanted = round + static_cast<int>(threadIdx.x) < tasks;
    const Task task(wanted ? round + static_cast<int>(threadIdx.x) : 0, count, quads);
    const int t = rows.begin + task.row, column = task.quad * kQuad - config.input_halo, x = job.x0 + column;
    const bool in_image = wanted && x + kQuad > 0 && x < b.width();
    const bool at_edge = b.replicate() && (t == 0 || t == b.height() - 1);
    const bool at_side = b.replicate() && ((x <= 0 && x + kQuad > 0) || (x < b.width() && x + kQuad >= b.width()));
    int offset[kKernel2];
#pragma unroll
    for (int ky = 0; ky < kKernel2; ++ky) {
      const int r = t - kReach2 + ky;
      offset[ky] = r < 0 || r >= b.height() ? -1 : r % grad.slots * grad.pitch;
    }
    QuadSums<kOutputs> sum = {};
    for_each_chunk(
        b.p.weights + b.p.weights_at.transposed2, b.shared + config.shared.transposed2, kWidth2, config.chunks.transposed2,
        kUnit, [&](int first, int units, const float* weight) {
          if (!in_image) return;
          const float* from = grad.slot(0) + first * grad.stride + column;
          weight += task.output;
#pragma unroll 1
          for (int i = 0; i < units; ++i) {
#pragma unroll
            for (int ky = 0; ky < kKernel2; ++ky) {
              if (ky != kReach2 && offset[ky] < 0) continue;
              correlate<kKernel2>(from + i * grad.stride + offset[ky], weight + i * kUnit + ky * kKernel2 * kWidth1, kWidth1,
                                  sum);
            }
          }
          if (kReach2 == 0 || !(at_edge || at_side)) return;
          const auto for_each_row = [&](Rows copies, const auto& add) {
#pragma unroll 1
            for (int i = 0; i < units; ++i) {
#pragma unroll 1
              for (int copy = copies.begin; copy < copies.end; ++copy) {
#pragma unroll 1
                for (int ky = 0; ky < kKernel2; ++ky) {
                  const int r = copy - kReach2 + ky;
                  if (r < 0 || r >= b.height()) continue;
                  add(grad.row(r) + (first + i) * grad.stride + column, weight + i * kUnit + ky * kKernel2 * kWidth1);
                }
              }
            }
          };
          const Rows copies = b.copies_of(t, kReach2);
          const auto add_row = [&](const float* quad, const float* w) { correlate<kKernel2>(quad, w, kWidth1, sum); };
          for_each_row({copies.begin, t}, add_row);
          for_each_row({t + 1, copies.end}, add_row);
          if (at_side) {
            add_copies<kKernel2>(x, b.width(), kWidth1, sum, [&](const auto& add) { for_each_row(copies, add); });
          }
        });
    if (wanted) store_masked(hidden.row(t) + task.output * hidden.stride + column, hidden.stride, x, b.width(), sum);
  }
}

}  // namespace
}  // namespace srcnn::cuda
