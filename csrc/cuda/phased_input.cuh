// Pixels of the enlarged image for the tensor-core forward, read straight from the low-resolution input: 4 x 4 weighted
// samples, or the pixel itself.
//
// For an integer scale the bicubic weights of position i depend on i mod scale alone, but at the edges of the image. So they
// are worked out, in double, once in a block's life, and no double stays in the loop over rows, where registers are short. The
// FMA kernel, which must take any scale, tabulates positions instead of phases (input_rows.cuh).
#pragma once

#include "../bicubic.h"
#include "forward_mma.h"
#include "storage.cuh"

namespace srcnn::cuda {

struct Samples {  // the 4 source samples of an output position
  int index[4];
  float weight[4];
};

__device__ __forceinline__ float as_bits(float a) { return a; }
template <class T>
__device__ __forceinline__ float as_bits(T a) {
  return __uint_as_float(a.bits);
}

struct PhaseTables {
  int* first;          // [scale]: first sample of output position `phase`, which may be negative
  float4* weight;      // [scale]
  int4* column_index;  // [columns]
  float4* column_weight;
};

template <class T>
struct PhasedInput {
  const ImageView<const T>& image;
  int64_t n;
  int scale;
  Bicubic bicubic;
  Padding padding;
  int height, width;  // enlarged
  PhaseTables tables;

  // Once in a block's life. All threads; a barrier is due.
  __device__ void tabulate_phases() const {
    constexpr int kFar = 8, kEndless = 1 << 20;  // where no edge is near
    ResampleAxis axis = make_resample_axis(bicubic, kEndless, static_cast<double>(scale));
    axis.taps = 4;  // as it is, but now the compiler knows
    for (int phase = threadIdx.x; phase < scale; phase += blockDim.x) {
      int32_t index[4];
      float weight[4];
      resample_window(axis, static_cast<int64_t>(kFar) * scale + phase, index, weight);
      tables.first[phase] = index[0] - kFar;
      tables.weight[phase] = make_float4(weight[0], weight[1], weight[2], weight[3]);
    }
  }

  // The samples of output position i of an axis of `size` source samples, 0 <= i < scale * size.
  __device__ __forceinline__ Samples window(int i, int size) const {
    const int cell = i / scale, phase = i - cell * scale, first = cell + tables.first[phase];
    const float4 w = tables.weight[phase];
    Samples result{{first, first + 1, first + 2, first + 3}, {w.x, w.y, w.z, w.w}};
    if (first < 0 || first + 3 >= size) at_the_edge(result, size);
    return result;
  }

  __device__ __forceinline__ void at_the_edge(Samples& window, int size) const {
    const ResampleAxis axis = make_resample_axis(bicubic, size, 1.0);
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int j = window.index[k];
      if (bicubic == Bicubic::kPil && (j < 0 || j >= size)) window.weight[k] = 0.0f;
      sum += window.weight[k];
      window.index[k] = static_cast<int>(resolve_edge(axis, j));
    }
    if (bicubic != Bicubic::kPil) return;
#pragma unroll
    for (int k = 0; k < 4; ++k) window.weight[k] /= sum;
  }

  // Columns first_column, ... of the enlarged image, those outside clamped. All threads, after a barrier; another one is due.
  __device__ void tabulate_columns(int first_column, int columns) const {
    for (int j = threadIdx.x; j < columns; j += blockDim.x) {
      const Samples w = window(min(max(first_column + j, 0), width - 1), static_cast<int>(image.width));
      tables.column_index[j] = make_int4(w.index[0], w.index[1], w.index[2], w.index[3]);
      tables.column_weight[j] = make_float4(w.weight[0], w.weight[1], w.weight[2], w.weight[3]);
    }
  }

  __device__ __forceinline__ Samples row_window(int r) const {
    return scale == 1 ? Samples{} : window(r, static_cast<int>(image.height));
  }

  // Channel c of the pixel in row r, whose window is `rows`, and column x, which is number j of the tabulated ones; columns
  // outside are the edge column. For a scale of 1 these are the bits as they lie in memory: nothing is done with them before
  // finished(), so that nobody waits for them.
  __device__ __forceinline__ float load(int c, int r, const Samples& rows, int x, int j) const {
    const T* plane = image.plane(n, c);
    if (scale == 1) return as_bits(plane[r * image.stride_h + min(max(x, 0), width - 1) * image.stride_w]);

    const int4 index = tables.column_index[j];
    const float4 weight = tables.column_weight[j];
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const T* row = plane + rows.index[k] * image.stride_h;
      float inner = weight.x * to_float(row[index.x * image.stride_w]);
      inner = fmaf(weight.y, to_float(row[index.y * image.stride_w]), inner);
      inner = fmaf(weight.z, to_float(row[index.z * image.stride_w]), inner);
      inner = fmaf(weight.w, to_float(row[index.w * image.stride_w]), inner);
      sum = fmaf(rows.weight[k], inner, sum);
    }
    return sum;
  }

  // What was loaded for column x, as Operand keeps it; outside the image what the padding says.
  template <class Operand>
  __device__ __forceinline__ typename Operand::Stored finished(float loaded, int x) const {
    if (padding == Padding::kZeros && (x < 0 || x >= width)) return Operand::stored(0.0f);
    if (scale > 1) return Operand::stored(loaded);
    if constexpr (Operand::kPerUnit == 2) {
      return T{static_cast<uint16_t>(__float_as_uint(loaded))};
    } else {
      return Operand::stored(loaded);
    }
  }
};

}  // namespace srcnn::cuda
