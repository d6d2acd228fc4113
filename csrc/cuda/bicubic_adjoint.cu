// The transpose of bicubic enlargement by a whole number, one axis at a time: every input sample gathers from the outputs whose
// windows have it, in their order. All three conventions of bicubic.h.
//
// A block has a tile of input samples x lines. For a chunk of outputs at a time it works out, in double, the weight that each
// sample has in them, which all lines share; the sums are in registers.
#include "../bicubic.h"
#include "backward_launch.cuh"
#include "platform.cuh"
#include "storage.cuh"

namespace srcnn::cuda {
namespace {

constexpr int kThreads = 256, kPasses = 8, kChunk = 32;

// Outputs whose windows may have sample i: a window has 4 neighbours, and outside the image those stand for one of the two
// next to the edge (mirrored, clamped).
__device__ __forceinline__ int64_t first_output(const AdjointParams& p, int64_t i) { return i <= 2 ? 0 : p.scale * (i - 2); }
__device__ __forceinline__ int64_t end_output(const AdjointParams& p, int64_t i) {
  return p.scale * (i >= p.in_size - 3 ? p.in_size : i + 3);
}

// What sample i counts in output o.
__device__ float weight_in(const ResampleAxis& axis, int64_t o, int64_t i) {
  const double u = source_coordinate(axis, o);
  const int64_t first = first_position(axis, u);
  double sum = 0.0, part = 0.0;
  for (int k = 0; k < 4; ++k) {
    const double value = position_value(axis, u, first + k);
    sum += value;
    if (resolve_edge(axis, first + k) == i) part += value;
  }
  return static_cast<float>(axis.bicubic == Bicubic::kTorch ? part : part / sum);
}

template <class T>
__global__ void __launch_bounds__(kThreads) bicubic_adjoint_kernel(const AdjointParams p, const ImageView<T> to) {
  SRCNN_DYNAMIC_SHARED(float, weights);  // [samples][kChunk]
  const ResampleAxis axis = make_resample_axis(p.bicubic, p.in_size, static_cast<double>(p.scale));
  const int64_t out_size = p.scale * p.in_size;
  // Neighbouring threads have neighbouring elements of memory.
  const int samples = p.along_rows ? 32 : 1, lines = kThreads / samples;
  const int sample = threadIdx.x % samples, line = threadIdx.x / samples;
  const int64_t step = p.along_rows ? 1 : p.row_width;  // from one output of a line to the next
  const int64_t tiles_i = (p.in_size + samples - 1) / samples;
  const int64_t tiles = tiles_i * ((p.lines + lines * kPasses - 1) / (lines * kPasses));

  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t i0 = tile % tiles_i * samples, i = i0 + sample, line0 = tile / tiles_i * lines * kPasses + line;
    float sum[kPasses] = {};
    for (int64_t chunk = 0; chunk < 5 * p.scale; chunk += kChunk) {
      __syncthreads();  // all have done with the chunk before
      for (int at = threadIdx.x; at < samples * kChunk; at += kThreads) {
        const int64_t of = i0 + at / kChunk, o = first_output(p, of) + chunk + at % kChunk;
        weights[at] = of < p.in_size && o < end_output(p, of) ? weight_in(axis, o, of) : 0.0f;
      }
      __syncthreads();
      if (i >= p.in_size) continue;
      const int64_t first = first_output(p, i) + chunk, end = min(first + kChunk, end_output(p, i));
#pragma unroll
      for (int pass = 0; pass < kPasses; ++pass) {
        const int64_t l = line0 + pass * lines;
        if (l >= p.lines) continue;
        const float* from = p.from + (p.along_rows ? l * out_size : l / p.row_width * out_size * p.row_width + l % p.row_width);
        for (int64_t o = first; o < end; ++o) {
          sum[pass] = fmaf(weights[sample * kChunk + static_cast<int>(o - first)], from[o * step], sum[pass]);
        }
      }
    }
    if (i >= p.in_size) continue;
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const int64_t l = line0 + pass * lines;
      if (l >= p.lines) continue;
      const int64_t per_plane = p.along_rows ? to.height : p.row_width, plane = l / per_plane, place = l % per_plane;
      T* out = to.plane(plane / to.channels, plane % to.channels);
      from_float(sum[pass], out[p.along_rows ? place * to.stride_h + i * to.stride_w : i * to.stride_h + place * to.stride_w]);
    }
  }
}

}  // namespace

template <class T>
void launch_bicubic_adjoint(const AdjointParams& params, const ImageView<T>& to, cudaStream_t stream) {
  const int samples = params.along_rows ? 32 : 1;
  const int64_t lines = static_cast<int64_t>(kThreads / samples) * kPasses;
  const int64_t tiles = (params.in_size + samples - 1) / samples * ((params.lines + lines - 1) / lines);
  const int blocks = static_cast<int>(tiles < 65536 ? tiles : 65536);
  SRCNN_LAUNCH(bicubic_adjoint_kernel<T>, blocks, kThreads, samples * kChunk * sizeof(float), stream, params, to);
  check(cudaGetLastError(), "bicubic_adjoint_kernel");
}

template void launch_bicubic_adjoint(const AdjointParams& params, const ImageView<float>& to, cudaStream_t stream);
template void launch_bicubic_adjoint(const AdjointParams& params, const ImageView<Half>& to, cudaStream_t stream);
template void launch_bicubic_adjoint(const AdjointParams& params, const ImageView<BFloat16>& to, cudaStream_t stream);

}  // namespace srcnn::cuda
