// The sizes on which the tensor-core backward kernel and its host side agree, and the kernel's arguments.
//
// A `step` of an mma is 16 numbers of k; a `tile` 16 rows of A or 8 columns of B.
#pragma once

#include <cstdint>
#include <string>

#include "../srcnn.h"
#include "backward.h"
#include "forward_mma.h"

namespace srcnn::cuda {

// Registers allow 128 (9-3-5: 168) a thread. Two blocks of 9-1-5, where two fit, hide each other's barriers; the others' sums
// of weight2's gradient pass through L2 step by step, and so a step is as large as one block's shared memory allows.
SRCNN_HOST_DEVICE constexpr int backward_mma_threads(int kernel2) { return kernel2 == 1 ? 256 : kernel2 == 3 ? 384 : 512; }
SRCNN_HOST_DEVICE constexpr int backward_mma_blocks(int kernel2) { return kernel2 == 1 ? 2 : 1; }

inline constexpr int kStepDepth = 16;  // of k
inline constexpr int kTileSum = 128;   // floats: the sums of 16 x 8, four a lane

// Elements from a pixel to the next, all channels of a pixel being neighbours. 16 bytes more than the channels: the same 16
// bytes of 8 pixels, what ldmatrix takes at a time, lie in all 32 banks.
inline constexpr int kPixel1 = kWidth1 + 8, kPixel2 = kWidth2 + 8;

// A pixel's patch: what conv3's taps find of the output's gradient, two whole steps a channel.
inline constexpr int kPatchTaps = (kKernel3 * kKernel3 + kStepDepth - 1) / kStepDepth * kStepDepth;
SRCNN_HOST_DEVICE constexpr int patch_taps(int channels) { return channels * kPatchTaps; }
SRCNN_HOST_DEVICE constexpr int patch_pixel(int channels) { return patch_taps(channels) + 8; }

inline constexpr int kTaps1 = kKernel1 * kKernel1;
SRCNN_HOST_DEVICE constexpr int backward_steps1(int channels) { return conv1_steps(channels, 2); }

// Sums of the weights' gradients, as tiles of mma: rows x columns.
//   weight1  hidden1's channels x taps, 4 x so many; three tiles of taps are one warp's at a time
//   weight2  for each tap, hidden2's channels x hidden1's, 2 x 8
//   weight3  taps x hidden2's channels
//   bias1, bias2  their channels x 1, which is all 8 columns
inline constexpr int kTapTiles1PerItem = 3;
SRCNN_HOST_DEVICE constexpr int tap_tiles1(int channels) {
  return (channels * kTaps1 + 8 * kTapTiles1PerItem - 1) / (8 * kTapTiles1PerItem) * kTapTiles1PerItem;
}
SRCNN_HOST_DEVICE constexpr int sum1_floats(int channels) { return 4 * tap_tiles1(channels) * kTileSum; }
inline constexpr int kBias1Floats = 4 * kTileSum, kBias2Floats = 2 * kTileSum;
SRCNN_HOST_DEVICE constexpr int sum2_floats(int kernel2) { return kernel2 * kernel2 * 2 * 8 * kTileSum; }
SRCNN_HOST_DEVICE constexpr int sum3_floats(int channels) { return patch_taps(channels) / 16 * 4 * kTileSum; }

// Shares of the pixels that are summed by warps of their own, so that there is work for all of them.
SRCNN_HOST_DEVICE constexpr int sum2_splits(int kernel2) { return kernel2 == 1 ? 2 : 1; }
inline constexpr int kSum3Splits = 2;

// Tiles of 8 of hidden1's channels of a warp's item of weight2's gradient: it has a row of taps, too.
SRCNN_HOST_DEVICE constexpr int sum2_tiles(int kernel2) { return kernel2 == 5 ? 1 : 2; }

// Where the sum of row x column is in tiles of `column_tiles`; ptx.cuh says which elements a lane has.
SRCNN_HOST_DEVICE constexpr int tile_sum_at(int row, int column, int column_tiles) {
  return ((row / 16 * column_tiles + column / 8) * 32 + row % 8 * 4 + column % 8 / 2) * 4 + row % 16 / 8 * 2 + column % 2;
}

// The input's gradient: what a pixel of hidden1's gives through the 81 taps of one channel, in pairs of tiles.
inline constexpr int kGivenTiles = (kTaps1 + 15) / 16 * 2;
SRCNN_HOST_DEVICE constexpr int given_stride(int strip_width) { return strip_width + 16 + 4; }  // banks: 4 modulo 16
SRCNN_HOST_DEVICE constexpr int backward_mma_grad_input_slots(int rows) { return rows + 2 * kReach1; }

// Columns of the input, twice over: see Sixteen::kCopies.
SRCNN_HOST_DEVICE constexpr int backward_mma_input_stride(int columns) { return (columns + 15) / 16 * 16 + 8; }

inline constexpr int kMmaStepBytes = 64;  // what a step knows of itself

// Offsets of the arrays in dynamic shared memory, in bytes; -1 for what is not there.
struct BackwardMmaShared {
  int step, bias, units, taps, zeros;
  int input, grad_output, hidden1, hidden2, patches, grad_input;  // `patches`, then what is given to the input's gradient
  int sum1, sum2, sum3;
  int phase_first, phase_weight, column_index, column_weight;  // bicubic tables
  int size;
};

// The tensor-core backward. A block makes `rows` rows of hidden2 of a strip at a time.
struct BackwardMmaConfig {
  int strip_width;  // columns whose gradients the strip adds up; a multiple of 16
  int rows;
  int input_halo;  // further columns and rows of hidden1's gradient on every side: 4 where the input's is wanted, else 0
  int halo0, halo1, halo2;  // columns on each side of input, hidden1, hidden2
  int blocks_per_sm, threads;
  BackwardMmaShared shared;

  std::string describe() const;
};

// The configuration with the lowest estimated cost; false where not even the smallest fits.
bool choose_backward_mma_config(const BackwardShape& shape, const DeviceLimits& device, BackwardMmaConfig& config,
                                ForwardTiling& tiling);

template <class T>  // Half or BFloat16
struct BackwardMmaParams {
  BackwardProblemOf<T> problem;
  ImageView<void> grad_input;  // of the enlarged image: of T, or float where `grad_is_float`
  bool grad_is_float;
  BackwardWanted wanted;
  void* weights;    // device memory, of weights_at.size floats
  float* partials;  // of all blocks
  BackwardMmaWeights weights_at;
  BackwardPartials partials_at;
  BackwardMmaConfig config;
  ForwardTiling tiling;
};

}  // namespace srcnn::cuda
