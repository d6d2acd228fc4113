// What the driver of the backward (backward.cpp) and its kernels for each instruction set (backward_*.cpp) say to one another.
#pragma once

#include <cstdint>

#include "../srcnn.h"
#include "engine.h"
#include "isa.h"

namespace srcnn::cpu {

// What one job makes, in one image. Every region is cut from the image by the problem's shape alone.
struct BackwardTile {
  Region owned;   // pixels of the output's grid whose terms of the weight gradients are summed here
  Region spread;  // pixels of the output's grid through which a gradient reaches `input`; empty if grad_input is not wanted
  Region input;   // pixels of grad_input that are written here, and nowhere else; empty likewise
};

// Rows of one stage, row r of the image in slot r % slots. Column `left` pixels before the piece's first one comes first.
struct PixelRows {
  int64_t offset;  // in the workspace, in floats
  int slots, left;
  int64_t row_size;  // floats
};

// The same as planes, one for each channel.
struct PlaneRows {
  int64_t offset;
  int slots, left;
  int64_t row_size, stride;  // floats of a row, of a channel in it
};

// What conv1 makes on the way (tiled_conv1.h), in floats from the start of the workspace.
struct TiledConv1Layout {
  int64_t columns;  // [column][points of one]
  int64_t points;   // [tile][horizontal point][term][vertical point], of the input
  int64_t tiles;    // [tile][row][horizontal point][64] of outputs, or [point][tile][64] of gradients
  int64_t sums;     // [point][term][64], of the gradient of the weights
};

// The same for a 3x3 or 5x5 conv2 (tiled_conv2.h).
struct TiledConv2Layout {
  int64_t rows;      // of a band; 1 with a 1x1 conv2, which has no tiles
  int64_t columns;   // scratch: rows of inputs at the vertical points
  int64_t points;    // [point][tile][channel], of inputs
  int64_t products;  // [vertical point][tile][channel]
  int64_t half;      // [tile][row][horizontal point][channel] of outputs, or [point][tile][channel] of gradients
  int64_t sums;      // [point][64][32], of the gradient of the weights
};

// Where everything lies in a worker's workspace, for pieces of up to a number of columns; made by backward_plan.cpp.
struct BackwardLayout {
  RingLayout source;    // enlargement only: source rows after horizontal resampling
  PlaneRows input;      // rows of the enlarged image
  PlaneRows grad;       // rows of grad_output
  PlaneRows grad_sums;  // of them, rows added up for an edge that is replicated
  PixelRows hidden1;    // conv1 + ReLU
  PixelRows hidden2;    // conv2 + ReLU
  PixelRows grad2;      // gradient of conv2's output
  PixelRows grad2_sums;
  PixelRows grad1;         // gradient of conv1's output
  PlaneRows grad1_planes;  // the same as planes
  PlaneRows spread;        // gradient of the enlarged image
  TiledConv1Layout conv1;
  TiledConv2Layout conv2;
  int64_t narrow_offset;  // a row of it, brought down to the input's columns
  int64_t zeros_offset;   // a row of zeros for any stage
  int64_t size;           // floats in all
};

// Where the terms of every gradient of weights are summed, in floats from the start of a partial sum, in the order the kernels
// write: [row][tap][channel], see pixels.h.
struct PartialLayout {
  int64_t weight1, bias1, weight2, bias2, weight3, bias3;
  int64_t size;
};

// How far back the gradients that are wanted reach; kForward: there are none, the output is wanted (pixel_forward.h).
enum class Depth { kForward, kBias3, kConv3, kConv2, kConv1 };

struct BackwardPlan {
  const BackwardProblem* problem;
  Depth depth;
  const float *weight1, *weight2;                       // of the forward, [channel / block][row][tap][block]
  const float *weight2_turned, *weight3_turned;         // of the gradients of their inputs, likewise
  const float *weight2_points, *weight2_turned_points;  // of a 3x3 or 5x5 conv2: [point], each packed as a kernel of 1x1
  const float* weight3;                                 // the forward only: [c][ky][kx][32]
  const float* weight1_points;      // [channel / block][horizontal point][term][vertical point][block], see tiled_conv1.h
  bool conv1_by_tiles;              // weights that are finite, and far from overflow
  const float* weight1_spread;      // [c][channel][kx][ky], see input_gradient.h
  ResampleTableView rows, columns;  // enlargement only
  BackwardLayout layout;
  PartialLayout partial;
  int64_t piece_columns;  // of a tile, at most so many at once
};

struct BackwardEngine {
  int lanes;
  int tile_block1;     // channels in a block of conv1's points
  int block1, block2;  // channels in a block of the weights that lead to 64 and to 32 channels
  int spread_columns;  // columns that input_gradient.h works on at once
  // Kernels of conv2, [ky][kx][count], at the points of its tiles, each point_stride behind the one before.
  void (*tile_weights)(int kernel2, const float* taps, int64_t count, float* points, int64_t point_stride);
  // Adds the tile's terms to `partial`, and writes its pixels of grad_input. A workspace is 64-byte aligned, zero where it was
  // never written.
  void (*run_tile)(const BackwardPlan& plan, int64_t image, const BackwardTile& tile, float* workspace, float* partial);
  // The forward by the backward's means.
  void (*forward_region)(const BackwardPlan& plan, int64_t image, const Region& region, const ImageView<float>& output,
                         float* workspace);
};

extern const BackwardEngine kAvx512BackwardEngine;
extern const BackwardEngine kAvx2BackwardEngine;
extern const BackwardEngine kGenericBackwardEngine;

const BackwardEngine& backward_engine_for(Isa isa);

}  // namespace srcnn::cpu
