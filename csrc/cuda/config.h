// How a forward is laid out on a GPU: host-only arithmetic, tested without one.
#pragma once

#include <cstdint>
#include <string>

#include "../srcnn.h"

namespace srcnn::cuda {

inline constexpr int kRowTable = 16;  // rows whose bicubic weights are tabulated in shared memory at once

// What a configuration depends on of the problem.
struct ForwardShape {
  int64_t batch;
  int channels, kernel2;
  int64_t scale, height, width;  // height and width of the output
  bool operator==(const ForwardShape&) const = default;
};

template <class T>
ForwardShape shape_of(const ForwardProblemOf<T>& problem) {
  return {problem.output.batch,      static_cast<int>(problem.input.channels),
          problem.conv2.kernel_size, problem.scale,
          problem.output.height,     problem.output.width};
}

// ... and of the device.
struct DeviceLimits {
  int sm_count;
  int compute_capability;       // 90 for sm_90
  int shared_memory_per_block;  // bytes, with opt-in
  int shared_memory_per_sm;     // bytes
  int threads_per_sm;
  int shared_gap = 0;  // bytes between the arrays in shared memory: red zones, where a kernel is run on the CPU
};

// Offsets of the arrays in dynamic shared memory, in floats.
struct ForwardShared {
  int weight1, weight2, weight3;  // conv1's and conv2's, where they pass through: where `partial` is
  int bias, input, hidden1, hidden2, partial, open_rows;
  int column_index, column_weight, row_index, row_weight;  // bicubic tables
  int size;
};

// The plain-FMA forward. A block makes `rows` rows of `columns` positions of a stage at a time: thread t has 4 neighbouring
// positions and an eighth of the stage's channels.
struct ForwardConfig {
  int columns;       // positions in a row: the strip and the halos of conv2 and conv3
  int rows;          // 1, 2 or 4
  int weight1_rows;  // (channel, ky) rows of conv1's weights in shared memory at once; 9 * c: all, for the block's whole life
  int weight2_channels;  // input channels of conv2's weights in shared memory at once; 64: all, likewise
  int strip_width;       // output columns of a block's strip
  int blocks_per_sm;
  ForwardShared shared;

  int threads() const { return columns * rows * 2; }
  int shared_bytes() const { return shared.size * static_cast<int>(sizeof(float)); }
  std::string describe() const;
};

// The configuration with the lowest estimated cost; throws std::runtime_error where not even the smallest fits.
ForwardConfig choose_forward_config(const ForwardShape& shape, const DeviceLimits& device);

// Offsets of the arrays in dynamic shared memory, in bytes.
struct ForwardMmaShared {
  int weight1, weight2, weight3, bias1, bias2;
  int input, units, hidden1, taps, open_rows;
  int phase_first, phase_weight, column_index, column_weight;  // bicubic tables
  int size;
};

inline constexpr int kMaxPhases = 256;  // the largest scale whose bicubic weights the tensor-core forward tabulates

// The tensor-core forward. A block makes a row of `columns` pixels at a time, shared out among its warps.
struct ForwardMmaConfig {
  int columns;  // the strip and the halos of conv2 and conv3
  int warps;
  int strip_width;  // output columns of a block's strip
  int blocks_per_sm;
  // conv2's weights, but for 1x1, are packed into a workspace in global memory first. Each block copies them from there into
  // shared memory, or, where they do not fit, passes them through it for every row, a step at a time.
  bool stream_weight2;
  int weight2_bytes;  // of the workspace

  ForwardMmaShared shared;

  int threads() const { return 32 * warps; }
  int workspace_bytes() const { return weight2_bytes; }
  std::string describe() const;
};

// Strips times segments of every image, and how many persistent blocks share them.
struct ForwardTiling {
  int strips, segments, segment_height, blocks;
  int64_t jobs;
  double rows;  // that the busiest block makes, those made twice included
};

// Strips and segments of a batch of images. At every cut between segments `halo_rows` rows are made twice; `workers` is how
// many blocks run at once.
ForwardTiling tile_images(int64_t batch, int64_t height, int64_t width, int strip_width, int rows, int64_t halo_rows,
                          int64_t workers);

ForwardTiling tile_forward(const ForwardShape& shape, int strip_width, int rows, int blocks_per_sm, const DeviceLimits& device);

// Operands of the tensor-core products: numbers per 32 bits, and how many products make one.
struct OperandFormat {
  int per_unit, products;
  bool warpgroups = false;  // of 4 warps, for wgmma
};

// The configuration with the lowest estimated cost; false where the device's shared memory cannot hold the weights and a strip.
bool choose_forward_mma_config(const ForwardShape& shape, OperandFormat format, const DeviceLimits& device,
                               ForwardMmaConfig& config);

}  // namespace srcnn::cuda
