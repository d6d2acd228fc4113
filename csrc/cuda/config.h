// How a forward is laid out on a GPU: host-only arithmetic, tested without one.
#pragma once

#include <cstdint>
#include <string>

#include "../srcnn.h"

namespace srcnn::cuda {

// What a configuration depends on of the device.
struct DeviceLimits {
  int sm_count;
  int shared_memory_per_block;  // bytes, with opt-in
  int shared_memory_per_sm;     // bytes
  int threads_per_sm;
  int shared_gap = 0;  // bytes between the arrays in shared memory: red zones, where a kernel is run on the CPU
};

// Offsets of the arrays in dynamic shared memory, in floats.
struct ForwardShared {
  int weight1, weight2, weight3;
  int input, hidden1, hidden2, partial;
  int column_index, column_weight, row_index, row_weight;  // bicubic tables
  int size;
};

// The plain-FMA forward. A block makes `rows` rows of `columns` positions of a stage at a time: thread t has 4 neighbouring
// positions and an eighth of the stage's channels.
struct ForwardConfig {
  int columns;          // positions in a row: the strip and the halos of conv2 and conv3
  int rows;             // 1, 2 or 4
  int weight1_rows;     // (channel, ky) rows of conv1's weights in shared memory at once; 9 * c: all, for the block's whole life
  int weight2_channels; // input channels of conv2's weights in shared memory at once; 64: all, likewise
  int strip_width;      // output columns of a block's strip
  int blocks_per_sm;
  ForwardShared shared;

  int threads() const { return columns * rows * 2; }
  int shared_bytes() const { return shared.size * static_cast<int>(sizeof(float)); }
  std::string describe() const;
};

// The configuration with the lowest estimated cost; throws std::runtime_error where not even the smallest fits.
ForwardConfig choose_forward_config(const ForwardProblem& problem, const DeviceLimits& device);

// Strips times segments of every image, and how many persistent blocks share them.
struct ForwardTiling {
  int strips, segments, segment_height, blocks;
  int64_t jobs;
};

ForwardTiling tile_forward(const ForwardProblem& problem, const ForwardConfig& config, const DeviceLimits& device);

}  // namespace srcnn::cuda
