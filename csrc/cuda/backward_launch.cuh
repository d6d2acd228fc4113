// The launchers that backward.cu strings together.
#pragma once

#include "backward_fma.h"
#include "backward_mma.h"
#include "launch.cuh"

namespace srcnn::cuda {

// Adds the gradients of weights and biases up in each block's part of the workspace, and writes that of the (enlarged) input.
void launch_srcnn_backward_fma(const BackwardParams& params, int kernel2, cudaStream_t stream);
// The same on tensor cores, sm_80 and later; they pack their weights, too.
void launch_srcnn_backward_mma_f16(const BackwardMmaParams<Half>& params, cudaStream_t stream);
void launch_srcnn_backward_mma_bf16(const BackwardMmaParams<BFloat16>& params, cudaStream_t stream);

// One axis of the transpose of bicubic enlargement by a whole number: [lines] of out_size floats -> of in_size T.
struct AdjointParams {
  const float* from;
  int64_t lines, in_size;
  int64_t scale;
  Bicubic bicubic;
  bool along_rows;    // the axis is a row of the image, with neighbouring elements; else a column, whose lines are neighbours
  int64_t row_width;  // along columns: lines per plane
};

template <class T>
void launch_bicubic_adjoint(const AdjointParams& params, const ImageView<T>& to, cudaStream_t stream);

}  // namespace srcnn::cuda
