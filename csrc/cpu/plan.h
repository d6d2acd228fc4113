// How an image is cut into strips and segments, and how a strip's rings lie in a workspace. Host arithmetic only.
#pragma once

#include <cstdint>

#include "engine.h"

namespace srcnn::cpu {

// The output of every image cut into strips (columns) times segments (rows), as even as vectors allow.
struct Tiling {
  int64_t width, height;
  int64_t strip_width, segment_height;
  int64_t strips, segments;

  int64_t jobs(int64_t images) const { return images * strips * segments; }
  Region region(int64_t job) const;  // of job % (strips * segments)
};

// Columns of output above which an image is cut into several strips.
int64_t widest_strip(int kernel2);

Tiling plan_tiling(const ForwardProblem& problem, const Engine& engine, int threads);

StripLayout plan_strip_layout(const ForwardProblem& problem, const Engine& engine, int64_t strip_width);

// Columns of the image, at most, that `width` columns of the input are made of: as many where it is enlarged already.
inline int64_t widest_source_row(int64_t width) { return width + 8; }

// A ring of `slots` rows with room for `width` columns.
RingLayout plan_ring(int slots, int64_t channels, int halo, int64_t width);

}  // namespace srcnn::cpu
