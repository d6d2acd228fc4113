// Prints how each forward is laid out on one GPU of each generation, a line of JSON each, for scripts/kernel_resources.py and
// scripts/kernel_model.py: 1920x1080, already enlarged, batch 1.
#include <cuda_runtime.h>

#include <cstdio>

#include "config.h"
#include "forward_fma.h"
#include "forward_mma.h"

using namespace srcnn::cuda;

namespace {

void print(int generation, const char* kernel, const ForwardShape& shape, int threads, int shared_bytes, int blocks_per_sm,
           int columns, int strip_width, int rows, const ForwardTiling& tiling) {
  std::printf(
      "{\"sm\": %d, \"kernel\": \"%s\", \"kernel2\": %d, \"channels\": %d, \"threads\": %d, \"shared_bytes\": %d, "
      "\"blocks_per_sm\": %d, \"columns\": %d, \"strip_width\": %d, \"rows\": %d, \"strips\": %d, \"segments\": %d, "
      "\"segment_height\": %d, \"blocks\": %d}\n",
      generation, kernel, shape.kernel2, shape.channels, threads, shared_bytes, blocks_per_sm, columns, strip_width, rows,
      tiling.strips, tiling.segments, tiling.segment_height, tiling.blocks);
}

}  // namespace

int main() {
  for (const int generation : {75, 80, 86, 89, 90, 100, 120}) {
    const cuda_on_cpu::Gpu gpu = cuda_on_cpu::gpu_of(generation);
    const DeviceLimits device{gpu.multiprocessors, generation, gpu.shared_per_block_optin, gpu.shared_per_multiprocessor,
                              gpu.threads_per_multiprocessor};  // no red zones
    for (const int kernel2 : {1, 3, 5}) {
      for (const int channels : {1, 3}) {
        const ForwardShape shape{1, channels, kernel2, 1, 1080, 1920};
        const ForwardConfig fma = choose_forward_config(shape, device);
        print(generation, "fma", shape, fma.threads(), fma.shared_bytes(), fma.blocks_per_sm, fma.columns, fma.strip_width,
              fma.rows, tile_forward(shape, fma.strip_width, fma.rows, fma.blocks_per_sm, device));
        ForwardMmaConfig mma;
        if (generation < 80 || !choose_forward_mma_config(shape, {2, 1}, device, mma)) continue;
        print(generation, "mma", shape, mma.threads(), mma.shared.size, mma.blocks_per_sm, mma.columns, mma.strip_width, 1,
              tile_forward(shape, mma.strip_width, 1, mma.blocks_per_sm, device));
      }
    }
  }
}
