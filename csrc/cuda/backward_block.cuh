// What a block of the plain-FMA backward knows: where its arrays are, how their columns and rows are addressed, and the loads
// into them. backward_fma.cu says what it does.
#pragma once

#include "backward_fma.h"
#include "backward_views.cuh"
#include "fma_layers.cuh"

namespace srcnn::cuda {
namespace {

// A stage's rows in shared memory: row r is in slot r mod slots, channel after channel, columns from x0 - halo on.
struct Ring {
  float* data;
  int slots, pitch, stride, halo;

  __device__ __forceinline__ float* slot(int s) const { return data + s * pitch + halo; }  // column x0 of channel 0
  __device__ __forceinline__ float* row(int r) const { return slot(r % slots); }
};

template <int kKernel2>
struct BackwardBlock {
  static constexpr int kReach2 = kKernel2 / 2;

  const BackwardParams& p;
  float* shared;

  __device__ __forceinline__ const BackwardConfig& config() const { return p.config; }
  __device__ __forceinline__ int channels() const { return static_cast<int>(p.input.channels); }
  __device__ __forceinline__ int height() const { return static_cast<int>(p.grad_output.height); }
  __device__ __forceinline__ int width() const { return static_cast<int>(p.grad_output.width); }
  __device__ __forceinline__ bool replicate() const { return p.padding == Padding::kReplicate; }
  __device__ __forceinline__ float* partials() const {
    return p.partials + static_cast<int64_t>(blockIdx.x) * p.partials_at.size;
  }

  __device__ __forceinline__ Ring input() const {
    const int stride = plane_stride(config().strip_width + 2 * config().halo0);
    return {shared + config().shared.input, backward_input_slots(config().rows, kKernel2), channels() * stride, stride,
            config().halo0};
  }
  // Row r is in slot r - (first row of hidden2) + 2.
  __device__ __forceinline__ Ring grad_output() const {
    const int stride = plane_stride(config().strip_width + 2 * config().halo3);
    return {shared + config().shared.grad_output, config().rows + 2 * kReach3, channels() * stride, stride, config().halo3};
  }
  // hidden1, then, where a row is needed no more, its gradient; hidden2 likewise.
  __device__ __forceinline__ Ring hidden1() const {
    const int columns = config().strip_width + 2 * config().halo1;
    return {shared + config().shared.hidden1, hidden_slots(config().rows, kKernel2), row_pitch(kWidth1, columns),
            plane_stride(columns), config().halo1};
  }
  __device__ __forceinline__ Ring hidden2() const {
    const int columns = config().strip_width + 2 * config().halo2;
    return {shared + config().shared.hidden2, hidden_slots(config().rows, kKernel2), row_pitch(kWidth2, columns),
            plane_stride(columns), config().halo2};
  }
  // Sums of the rows of the input's gradient that more rows of hidden1's are part of; zero where there are none yet.
  __device__ __forceinline__ Ring grad_input() const {
    const int stride = config().strip_width;
    return {shared + config().shared.grad_input, grad_input_slots(config().rows, kKernel2), channels() * stride, stride, 0};
  }

  // The rows outside the image that row t is repeated in, and itself: what the gradient of the padded rows sums up to in t.
  __device__ __forceinline__ Rows copies_of(int t, int reach) const {
    return {replicate() && t == 0 ? -reach : t, replicate() && t == height() - 1 ? t + reach + 1 : t + 1};
  }
};

// ------------------------------------------------------------------------------------------------------ loads

// Units [first, first + count) of packed weights; returns where they are. All threads of the block. Where all of them stay in
// shared memory (count is all), load_resident has put them there.
__device__ __forceinline__ void copy_floats(const float* from, int floats, float* to) {
  for (int i = threadIdx.x * 4; i < floats; i += kBackwardThreads * 4) *reinterpret_cast<float4*>(to + i) = load4(from + i);
}

// Calls use(first unit, units, their weights) for all units, in chunks that pass through shared memory where they do not stay.
template <class Use>
__device__ __forceinline__ void for_each_chunk(const float* packed, float* shared, int units, int chunk, int unit_floats,
                                               const Use& use) {
  for (int first = 0; first < units; first += chunk) {
    if (chunk < units) {
      __syncthreads();  // all have done with the chunk before
      copy_floats(packed + first * unit_floats, chunk * unit_floats, shared);
      __syncthreads();
    }
    use(first, chunk, shared);
  }
}

template <int kKernel2>
__device__ void load_resident(const BackwardBlock<kKernel2>& b) {
  const BackwardShared& at = b.config().shared;
  const BackwardChunks& chunks = b.config().chunks;
  const float* packed = b.p.weights;
  constexpr int kTaps2 = kKernel2 * kKernel2;
  const int units1 = kKernel1 * b.channels();
  if (chunks.weight1 == units1) {
    copy_floats(packed + b.p.weights_at.weight1, units1 * kKernel1 * kWidth1, b.shared + at.weight1);
  }
  if (chunks.weight2 == kWidth1) {
    copy_floats(packed + b.p.weights_at.weight2, kTaps2 * kWidth1 * kWidth2, b.shared + at.weight2);
  }
  if (chunks.transposed2 == kWidth2) {
    copy_floats(packed + b.p.weights_at.transposed2, kTaps2 * kWidth1 * kWidth2, b.shared + at.transposed2);
  }
  copy_floats(packed + b.p.weights_at.transposed3, b.channels() * kTaps3 * kWidth2, b.shared + at.transposed3);
  copy_floats(packed + b.p.weights_at.bias, kWidth1 + kWidth2, b.shared + at.bias);
}

// Rows of the enlarged image into the ring, sides padded. `tabulated`: first row of the table of bicubic weights.
template <int kKernel2>
__device__ void load_input(const BackwardBlock<kKernel2>& b, const EnlargedInput<float>& tables, const Job& job, Rows rows,
                           int& tabulated) {
  const Ring ring = b.input();
  const int columns = b.config().strip_width + 2 * ring.halo;
  for (int r = rows.begin; r < rows.end; ++r) {
    tables.require_row(r, tabulated);
    with_element(b.p.element, [&]<class T>(T) {
      const ImageView<const T> image = typed<const T>(b.p.input);
      const EnlargedInput<T> input{image,          tables.n,      tables.scale, tables.bicubic,
                                   tables.padding, tables.height, tables.width, tables.tables};
      for (int i = threadIdx.x; i < b.channels() * columns; i += kBackwardThreads) {
        const int c = i / columns, j = i - c * columns;
        ring.row(r)[c * ring.stride + j - ring.halo] = input.pixel(c, r, job.x0 - ring.halo + j, j, tabulated);
      }
    });
  }
}

// Rows [first - 2, end + 2) of the gradient of the output; zero outside the image.
template <int kKernel2>
__device__ void load_grad_output(const BackwardBlock<kKernel2>& b, const Job& job, Rows made) {
  const Ring ring = b.grad_output();
  const int columns = b.config().strip_width + 2 * ring.halo;
  const int rows = made.count() + 2 * kReach3;
  with_element(b.p.element, [&]<class T>(T) {
    const ImageView<const T> grad = typed<const T>(b.p.grad_output);
    for (int i = threadIdx.x; i < rows * b.channels() * columns; i += kBackwardThreads) {
      const int line = i / columns, j = i - line * columns, slot = line / b.channels(), c = line - slot * b.channels();
      const int y = made.begin - kReach3 + slot, x = job.x0 - ring.halo + j;
      const bool inside = y >= 0 && y < b.height() && x >= 0 && x < b.width();
      ring.slot(slot)[c * ring.stride + j - ring.halo] =
          inside ? to_float(grad.plane(job.image, c)[y * grad.stride_h + x * grad.stride_w]) : 0.0f;
    }
  });
}

}  // namespace
}  // namespace srcnn::cuda
