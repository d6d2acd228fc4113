// The fused forward on tensor cores: 16-bit images and weights, sums in fp32. bicubic + conv1 + ReLU + conv2 + ReLU + conv3 in
// one kernel, for sm_80 and later.
//
// A persistent block holds all weights in shared memory, as mma fragments, and makes strips of the output top to bottom, one
// row at a time; a warp has 32 pixels of the row. Every layer is a matrix product, pixels x taps times taps x channels:
//
//   conv1   k runs over pairs of neighbouring taps. A pixel pair must be 4-byte aligned, so each input row is kept twice, the
//           second copy shifted by one: lanes with odd pixels read that.
//   conv2   1x1: the sums of conv1, biased, cut and rounded, already are the A operand (as in fused attention): nothing leaves
//           the registers. 3x3, 5x5: they go to a ring of f2 rows in shared memory, [pixel][channel], and are read back with
//           ldmatrix; 16-byte chunks are swizzled by the pixel against bank conflicts.
//   conv3   with one output channel would waste 7 of 8 columns of mma. Instead each hidden pixel makes the 25 products that it
//           gives to its 25 neighbours (32 -> 25, A again straight from conv2's sums); they pass through shared memory, where
//           one thread per output column adds up 5 neighbours for each of 5 rows and carries the unfinished rows in registers.
#include <type_traits>

#include "forward_mma.h"
#include "input_rows.cuh"
#include "launch.cuh"
#include "ptx.cuh"
#include "storage.cuh"

namespace srcnn::cuda {
namespace {

template <class T>
struct Block {
  const ForwardMmaParams<T>& p;
  unsigned char* shared;
  int lane, warp;

  template <class U>
  __device__ __forceinline__ U* at(int offset) const {
    return reinterpret_cast<U*>(shared + offset);
  }
};

struct Job {
  int64_t image;
  int x0, y0, y1;
};

// ------------------------------------------------------------------------------------------------------ weights

template <class T>
__device__ __forceinline__ uint32_t pair_of(T low, T high) {
  return static_cast<uint32_t>(low.bits) | static_cast<uint32_t>(high.bits) << 16;
}

// Fills `steps` x `tiles` fragments of B: lane (g, t) of tile j holds rows k = 2t, 2t + 1 and 2t + 8, 2t + 9 of column 8j + g
// (PTX ISA, matrix fragments of mma.m16n8k16). value(step, k, column) is the weight.
template <class T, class Value>
__device__ void fill_fragments(uint2* to, int steps, int tiles, const Value& value) {
  for (int i = threadIdx.x; i < steps * tiles * 32; i += blockDim.x) {
    const int lane = i % 32, tile = i / 32 % tiles, step = i / 32 / tiles;
    const int column = tile * 8 + lane / 4, k = lane % 4 * 2;
    to[i] = make_uint2(pair_of<T>(value(step, k, column), value(step, k + 1, column)),
                       pair_of<T>(value(step, k + 8, column), value(step, k + 9, column)));
  }
}

template <int kKernel2, int kChannels, class T>
__device__ void load_weights(const Block<T>& b) {
  const ForwardProblemOf<T>& problem = b.p.problem;
  const ForwardMmaShared& at = b.p.config.shared;
  const T zero{0};
  fill_fragments<T>(b.template at<uint2>(at.weight1), conv1_steps(kChannels), kWidth1 / 8, [&](int step, int k, int column) {
    const int pair = step * 8 + k / 2, kx = pair % kRowPairs * 2 + k % 2, row = pair / kRowPairs;  // row: channel, ky
    return pair < conv1_pairs(kChannels) && kx < kKernel1
               ? problem.conv1.weight[(column * kChannels * kKernel1 + row) * kKernel1 + kx]
               : zero;
  });
  fill_fragments<T>(b.template at<uint2>(at.weight2), conv2_steps(kKernel2), kWidth2 / 8, [&](int step, int k, int column) {
    constexpr int kTaps = kKernel2 * kKernel2;
    const int tap = step / (kWidth1 / 16), channel = step % (kWidth1 / 16) * 16 + k;
    return problem.conv2.weight[(column * kWidth1 + channel) * kTaps + tap];
  });
  fill_fragments<T>(b.template at<uint2>(at.weight3), kChannels * kConv3Steps, kTapTiles, [&](int step, int k, int column) {
    const int c = step / kConv3Steps, channel = step % kConv3Steps * 16 + k;
    return column < kTaps3 ? problem.conv3.weight[(c * kWidth2 + channel) * kTaps3 + column] : zero;
  });
  for (int i = threadIdx.x; i < kWidth1; i += blockDim.x) b.template at<float>(at.bias1)[i] = to_float(problem.conv1.bias[i]);
  for (int i = threadIdx.x; i < kWidth2; i += blockDim.x) b.template at<float>(at.bias2)[i] = to_float(problem.conv2.bias[i]);
}

// ------------------------------------------------------------------------------------------------------ input rows

// Rows [first, last] of the enlarged image into the ring: [slot][channel][copy][column], the second copy shifted by one.
template <int kChannels, class T>
__device__ void make_input(const Block<T>& b, const EnlargedInput<T>& input, const Job& job, int halo, int first, int last,
                           int& tabulated) {
  const int stride = mma_input_stride(b.p.config.columns);
  for (int r = first; r <= last; ++r) {
    input.require_row(r, tabulated);
    T* ring = b.template at<T>(b.p.config.shared.input) + r % kInputSlots * (kChannels * 2 * stride);
    for (int i = threadIdx.x; i < kChannels * stride; i += blockDim.x) {
      const int c = i / stride, j = i - c * stride;
      T value;
      from_float(input.pixel(c, r, job.x0 - halo + j, j, tabulated), value);
      ring[c * 2 * stride + j] = value;
      if (j > 0) ring[(c * 2 + 1) * stride + j - 1] = value;
      if (j == stride - 1) ring[(c * 2 + 1) * stride + j] = value;  // never multiplied by anything but zero
    }
  }
}

// Where the pairs of conv1's taps for row r begin in the ring, in elements: rows outside the image are the row of zeros, or the
// edge row again.
template <int kChannels, class T>
__device__ void find_pairs(const Block<T>& b, int r) {
  const int stride = mma_input_stride(b.p.config.columns), height = static_cast<int>(b.p.problem.output.height);
  int* offset = b.template at<int>(b.p.config.shared.pairs);
  for (int i = threadIdx.x; i < conv1_steps(kChannels) * 8; i += blockDim.x) {
    const int pair = i < conv1_pairs(kChannels) ? i : 0;  // beyond: weights of zero, any pixels
    const int c = pair / (kKernel1 * kRowPairs), ky = pair / kRowPairs % kKernel1, kx = pair % kRowPairs * 2;
    int row = r - kKernel1 / 2 + ky;
    const bool outside = row < 0 || row >= height;
    row = min(max(row, 0), height - 1);
    const int slot = outside && b.p.problem.padding == Padding::kZeros ? kInputSlots : row % kInputSlots;
    offset[i] = (slot * kChannels + c) * 2 * stride + kx;
  }
}

// ------------------------------------------------------------------------------------------------------ products

// A row of sums of a warp: 2 tiles of 16 pixels x N tiles of 8 channels. Lane (g, t) holds, of each, channels 2t and 2t + 1 of
// pixels g (elements 0, 1) and g + 8 (elements 2, 3).
template <int N>
using Sums = float[2][N][4];

template <int N>
__device__ __forceinline__ void start_sums(Sums<N>& sum, const float* bias, int lane) {
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const float low = bias[8 * j + lane % 4 * 2], high = bias[8 * j + lane % 4 * 2 + 1];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      sum[m][j][0] = sum[m][j][2] = low;
      sum[m][j][1] = sum[m][j][3] = high;
    }
  }
}

template <class T>
__device__ __forceinline__ void mma(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<T, Half>) {
    ptx::mma_m16n8k16_f16(sum, a, b);
  } else {
    ptx::mma_m16n8k16_bf16(sum, a, b);
  }
}

// sum += A x (N tiles of weights), one step of k = 16.
template <class T, int N>
__device__ __forceinline__ void multiply(Sums<N>& sum, const uint32_t (&a)[2][4], const uint2* weight, int lane) {
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const uint2 w = weight[j * 32 + lane];
    const uint32_t fragment[2] = {w.x, w.y};
#pragma unroll
    for (int m = 0; m < 2; ++m) mma<T>(sum[m][j], a[m], fragment);
  }
}

__device__ __forceinline__ float relu(float a) { return a < 0.0f ? 0.0f : a; }  // keeps NaN, as torch.relu does

// relu(sum), rounded, as the A operand of a product over its channels, step q: its tiles 2q and 2q + 1.
template <class T, int N>
__device__ __forceinline__ void operand_of(const Sums<N>& sum, int q, uint32_t (&a)[2][4]) {
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float (&s)[4] = sum[m][2 * q + half];
      a[m][2 * half] = pack<T>(relu(s[0]), relu(s[1]));
      a[m][2 * half + 1] = pack<T>(relu(s[2]), relu(s[3]));
    }
  }
}

// conv1 of the warp's 32 pixels, from column `column` of the input ring.
template <int kChannels, class T>
__device__ __forceinline__ void conv1(const Block<T>& b, int column, Sums<kWidth1 / 8>& sum) {
  const ForwardMmaShared& at = b.p.config.shared;
  const int stride = mma_input_stride(b.p.config.columns), g = b.lane / 4, t = b.lane % 4;
  // Odd pixels are in the second copy, one element to the left.
  const T* input = b.template at<T>(at.input) + column + g + (g % 2 ? stride - 1 : 0);
  const int* offset = b.template at<int>(at.pairs);
  const uint2* weight = b.template at<uint2>(at.weight1);
  start_sums(sum, b.template at<float>(at.bias1), b.lane);
  constexpr int kSteps = conv1_steps(kChannels);
#pragma unroll 2
  for (int step = 0; step < kSteps; ++step) {
    const T* low = input + offset[step * 8 + t];
    const T* high = input + offset[step * 8 + t + 4];
    uint32_t a[2][4];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      a[m][0] = *reinterpret_cast<const uint32_t*>(low + 16 * m);
      a[m][1] = *reinterpret_cast<const uint32_t*>(low + 16 * m + 8);
      a[m][2] = *reinterpret_cast<const uint32_t*>(high + 16 * m);
      a[m][3] = *reinterpret_cast<const uint32_t*>(high + 16 * m + 8);
    }
    multiply<T>(sum, a, weight + step * (kWidth1 / 8) * 32, b.lane);
  }
}

// Element offset of 8 channels of a pixel in a row of hidden1: chunks of 16 bytes, swizzled by the pixel.
__device__ __forceinline__ int hidden1_chunk(int pixel, int chunk) { return pixel * kWidth1 + (chunk ^ (pixel & 7)) * 8; }

// relu(sum) into a row of hidden1; columns outside the image are zero (replicated ones are mended by pad_hidden1).
template <class T>
__device__ __forceinline__ void store_hidden1(const Block<T>& b, T* row, int column, int image_column,
                                              const Sums<kWidth1 / 8>& sum) {
  const int width = static_cast<int>(b.p.problem.output.width), g = b.lane / 4, t = b.lane % 4;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int pixel = column + 16 * m + 8 * half + g, x = image_column + 16 * m + 8 * half + g;
      const bool inside = x >= 0 && x < width;
#pragma unroll
      for (int j = 0; j < kWidth1 / 8; ++j) {
        const uint32_t value = pack<T>(relu(sum[m][j][2 * half]), relu(sum[m][j][2 * half + 1]));
        *reinterpret_cast<uint32_t*>(row + hidden1_chunk(pixel, j) + 2 * t) = inside ? value : 0;
      }
    }
  }
}

// With replicate padding, columns outside the image repeat the edge column. All threads of the block.
template <class T>
__device__ void pad_hidden1(const Block<T>& b, const Job& job, T* row, int halo) {
  const int columns = b.p.config.columns, width = static_cast<int>(b.p.problem.output.width);
  const int left = max(0, halo - job.x0), right = min(columns, width - job.x0 + halo);
  if (b.p.problem.padding != Padding::kReplicate || (left == 0 && right == columns)) return;
  __syncthreads();
  for (int i = threadIdx.x; i < (left + columns - right) * (kWidth1 / 8); i += blockDim.x) {
    const int outside = i / (kWidth1 / 8), chunk = i % (kWidth1 / 8);
    const int pixel = outside < left ? outside : right + outside - left, edge = outside < left ? left : right - 1;
    *reinterpret_cast<uint4*>(row + hidden1_chunk(pixel, chunk)) =
        *reinterpret_cast<const uint4*>(row + hidden1_chunk(edge, chunk));
  }
}

// conv2 of the warp's 32 pixels of row r, from the ring of hidden1.
template <int kKernel2, class T>
__device__ __forceinline__ void conv2(const Block<T>& b, int r, Sums<kWidth2 / 8>& sum) {
  const ForwardMmaShared& at = b.p.config.shared;
  const int height = static_cast<int>(b.p.problem.output.height);
  const int row_size = hidden1_pixels(b.p.config.columns, kKernel2) * kWidth1;
  const uint2* weight = b.template at<uint2>(at.weight2);
  start_sums(sum, b.template at<float>(at.bias2), b.lane);
  // Lane l gives ldmatrix the address of row l % 8 of matrix l / 8: pixels 0-7, 8-15, and the same with the next 8 channels.
  const int pixel = b.warp * kWarpPixels + b.lane % 8 + b.lane / 8 % 2 * 8, chunk = b.lane / 16;
  for (int ky = 0; ky < kKernel2; ++ky) {
    int row = r - kKernel2 / 2 + ky;
    if (row < 0 || row >= height) {
      if (b.p.problem.padding == Padding::kZeros) continue;
      row = row < 0 ? 0 : height - 1;
    }
    const T* hidden = b.template at<T>(at.hidden1) + row % kKernel2 * row_size;
    for (int kx = 0; kx < kKernel2; ++kx) {
#pragma unroll
      for (int q = 0; q < kWidth1 / 16; ++q) {
        uint32_t a[2][4];
#pragma unroll
        for (int m = 0; m < 2; ++m) ptx::ldmatrix<4>(a[m], hidden + hidden1_chunk(pixel + kx + 16 * m, 2 * q + chunk));
        const int step = (ky * kKernel2 + kx) * (kWidth1 / 16) + q;
        multiply<T>(sum, a, weight + step * (kWidth2 / 8) * 32, b.lane);
      }
    }
  }
}

// What each hidden pixel gives to each of its 25 neighbours, for every output channel: taps[channel][tap][column].
template <int kChannels, class T>
__device__ __forceinline__ void conv3_taps(const Block<T>& b, const Sums<kWidth2 / 8>& hidden) {
  const ForwardMmaShared& at = b.p.config.shared;
  const int stride = tap_stride(b.p.config.columns), g = b.lane / 4, t = b.lane % 4;
  uint32_t a[kConv3Steps][2][4];
#pragma unroll
  for (int q = 0; q < kConv3Steps; ++q) operand_of<T>(hidden, q, a[q]);
  for (int c = 0; c < kChannels; ++c) {
    Sums<kTapTiles> sum = {};
#pragma unroll
    for (int q = 0; q < kConv3Steps; ++q) {
      multiply<T>(sum, a[q], b.template at<uint2>(at.weight3) + (c * kConv3Steps + q) * kTapTiles * 32, b.lane);
    }
    float* taps = b.template at<float>(at.taps) + c * kTaps3 * stride + b.warp * kWarpPixels + g;
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int j = 0; j < kTapTiles; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int tap = 8 * j + 2 * t + e % 2;
          if (tap < kTaps3) taps[tap * stride + 16 * m + e / 2 * 8] = sum[m][j][e];
        }
      }
    }
  }
}

// ------------------------------------------------------------------------------------------------------ output

// Adds row r's taps to the five output rows they belong to: `unfinished` holds the sums of rows r - 2 .. r + 1 so far, and row
// r - 2 is finished with this one. A row that is worth nothing (`present` false) only moves the window on.
template <int kChannels, class T>
__device__ void add_output(const Block<T>& b, const Job& job, int r, bool present,
                           float (&unfinished)[kChannels][kKernel3 - 1]) {
  const ForwardProblemOf<T>& problem = b.p.problem;
  const int stride = tap_stride(b.p.config.columns), width = static_cast<int>(problem.output.width);
  const int column = threadIdx.x, x = job.x0 + column;
  if (column >= b.p.config.strip_width || x >= width) return;
  for (int c = 0; c < kChannels; ++c) {
    float sum[kKernel3] = {};
    if (present) {
      const float* taps = b.template at<float>(b.p.config.shared.taps) + c * kTaps3 * stride;
#pragma unroll
      for (int kx = 0; kx < kKernel3; ++kx) {
        int source = x + kx - kKernel3 / 2;  // column of the image
        if (source < 0 || source >= width) {
          if (problem.padding == Padding::kZeros) continue;
          source = source < 0 ? 0 : width - 1;
        }
        const float* tap = taps + kx * stride + source - job.x0 + kKernel3 / 2;
#pragma unroll
        for (int ky = 0; ky < kKernel3; ++ky) sum[ky] += tap[ky * kKernel3 * stride];
      }
    }
    const int y = r - kKernel3 / 2;
    if (y >= job.y0) {
      from_float(to_float(problem.conv3.bias[c]) + (unfinished[c][0] + sum[4]),
                 problem.output.plane(job.image, c)[y * problem.output.stride_h + x * problem.output.stride_w]);
    }
    unfinished[c][0] = unfinished[c][1] + sum[3];
    unfinished[c][1] = unfinished[c][2] + sum[2];
    unfinished[c][2] = unfinished[c][3] + sum[1];
    unfinished[c][3] = sum[0];
  }
}

// ------------------------------------------------------------------------------------------------------ the pipeline

// When run on the CPU: what lies between the arrays in shared memory must not be touched.
[[maybe_unused]] __device__ void mark_red_zones(const ForwardMmaShared& at, unsigned char* shared) {
  if (threadIdx.x != 0) return;
  for (const int end : {at.weight2, at.weight3, at.bias1, at.bias2, at.input, at.pairs, at.hidden1, at.taps, at.column_index,
                        at.column_weight, at.row_index, at.row_weight, at.size}) {
    if (end > 0) shared_red_zone(shared + end - kSharedGap, kSharedGap);
  }
}

template <int kKernel2, int kChannels, class T>
__device__ void make_strip(const Block<T>& b, const Job& job) {
  constexpr int kHalo2 = kKernel3 / 2, kHalo1 = kHalo2 + kKernel2 / 2, kHalo0 = kHalo1 + kKernel1 / 2;
  const ForwardProblemOf<T>& problem = b.p.problem;
  const ForwardMmaShared& at = b.p.config.shared;
  const int columns = b.p.config.columns, height = static_cast<int>(problem.output.height);
  const EnlargedInput<T> input{problem.input,
                               job.image,
                               problem.scale,
                               problem.bicubic,
                               problem.padding,
                               height,
                               static_cast<int>(problem.output.width),
                               {b.template at<int32_t>(at.column_index), b.template at<float>(at.column_weight),
                                b.template at<int32_t>(at.row_index), b.template at<float>(at.row_weight)}};
  __syncthreads();  // the strip before is done with the tables and rings
  if (problem.scale > 1) input.tabulate_columns(job.x0 - kHalo0, mma_input_stride(columns));

  // Next row of the input and of hidden1 to be made.
  int next1 = max(0, job.y0 - kHalo1), next0 = max(0, next1 - kKernel1 / 2);
  int tabulated = -kRowTable;
  float unfinished[kChannels][kKernel3 - 1] = {};
  for (int r = job.y0 - kHalo2; r < job.y1 + kHalo2; ++r) {
    // A row outside the image is worth nothing, or as much as the edge row.
    const bool present = problem.padding == Padding::kReplicate || (r >= 0 && r < height);
    if (present) {
      const int row = min(max(r, 0), height - 1);
      Sums<kWidth2 / 8> hidden2;
      if constexpr (kKernel2 == 1) {
        const int last0 = min(height - 1, row + kKernel1 / 2);
        make_input<kChannels>(b, input, job, kHalo0, next0, last0, tabulated);
        next0 = max(next0, last0 + 1);
        find_pairs<kChannels>(b, row);
        __syncthreads();
        Sums<kWidth1 / 8> hidden1;
        conv1<kChannels>(b, b.warp * kWarpPixels, hidden1);
        start_sums(hidden2, b.template at<float>(at.bias2), b.lane);
#pragma unroll
        for (int q = 0; q < kWidth1 / 16; ++q) {
          uint32_t a[2][4];
          operand_of<T>(hidden1, q, a);
          multiply<T>(hidden2, a, b.template at<uint2>(at.weight2) + q * (kWidth2 / 8) * 32, b.lane);
        }
      } else {
        for (const int need1 = min(height - 1, row + kKernel2 / 2); next1 <= need1; ++next1) {
          const int last0 = min(height - 1, next1 + kKernel1 / 2);
          make_input<kChannels>(b, input, job, kHalo0, next0, last0, tabulated);
          next0 = max(next0, last0 + 1);
          find_pairs<kChannels>(b, next1);
          __syncthreads();
          Sums<kWidth1 / 8> hidden1;
          conv1<kChannels>(b, b.warp * kWarpPixels, hidden1);
          T* to = b.template at<T>(at.hidden1) + next1 % kKernel2 * (hidden1_pixels(columns, kKernel2) * kWidth1);
          store_hidden1(b, to, b.warp * kWarpPixels, job.x0 - kHalo1 + b.warp * kWarpPixels, hidden1);
          pad_hidden1(b, job, to, kHalo1);
          __syncthreads();
        }
        conv2<kKernel2>(b, row, hidden2);
      }
      conv3_taps<kChannels>(b, hidden2);
    }
    __syncthreads();
    add_output<kChannels>(b, job, r, present, unfinished);
  }
}

template <int kKernel2, int kChannels, class T>
__global__ void __launch_bounds__(128, 2) srcnn_forward_mma_kernel(const ForwardMmaParams<T> p) {
  SRCNN_DYNAMIC_SHARED(unsigned char, shared);
  const Block<T> block{p, shared, static_cast<int>(threadIdx.x) % 32, static_cast<int>(threadIdx.x) / 32};
  if constexpr (kSharedGap > 0) mark_red_zones(p.config.shared, shared);
  load_weights<kKernel2, kChannels>(block);
  const int row = kChannels * 2 * mma_input_stride(p.config.columns);
  for (int i = threadIdx.x; i < row; i += blockDim.x) {
    block.template at<T>(p.config.shared.input)[kInputSlots * row + i] = T{0};
  }
  const int64_t tiles = static_cast<int64_t>(p.tiling.strips) * p.tiling.segments;
  for (int64_t index = blockIdx.x; index < p.tiling.jobs; index += gridDim.x) {
    const int tile = static_cast<int>(index % tiles);
    const int y0 = tile / p.tiling.strips * p.tiling.segment_height;
    make_strip<kKernel2, kChannels>(block, Job{index / tiles, tile % p.tiling.strips * p.config.strip_width, y0,
                                               min(static_cast<int>(p.problem.output.height), y0 + p.tiling.segment_height)});
  }
}

template <int kKernel2, int kChannels, class T>
void launch(const ForwardMmaParams<T>& params, cudaStream_t stream) {
  const auto kernel = srcnn_forward_mma_kernel<kKernel2, kChannels, T>;
  const int shared_bytes = params.config.shared.size;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes), "cudaFuncSetAttribute");
  SRCNN_LAUNCH(kernel, params.tiling.blocks, params.config.threads(), shared_bytes, stream, params);
  check(cudaGetLastError(), "srcnn_forward_mma_kernel");
}

}  // namespace

template <class T>
void launch_srcnn_forward_mma(const ForwardMmaParams<T>& params, cudaStream_t stream) {
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

template void launch_srcnn_forward_mma(const ForwardMmaParams<Half>& params, cudaStream_t stream);
template void launch_srcnn_forward_mma(const ForwardMmaParams<BFloat16>& params, cudaStream_t stream);

}  // namespace srcnn::cuda
