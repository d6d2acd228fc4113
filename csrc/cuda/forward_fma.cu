// The fused forward in exact fp32 on any GPU: bicubic + conv1 + ReLU + conv2 + ReLU + conv3 in one kernel.
//
// A persistent block takes strip after strip of the output and makes each top to bottom, a group of `rows` rows at a time, in
// shared memory:
//
//   input rows (bicubic, or copied)   ring of rows + 8: row r is in slot r mod slots, channel after channel
//   -> conv1 + ReLU                   ring of rows + f2 - 1, 64 channels
//   -> conv2 + ReLU                   this group's rows, 32 channels
//   -> conv3, given to the output     sums of the output rows that more rows of hidden2 are part of
//   rows which it is part of
//
// Column j of a stage is image column x0 - halo + j. Per stage a group is `columns * rows` positions = 128 or fewer; a thread
// has 4 neighbouring positions and an eighth of the channels, so that a warp of a full block shares its weights (one broadcast)
// and reads its inputs as consecutive float4s (no bank conflicts).
//
// Rows of the first two stages above and below the image are never stored: a tap there is skipped (zeros) or reads the edge row
// again (replicate).
#include "fma_layers.cuh"
#include "launch.cuh"
#include "networks.cuh"

namespace srcnn::cuda {
namespace {

// Weights that fit, and biases, stay for the block's whole life.
template <int kKernel2, int kChannels, class T>
__device__ void load_resident_weights(const FmaBlock<T>& b) {
  const auto& problem = b.p.problem;
  const ForwardConfig& config = b.p.config;
  constexpr int kUnits1 = kChannels * kKernel1;
  if (config.weight1_rows == kUnits1) {
    load_weights(problem.conv1.weight, kWidth1, kUnits1, kKernel1, 0, kUnits1, b.shared + config.shared.weight1);
  }
  if (config.weight2_channels == kWidth1) {
    load_weights(problem.conv2.weight, kWidth2, kWidth1, kKernel2 * kKernel2, 0, kWidth1, b.shared + config.shared.weight2);
  }
  float* bias = b.shared + config.shared.bias;
  for (int i = threadIdx.x; i < kWidth1; i += blockDim.x) bias[i] = to_float(problem.conv1.bias[i]);
  for (int i = threadIdx.x; i < kWidth2; i += blockDim.x) bias[kWidth1 + i] = to_float(problem.conv2.bias[i]);
  for (int i = threadIdx.x; i < kChannels; i += blockDim.x) bias[kWidth1 + kWidth2 + i] = to_float(problem.conv3.bias[i]);
  load_weights3<kChannels>(problem.conv3.weight, b.shared + config.shared.weight3);
}

template <int kKernel2, int kChannels, class T>
__device__ void make_strip(const FmaBlock<T>& b, const Job& job) {
  constexpr int kHalo2 = kKernel3 / 2, kHalo1 = kHalo2 + kKernel2 / 2, kHalo0 = kHalo1 + kKernel1 / 2;
  const auto& problem = b.p.problem;
  const ForwardConfig& config = b.p.config;
  const ForwardShared& at = config.shared;
  const int height = b.height();
  __syncthreads();  // the strip before is done with the tables and rings
  const EnlargedInput<T> input{problem.input,
                               job.image,
                               problem.scale,
                               problem.bicubic,
                               problem.padding,
                               height,
                               b.width(),
                               {reinterpret_cast<int32_t*>(b.shared + at.column_index), b.shared + at.column_weight,
                                reinterpret_cast<int32_t*>(b.shared + at.row_index), b.shared + at.row_weight}};
  if (problem.scale > 1) input.tabulate_columns(job.x0 - kHalo0, input_stride(config.columns));

  int next0 = max(0, job.y0 - kHalo0), next1 = max(0, job.y0 - kHalo1);  // row of each stage to be made next
  int tabulated = -kRowTable;
  for (int first = job.y0 - kHalo2; first < job.y1 + kHalo2; first += config.rows) {
    const int last = min(job.y1 - 1 + kHalo2, first + config.rows - 1);  // of hidden2
    // ---- Rows of hidden1, and of the input, that these are made of
    for (const int need1 = min(height - 1, max(0, last) + kKernel2 / 2); next1 <= need1;) {
      const int last1 = min(need1, next1 + config.rows - 1);
      const int last0 = min(height - 1, last1 + kKernel1 / 2);
      __syncthreads();  // conv1 has done with the rows that are overwritten
      make_input<kChannels>(b, input, job, kHalo0, next0, last0, tabulated);
      next0 = max(next0, last0 + 1);
      __syncthreads();
      make_hidden1<kKernel2, kChannels>(b, job, kHalo1, next1, last1);
      next1 = last1 + 1;
    }
    __syncthreads();

    // ---- hidden2, unless all of these rows are zero
    if (b.replicate() || (last >= 0 && first < height)) make_hidden2<kKernel2>(b, job, kHalo2, first, last);
    __syncthreads();

    // ---- The output rows that these are part of
    give_output<kChannels>(b, job, first, last);
  }
}

template <int kKernel2, int kChannels, class T>
__global__ void __launch_bounds__(256, 2) srcnn_forward_fma_kernel(const ForwardParams<T> p) {
  SRCNN_DYNAMIC_SHARED(float, shared);
  const ForwardConfig& config = p.config;
  if constexpr (kSharedGap > 0) {
    const ForwardShared& at = config.shared;
    mark_red_zones({at.weight2 == at.partial ? 0 : at.weight2, at.weight3, at.bias, at.input, at.hidden1, at.hidden2,
                    at.partial, at.open_rows, at.column_index, at.column_weight, at.row_index, at.row_weight, at.size},
                   shared);
  }
  const int quads = config.columns / kQuad;
  const int place = threadIdx.x % (quads * config.rows);
  const FmaBlock<T> block{p, shared, static_cast<int>(threadIdx.x) / (quads * config.rows), place / quads,
                          place % quads * kQuad};
  load_resident_weights<kKernel2, kChannels>(block);
  for_each_job(p.tiling, config.strip_width, block.height(),
               [&](const Job& job) { make_strip<kKernel2, kChannels>(block, job); });
}

template <int kKernel2, int kChannels, class T>
void launch(const ForwardParams<T>& params, cudaStream_t stream) {
  const auto kernel = srcnn_forward_fma_kernel<kKernel2, kChannels, T>;
  const int shared_bytes = params.config.shared_bytes();
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes), "cudaFuncSetAttribute");
  SRCNN_LAUNCH(kernel, params.tiling.blocks, params.config.threads(), shared_bytes, stream, params);
  check(cudaGetLastError(), "srcnn_forward_fma_kernel");
}

}  // namespace

template <class T>
void launch_srcnn_forward_fma(const ForwardParams<T>& params, cudaStream_t stream) {
  with_network(params.problem.conv2.kernel_size, params.problem.input.channels,
               [&](auto kernel2, auto channels) { launch<kernel2, channels>(params, stream); });
}

template void launch_srcnn_forward_fma(const ForwardParams<float>& params, cudaStream_t stream);
template void launch_srcnn_forward_fma(const ForwardParams<Half>& params, cudaStream_t stream);
template void launch_srcnn_forward_fma(const ForwardParams<BFloat16>& params, cudaStream_t stream);

}  // namespace srcnn::cuda
