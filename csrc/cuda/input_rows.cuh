// Pixels of the enlarged image, read straight from the low-resolution input: 4 x 4 weighted samples, or the pixel itself. The
// weights are tabulated in shared memory, since they are worked out in double: a strip's columns once, rows 16 at a time.
#pragma once

#include "../bicubic.h"
#include "storage.cuh"

namespace srcnn::cuda {

struct BicubicTables {
  int32_t* column_index;  // [columns][4]
  float* column_weight;
  int32_t* row_index;  // [kRowTable][4]
  float* row_weight;
};

// What a strip reads: one image of the batch.
template <class T>
struct EnlargedInput {
  const ImageView<const T>& image;
  int64_t n;
  int64_t scale;
  Bicubic bicubic;
  Padding padding;
  int height, width;  // enlarged
  BicubicTables tables;

  // Columns first_column, ... of the enlarged image, those outside clamped. All threads of the block.
  __device__ void tabulate_columns(int first_column, int columns) const {
    const ResampleAxis axis = make_resample_axis(bicubic, image.width, static_cast<double>(scale));
    for (int j = threadIdx.x; j < columns; j += blockDim.x) {
      const int x = min(max(first_column + j, 0), width - 1);
      resample_window(axis, x, tables.column_index + 4 * j, tables.column_weight + 4 * j);
    }
  }

  __device__ void tabulate_rows(int first_row) const {
    const ResampleAxis axis = make_resample_axis(bicubic, image.height, static_cast<double>(scale));
    for (int k = threadIdx.x; k < kRowTable; k += blockDim.x) {
      if (first_row + k < height) resample_window(axis, first_row + k, tables.row_index + 4 * k, tables.row_weight + 4 * k);
    }
  }

  // Makes sure that row r is tabulated, which `tabulated` (first row of the table) tells. All threads of the block.
  __device__ void require_row(int r, int& tabulated) const {
    if (scale == 1 || (r >= tabulated && r < tabulated + kRowTable)) return;
    __syncthreads();  // all have done with the old table
    tabulated = r;
    tabulate_rows(r);
    __syncthreads();
  }

  // Channel c of the pixel in row r and column x, which is number j of the tabulated ones; what the padding says outside.
  __device__ float pixel(int c, int r, int x, int j, int tabulated) const {
    if (padding == Padding::kZeros && (x < 0 || x >= width)) return 0.0f;
    const T* plane = image.plane(n, c);
    if (scale == 1) return to_float(plane[r * image.stride_h + min(max(x, 0), width - 1) * image.stride_w]);
    const int32_t* row_index = tables.row_index + 4 * (r - tabulated);
    const float* row_weight = tables.row_weight + 4 * (r - tabulated);
    const int32_t* column_index = tables.column_index + 4 * j;
    const float* column_weight = tables.column_weight + 4 * j;
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const T* source = plane + row_index[k] * image.stride_h;
      float inner = 0.0f;
#pragma unroll
      for (int l = 0; l < 4; ++l) inner = fmaf(column_weight[l], to_float(source[column_index[l] * image.stride_w]), inner);
      sum = fmaf(row_weight[k], inner, sum);
    }
    return sum;
  }
};

}  // namespace srcnn::cuda
