// The sizes on which the plain-FMA forward kernel and its host side agree, and the kernel's arguments.
#pragma once

#include <cstdint>

#include "../srcnn.h"
#include "config.h"

namespace srcnn::cuda {

inline constexpr int kChannelGroups = 8;  // a stage's channels are shared out among so many groups of threads
inline constexpr int kQuad = 4;           // neighbouring positions of a thread

// Rows of a stage in shared memory: what `rows` rows of the next stage read.
SRCNN_HOST_DEVICE constexpr int input_slots(int rows) { return rows + kKernel1 - 1; }
SRCNN_HOST_DEVICE constexpr int hidden1_slots(int rows, int kernel2) { return rows + kernel2 - 1; }
SRCNN_HOST_DEVICE constexpr int hidden2_slots(int rows) { return rows + kKernel3 - 1; }

// Floats per row. A thread reads whole float4s, up to the last tap of its last position.
SRCNN_HOST_DEVICE constexpr int input_stride(int columns) { return columns + kKernel1 - 1; }
SRCNN_HOST_DEVICE constexpr int hidden_stride(int columns) { return columns + kKernel3 - 1; }

template <class T>
struct ForwardParams {
  ForwardProblemOf<T> problem;
  ForwardConfig config;
  ForwardTiling tiling;
};

}  // namespace srcnn::cuda
