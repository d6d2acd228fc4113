// bicubic_resize in one kernel: both axes, all three conventions of bicubic.h, any scales, any strides in.
//
// A persistent block makes tile after tile of the output. The windows of a tile's rows span some source rows; those are
// resampled to the tile's columns ("inner", in shared memory), and weighted sums of them are the output:
//
//   source rows (global) -> inner [band][tile width] -> output tile
//
// Only enlarging and mild shrinking have room for all source rows and weights at once. Otherwise the source rows come in bands
// and the taps of the columns in chunks of the weight table, and the sums run on in shared memory. Long windows are shared by
// several threads, each with every lanes-th tap, so that a warp reads consecutive pixels.
//
// Weights are worked out in double, once per column of a strip of tiles and once per row of a tile: tiles are numbered planes
// first, then downwards, so that a block keeps its tables for many of them.
#include "kernels.h"
#include "launch.cuh"
#include "platform.cuh"
#include "resize.h"
#include "storage.cuh"

namespace srcnn::cuda {
namespace {

// ------------------------------------------------------------------------------------------------------ windows

// Positions first, ..., first + count - 1 make an output, the one at u with weights value / norm.
struct Window {
  int64_t first;
  int count;
};

__device__ __forceinline__ Window window_of(const ResizeAxis& axis, int64_t i) {
  if (axis.copied) return {i, 1};
  if (axis.folded) return {0, axis.taps};
  const int64_t first = first_position(axis.resample, source_coordinate(axis.resample, i));
  if (axis.resample.bicubic != Bicubic::kPil) return {first, axis.taps};
  const int64_t n = axis.resample.in_size;
  const int64_t begin = first < 0 ? 0 : (first < n ? first : n - 1);
  const int64_t end = first + axis.resample.taps < n ? first + axis.resample.taps : n;
  return {begin, end > begin ? static_cast<int>(end - begin) : 1};
}

// The kernel at a position, summed over the mirror images where they are folded onto it.
__device__ double value_at(const ResizeAxis& axis, double u, int64_t j) {
  const ResampleAxis& resample = axis.resample;
  if (!axis.folded) return position_value(resample, u, j);
  const int64_t first = first_position(resample, u), end = first + resample.taps, period = 2 * resample.in_size;
  double sum = 0.0;
  for (const int64_t image : {j, period - 1 - j}) {
    int64_t at = first + (image - first) % period;
    if (at < first) at += period;
    for (; at < end; at += period) sum += position_value(resample, u, at);
  }
  return sum;
}

__device__ __forceinline__ float weight_at(const ResizeAxis& axis, int64_t i, int64_t j, double norm) {
  return axis.copied ? 1.0f : static_cast<float>(value_at(axis, source_coordinate(axis.resample, i), j) / norm);
}

// The source sample of a position.
__device__ __forceinline__ int64_t sample_of(const ResizeAxis& axis, int64_t j) {
  return j >= 0 && j < axis.resample.in_size ? j : resolve_edge(axis.resample, j);
}

// Sum over `lanes` neighbouring threads, for all of them.
template <class Number>
__device__ __forceinline__ Number sum_over(Number value, int lanes) {
  if (lanes == 1) return value;
  const int first = (threadIdx.x & 31) & ~(lanes - 1);
  const unsigned mask = (lanes == 32 ? ~0u : (1u << lanes) - 1) << first;
  for (int step = lanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(mask, value, step);
  return value;
}

// Windows and norms of outputs begin, ..., begin + outputs - 1. All threads of the block.
__device__ void tabulate_windows(const ResizeAxis& axis, int64_t begin, int outputs, int lanes, int64_t* first, int* count,
                                 double* norm) {
  const int lane = threadIdx.x & (lanes - 1);
  for (int o = threadIdx.x / lanes; o < outputs; o += kResizeThreads / lanes) {
    const Window window = window_of(axis, begin + o);
    double sum = 1.0;  // what it is by construction, but for
    if (!axis.copied && axis.resample.bicubic != Bicubic::kTorch) {
      const double u = source_coordinate(axis.resample, begin + o);
      sum = 0.0;
      for (int k = lane; k < window.count; k += lanes) sum += value_at(axis, u, window.first + k);
      sum = sum_over(sum, lanes);
    }
    if (lane == 0) {
      first[o] = window.first;
      count[o] = window.count;
      norm[o] = sum;
    }
  }
}

// ------------------------------------------------------------------------------------------------------ one block

// Where a block's arrays are, and the tile it is making. Addresses are worked out anew: kept, they would cost registers.
template <class T>
struct Block {
  const ResizeParams<T>& p;
  unsigned char* shared;
  int64_t x0, y0;
  int width, height;  // of the tile; less than the configuration's at the edges

  template <class Number>
  __device__ Number* at(int offset) const {
    return reinterpret_cast<Number*>(shared + offset);
  }
  __device__ int64_t* column_first() const { return at<int64_t>(p.config.shared.column_first); }  // [tile width]
  __device__ double* column_norm() const { return at<double>(p.config.shared.column_norm); }
  __device__ int* column_count() const { return at<int>(p.config.shared.column_count); }
  __device__ float* column_weight() const { return at<float>(p.config.shared.column_weight); }  // [tile width][column_stride]
  __device__ int64_t* row_first() const { return at<int64_t>(p.config.shared.row_first); }      // [tile height]
  __device__ double* row_norm() const { return at<double>(p.config.shared.row_norm); }
  __device__ int* row_count() const { return at<int>(p.config.shared.row_count); }
  // The band's first position that a row takes, and the weights of those that it takes: [tile height][row_stride].
  __device__ int* row_begin() const { return at<int>(p.config.shared.row_begin); }
  __device__ float* row_weight() const { return at<float>(p.config.shared.row_weight); }
  __device__ float* inner() const { return at<float>(p.config.shared.inner); }  // [band][tile width]
  __device__ float* sums() const { return at<float>(p.config.shared.sums); }    // [tile height][tile width]
};

template <class T>
__device__ void mark_gaps(const Block<T>& b) {
  const ResizeShared& at = b.p.config.shared;
  const int ends[] = {at.column_norm, at.column_count, at.column_weight, at.row_first, at.row_norm, at.row_count,
                      at.row_begin,   at.row_weight,   at.inner,         at.sums,      at.size};
  for (const int end : ends) shared_red_zone(b.shared + end - kSharedGap, kSharedGap);
}

// Weights of taps [k0, k0 + chunk) of the tile's columns.
template <class T>
__device__ void tabulate_columns(const Block<T>& b, int k0) {
  const ResizeConfig& config = b.p.config;
  for (int i = threadIdx.x; i < b.width * config.chunk; i += kResizeThreads) {
    const int x = i / config.chunk, k = i - x * config.chunk;
    if (k0 + k >= b.column_count()[x]) continue;
    b.column_weight()[x * config.column_stride + k] =
        weight_at(b.p.columns, b.x0 + x, b.column_first()[x] + k0 + k, b.column_norm()[x]);
  }
}

// Which of the band's positions [p0, p0 + band) each row of the tile takes: row_begin and how many of them, and their weights.
template <class T>
__device__ void tabulate_rows(const Block<T>& b, int64_t p0) {
  const ResizeConfig& config = b.p.config;
  for (int i = threadIdx.x; i < b.height * config.row_stride; i += kResizeThreads) {
    const int y = i / config.row_stride, k = i - y * config.row_stride;
    const int64_t first = b.row_first()[y], begin = first > p0 ? first : p0;
    if (k == 0) b.row_begin()[y] = static_cast<int>(min(begin - p0, static_cast<int64_t>(config.band)));
    if (begin + k < min(first + b.row_count()[y], p0 + config.band)) {
      b.row_weight()[i] = weight_at(b.p.rows, b.y0 + y, begin + k, b.row_norm()[y]);
    }
  }
}

// Resamples `rows` source rows, from position p0 on, to the tile's columns; the part that taps [k0, k0 + chunk) make of it.
template <class T>
__device__ void resample_rows(const Block<T>& b, const T* plane, int64_t p0, int rows, int k0) {
  const ResizeConfig& config = b.p.config;
  const ResizeAxis& columns = b.p.columns;
  const int64_t stride = b.p.problem.input.stride_w, in_width = columns.resample.in_size;
  const int lanes = config.column_lanes, lane = threadIdx.x & (lanes - 1);
  for (int i = threadIdx.x / lanes; i < rows << config.width_bits; i += kResizeThreads / lanes) {
    const int x = i & (config.tile_width() - 1), r = i >> config.width_bits;
    if (x >= b.width) continue;
    const T* line = plane + sample_of(b.p.rows, p0 + r) * b.p.problem.input.stride_h;
    const float* weight = b.column_weight() + x * config.column_stride;
    const int64_t first = b.column_first()[x] + k0;
    const int count = min(b.column_count()[x] - k0, config.chunk);
    float sum = 0.0f;
    if (first >= 0 && first + count <= in_width) {
      const T* from = line + first * stride;
      if (count == 4) {  // enlarging: all four on their way at once
        float pixels[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) pixels[k] = to_float(from[k * stride]);
#pragma unroll
        for (int k = 0; k < 4; ++k) sum = fmaf(weight[k], pixels[k], sum);
        sum = lane == 0 ? sum : 0.0f;
      } else {
        for (int k = lane; k < count; k += lanes) sum = fmaf(weight[k], to_float(from[k * stride]), sum);
      }
    } else {
      for (int k = lane; k < count; k += lanes) {
        sum = fmaf(weight[k], to_float(line[sample_of(columns, first + k) * stride]), sum);
      }
    }
    sum = sum_over(sum, lanes);
    if (lane == 0) b.inner()[i] = k0 == 0 ? sum : b.inner()[i] + sum;
  }
}

// Adds what the band gives to the tile; the last band's sums are the output.
template <class T>
__device__ void add_rows(const Block<T>& b, T* plane, int64_t p0, int rows, bool is_first, bool is_last) {
  const ResizeConfig& config = b.p.config;
  for (int i = threadIdx.x; i < b.height << config.width_bits; i += kResizeThreads) {
    const int x = i & (config.tile_width() - 1), y = i >> config.width_bits;
    if (x >= b.width) continue;
    const int begin = b.row_begin()[y];
    const int end = static_cast<int>(min(b.row_first()[y] + b.row_count()[y] - p0, static_cast<int64_t>(rows)));
    const float* from = b.inner() + x + (begin << config.width_bits);
    const float* weight = b.row_weight() + y * config.row_stride;
    float sum = is_first ? 0.0f : b.sums()[i];
    for (int k = 0; k < end - begin; ++k) sum = fmaf(weight[k], from[k << config.width_bits], sum);
    if (is_last) {
      const ImageView<T>& output = b.p.problem.output;
      from_float(sum, plane[(b.y0 + y) * output.stride_h + (b.x0 + x) * output.stride_w]);
    } else {
      b.sums()[i] = sum;
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kResizeThreads, kResizeBlocks) bicubic_resize_kernel(const ResizeParams<T> params) {
  SRCNN_DYNAMIC_SHARED(unsigned char, shared);
  const ResizeConfig& config = params.config;
  const ImageView<const T>& input = params.problem.input;
  const ImageView<T>& output = params.problem.output;
  Block<T> block{params, shared, 0, 0, 0, 0};
  if (kSharedGap > 0 && threadIdx.x == 0) mark_gaps(block);
  const bool chunked = params.columns.taps > config.chunk;
  const int64_t planes = output.batch * output.channels;

  // Every block has a run of tiles, the runs differing by one at most.
  const int64_t share = config.tiles / gridDim.x, longer = config.tiles % gridDim.x;
  const int64_t begin = share * blockIdx.x + min(static_cast<int64_t>(blockIdx.x), longer);
  const int64_t end = begin + share + (blockIdx.x < longer ? 1 : 0);
  for (int64_t tile = begin; tile < end; ++tile) {
    const int64_t plane = tile % planes, tile_y = tile / planes % config.tiles_y, tile_x = tile / planes / config.tiles_y;
    const bool new_rows = tile == begin || plane == 0, new_columns = tile == begin || (plane == 0 && tile_y == 0);
    block.x0 = tile_x << config.width_bits;
    block.y0 = tile_y * config.tile_height;
    block.width = static_cast<int>(min(static_cast<int64_t>(config.tile_width()), output.width - block.x0));
    block.height = static_cast<int>(min(static_cast<int64_t>(config.tile_height), output.height - block.y0));
    const T* from = input.plane(plane / output.channels, plane % output.channels);
    T* to = output.plane(plane / output.channels, plane % output.channels);

    // Windows, which move downwards and to the right with the outputs.
    __syncthreads();  // all have done with the last tile
    if (new_columns) {
      tabulate_windows(params.columns, block.x0, block.width, config.column_lanes, block.column_first(), block.column_count(),
                       block.column_norm());
    }
    if (new_rows) {
      tabulate_windows(params.rows, block.y0, block.height, config.row_lanes, block.row_first(), block.row_count(),
                       block.row_norm());
    }
    __syncthreads();
    const int64_t low = block.row_first()[0];
    const int64_t high = block.row_first()[block.height - 1] + block.row_count()[block.height - 1];
    const bool banded = high - low > config.band;

    for (int64_t p0 = low; p0 < high; p0 += config.band) {
      const int rows = static_cast<int>(min(static_cast<int64_t>(config.band), high - p0));
      if (banded || new_rows) tabulate_rows(block, p0);
      for (int k0 = 0; k0 < params.columns.taps; k0 += config.chunk) {
        if (chunked || new_columns) {
          if (k0 > 0) __syncthreads();  // all have done with the last chunk
          tabulate_columns(block, k0);
          __syncthreads();
        }
        resample_rows(block, from, p0, rows, k0);
      }
      __syncthreads();
      add_rows(block, to, p0, rows, p0 == low, p0 + config.band >= high);
      if (banded) __syncthreads();  // before the next band's rows
    }
  }
}

}  // namespace

template <class T>
void bicubic_resize(const ResizeProblemOf<T>& problem, void* stream) {
  const ImageView<T>& output = problem.output;
  const ResizeAxis rows = make_resize_axis(problem.bicubic, problem.input.height, output.height, problem.scale_height);
  const ResizeAxis columns = make_resize_axis(problem.bicubic, problem.input.width, output.width, problem.scale_width);
  const ResizeConfig config = choose_resize_config(output.batch * output.channels, rows, columns, current_device_limits());
  const ResizeParams<T> params{problem, rows, columns, config};
  SRCNN_LAUNCH(bicubic_resize_kernel<T>, config.blocks, kResizeThreads, config.shared.size, static_cast<cudaStream_t>(stream),
               params);
  check(cudaGetLastError(), "bicubic_resize_kernel");
}

template void bicubic_resize(const ResizeProblemOf<float>& problem, void* stream);
template void bicubic_resize(const ResizeProblemOf<Half>& problem, void* stream);
template void bicubic_resize(const ResizeProblemOf<BFloat16>& problem, void* stream);

}  // namespace srcnn::cuda
