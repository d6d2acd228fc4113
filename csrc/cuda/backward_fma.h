// The sizes on which the plain-FMA backward kernel and its host side agree, and the arguments of the backward's kernels.
#pragma once

#include <cstdint>

#include "../srcnn.h"
#include "backward.h"
#include "forward_fma.h"

namespace srcnn::cuda {

// Rows of a stage in shared memory, while `rows` rows of hidden2 are made: what those are made from, and what the rows of
// hidden1's gradient that they complete, reach2 further up, take part in.
SRCNN_HOST_DEVICE constexpr int hidden_slots(int rows, int kernel2) { return rows + 2 * (kernel2 / 2); }
SRCNN_HOST_DEVICE constexpr int backward_input_slots(int rows, int kernel2) {
  return hidden_slots(rows, kernel2) + 2 * kReach1;
}

// Rows of the input's gradient that those of hidden1's are part of; a segment's last step has reach2 more.
SRCNN_HOST_DEVICE constexpr int grad_input_slots(int rows, int kernel2) { return rows + kernel2 / 2 + 2 * kReach1; }

// Floats from a channel's row to the next channel's: 4 more than a multiple of 8, so that the same quad of 8 channels lies in
// all 32 banks.
SRCNN_HOST_DEVICE constexpr int plane_stride(int columns) { return columns + (columns % 8 == 0 ? 4 : 0); }

// Floats per row with all its channels: the banks of the next row go on where this one's columns end, since a warp has
// positions in both.
SRCNN_HOST_DEVICE constexpr int row_pitch(int channels, int columns) { return channels * plane_stride(columns) + columns % 32; }

// Input channels of conv2 for which a thread sums weight gradients: what fits registers, times 4 output channels and a row of
// taps.
SRCNN_HOST_DEVICE constexpr int channels2_per_thread(int kernel2) { return kernel2 == 1 ? 4 : 2; }

struct BackwardParams {
  ImageView<const void> grad_output, input;  // of `element`
  ImageView<void> grad_input;                // of the enlarged image: of `element`, or float where `grad_is_float`
  Element element;
  bool grad_is_float;
  int64_t scale;
  Bicubic bicubic;
  Padding padding;
  BackwardWanted wanted;
  const float* weights;  // packed
  float* partials;       // of all blocks
  BackwardWeights weights_at;
  BackwardPartials partials_at;
  BackwardConfig config;
  ForwardTiling tiling;
};

}  // namespace srcnn::cuda
