// The backward on a GPU: its host side, which needs no CUDA header, and the sizes on which kernels and host side agree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "../srcnn.h"
#include "choose.h"
#include "config.h"

namespace srcnn::cuda {

// ------------------------------------------------------------------------------------------------------ for the layer above

// All on the current device; they throw std::runtime_error where the CUDA runtime reports an error, the device is too small or
// SRCNN_FUSED_CUDA_KERNEL asks for a kernel that cannot do it. Instantiated for float, Half and BFloat16; sums are float, and
// so are products, but for those of 16-bit numbers on tensor cores.

// Bytes of device memory that srcnn_backward needs for itself: constant, but for the gradient of the enlarged image where that
// of a smaller input is wanted.
template <class T>
size_t srcnn_backward_workspace(const BackwardProblemOf<T>& problem);

// In `stream` (a cudaStream_t); pointers are device memory, 16-byte aligned for `workspace`, and needed until the stream
// has come so far. Returns before the work is done. Two runs on the same device give the same bits.
template <class T>
void srcnn_backward(const BackwardProblemOf<T>& problem, void* workspace, void* stream);

// ------------------------------------------------------------------------------------------------------ how it is laid out

inline constexpr int kBackwardThreads = 288;  // 9 warps: conv1's 9 rows of taps x 16 groups of 4 channels x 2
inline constexpr int kBackwardBlocks = 2;     // of a multiprocessor, as far as registers go
inline constexpr int kBackwardSplits = 2;  // parts of a step's rows whose weight gradients are summed by threads of their own
inline constexpr int kReach1 = kKernel1 / 2, kReach3 = kKernel3 / 2;

enum class BackwardKernel {
  kFma,  // exact fp32 products, any GPU, any element type
  kMma,  // tensor cores, 16-bit products of 16-bit images
};

// Which gradients are asked for.
struct BackwardWanted {
  bool input, weight1, bias1, weight2, bias2, weight3, bias3;
  bool operator==(const BackwardWanted&) const = default;

  SRCNN_HOST_DEVICE bool grad1() const { return input || weight1 || bias1; }    // the gradient of hidden1
  SRCNN_HOST_DEVICE bool grad2() const { return grad1() || weight2 || bias2; }  // of hidden2
  SRCNN_HOST_DEVICE bool hidden2() const { return grad2() || weight3; }
};

// What a configuration depends on of the problem.
struct BackwardShape {
  int64_t batch;
  int channels, kernel2;
  int64_t scale, height, width;  // height and width of the output
  BackwardWanted wanted;
  bool operator==(const BackwardShape&) const = default;
};

template <class T>
BackwardShape shape_of(const BackwardProblemOf<T>& problem) {
  return {problem.grad_output.batch,
          static_cast<int>(problem.input.channels),
          problem.conv2.kernel_size,
          problem.scale,
          problem.grad_output.height,
          problem.grad_output.width,
          {problem.grad_input.data != nullptr, problem.grad1.weight != nullptr, problem.grad1.bias != nullptr,
           problem.grad2.weight != nullptr, problem.grad2.bias != nullptr, problem.grad3.weight != nullptr,
           problem.grad3.bias != nullptr}};
}

// Offsets of the arrays in dynamic shared memory, in floats.
struct BackwardShared {
  int weight1, weight2, transposed2;  // those that pass through: where `passing` is
  int transposed3, bias, input, grad_output, hidden1, hidden2, grad_input, passing;
  int column_index, column_weight, row_index, row_weight;  // bicubic tables
  int size;
};

// How many units of weights are in shared memory at once; all of them: for the block's whole life.
struct BackwardChunks {
  int weight1;      // rows of taps of one channel, 9 * c in all
  int weight2;      // input channels of conv2, 64 in all
  int transposed2;  // output channels of conv2, 32 in all
};

// The plain-FMA backward. A block makes `rows` rows of hidden2 of a strip at a time.
struct BackwardConfig {
  int strip_width;  // columns whose gradients the strip adds up; a multiple of 4
  int rows;
  int input_halo;  // further columns and rows of hidden1's gradient on every side: 4 where the input's is wanted, else 0
  int halo0, halo1, halo2, halo3;  // columns on each side of input, hidden1, hidden2, grad_output: multiples of 4
  BackwardChunks chunks;
  int blocks_per_sm;
  BackwardShared shared;

  int shared_bytes() const { return shared.size * static_cast<int>(sizeof(float)); }
  std::string describe() const;
};

// The configuration with the lowest estimated cost; throws std::runtime_error where not even the smallest fits.
BackwardConfig choose_backward_config(const BackwardShape& shape, const DeviceLimits& device);

ForwardTiling tile_backward(const BackwardShape& shape, const BackwardConfig& config, const DeviceLimits& device);

// ------------------------------------------------------------------------------------------------------ the workspace

// The weights as floats, output channels last: [taps of all inputs][outputs]; `transposed` ones are those of the convolution
// that takes a gradient back: inputs and outputs change places, taps go the other way round.
struct BackwardWeights {
  int weight1, weight2, transposed2, transposed3, bias;  // offsets in floats; bias: conv1's 64, conv2's 32
  int size;
};

// The same for tensor cores: fragments of mma's B in 16 bits, [step][pair of tiles][lane]; `back` those of the convolution that
// takes a gradient back. Then conv1's and conv2's biases as floats.
struct BackwardMmaWeights {
  int weight1, weight2, back1, back2, back3, bias;  // offsets in floats
  int size;
};

// One block's sums, which it alone adds to. Those of different shares of the pixels (`splits`) lie one after another, each
// [taps of all inputs][outputs], or tiles of mma.
struct BackwardPartials {
  int weight1, weight2, weight3, bias1, bias2, bias3;  // offsets in floats
  int splits1, splits2, splits3, bias3_splits;
  bool tiles;
  int size;
};

// Offsets in floats.
struct BackwardWorkspace {
  BackwardWeights weights;       // of the FMA kernel
  BackwardMmaWeights fragments;  // or of the tensor cores'
  BackwardPartials partials;     // of the first block; the others follow
  int64_t partials_at;
  int64_t enlarged_at;  // [N, c, H, W], the gradient of the enlarged image
  int64_t rows_at;      // [N, c, h, W], that of the rows of the input
  int64_t size;
};

BackwardWorkspace lay_out_workspace(const BackwardShape& shape, BackwardKernel kernel, int blocks);

}  // namespace srcnn::cuda
