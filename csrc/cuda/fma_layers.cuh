// The layers of the plain-FMA forward, each for a group of rows; forward_fma.cu says how a block is shared out among its
// threads and strings them together.
#pragma once

#include "block.cuh"
#include "forward_fma.h"
#include "input_rows.cuh"

namespace srcnn::cuda {
namespace {

// What a thread is, and where things are; the same for the whole launch.
template <class T>
struct FmaBlock {
  const ForwardParams<T>& p;
  float* shared;
  int group;   // channel group, 0 .. 7
  int row;     // of the group of rows
  int column;  // first of 4

  // From the channel `first` of all: conv1's, conv2's, conv3's.
  __device__ __forceinline__ const float* bias(int first) const { return shared + p.config.shared.bias + first; }
  __device__ __forceinline__ int height() const { return static_cast<int>(p.problem.output.height); }
  __device__ __forceinline__ int width() const { return static_cast<int>(p.problem.output.width); }
  __device__ __forceinline__ bool replicate() const { return p.problem.padding == Padding::kReplicate; }
};

template <int kOutputs>
using QuadSums = float[kOutputs][kQuad];

__device__ __forceinline__ float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }
__device__ __forceinline__ void store4(float* p, const float (&v)[kQuad]) {
  *reinterpret_cast<float4*>(p) = make_float4(v[0], v[1], v[2], v[3]);
}

// The F rows of a ring that row r of a convolution's output reads; r is in the image.
template <int F>
struct Window {
  int top, slot, slots, height;  // its first row, and that one's slot
  bool replicate;

  __device__ __forceinline__ Window(int r, int slots_, int height_, bool replicate_)
      : top(r - F / 2), slot((top + slots_) % slots_), slots(slots_), height(height_), replicate(replicate_) {}

  // Slot of row ky of them, or -1 if it is worth nothing.
  __device__ __forceinline__ int slot_of(int ky) const {
    const int r = top + ky;
    if (r < 0 || r >= height) {
      if (!replicate) return -1;
      ky = (r < 0 ? 0 : height - 1) - top;
    }
    return slot + ky - (slot + ky >= slots ? slots : 0);
  }
};

// ------------------------------------------------------------------------------------------------------ weights

// [out][in][taps] of global memory -> [in][taps][out] of shared memory, input channels [first, first + count).
// A `unit` is what the caller counts in: taps per channel for conv2, or one row of 9 taps for conv1.
template <class T>
__device__ void load_weights(const T* weight, int outputs, int total_units, int unit_taps, int first, int count, float* to) {
  const int span = count * unit_taps;  // consecutive in memory, for each output
  for (int i = threadIdx.x; i < outputs * span; i += blockDim.x) {
    const int o = i / span, t = i - o * span;
    to[t * outputs + o] = to_float(weight[static_cast<int64_t>(o) * total_units * unit_taps + first * unit_taps + t]);
  }
}

// conv3's, all of them: [out][in][taps] -> [out][in / 4][taps][4], so that a float4 is one tap of a thread's 4 input channels.
template <int kChannels, class T>
__device__ void load_weights3(const T* weight, float* to) {
  static_assert(kWidth2 / kChannelGroups == 4);
  for (int i = threadIdx.x; i < kChannels * kWidth2 * kTaps3; i += blockDim.x) {
    const int channel = i / kTaps3, t = i - channel * kTaps3;  // of all outputs
    to[(channel / 4 * kTaps3 + t) * 4 + channel % 4] = to_float(weight[i]);
  }
}

// ------------------------------------------------------------------------------------------------------ input rows

// Rows [first, last] of the enlarged image into the ring, sides padded. `tabulated`: first row of the table of weights.
template <int kChannels, class T>
__device__ void make_input(const FmaBlock<T>& b, const EnlargedInput<T>& input, const Job& job, int halo, int first, int last,
                           int& tabulated) {
  const int stride = input_stride(b.p.config.columns), slots = input_slots(b.p.config.rows);
  for (int r = first; r <= last; ++r) {
    input.require_row(r, tabulated);
    float* ring = b.shared + b.p.config.shared.input + r % slots * (kChannels * stride);
    for (int i = threadIdx.x; i < kChannels * stride; i += blockDim.x) {
      const int c = i / stride, j = i - c * stride;
      ring[i] = input.pixel(c, r, job.x0 - halo + j, j, tabulated);
    }
  }
}

// ------------------------------------------------------------------------------------------------------ hidden layers

// A row of `kOutputs` x 4 sums: F taps of one (input channel, ky).
template <int kOutputs, int F>
__device__ __forceinline__ void add_taps(const float* row, const float* weight, int outputs, QuadSums<kOutputs>& sum) {
  constexpr int kLoads = (kQuad + F - 1 + 3) / 4;
  float x[4 * kLoads];
#pragma unroll
  for (int v = 0; v < kLoads; ++v) {
    const float4 q = load4(row + 4 * v);
    x[4 * v] = q.x;
    x[4 * v + 1] = q.y;
    x[4 * v + 2] = q.z;
    x[4 * v + 3] = q.w;
  }
#pragma unroll
  for (int kx = 0; kx < F; ++kx) {
#pragma unroll
    for (int o = 0; o < kOutputs; o += 4) {
      const float4 w = load4(weight + kx * outputs + o);
#pragma unroll
      for (int q = 0; q < kQuad; ++q) {
        sum[o][q] = fmaf(w.x, x[kx + q], sum[o][q]);
        sum[o + 1][q] = fmaf(w.y, x[kx + q], sum[o + 1][q]);
        sum[o + 2][q] = fmaf(w.z, x[kx + q], sum[o + 2][q]);
        sum[o + 3][q] = fmaf(w.w, x[kx + q], sum[o + 3][q]);
      }
    }
  }
}

// relu(sum) into channels of a row; columns outside the image become zero (replicated ones are mended by pad_sides).
template <int kOutputs>
__device__ __forceinline__ void store_hidden(float* to, int stride, int image_column, int width,
                                             const QuadSums<kOutputs>& sum) {
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    float value[kQuad];
#pragma unroll
    for (int q = 0; q < kQuad; ++q) {
      value[q] = image_column + q >= 0 && image_column + q < width ? relu(sum[o][q]) : 0.0f;
    }
    store4(to + o * stride, value);
  }
}

// With replicate padding, columns outside the image repeat the edge column, in rows [first, last] of a hidden stage.
template <class T>
__device__ void pad_sides(const FmaBlock<T>& b, const Job& job, float* ring, int slots, int channels, int halo, int first,
                          int last) {
  const int columns = b.p.config.columns, stride = hidden_stride(columns);
  const int left = max(0, halo - job.x0);                     // columns left of the image
  const int right = min(columns, b.width() - job.x0 + halo);  // first column right of it
  if (!b.replicate() || (left == 0 && right == columns)) return;
  __syncthreads();
  for (int i = threadIdx.x; i < (last - first + 1) * channels; i += blockDim.x) {
    const int r = first + i / channels;
    float* row = ring + r % slots * hidden_row(channels, columns) + i % channels * stride;
    for (int j = 0; j < left; ++j) row[j] = row[left];
    for (int j = right; j < columns; ++j) row[j] = row[right - 1];
  }
}

// Rows [first, last] of conv1 + ReLU, all in the image; at most `rows` of them. A thread makes 8 channels.
template <int kKernel2, int kChannels, class T>
__device__ void make_hidden1(const FmaBlock<T>& b, const Job& job, int halo, int first, int last) {
  constexpr int kOutputs = kWidth1 / kChannelGroups;
  constexpr int kUnits = kChannels * kKernel1;
  const ForwardParams<T>& p = b.p;
  const int columns = p.config.columns, stride = input_stride(columns), slots = input_slots(p.config.rows);
  const int r = first + b.row;
  const bool wanted = r <= last;

  const Window<kKernel1> window(r, slots, b.height(), b.replicate());
  QuadSums<kOutputs> sum;
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    const float bias = b.bias(0)[b.group * kOutputs + o];
#pragma unroll
    for (int q = 0; q < kQuad; ++q) sum[o][q] = bias;
  }

  const float* input = b.shared + p.config.shared.input + b.column;
  float* weight = b.shared + p.config.shared.weight1;
  const int chunk = p.config.weight1_rows;
  for (int unit = 0; unit < kUnits; unit += chunk) {
    if (chunk < kUnits) {
      __syncthreads();  // all have done with the previous chunk
      load_weights(p.problem.conv1.weight, kWidth1, kUnits, kKernel1, unit, chunk, weight);
      __syncthreads();
    }
    if (!wanted) continue;
#pragma unroll 1
    for (int u = 0; u < chunk; ++u) {
      const int c = (unit + u) / kKernel1, slot = window.slot_of(unit + u - c * kKernel1);
      if (slot < 0) continue;
      add_taps<kOutputs, kKernel1>(input + (slot * kChannels + c) * stride,
                                   weight + u * kKernel1 * kWidth1 + b.group * kOutputs, kWidth1, sum);
    }
  }

  constexpr int kSlack = kKernel2 - 1;
  const int hidden_slots = p.config.rows + kSlack, to_stride = hidden_stride(columns);
  float* hidden = b.shared + p.config.shared.hidden1;
  if (wanted) {
    float* to = hidden + r % hidden_slots * hidden_row(kWidth1, columns) + b.group * kOutputs * to_stride + b.column;
    store_hidden(to, to_stride, job.x0 - halo + b.column, b.width(), sum);
  }
  pad_sides(b, job, hidden, hidden_slots, kWidth1, halo, first, last);
}

// Rows [first, last] of conv2 + ReLU; those outside the image repeat the edge row (replicate) or are left out (zeros). A thread
// sums half of the input channels for 8 outputs, which (1x1) takes 3/5 of the reads of all channels for 4 outputs; then two
// threads give each other the half that the other one finishes.
template <int kKernel2, class T>
__device__ void make_hidden2(const FmaBlock<T>& b, const Job& job, int halo, int first, int last) {
  constexpr int kOutputs = 8, kGroups = kWidth2 / kOutputs;
  static_assert(kChannelGroups == 2 * kGroups);
  const ForwardParams<T>& p = b.p;
  const int columns = p.config.columns, stride = hidden_stride(columns), slots = hidden1_slots(p.config.rows, kKernel2);
  const int first_output = b.group % kGroups * kOutputs;
  const bool high = b.group >= kGroups;  // the half of the input channels, and of the outputs that this thread finishes
  const int r = first + b.row;
  const bool wanted = r <= last && (b.replicate() || (r >= 0 && r < b.height()));

  const Window<kKernel2> window(min(max(r, 0), b.height() - 1), slots, b.height(), b.replicate());
  int offset[kKernel2];
#pragma unroll
  for (int ky = 0; ky < kKernel2; ++ky) {
    const int slot = window.slot_of(ky);
    offset[ky] = slot < 0 ? -1 : slot * hidden_row(kWidth1, columns);
  }
  QuadSums<kOutputs> sum;
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    const float bias = high == (o >= kOutputs / 2) ? b.bias(kWidth1)[first_output + o] : 0.0f;
#pragma unroll
    for (int q = 0; q < kQuad; ++q) sum[o][q] = bias;
  }

  const float* input = b.shared + p.config.shared.hidden1 + b.column;
  float* weight = b.shared + p.config.shared.weight2;
  const int chunk = p.config.weight2_channels;
  for (int channel = 0; channel < kWidth1; channel += chunk) {
    if (chunk < kWidth1) {
      __syncthreads();
      load_weights(p.problem.conv2.weight, kWidth2, kWidth1, kKernel2 * kKernel2, channel, chunk, weight);
      __syncthreads();
    }
    if (!wanted) continue;
    const int begin = high ? chunk / 2 : 0;
#pragma unroll 1
    for (int i = begin; i < begin + chunk / 2; ++i) {
#pragma unroll
      for (int ky = 0; ky < kKernel2; ++ky) {
        if (ky != kKernel2 / 2 && offset[ky] < 0) continue;  // the middle row is in the image
        add_taps<kOutputs, kKernel2>(input + offset[ky] + (channel + i) * stride,
                                     weight + (i * kKernel2 + ky) * kKernel2 * kWidth2 + first_output, kWidth2, sum);
      }
    }
  }

  float* hidden = b.shared + p.config.shared.hidden2;
  float* row = hidden + b.row * hidden_row(kWidth2, columns) + first_output * stride + b.column;
  float* kept = row + (high ? 4 : 0) * stride;
  float* given = row + (high ? 0 : 4) * stride;
  if (wanted) {
#pragma unroll
    for (int o = 0; o < 4; ++o) {
      const float other[kQuad] = {high ? sum[o][0] : sum[4 + o][0], high ? sum[o][1] : sum[4 + o][1],
                                  high ? sum[o][2] : sum[4 + o][2], high ? sum[o][3] : sum[4 + o][3]};
      store4(given + o * stride, other);
    }
  }
  __syncthreads();
  if (wanted) {
    QuadSums<4> total;
#pragma unroll
    for (int o = 0; o < 4; ++o) {
      const float4 other = load4(kept + o * stride);
      total[o][0] = (high ? sum[4 + o][0] : sum[o][0]) + other.x;
      total[o][1] = (high ? sum[4 + o][1] : sum[o][1]) + other.y;
      total[o][2] = (high ? sum[4 + o][2] : sum[o][2]) + other.z;
      total[o][3] = (high ? sum[4 + o][3] : sum[o][3]) + other.w;
    }
    store_hidden(kept, stride, job.x0 - halo + b.column, b.width(), total);
  }
  pad_sides(b, job, hidden, p.config.rows, kWidth2, halo, 0, last - first);
}

// ------------------------------------------------------------------------------------------------------ output rows

// Adds up, in a fixed order, what rows [first, last] of hidden2 are worth for the output rows that they are part of, and writes
// those rows that are complete. The others stay open: row y in slot y mod (rows + 4).
template <class T>
__device__ void add_partial_sums(const FmaBlock<T>& b, const Job& job, int c, int first, int last) {
  constexpr int kReach = kKernel3 / 2;
  const ForwardParams<T>& p = b.p;
  const int columns = p.config.columns, positions = columns * p.config.rows, quads = columns / kQuad;
  const int slots = open_slots(p.config.rows), made = last - first + 1;
  const float* partial = b.shared + p.config.shared.partial;
  float* open_rows = b.shared + p.config.shared.open_rows + c * slots * columns;
  for (int i = threadIdx.x; i < (made + 2 * kReach) * quads; i += blockDim.x) {
    const int d = i / quads, column = (i - d * quads) * kQuad, y = first - kReach + d;
    if (y < job.y0 || y >= job.y1) continue;
    float* open = open_rows + y % slots * columns + column;
    const float bias = b.bias(kWidth1 + kWidth2)[c];
    // Rows that nothing was added to before; a strip's first group has no others.
    float4 sum = d >= 2 * kReach ? make_float4(bias, bias, bias, bias) : load4(open);
    for (int row = max(0, d - 2 * kReach); row < made && row <= d; ++row) {
      const int ky = row - d + 2 * kReach;
      for (int g = 0; g < kChannelGroups; ++g) {
        const float4 part = load4(partial + (ky * kChannelGroups + g) * positions + row * columns + column);
        sum.x += part.x;
        sum.y += part.y;
        sum.z += part.z;
        sum.w += part.w;
      }
    }
    if (y > last - kReach) {
      *reinterpret_cast<float4*>(open) = sum;
      continue;
    }
    const float value[kQuad] = {sum.x, sum.y, sum.z, sum.w};
    auto* to = p.problem.output.plane(job.image, c) + y * p.problem.output.stride_h;
#pragma unroll
    for (int q = 0; q < kQuad; ++q) {
      const int64_t x = job.x0 + column + q;
      if (column + q < p.config.strip_width && x < p.problem.output.width) {
        from_float(value[q], to[x * p.problem.output.stride_w]);
      }
    }
  }
}

// conv3, given out: rows [first, last] of hidden2 are added to the five output rows that each is part of. A thread has 4 input
// channels, whose pixels it reads once for all 25 taps.
template <int kChannels, class T>
__device__ void give_output(const FmaBlock<T>& b, const Job& job, int first, int last) {
  constexpr int kInputs = kWidth2 / kChannelGroups, kPixels = 2 * kQuad;
  static_assert(kPixels >= kQuad + kKernel3 - 1);
  const ForwardConfig& config = b.p.config;
  const int columns = config.columns, stride = hidden_stride(columns), positions = columns * config.rows;
  const int r = first + b.row;
  const bool wanted = r <= last && (b.replicate() || (r >= 0 && r < b.height()));

  float x[kInputs][kPixels];
  const float* hidden = b.shared + config.shared.hidden2 + b.row * hidden_row(kWidth2, columns);
  hidden += b.group * kInputs * stride + b.column;
  if (wanted) {
#pragma unroll
    for (int i = 0; i < kInputs; ++i) {
      const float4 low = load4(hidden + i * stride), high = load4(hidden + i * stride + kQuad);
      const float pixels[kPixels] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
      for (int j = 0; j < kPixels; ++j) x[i][j] = pixels[j];
    }
  }
  float* partial = b.shared + config.shared.partial + b.group * positions + b.row * columns + b.column;
#pragma unroll 1
  for (int c = 0; c < kChannels; ++c) {
    const float* weight = b.shared + config.shared.weight3 + (c * kChannelGroups + b.group) * kTaps3 * kInputs;
    QuadSums<kKernel3> sum = {};
    if (wanted) {
#pragma unroll
      for (int t = 0; t < kTaps3; ++t) {
        const float4 w = load4(weight + t * kInputs);
#pragma unroll
        for (int q = 0; q < kQuad; ++q) {
          float& s = sum[t / kKernel3][q];
          s = fmaf(w.x, x[0][t % kKernel3 + q], s);
          s = fmaf(w.y, x[1][t % kKernel3 + q], s);
          s = fmaf(w.z, x[2][t % kKernel3 + q], s);
          s = fmaf(w.w, x[3][t % kKernel3 + q], s);
        }
      }
    }
    if (c > 0) __syncthreads();  // the sums of the channel before have been read
#pragma unroll
    for (int ky = 0; ky < kKernel3; ++ky) store4(partial + ky * kChannelGroups * positions, sum[ky]);
    __syncthreads();
    add_partial_sums(b, job, c, first, last);
  }
}

}  // namespace
}  // namespace srcnn::cuda
