// What the driver (winograd_forward.cpp) and the Winograd kernels of each instruction set (engine_*.cpp) say to one another.
//
// Rows are split into phases: column x of a row lies at [x % 4][x / 4], so that a vector holds the same column of neighbouring
// tiles (4 x 4 pixels each) and nothing moves between lanes.
#pragma once

#include <cstdint>

#include "engine.h"
#include "winograd_transform.h"

namespace srcnn::cpu {

// A row of one stage: [channel][phase][tile]. Column 0 lies `halo` columns left of the strip, row 0 `halo` rows above the
// region.
struct PhaseRowLayout {
  int channels, halo;
  int tiles;  // their columns are defined as far as tiles in the image read, and whole vectors of tiles are made
  int64_t phase_stride, channel_stride;

  int64_t size() const { return channels * channel_stride; }
};

// The rows of one stage that are still needed.
struct PhaseRingLayout {
  int64_t offset;  // in the workspace, in floats
  int slots;
  PhaseRowLayout row;

  int64_t size() const { return slots * row.size(); }
};

// Four rows of F2 at conv3's points: [point] of what else would be a row.
struct PhasePointsLayout {
  int64_t offset, point_stride;
  PhaseRowLayout row;
};

// Pieces, such as the values at the points of a transform, `stride` floats apart: never a multiple of 4 kB, which would put all
// points of a tile into one set of the L1 cache.
struct PointsLayout {
  int64_t offset, stride;
};

// Which of four rows of F2 lie in the image: those from `first` to before `end`; and what the others hold.
struct RowsInImage {
  int first, end;
  bool zeros;  // else the nearest row in the image
};

// Where everything lies in a worker's workspace; made by winograd_plan.cpp for one strip width.
struct WinogradLayout {
  RingLayout source;  // enlargement only: source rows after horizontal resampling
  int64_t planar;     // one input row, not yet split into phases
  PhaseRingLayout input, hidden1;
  PhasePointsLayout hidden2;
  int64_t rows1;          // conv1's input after the vertical transform: [group][channel][point][phase][input.phase_stride]
  int64_t tiles1;         // and after the horizontal one, of conv1_vectors vectors of tiles
  PointsLayout block1;    // with a 1x1 conv2: conv1's output for so many, [vector, phase][channel][row][lane]
  PointsLayout rows2;     // the same three steps of conv2: [point][channel][phase][hidden1.phase_stride],
  PointsLayout tiles2;    // [point][in channel][tile] of one row of points,
  PointsLayout products;  // [point][out channel][tile],
  PointsLayout halves;    // and after the horizontal inverse, [point][out channel][phase][hidden2.phase_stride]
  int64_t pending, pending_stride;  // conv3: [channel][row], what is known of the next four rows of output
  int64_t zeros;                    // a row of zeros of input or F1
  int64_t converted;                // bfloat16 images only: a row of them as it is read, a row of output before it is rounded
  int64_t size;                     // floats in all
};

struct WinogradPlan {
  const ForwardProblem* problem;
  const BFloat16Images* sixteen;  // the images, where they are not float
  PackedConv conv1, conv2, conv3;
  ResampleTableView rows, columns;  // enlargement only
  WinogradLayout layout;
};

struct WinogradEngine {
  int lanes;
  int conv1_channels;      // output channels computed together: the blocks of the packed weights
  int conv1_points;        // vertical points of a column computed together
  int conv1_vectors;       // vectors of tiles computed together, at most
  int product_channels;    // conv2 as Winograd's products
  int product_vectors;     // vectors of tiles multiplied together, at most
  int pointwise_channels;  // conv2 of 1x1
  int conv3_vectors;       // vectors of tiles of conv3, at most
  void (*forward_region)(const WinogradPlan& plan, int64_t image, const Region& region, float* workspace);
};

extern const WinogradEngine kAvx512Winograd;
extern const WinogradEngine kAvx2Winograd;
extern const WinogradEngine kGenericWinograd;

const WinogradEngine& winograd_engine_for(Isa isa);

}  // namespace srcnn::cpu
