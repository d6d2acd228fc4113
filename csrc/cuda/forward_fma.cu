// The fused forward in exact fp32 on any GPU: bicubic + conv1 + ReLU + conv2 + ReLU + conv3 in one kernel.
//
// A persistent block takes strip after strip of the output and makes each top to bottom, a group of `rows` rows at a time. The
// last rows of every stage live in shared memory as rings: row r of a stage is in slot r mod slots, channel after channel.
//
//   input rows (bicubic, or copied) -> conv1 + ReLU -> conv2 + ReLU -> conv3 -> global memory
//
// Column j of a ring is image column x0 - halo + j. Per stage a group is `columns * rows` positions = 128 or fewer; a thread
// has 4 neighbouring positions and an eighth of the channels, so that a warp of a full block shares its weights (one broadcast)
// and reads its inputs as consecutive float4s (no bank conflicts). conv3, with 1 or 3 output channels, instead splits its
// 32 input channels eight ways and adds the eight partial sums up in a fixed order.
//
// Rows above and below the image are never stored: a tap there is skipped (zeros) or reads the edge row again (replicate).
#include "forward_fma.h"
#include "input_rows.cuh"
#include "launch.cuh"
#include "storage.cuh"

namespace srcnn::cuda {
namespace {

// What a thread is, and where things are; the same for the whole launch.
template <class T>
struct Block {
  const ForwardParams<T>& p;
  float* shared;
  int group;   // channel group, 0 .. 7
  int row;     // of the group of rows
  int column;  // first of 4
};

// The part of the output a block is making.
struct Job {
  int64_t image;
  int x0, y0, y1;
};

__device__ __forceinline__ float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }

__device__ __forceinline__ float relu(float a) { return a < 0.0f ? 0.0f : a; }  // keeps NaN, as torch.relu does

// Slot of row r in a ring, or -1 if the row is worth nothing.
__device__ __forceinline__ int slot_of(int r, int slots, int height, Padding padding) {
  if (r < 0 || r >= height) {
    if (padding == Padding::kZeros) return -1;
    r = r < 0 ? 0 : height - 1;
  }
  return r % slots;
}

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

// ------------------------------------------------------------------------------------------------------ input rows

// Rows [first, last] of the enlarged image into the ring, sides padded. `tabulated`: first row of the table of weights.
template <int kChannels, class T>
__device__ void make_input(const Block<T>& b, const EnlargedInput<T>& input, const Job& job, int halo, int first, int last,
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

// ------------------------------------------------------------------------------------------------------ convolutions

// A row of `kOutputs` x 4 sums: F taps of one (input channel, ky).
template <int kOutputs, int F>
__device__ __forceinline__ void add_taps(const float* row, const float* weight, int outputs, float (&sum)[kOutputs][kQuad]) {
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

// Where the rows of a stage that one convolution reads are, for this thread's output row: offsets in the ring, -1 for nothing.
template <int F>
__device__ __forceinline__ void find_rows(int r, int slots, int row_size, int height, Padding padding, int (&offset)[F]) {
#pragma unroll
  for (int ky = 0; ky < F; ++ky) {
    const int slot = slot_of(r - F / 2 + ky, slots, height, padding);
    offset[ky] = slot < 0 ? -1 : slot * row_size;
  }
}

// relu(sum) into a ring; columns outside the image become zero (replicated ones are mended by pad_sides).
template <int kOutputs, class T>
__device__ __forceinline__ void store_hidden(const Block<T>& b, float* ring_row, int stride, int image_column,
                                             const float (&sum)[kOutputs][kQuad]) {
  const int width = static_cast<int>(b.p.problem.output.width);
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    float4 value;
    value.x = image_column >= 0 && image_column < width ? relu(sum[o][0]) : 0.0f;
    value.y = image_column + 1 >= 0 && image_column + 1 < width ? relu(sum[o][1]) : 0.0f;
    value.z = image_column + 2 >= 0 && image_column + 2 < width ? relu(sum[o][2]) : 0.0f;
    value.w = image_column + 3 >= 0 && image_column + 3 < width ? relu(sum[o][3]) : 0.0f;
    *reinterpret_cast<float4*>(ring_row + (b.group * kOutputs + o) * stride + b.column) = value;
  }
}

// With replicate padding, columns outside the image repeat the edge column, in rows [first, last] of a hidden stage.
template <class T>
__device__ void pad_sides(const Block<T>& b, const Job& job, float* ring, int slots, int channels, int halo, int first,
                          int last) {
  const ForwardParams<T>& p = b.p;
  const int columns = p.config.columns, stride = hidden_stride(columns), width = static_cast<int>(p.problem.output.width);
  const int left = max(0, halo - job.x0);                 // columns left of the image
  const int right = min(columns, width - job.x0 + halo);  // first column right of it
  if (p.problem.padding != Padding::kReplicate || (left == 0 && right == columns)) return;
  __syncthreads();
  for (int i = threadIdx.x; i < (last - first + 1) * channels; i += blockDim.x) {
    const int r = first + i / channels;
    if (r < 0 || r >= p.problem.output.height) continue;
    float* row = ring + (r % slots * channels + i % channels) * stride;
    for (int j = 0; j < left; ++j) row[j] = row[left];
    for (int j = right; j < columns; ++j) row[j] = row[right - 1];
  }
}

// Rows [first, last] of conv1 + ReLU; at most `rows` of them.
template <int kKernel2, int kChannels, class T>
__device__ void make_hidden1(const Block<T>& b, const Job& job, int halo, int first, int last) {
  constexpr int kOutputs = kWidth1 / kChannelGroups;
  constexpr int kUnits = kChannels * kKernel1;
  const ForwardParams<T>& p = b.p;
  const int columns = p.config.columns, stride = input_stride(columns), slots = input_slots(p.config.rows);
  const int height = static_cast<int>(p.problem.output.height);
  const int r = first + b.row;
  const bool wanted = r >= 0 && r <= last && r < height;

  int offset[kKernel1];
  find_rows(r, slots, kChannels * stride, height, p.problem.padding, offset);
  float sum[kOutputs][kQuad];
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    const float bias = to_float(p.problem.conv1.bias[b.group * kOutputs + o]);
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
#pragma unroll
    for (int ky = 0; ky < kKernel1; ++ky) {
      if (offset[ky] < 0) continue;
#pragma unroll
      for (int c = 0; c < kChannels; ++c) {
        const int u = c * kKernel1 + ky - unit;
        if (u < 0 || u >= chunk) continue;
        add_taps<kOutputs, kKernel1>(input + offset[ky] + c * stride, weight + u * kKernel1 * kWidth1 + b.group * kOutputs,
                                     kWidth1, sum);
      }
    }
  }

  constexpr int kSlack = kKernel2 - 1;
  const int hidden_slots = p.config.rows + kSlack, hidden_row = kWidth1 * hidden_stride(columns);
  float* hidden = b.shared + p.config.shared.hidden1;
  if (wanted) {
    store_hidden(b, hidden + r % hidden_slots * hidden_row, hidden_stride(columns), job.x0 - halo + b.column, sum);
  }
  pad_sides(b, job, hidden, hidden_slots, kWidth1, halo, first, last);
}

// Rows [first, last] of conv2 + ReLU.
template <int kKernel2, class T>
__device__ void make_hidden2(const Block<T>& b, const Job& job, int halo, int first, int last) {
  constexpr int kOutputs = kWidth2 / kChannelGroups;
  const ForwardParams<T>& p = b.p;
  const int columns = p.config.columns, stride = hidden_stride(columns), slots = hidden1_slots(p.config.rows, kKernel2);
  const int height = static_cast<int>(p.problem.output.height);
  const int r = first + b.row;
  const bool wanted = r >= 0 && r <= last && r < height;

  int offset[kKernel2];
  find_rows(r, slots, kWidth1 * stride, height, p.problem.padding, offset);
  float sum[kOutputs][kQuad];
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    const float bias = to_float(p.problem.conv2.bias[b.group * kOutputs + o]);
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
    for (int i = 0; i < chunk; ++i) {
#pragma unroll
      for (int ky = 0; ky < kKernel2; ++ky) {
        if (offset[ky] < 0) continue;
        add_taps<kOutputs, kKernel2>(input + offset[ky] + (channel + i) * stride,
                                     weight + (i * kKernel2 + ky) * kKernel2 * kWidth2 + b.group * kOutputs, kWidth2, sum);
      }
    }
  }

  const int hidden_slots = hidden2_slots(p.config.rows);
  float* hidden = b.shared + p.config.shared.hidden2;
  if (wanted) {
    store_hidden(b, hidden + r % hidden_slots * (kWidth2 * stride), stride, job.x0 - halo + b.column, sum);
  }
  pad_sides(b, job, hidden, hidden_slots, kWidth2, halo, first, last);
}

// Output rows [first, last]: each group of threads sums an eighth of the input channels, then one thread per position adds up.
template <int kChannels, class T>
__device__ void make_output(const Block<T>& b, const Job& job, int first, int last) {
  constexpr int kInputs = kWidth2 / kChannelGroups;
  const ForwardParams<T>& p = b.p;
  const int columns = p.config.columns, stride = hidden_stride(columns), positions = columns * p.config.rows;
  const float* hidden = b.shared + p.config.shared.hidden2 + b.group * kInputs * stride + b.column;
  float* partial = b.shared + p.config.shared.partial;
  int offset[kKernel3];
  find_rows(first + b.row, hidden2_slots(p.config.rows), kWidth2 * stride, static_cast<int>(p.problem.output.height),
            p.problem.padding, offset);

  for (int c = 0; c < kChannels; ++c) {
    const float* weight = b.shared + p.config.shared.weight3 + (c * kWidth2 + b.group * kInputs) * kKernel3 * kKernel3;
    float sum[kQuad] = {};
    if (first + b.row <= last) {
      for (int i = 0; i < kInputs; ++i) {
#pragma unroll
        for (int ky = 0; ky < kKernel3; ++ky) {
          if (offset[ky] < 0) continue;
          const float* row = hidden + offset[ky] + i * stride;
          const float4 low = load4(row), high = load4(row + 4);
          const float x[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
          for (int kx = 0; kx < kKernel3; ++kx) {
            const float w = weight[(i * kKernel3 + ky) * kKernel3 + kx];
#pragma unroll
            for (int q = 0; q < kQuad; ++q) sum[q] = fmaf(w, x[kx + q], sum[q]);
          }
        }
      }
    }
    __syncthreads();  // the sums of the channel before have been read
    *reinterpret_cast<float4*>(partial + b.group * positions + b.row * columns + b.column) =
        make_float4(sum[0], sum[1], sum[2], sum[3]);
    __syncthreads();
    for (int i = threadIdx.x; i < positions; i += blockDim.x) {
      const int y = first + i / columns, j = i % columns;
      const int64_t x = job.x0 + j;
      if (y > last || j >= p.config.strip_width || x >= p.problem.output.width) continue;
      float total = to_float(p.problem.conv3.bias[c]);
      for (int g = 0; g < kChannelGroups; ++g) total += partial[g * positions + i];
      from_float(total, p.problem.output.plane(job.image, c)[y * p.problem.output.stride_h + x * p.problem.output.stride_w]);
    }
  }
}

// ------------------------------------------------------------------------------------------------------ the pipeline

// When run on the CPU: what lies between the arrays in shared memory must not be touched.
[[maybe_unused]] __device__ void mark_red_zones(const ForwardShared& at, float* shared) {
  if (threadIdx.x != 0) return;
  constexpr int kGap = kSharedGap / static_cast<int>(sizeof(float));
  for (const int end : {at.weight2, at.weight3, at.input, at.hidden1, at.hidden2, at.partial, at.column_index, at.column_weight,
                        at.row_index, at.row_weight, at.size}) {
    if (end > 0) shared_red_zone(shared + end - kGap, kSharedGap);
  }
}

template <int kKernel2, int kChannels, class T>
__global__ void __launch_bounds__(256, 2) srcnn_forward_fma_kernel(const ForwardParams<T> p) {
  SRCNN_DYNAMIC_SHARED(float, shared);
  constexpr int kHalo2 = kKernel3 / 2, kHalo1 = kHalo2 + kKernel2 / 2, kHalo0 = kHalo1 + kKernel1 / 2;
  const ForwardConfig& config = p.config;
  const int quads = config.columns / kQuad;
  const int place = threadIdx.x % (quads * config.rows);
  const Block<T> block{p, shared, static_cast<int>(threadIdx.x) / (quads * config.rows), place / quads, place % quads * kQuad};
  const int height = static_cast<int>(p.problem.output.height);
  if constexpr (kSharedGap > 0) mark_red_zones(config.shared, shared);

  // Weights that fit stay for the block's whole life.
  if (config.weight1_rows == kChannels * kKernel1) {
    load_weights(p.problem.conv1.weight, kWidth1, kChannels * kKernel1, kKernel1, 0, kChannels * kKernel1,
                 shared + config.shared.weight1);
  }
  if (config.weight2_channels == kWidth1) {
    load_weights(p.problem.conv2.weight, kWidth2, kWidth1, kKernel2 * kKernel2, 0, kWidth1, shared + config.shared.weight2);
  }
  for (int i = threadIdx.x; i < kChannels * kWidth2 * kKernel3 * kKernel3; i += blockDim.x) {
    shared[config.shared.weight3 + i] = to_float(p.problem.conv3.weight[i]);
  }

  for (int64_t index = blockIdx.x; index < p.tiling.jobs; index += gridDim.x) {
    const int64_t tile = index % (static_cast<int64_t>(p.tiling.strips) * p.tiling.segments);
    Job job;
    job.image = index / (static_cast<int64_t>(p.tiling.strips) * p.tiling.segments);
    job.x0 = static_cast<int>(tile % p.tiling.strips) * config.strip_width;
    job.y0 = static_cast<int>(tile / p.tiling.strips) * p.tiling.segment_height;
    job.y1 = min(height, job.y0 + p.tiling.segment_height);
    __syncthreads();  // the job before is done with the tables and rings
    const EnlargedInput<T> input{
        p.problem.input,
        job.image,
        p.problem.scale,
        p.problem.bicubic,
        p.problem.padding,
        height,
        static_cast<int>(p.problem.output.width),
        {reinterpret_cast<int32_t*>(shared + config.shared.column_index), shared + config.shared.column_weight,
         reinterpret_cast<int32_t*>(shared + config.shared.row_index), shared + config.shared.row_weight}};
    if (p.problem.scale > 1) input.tabulate_columns(job.x0 - kHalo0, input_stride(config.columns));

    // Next row of each stage to be made; rows outside the image are passed over.
    int next0 = max(0, job.y0 - kHalo0), next1 = job.y0 - kHalo1, next2 = job.y0 - kHalo2;
    int tabulated = -kRowTable;
    for (int y = job.y0; y < job.y1; y += config.rows) {
      for (const int need2 = y + config.rows - 1 + kHalo2; next2 <= need2;) {
        const int last2 = min(need2, next2 + config.rows - 1);
        for (const int need1 = last2 + kKernel2 / 2; next1 <= need1;) {
          const int last1 = min(need1, next1 + config.rows - 1);
          const int last0 = min(height - 1, last1 + kKernel1 / 2);
          __syncthreads();  // conv1 has done with the rows that are overwritten
          make_input<kChannels>(block, input, job, kHalo0, next0, last0, tabulated);
          next0 = max(next0, last0 + 1);
          __syncthreads();
          make_hidden1<kKernel2, kChannels>(block, job, kHalo1, next1, last1);
          next1 = last1 + 1;
        }
        __syncthreads();
        make_hidden2<kKernel2>(block, job, kHalo2, next2, last2);
        next2 = last2 + 1;
      }
      __syncthreads();
      make_output<kChannels>(block, job, y, min(job.y1 - 1, y + config.rows - 1));
    }
  }
}

template <int kKernel2, int kChannels, class T>
void launch(const ForwardParams<T>& params, cudaStream_t stream) {
  const auto kernel = srcnn_forward_fma_kernel<kKernel2, kChannels, T>;
  const int shared_bytes = params.config.shared_bytes();
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes), "cudaFuncSetAttribute");
  SRCNN_LAUNCH(kernel, params.tiling.blocks, params.config.threads(), shared_bytes, stream, params);
  check(cudaGetLastError(), "srcnn_forward_fma_kernel");
}

}  // namespace

template <class T>
void launch_srcnn_forward_fma(const ForwardParams<T>& params, cudaStream_t stream) {
  const bool rgb = params.problem.input.channels == 3;
  switch (params.problem.conv2.kernel_size) {
    case 1:
      return rgb ? launch<1, 3>(params, stream) : launch<1, 1>(params, stream);
    case 3:
      return rgb ? launch<3, 3>(params, stream) : launch<3, 1>(params, stream);
    default:
      return rgb ? launch<5, 3>(params, stream) : launch<5, 1>(params, stream);
  }
}

template void launch_srcnn_forward_fma(const ForwardParams<float>& params, cudaStream_t stream);
template void launch_srcnn_forward_fma(const ForwardParams<Half>& params, cudaStream_t stream);
template void launch_srcnn_forward_fma(const ForwardParams<BFloat16>& params, cudaStream_t stream);

}  // namespace srcnn::cuda
