// The input ring of the tensor-core forward: the rows of the enlarged image that conv1 reads, [slot][channel][copy][column],
// and one slot more that holds a row of zeros. And where in it the taps of a conv1 row are.
//
// A row is on its way in registers while the products of the row before are made: load_row issues its loads, store_row
// puts it into the ring.
#pragma once

#include "mma_block.cuh"

namespace srcnn::cuda {

// This thread's share of a row.
template <class Net>
struct LoadedRow {
  static constexpr int kCount = Net::kPixelsPerThread + 1;  // of threads * kPixelsPerThread + 8 columns
  float value[Net::kChannels][kCount];
};

// Addresses are worked out afresh for each row (see `afresh`); but TF32 9-1-5 of three channels spills if they are, on sm_120.
template <class Net>
__device__ __forceinline__ int column_thread() {
  constexpr bool kKept = Net::kKernel2 == 1 && Net::kPerUnit == 1 && Net::Operand::kProducts == 1;
  return kKept ? static_cast<int>(threadIdx.x) : opaque(threadIdx.x);
}

template <class Net>
__device__ __forceinline__ int ring_columns(const MmaBlock<Net>& b) {
  return b.p.config.columns + kKernel1 - 1;
}

template <class Net>
__device__ __forceinline__ void load_channel(const MmaBlock<Net>& b, const PhasedInput<typename Net::Image>& input,
                                             int first_column, int row, const Samples& rows, int c,
                                             float (&value)[LoadedRow<Net>::kCount]) {
#pragma unroll
  for (int k = 0; k < LoadedRow<Net>::kCount; ++k) {
    const int j = column_thread<Net>() + k * blockDim.x;
    if (j < ring_columns(b)) value[k] = input.load(c, row, rows, first_column + j, j);
  }
}

template <class Net>
__device__ __forceinline__ void store_channel(const MmaBlock<Net>& b, const PhasedInput<typename Net::Image>& input,
                                              int first_column, int row, int c, const float (&value)[LoadedRow<Net>::kCount]) {
  using Operand = typename Net::Operand;
  const int stride = mma_input_stride(b.p.config.columns);
  auto* ring = b.template at<typename Net::Stored>(b.p.config.shared.input) +
               (row % kInputSlots * Net::kChannels + c) * Operand::kCopies * stride;
#pragma unroll
  for (int k = 0; k < LoadedRow<Net>::kCount; ++k) {
    const int j = column_thread<Net>() + k * blockDim.x;
    if (j >= ring_columns(b)) continue;
    const auto stored = input.template finished<Operand>(value[k], first_column + j);
    ring[j] = stored;
    if (Operand::kCopies == 2 && j > 0) ring[j + stride - 1] = stored;
  }
}

template <class Net>
__device__ __forceinline__ void load_row(const MmaBlock<Net>& b, const PhasedInput<typename Net::Image>& input,
                                         int first_column, int row, LoadedRow<Net>& loaded) {
  const Samples rows = input.row_window(row);
#pragma unroll
  for (int c = 0; c < Net::kChannels; ++c) load_channel(b, input, first_column, row, rows, c, loaded.value[c]);
}

template <class Net>
__device__ __forceinline__ void store_row(const MmaBlock<Net>& b, const PhasedInput<typename Net::Image>& input,
                                          int first_column, int row, const LoadedRow<Net>& loaded) {
#pragma unroll
  for (int c = 0; c < Net::kChannels; ++c) store_channel(b, input, first_column, row, c, loaded.value[c]);
}

// Both at once, where registers are short: a channel at a time.
template <class Net>
__device__ __forceinline__ void copy_row(const MmaBlock<Net>& b, const PhasedInput<typename Net::Image>& input,
                                         int first_column, int row) {
  const Samples rows = input.row_window(row);
#pragma unroll 1
  for (int c = 0; c < Net::kChannels; ++c) {
    float value[LoadedRow<Net>::kCount];
    load_channel(b, input, first_column, row, rows, c, value);
    store_channel(b, input, first_column, row, c, value);
  }
}

template <class Net>
__device__ void clear_row_of_zeros(const MmaBlock<Net>& b) {
  const int row = Net::kChannels * Net::Operand::kCopies * mma_input_stride(b.p.config.columns);
  auto* ring = b.template at<typename Net::Stored>(b.p.config.shared.input) + kInputSlots * row;
  for (int i = threadIdx.x; i < row; i += blockDim.x) ring[i] = Net::Operand::stored(0.0f);
}

// Where the units of conv1's taps for row r begin in the ring, in elements from the pixel: rows outside the image are the row
// of zeros, or the edge row again. One table for pixels of even columns and one for odd ones, which find their 4-byte aligned
// copy of a unit in different places; two sets of tables take turns from row to row.
template <class Net>
__device__ int* unit_table(const MmaBlock<Net>& b, int r) {
  return b.template at<int>(b.p.config.shared.units) + r % 2 * (Net::Operand::kCopies * Net::kConv1Steps * kStepUnits);
}

template <class Net>
__device__ void find_units(const MmaBlock<Net>& b, int r) {
  constexpr int kCopies = Net::Operand::kCopies, kRowUnits = row_units(Net::kPerUnit), kUnits = Net::kConv1Steps * kStepUnits;
  const int stride = mma_input_stride(b.p.config.columns), height = static_cast<int>(b.p.problem.output.height);
  int* table = unit_table(b, r);
  for (int i = opaque(threadIdx.x); i < kCopies * kUnits; i += blockDim.x) {
    const int parity = i / kUnits;
    // Beyond the last unit weights are zero; any pixels that the row reads will do.
    const int unit = i % kUnits < conv1_units(Net::kChannels, Net::kPerUnit) ? i % kUnits : 0;
    const int c = unit / (kKernel1 * kRowUnits), ky = unit / kRowUnits % kKernel1;
    const int kx = min(unit % kRowUnits * Net::kPerUnit, kKernel1 - Net::kPerUnit);
    const int shift = (parity + kx) % kCopies ? stride - 1 : 0;  // into the copy that is shifted by one
    int row = r - kKernel1 / 2 + ky;
    const bool outside = row < 0 || row >= height;
    row = min(max(row, 0), height - 1);
    const int slot = outside && b.p.problem.padding == Padding::kZeros ? kInputSlots : row % kInputSlots;
    table[i] = (slot * Net::kChannels + c) * kCopies * stride + kx + shift;
  }
}

}  // namespace srcnn::cuda
