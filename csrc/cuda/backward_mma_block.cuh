// What a block of the tensor-core backward knows: where its arrays are, and how they are filled. backward_mma.cuh says what it
// does with them.
//
// All arrays are linear, the first row of each being the first that the step needs: rows that the next step needs again are
// moved to the front. Padding is there in memory, and positions outside the image have gradients of zero, so that no product
// has to know where the image ends.
//
//   input        [row][channel][copy][column]   rows first - reach2 - 4 ..., columns x0 - halo0 ...
//   grad_output  [row][channel][column]         rows first - 2 ...,          columns x0 - halo2 - 2 ...
//   hidden1      [row][column][64 + 8]          rows first - reach2 ...,     columns x0 - halo1 ...
//   hidden2      [row][column][32 + 8]          rows first - 2 reach2 ...,   columns x0 - halo2 ...; those above `first` hold
//                                               hidden2's gradient
//   patches      [row][column][taps + 8]        rows first ...,              columns x0 - halo2 ...
#pragma once

#include "backward_mma.h"
#include "backward_views.cuh"
#include "mma_block.cuh"

namespace srcnn::cuda {
namespace {

template <int kKernel2_, class T_>
struct BackwardMmaNetwork {
  using T = T_;
  using Operand = Sixteen<T>;
  static constexpr int kKernel2 = kKernel2_, kReach2 = kKernel2 / 2, kTaps2 = kKernel2 * kKernel2;
  static constexpr int kThreads = backward_mma_threads(kKernel2), kWarps = kThreads / 32;
};

// A step: the strip's job and its number, the first row of hidden2 that it makes, and rows that it has, counted from the first
// in shared memory: those of hidden1's gradient that the strip makes and no step has made; of hidden1 and hidden2 the strip's
// own. It lies in shared memory: kept over the phases of a step it would push others out of registers.
struct MmaStep {
  int64_t job_index;
  Job job;
  int first;
  bool begins, ends;  // the strip
  Rows grad1, own1, own2;

  // Rows of hidden1 that are not there from the step before, and of the input, of `rows` a step.
  template <int kReach2>
  __device__ __forceinline__ Rows new_hidden1(int rows) const {
    return {begins ? 0 : 2 * kReach2, rows + 2 * kReach2};
  }
  template <int kReach2>
  __device__ __forceinline__ Rows new_input(int rows) const {
    return {begins ? 0 : 2 * kReach2 + 2 * kReach1, rows + 2 * kReach2 + 2 * kReach1};
  }
};
static_assert(sizeof(MmaStep) <= kMmaStepBytes);

template <class Net>
struct BackwardMmaBlock {
  using T = typename Net::T;

  const BackwardMmaParams<T>& p;
  unsigned char* shared;
  int lane, warp;

  template <class U>
  __device__ __forceinline__ U* at(int offset) const {
    return reinterpret_cast<U*>(shared + offset);
  }
  __device__ __forceinline__ int g() const { return lane / 4; }  // as in the PTX ISA: a lane's row of a tile of A
  __device__ __forceinline__ int t() const { return lane % 4; }
  __device__ __forceinline__ int channels() const { return static_cast<int>(p.problem.input.channels); }
  __device__ __forceinline__ int height() const { return static_cast<int>(p.problem.grad_output.height); }
  __device__ __forceinline__ int width() const { return static_cast<int>(p.problem.grad_output.width); }
  __device__ __forceinline__ bool replicate() const { return p.problem.padding == Padding::kReplicate; }
  __device__ __forceinline__ bool has_column(int x) const { return x >= 0 && x < width(); }
  __device__ __forceinline__ bool has_row(int y) const { return y >= 0 && y < height(); }

  __device__ __forceinline__ int columns0() const { return p.config.strip_width + 2 * p.config.halo0; }
  __device__ __forceinline__ int columns1() const { return p.config.strip_width + 2 * p.config.halo1; }
  __device__ __forceinline__ int columns2() const { return p.config.strip_width + 2 * p.config.halo2; }
  __device__ __forceinline__ int columns3() const { return columns2() + 2 * kReach3; }
  __device__ __forceinline__ int input_stride() const { return backward_mma_input_stride(columns0()); }
  __device__ __forceinline__ int input_pitch() const { return channels() * 2 * input_stride(); }

  __device__ __forceinline__ MmaStep& step() const { return *at<MmaStep>(p.config.shared.step); }
  __device__ __forceinline__ T* input() const { return at<T>(p.config.shared.input); }
  __device__ __forceinline__ T* grad_output() const { return at<T>(p.config.shared.grad_output); }
  __device__ __forceinline__ T* hidden1() const { return at<T>(p.config.shared.hidden1); }
  __device__ __forceinline__ T* hidden2() const { return at<T>(p.config.shared.hidden2); }
  // The rows that the step makes of hidden2, and of its gradient.
  __device__ __forceinline__ T* new_hidden2() const { return hidden2() + 2 * Net::kReach2 * columns2() * kPixel2; }
  __device__ __forceinline__ T* patches() const { return at<T>(p.config.shared.patches); }
  __device__ __forceinline__ const uint4* fragments(int offset) const {
    return reinterpret_cast<const uint4*>(static_cast<const float*>(p.weights) + offset);
  }
  __device__ __forceinline__ float* partials() const {
    return p.partials + static_cast<int64_t>(blockIdx.x) * p.partials_at.size;
  }
  // Sums of a weight's gradient: in shared memory for the block's whole life, or in global memory.
  __device__ __forceinline__ float4* sums(int in_shared, int in_partials) const {
    return in_shared >= 0 ? at<float4>(in_shared) : reinterpret_cast<float4*>(partials() + in_partials);
  }
};

// The same block, whose addresses the compiler works out here: kept over a whole step they would push others out of registers.
template <class Net>
__device__ __forceinline__ BackwardMmaBlock<Net> afresh(const BackwardMmaBlock<Net>& b) {
  return {b.p, b.shared, opaque(b.lane), opaque(b.warp)};
}

// ------------------------------------------------------------------------------------------------------ once in a block's life

// Where taps are in the input, in elements from the pixel. `units` of conv1's A, for pixels of even columns and of odd ones:
// pairs of taps, 4-byte aligned. `taps` of weight1's B: pairs of pixels that begin in an even column.
template <class Net>
__device__ void tabulate_taps(const BackwardMmaBlock<Net>& b) {
  const int stride = b.input_stride(), c = b.channels(), units = backward_steps1(c) * kStepUnits;
  constexpr int kRowUnits = row_units(2);
  const auto place = [&](int row, int kx, int parity) {    // row: of all channels
    const int shift = (parity + kx) % 2 ? stride - 1 : 0;  // into the copy that is shifted by one
    return (row % kKernel1 * c + row / kKernel1) * 2 * stride + kx + shift;
  };
  int* table = b.template at<int>(b.p.config.shared.units);
  for (int i = opaque(threadIdx.x); i < 2 * units; i += Net::kThreads) {
    // Beyond the last unit weights are zero; any pixels that the row reads will do.
    const int unit = i % units < conv1_units(c, 2) ? i % units : 0;
    table[i] = place(unit / kRowUnits, min(unit % kRowUnits * 2, kKernel1 - 2), i / units);
  }
  table = b.template at<int>(b.p.config.shared.taps);
  for (int i = opaque(threadIdx.x); i < 8 * tap_tiles1(c); i += Net::kThreads) {
    const int tap = i < c * kTaps1 ? i : 0;
    table[i] = place(tap / kKernel1, tap % kKernel1, 0);
  }
}

template <class Net, class U>
__device__ void clear(U* to, int count) {
  for (int i = opaque(threadIdx.x); i < count; i += Net::kThreads) to[i] = U{};
}

// Biases, tables and zeros; a barrier is due. What is left of a row of the input behind its last column is never used.
template <class Net>
__device__ void prepare_block(const BackwardMmaBlock<Net>& b) {
  const BackwardMmaShared& at = b.p.config.shared;
  const float* bias = static_cast<const float*>(b.p.weights) + b.p.weights_at.bias;
  for (int i = opaque(threadIdx.x); i < kWidth1 + kWidth2; i += Net::kThreads) b.template at<float>(at.bias)[i] = bias[i];
  tabulate_taps(b);
  clear<Net>(b.template at<uint32_t>(at.zeros), kPixel2 / 2);
  if (at.sum1 >= 0) clear<Net>(b.template at<float>(at.sum1), sum1_floats(b.channels()));
  if (at.sum2 >= 0) clear<Net>(b.template at<float>(at.sum2), sum2_splits(Net::kKernel2) * sum2_floats(Net::kKernel2));
  if (at.sum3 >= 0) clear<Net>(b.template at<float>(at.sum3), kSum3Splits * sum3_floats(b.channels()));
  clear<Net>(b.partials(), b.p.partials_at.size);
}

// ------------------------------------------------------------------------------------------------------ loads

// Moves rows [rows, rows + kept) to the front. `row_bytes`: a multiple of 16. All threads; a thread moves the same bytes of all
// rows, in their order, so that no barrier is needed in between.
template <class Net>
__device__ void move_rows(void* array, int row_bytes, int rows, int kept) {
  const int words = row_bytes / 16;
  auto* to = static_cast<uint4*>(array);
  for (int i = opaque(threadIdx.x); i < words; i += Net::kThreads) {
    for (int r = 0; r < kept; ++r) to[r * words + i] = to[(r + rows) * words + i];
  }
}

template <class Net>
__device__ __forceinline__ PhasedInput<typename Net::T> input_of(const BackwardMmaBlock<Net>& b, int64_t image) {
  const auto& problem = b.p.problem;
  const BackwardMmaShared& at = b.p.config.shared;
  return {problem.input,
          image,
          static_cast<int>(problem.scale),
          problem.bicubic,
          problem.padding,
          b.height(),
          b.width(),
          {b.template at<int>(at.phase_first), b.template at<float4>(at.phase_weight), b.template at<int4>(at.column_index),
           b.template at<float4>(at.column_weight)}};
}

// New rows of the enlarged image, with their padding.
template <class Net>
__device__ void load_input(const BackwardMmaBlock<Net>& b) {
  const MmaStep& step = b.step();
  const Rows rows = step.new_input<Net::kReach2>(b.p.config.rows);
  using Operand = typename Net::Operand;
  const PhasedInput<typename Net::T> input = input_of(b, step.job.image);
  const int columns = b.columns0(), stride = b.input_stride(), x0 = step.job.x0 - b.p.config.halo0;
  for (int i = opaque(threadIdx.x); i < rows.count() * columns; i += Net::kThreads) {
    const int r = rows.begin + i / columns, j = i % columns, x = x0 + j;
    const int y = step.first - Net::kReach2 - kReach1 + r, inside = min(max(y, 0), b.height() - 1);
    const Samples window = input.row_window(inside);
    auto* to = b.input() + r * b.input_pitch() + j;
    for (int c = 0; c < b.channels(); ++c, to += 2 * stride) {
      const auto value = y == inside || b.replicate() ? input.template finished<Operand>(input.load(c, inside, window, x, j), x)
                                                      : Operand::stored(0.0f);
      to[0] = value;
      if (j > 0) to[stride - 1] = value;
    }
  }
}

// Rows first - 2 ... of the output's gradient; zero outside the image.
template <class Net>
__device__ void load_grad_output(const BackwardMmaBlock<Net>& b) {
  const MmaStep& step = b.step();
  const auto& grad = b.p.problem.grad_output;
  const int columns = b.columns3(), lines = (b.p.config.rows + 2 * kReach3) * b.channels();
  const int x0 = step.job.x0 - b.p.config.halo2 - kReach3;
  for (int i = opaque(threadIdx.x); i < lines * columns; i += Net::kThreads) {
    const int line = i / columns, r = line / b.channels(), c = line - r * b.channels(), x = x0 + i - line * columns;
    const int y = step.first - kReach3 + r;
    const bool inside = b.has_row(y) && b.has_column(x);
    b.grad_output()[i] = inside ? grad.plane(step.job.image, c)[y * grad.stride_h + x * grad.stride_w] : typename Net::T{0};
  }
}

// What conv3's taps find of the output's gradient at each position of hidden2, as its gradient's A operand and weight3's. With
// replicate padding the copies of an edge position outside the image find something, too: the sum.
template <class Net>
__device__ void make_patches(const BackwardMmaBlock<Net>& b) {
  const MmaStep& step = b.step();
  using T = typename Net::T;
  constexpr int kTaps3 = kKernel3 * kKernel3, kFar = 2 * kReach3;
  const int c = b.channels(), columns = b.columns2(), positions = b.p.config.rows * columns, pitch = c * b.columns3();
  for (int i = opaque(threadIdx.x); i < positions * c; i += Net::kThreads) {
    const int channel = i / positions, position = i - channel * positions, r = position / columns, j = position - r * columns;
    const int y = step.first + r, x = step.job.x0 - b.p.config.halo2 + j;
    const bool inside = b.has_row(y) && b.has_column(x);
    const T* corner = b.grad_output() + r * pitch + channel * b.columns3() + j;  // what the last tap finds
    uint32_t words[kPatchTaps / 2] = {};
    if (inside) {
#pragma unroll
      for (int tap = 0; tap < kTaps3; ++tap) {
        const int ky = tap / kKernel3, kx = tap % kKernel3;
        words[tap / 2] |= static_cast<uint32_t>(corner[(kFar - ky) * pitch + kFar - kx].bits) << (tap % 2 * 16);
      }
    }
    T* patch = b.patches() + position * patch_pixel(c) + channel * kPatchTaps;
#pragma unroll
    for (int k = 0; k < kPatchTaps / 8; ++k) {
      reinterpret_cast<uint4*>(patch)[k] = make_uint4(words[4 * k], words[4 * k + 1], words[4 * k + 2], words[4 * k + 3]);
    }
    if (!b.replicate() || !inside) continue;
    const bool top = y == 0, bottom = y == b.height() - 1, left = x == 0, right = x == b.width() - 1;
    if (!top && !bottom && !left && !right) continue;
#pragma unroll 1
    for (int tap = 0; tap < kTaps3; ++tap) {
      const int ky = tap / kKernel3, kx = tap % kKernel3;
      float sum = 0.0f;
      for (int dy = top ? -kReach3 : 0; dy <= (bottom ? kReach3 : 0); ++dy) {
        for (int dx = left ? -kReach3 : 0; dx <= (right ? kReach3 : 0); ++dx) {
          if (!b.has_row(y + dy - ky + kReach3) || !b.has_column(x + dx - kx + kReach3)) continue;
          sum += to_float(corner[(dy + kFar - ky) * pitch + dx + kFar - kx]);
        }
      }
      from_float(sum, patch[tap]);
    }
  }
}

}  // namespace
}  // namespace srcnn::cuda
