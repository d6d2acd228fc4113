// The sizes on which the plain-FMA forward kernel and its host side agree, and the kernel's arguments.
#pragma once

#include <cstdint>

#include "../srcnn.h"
#include "config.h"

namespace srcnn::cuda {

inline constexpr int kChannelGroups = 8;  // a stage's channels are shared out among so many groups of threads
inline constexpr int kQuad = 4;           // neighbouring positions of a thread
inline constexpr int kTaps3 = kKernel3 * kKernel3;

// Rows of a stage in shared memory: what `rows` rows of the next stage read.
SRCNN_HOST_DEVICE constexpr int input_slots(int rows) { return rows + kKernel1 - 1; }
SRCNN_HOST_DEVICE constexpr int hidden1_slots(int rows, int kernel2) { return rows + kernel2 - 1; }

// Output rows that are being added up while `rows` rows of hidden2 are there.
SRCNN_HOST_DEVICE constexpr int open_slots(int rows) { return rows + kKernel3 - 1; }

// Floats per row. A thread reads whole float4s, up to the last tap of its last position.
SRCNN_HOST_DEVICE constexpr int input_stride(int columns) { return columns + kKernel1 - 1; }
SRCNN_HOST_DEVICE constexpr int hidden_stride(int columns) { return columns + kKernel3 - 1; }

// Floats of a row with all its channels: the banks of the next row go on where this one's columns end, since a warp may have
// positions in both.
SRCNN_HOST_DEVICE constexpr int hidden_row(int channels, int columns) {
  return channels * hidden_stride(columns) + columns % 32;
}

template <class T>
struct ForwardParams {
  ForwardProblemOf<T> problem;
  ForwardConfig config;
  ForwardTiling tiling;
};

}  // namespace srcnn::cuda
