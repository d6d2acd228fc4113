// The sizes on which the tensor-core forward kernel and its host side agree, and the kernel's arguments.
//
// A `unit` is what one 32-bit register of an mma operand holds along k: two 16-bit numbers, or one TF32 number. One mma
// instruction is a step of 8 units.
#pragma once

#include <cstdint>

#include "../srcnn.h"
#include "config.h"

namespace srcnn::cuda {

inline constexpr int kStepUnits = 8;
inline constexpr int kTilePixels = 16;  // rows of an mma: pixels of an image row

// 16-pixel tiles of a warp. They share each load of weights from shared memory, which is what limits conv1; where conv2 keeps
// the sums of kernel2 rows in registers two are all that fit, and operands of two parts make three products of each load.
SRCNN_HOST_DEVICE constexpr int warp_tiles(int kernel2, int products) { return products > 1 ? 1 : (kernel2 == 1 ? 4 : 2); }
SRCNN_HOST_DEVICE constexpr int max_warps(int kernel2, int products) { return warp_tiles(kernel2, products) == 4 ? 4 : 8; }

// conv1: the 9 taps of a row are 5 units of 16 bits, the last one half empty, or 9 of 32 bits.
SRCNN_HOST_DEVICE constexpr int row_units(int per_unit) { return (kKernel1 + per_unit - 1) / per_unit; }
SRCNN_HOST_DEVICE constexpr int conv1_units(int channels, int per_unit) { return channels * kKernel1 * row_units(per_unit); }
SRCNN_HOST_DEVICE constexpr int conv1_steps(int channels, int per_unit) {
  return (conv1_units(channels, per_unit) + kStepUnits - 1) / kStepUnits;
}

// conv2: for each of kernel2 columns, all channels; the kernel2 rows are columns of the product, 32 outputs each.
SRCNN_HOST_DEVICE constexpr int channel_steps(int channels, int per_unit) { return channels / (kStepUnits * per_unit); }
SRCNN_HOST_DEVICE constexpr int conv2_tiles(int kernel2) { return kernel2 * kWidth2 / 8; }

// Where conv2's weights are streamed: how many steps are in shared memory. One is multiplied while three are on their way,
// about a microsecond.
inline constexpr int kWeight2Buffers = 4;

// wgmma's kernels stream where the weights never fit, and nowhere else: with a loop for either in one kernel, ptxas (13.0)
// finds too few registers and makes each wgmma wait for the one before.
SRCNN_HOST_DEVICE constexpr bool wgmma_streams(int kernel2, int per_unit) { return kernel2 == 5 && per_unit == 1; }

// conv3, for each channel: for each kx the 5 products that a hidden pixel gives to rows above and below, in pairs; the sixth is
// nothing.
inline constexpr int kColumnPairs = (kKernel3 + 1) / 2;
inline constexpr int kTapPairs = kKernel3 * kColumnPairs;
inline constexpr int kTapTiles = (2 * kTapPairs + 7) / 8;

// Bytes of one step x two tiles of 8 columns of weights: four 32-bit registers for each lane.
inline constexpr int kFragmentBytes = 512;

inline constexpr int kInputSlots = kKernel1 + 1;  // the rows of a conv1 row, and the one that comes next
// Elements per row of the input; columns + 8 are used. 16 bits are kept twice, see Operand::kCopies.
SRCNN_HOST_DEVICE constexpr int mma_input_stride(int columns) { return columns + 16; }
// Pairs of floats per pair of taps: 32 bytes modulo 128, so that the 4 pairs x 4 pixels of half a warp fall into 32 banks.
SRCNN_HOST_DEVICE constexpr int tap_stride(int columns) { return columns + 4; }
// The sums of output rows that are not finished yet: in shared memory, or in registers where these are not short.
SRCNN_HOST_DEVICE constexpr bool keeps_open_rows(int kernel2, int channels, int per_unit) {
  return kernel2 == 5 || channels > 1 || per_unit == 1;
}
// Pixels per row of conv1's output, for a conv2 that reads its neighbours: 64 bytes modulo 128 for a chunk of 16 bytes a pixel.
SRCNN_HOST_DEVICE constexpr int hidden1_pixels(int columns) { return columns + 4; }
SRCNN_HOST_DEVICE constexpr int hidden1_chunks(int per_unit) { return kWidth1 / (4 * per_unit); }

template <class T>  // Half, BFloat16, or float
struct ForwardMmaParams {
  ForwardProblemOf<T> problem;
  ForwardMmaConfig config;
  ForwardTiling tiling;
  void* workspace;  // config.workspace_bytes() of device memory
};

}  // namespace srcnn::cuda
