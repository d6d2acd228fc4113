// bicubic_resize on a GPU: its host side, which needs no CUDA header and is tested without a GPU, and the kernel's arguments.
#pragma once

#include <cstdint>
#include <string>

#include "../bicubic.h"
#include "../srcnn.h"
#include "config.h"

namespace srcnn::cuda {

// On the current device, in `stream` (a cudaStream_t); pointers are device memory, returns before the work is done.
// Throws std::runtime_error where the CUDA runtime reports an error.
template <class T>  // float, Half or BFloat16; sums are float
void bicubic_resize(const ResizeProblemOf<T>& problem, void* stream);

inline constexpr int kResizeThreads = 256;
inline constexpr int kResizeBlocks = 2;  // of a multiprocessor: what its registers hold

// One axis as the kernel walks it: every output is made from at most `taps` consecutive positions. Positions outside the
// image stand for others (resolve_edge).
struct ResizeAxis {
  ResampleAxis resample;
  int64_t out_size;
  bool copied;  // same length, scale 1: an output is its input
  bool folded;  // a mirrored window of two images and more: every output is made from the whole image, each sample of which
                // has the weights of all its mirror images
  int taps;
};

ResizeAxis make_resize_axis(Bicubic bicubic, int64_t in_size, int64_t out_size, double scale);

// Offsets of the arrays in dynamic shared memory, in bytes.
struct ResizeShared {
  int column_first, column_norm, column_count, column_weight;
  int row_first, row_norm, row_count, row_begin, row_weight;
  int inner, sums;
  int size;
};

// A block makes tiles of the output. For each it walks the source rows of the tile's windows in bands, and the taps of its
// columns in chunks; both take one step where they fit, and strong shrinking takes more.
struct ResizeConfig {
  int width_bits, tile_height;      // a tile is 2^width_bits columns wide
  int column_lanes, row_lanes;      // threads that share a column's (row's) window: a power of two up to 32
  int chunk, band;                  // taps of a column, source rows, in shared memory at once
  int column_stride, row_stride;    // floats per column (row) of the weight tables
  int64_t tiles_x, tiles_y, tiles;  // of an image plane, and of all
  int blocks;
  ResizeShared shared;

  SRCNN_HOST_DEVICE int tile_width() const { return 1 << width_bits; }
  std::string describe() const;
};

ResizeConfig choose_resize_config(int64_t planes, const ResizeAxis& rows, const ResizeAxis& columns,
                                  const DeviceLimits& device);

template <class T>
struct ResizeParams {
  ResizeProblemOf<T> problem;
  ResizeAxis rows, columns;
  ResizeConfig config;
};

}  // namespace srcnn::cuda
