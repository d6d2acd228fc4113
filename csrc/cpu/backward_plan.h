// How the backward's work is cut into tiles and groups of them, and how a worker's memory is laid out. Host arithmetic only.
#pragma once

#include <cstdint>

#include "backward_engine.h"

namespace srcnn::cpu {

// Most partial sums of the weight gradients that are kept at once.
inline constexpr int64_t kMostGroups = 32;

// Tiles in a band of conv2, if one row of them is not more.
inline constexpr int64_t kBandTiles = 32;

// Every image cut into strips times segments: tiles. A group is a run of tiles that one worker goes through in order, summing
// into one partial result. Which tile is where depends on the problem's shape only, never on the number of threads or the
// instruction set's vectors: so do the bits of the result.
struct BackwardTiling {
  int64_t height, width;                // of what is cut: the input where its gradient is wanted, else the output
  int64_t strip_width, segment_height;  // of a tile
  int64_t strips, segments, tiles;      // tiles of the whole batch
  int64_t groups;
  int64_t scale, out_height, out_width;  // of the output
  bool input_wanted;

  int64_t first_tile(int64_t group) const { return group * tiles / groups; }
  int64_t image(int64_t tile) const { return tile / (strips * segments); }
  BackwardTile tile(int64_t tile) const;
};

Depth wanted_depth(const BackwardProblem& problem);

BackwardTiling plan_backward_tiling(const BackwardProblem& problem);

// The widest piece of a tile: wider ones are worked on piece after piece.
int64_t widest_piece(int kernel2, bool input_wanted);

BackwardLayout plan_backward_layout(const BackwardProblem& problem, const BackwardEngine& engine, int64_t columns, Depth depth);

PartialLayout plan_partial(const BackwardProblem& problem);

}  // namespace srcnn::cpu
