// The sizes on which the tensor-core forward kernel and its host side agree, and the kernel's arguments.
#pragma once

#include <cstdint>

#include "../srcnn.h"
#include "config.h"

namespace srcnn::cuda {

inline constexpr int kWarpPixels = 32;  // of one row: two 16-row tiles of mma, which share their weights

// conv1's taps in pairs (kx, kx + 1): the 9 taps of a row are 5 pairs, the last half of them nothing.
inline constexpr int kRowPairs = (kKernel1 + 1) / 2;
SRCNN_HOST_DEVICE constexpr int conv1_pairs(int channels) { return channels * kKernel1 * kRowPairs; }
SRCNN_HOST_DEVICE constexpr int conv1_steps(int channels) { return (conv1_pairs(channels) + 7) / 8; }  // of k = 16
SRCNN_HOST_DEVICE constexpr int conv2_steps(int kernel2) { return kernel2 * kernel2 * kWidth1 / 16; }
inline constexpr int kConv3Steps = kWidth2 / 16;
inline constexpr int kTaps3 = kKernel3 * kKernel3;
inline constexpr int kTapTiles = (kTaps3 + 7) / 8;

// Bytes of one k16 x n8 tile of weights: two 32-bit registers for each lane.
inline constexpr int kFragmentBytes = 256;

inline constexpr int kInputSlots = 16;  // a power of two above 9; one more slot holds a row of zeros
// 16-bit elements per row and copy of the input; a multiple of 8, and columns + 8 are read.
SRCNN_HOST_DEVICE constexpr int mma_input_stride(int columns) { return columns + 16; }
// Floats per tap: 4 modulo 32, so that the 4 taps x 8 pixels that a warp stores at once fall into 32 banks.
SRCNN_HOST_DEVICE constexpr int tap_stride(int columns) { return columns + 4; }
// Pixels per row of conv1's output, for a conv2 that reads its neighbours.
SRCNN_HOST_DEVICE constexpr int hidden1_pixels(int columns, int kernel2) { return columns + kernel2 - 1; }

template <class T>  // Half or BFloat16
struct ForwardMmaParams {
  ForwardProblemOf<T> problem;
  ForwardMmaConfig config;
  ForwardTiling tiling;
};

}  // namespace srcnn::cuda
