// What the blocks of all fused kernels share: the persistent loop over the parts of the output, and small helpers.
#pragma once

#include <initializer_list>

#include "config.h"
#include "platform.cuh"

namespace srcnn::cuda {

// The part of the output a block is making: columns from x0, rows [y0, y1) of one image.
struct Job {
  int64_t image;
  int x0, y0, y1;
};

__device__ __forceinline__ float relu(float a) { return a < 0.0f ? 0.0f : a; }  // keeps NaN, as torch.relu does

// Job number `index`: strip after strip, segment after segment, image after image.
__device__ __forceinline__ Job job_at(const ForwardTiling& tiling, int64_t tiles, int strip_width, int height, int64_t index) {
  const int tile = static_cast<int>(index % tiles);
  const int y0 = tile / tiling.strips * tiling.segment_height;
  return {index / tiles, tile % tiling.strips * strip_width, y0, min(height, y0 + tiling.segment_height)};
}

// make_strip(Job) for the block's share of the jobs.
template <class MakeStrip>
__device__ __forceinline__ void for_each_job(const ForwardTiling& tiling, int strip_width, int height,
                                             const MakeStrip& make_strip) {
  const int64_t tiles = static_cast<int64_t>(tiling.strips) * tiling.segments;
  for (int64_t index = blockIdx.x; index < tiling.jobs; index += gridDim.x) {
    make_strip(job_at(tiling, tiles, strip_width, height, index));
  }
}

// When run on the CPU: what lies between the arrays in shared memory must not be touched. `ends`: where each one's gap ends.
template <class T>
[[maybe_unused]] __device__ void mark_red_zones(std::initializer_list<int> ends, T* shared) {
  if (threadIdx.x != 0) return;
  constexpr int kGap = kSharedGap / static_cast<int>(sizeof(T));
  for (const int end : ends) {
    if (end > 0) shared_red_zone(shared + end - kGap, kSharedGap);
  }
}

}  // namespace srcnn::cuda
