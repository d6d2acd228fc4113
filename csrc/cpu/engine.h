// What the drivers (forward.cpp, resize.cpp) and the kernels of each instruction set (engine_*.cpp) say to one another.
#pragma once

#include <cstdint>

#include "../srcnn.h"
#include "bfloat16_rows.h"
#include "isa.h"

namespace srcnn::cpu {

// A rectangle of one output image: the part that one job makes.
struct Region {
  int64_t x0, x1, y0, y1;
};

// Resampling along one axis, tabulated: output i is the sum over k < taps of weight[i * taps + k] * source[index[i * taps +
// k]].
struct ResampleTableView {
  int taps;
  const int32_t* index;
  const float* weight;
};

// The rows of one stage that are still needed. Row r of the image lies in slot r % slots, channel after channel, `stride`
// floats each. A row covers its strip and `halo` columns a side.
struct RingLayout {
  int64_t offset;  // in the workspace, in floats
  int slots, channels, halo;
  int64_t stride;

  int64_t row_size() const { return channels * stride; }
  int64_t size() const { return slots * row_size(); }
};

// Where everything lies in a worker's workspace; made by plan.cpp for one strip width.
struct StripLayout {
  RingLayout source;     // enlargement only: source rows after horizontal resampling
  RingLayout input;      // rows of the enlarged image
  RingLayout hidden1;    // conv1 + ReLU; with a 1x1 conv2 it is one block of columns that never leaves L1
  RingLayout hidden2;    // conv2 + ReLU
  int64_t zeros_offset;  // a row of zeros for any stage: what lies above and below the image
  int64_t converted;     // bfloat16 images only: a row of them as it is read, a block of output before it is rounded
  int64_t size;          // floats in all
};

// Weights in the order the kernels read them: [out / block][in][ky][kx][block], for conv3 [out][in][kx][ky].
struct PackedConv {
  const float* weight;
  const float* bias;
};

struct ForwardPlan {
  const ForwardProblem* problem;
  const BFloat16Images* sixteen;  // the images, where they are not float
  PackedConv conv1, conv2, conv3;
  ResampleTableView rows, columns;  // enlargement only
  StripLayout layout;
};

struct ResizePlan {
  const ResizeProblem* problem;
  ResampleTableView rows, columns;
  RingLayout source;
};

// The kernels of one instruction set. A workspace is 64-byte aligned, zero where it was never written.
struct Engine {
  int lanes;          // floats in a vector
  int vectors;        // vectors in a block of columns
  int conv3_vectors;  // the same for conv3
  int channel_block;  // output channels computed together: the block of PackedConv
  void (*forward_region)(const ForwardPlan& plan, int64_t image, const Region& region, float* workspace);
  void (*resize_region)(const ResizePlan& plan, int64_t image, int64_t channel, const Region& region, float* workspace);
};

extern const Engine kAvx512Engine;
extern const Engine kAvx2Engine;
extern const Engine kGenericEngine;

const Engine& engine_for(Isa isa);

}  // namespace srcnn::cpu
