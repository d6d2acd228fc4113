// The fused backward in exact fp32 on any GPU: replays the forward and takes the gradient back, in one kernel.
//
// A persistent block takes strip after strip of the image and goes through each top to bottom, a group of rows of hidden2 at a
// time. Nothing but the input, the output's gradient and the weights was kept from the forward; all stages are in shared
// memory:
//
//   input rows (bicubic, or copied)       ring of rows + 8 + 2 * reach2         reach2 = f2 / 2
//   -> conv1 + ReLU = hidden1             ring of rows + 2 * reach2, 64 channels
//   -> conv2 + ReLU = hidden2             ring of rows + 2 * reach2, 32 channels
//   weight3 += hidden2 x grad_output
//   grad2 = back through conv3 and ReLU   in the place of hidden2
//   weight2 += grad2 x hidden1
//   grad1 = back through conv2 and ReLU   in the place of hidden1, reach2 rows further up: rows that are needed no more
//   weight1 += grad1 x input
//   grad_input += grad1 through conv1     sums of the rows that more rows of grad1 are part of
//
// Every position of hidden1, hidden2 and the output belongs to one strip and segment, which adds it to the weight gradients;
// halos are made again. Where the input's gradient is not wanted, 9-1-5 has none.
//
// Padding takes no room: rows outside the image are skipped (zeros) or are the edge row again (replicate). With replicate the
// gradient of a padded row or column goes to the edge that it repeats: the edge sums the taps of its copies, too.
//
// Weight gradients are added to the block's own sums in global memory; backward.cu adds up the blocks'.
#include "backward_input_sums.cuh"
#include "backward_launch.cuh"
#include "backward_weight_sums.cuh"
#include "networks.cuh"

namespace srcnn::cuda {
namespace {

// The rows of each stage in the step of a strip that makes rows of hidden2 from `first` on. Worked out where they are asked
// for: kept, they would cost registers.
template <int kKernel2>
struct Step {
  const BackwardBlock<kKernel2>& b;
  const Job& job;
  int first;

  static constexpr int kReach2 = kKernel2 / 2;

  // All that the strip makes of the gradients of hidden1 and hidden2, halos included.
  __device__ __forceinline__ Rows strip_grad1() const {
    const int halo = b.config().input_halo;
    return {max(0, job.y0 - halo), min(b.height(), job.y1 + halo)};
  }
  __device__ __forceinline__ Rows strip_grad2() const {
    const Rows strip = strip_grad1();
    return {max(0, strip.begin - kReach2), min(b.height(), strip.end + kReach2)};
  }
  __device__ __forceinline__ bool is_first() const { return first == strip_grad2().begin; }
  __device__ __forceinline__ bool is_last() const { return first + b.config().rows >= strip_grad2().end; }

  __device__ __forceinline__ Rows own() const { return {job.y0, job.y1}; }
  __device__ __forceinline__ Rows hidden2() const { return {first, min(strip_grad2().end, first + b.config().rows)}; }
  __device__ __forceinline__ Rows hidden1() const {
    return {is_first() ? max(0, first - kReach2) : min(b.height(), first + kReach2), min(b.height(), hidden2().end + kReach2)};
  }
  __device__ __forceinline__ Rows input() const {
    const Rows rows = hidden1();
    return {is_first() ? max(0, rows.begin - kReach1) : min(b.height(), rows.begin + kReach1),
            min(b.height(), rows.end + kReach1)};
  }
  // Rows of hidden1's gradient that hidden2's complete, and of the input's that those do.
  __device__ __forceinline__ Rows grad1() const {
    const Rows strip = strip_grad1();
    return {is_first() ? strip.begin : max(strip.begin, min(strip.end, first - kReach2)),
            is_last() ? strip.end : max(strip.begin, min(strip.end, hidden2().end - kReach2))};
  }
  __device__ __forceinline__ Rows grad_input() const {
    const Rows rows = grad1();
    return {is_first() ? job.y0 : max(job.y0, min(job.y1, rows.begin - kReach1)),
            is_last() ? job.y1 : max(job.y0, min(job.y1, rows.end - kReach1))};
  }
};

template <int kKernel2>
__device__ void go_through_strip(const BackwardBlock<kKernel2>& b, const Job& job, bool begin) {
  const BackwardParams& p = b.p;
  const BackwardShared& at = p.config.shared;
  const BackwardWanted& wanted = p.wanted;
  __syncthreads();                                                   // the strip before is done with tables and rings
  const ImageView<const float> image = typed<const float>(p.input);  // tables do not depend on its type
  const EnlargedInput<float> input{image,
                                   job.image,
                                   p.scale,
                                   p.bicubic,
                                   p.padding,
                                   b.height(),
                                   b.width(),
                                   {reinterpret_cast<int32_t*>(b.shared + at.column_index), b.shared + at.column_weight,
                                    reinterpret_cast<int32_t*>(b.shared + at.row_index), b.shared + at.row_weight}};
  if (p.scale > 1) input.tabulate_columns(job.x0 - p.config.halo0, p.config.strip_width + 2 * p.config.halo0);
  if (wanted.input) clear_grad_input(b);

  int tabulated = -kRowTable;
  Step<kKernel2> step{b, job, 0};
  for (step.first = step.strip_grad2().begin; step.first < step.strip_grad2().end; step.first += p.config.rows) {
    // ---- What the rows are made from
    __syncthreads();  // the step before is done with the rows that are overwritten
    load_input(b, input, job, step.input(), tabulated);
    load_grad_output(b, job, step.hidden2());
    __syncthreads();

    // ---- The forward, again
    if (wanted.hidden2()) {
      make_hidden1(b, job, step.hidden1());
      __syncthreads();
      make_hidden2(b, job, step.hidden2());
      __syncthreads();
    }

    // ---- conv3
    sum_weight3(b, job, step.first, own_of(b, job, step.hidden2()), begin);
    if (wanted.grad2()) {
      __syncthreads();  // hidden2 is overwritten
      make_grad2(b, job, step.hidden2());
      __syncthreads();

      // ---- conv2
      sum_weight2(b, own_of(b, job, step.hidden2()), begin);
    }
    if (wanted.grad1()) {
      __syncthreads();  // hidden1 is overwritten
      make_grad1(b, job, step.grad1());
      __syncthreads();

      // ---- conv1
      sum_weight1(b, own_of(b, job, step.grad1()), begin);
    }
    if (wanted.input) {
      give_grad_input(b, job, step.grad1(), step.own());
      __syncthreads();
      write_grad_input(b, job, step.grad_input());
    }
    begin = false;
  }
}

template <int kKernel2>
__global__ void __launch_bounds__(kBackwardThreads, kBackwardBlocks) srcnn_backward_fma_kernel(const BackwardParams p) {
  SRCNN_DYNAMIC_SHARED(float, shared);
  if constexpr (kSharedGap > 0) {
    const BackwardShared& at = p.config.shared;
    const auto own = [&](int offset) { return offset == at.passing ? 0 : offset; };
    mark_red_zones({own(at.weight1), own(at.weight2), own(at.transposed2), at.transposed3, at.bias, at.input, at.grad_output,
                    at.hidden1 - kQuad, at.hidden2 - kQuad, at.grad_input, at.passing, at.column_index, at.column_weight,
                    at.row_index, at.row_weight, at.size},
                   shared);
  }
  const BackwardBlock<kKernel2> block{p, shared};
  load_resident(block);
  bool begin = true;
  for_each_job(p.tiling, p.config.strip_width, block.height(), [&](const Job& job) {
    go_through_strip(block, job, begin);
    begin = false;
  });
}

template <int kKernel2>
void launch(const BackwardParams& params, cudaStream_t stream) {
  const auto kernel = srcnn_backward_fma_kernel<kKernel2>;
  const int shared_bytes = params.config.shared_bytes();
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes), "cudaFuncSetAttribute");
  SRCNN_LAUNCH(kernel, params.tiling.blocks, kBackwardThreads, shared_bytes, stream, params);
  check(cudaGetLastError(), "srcnn_backward_fma_kernel");
}

}  // namespace

void launch_srcnn_backward_fma(const BackwardParams& params, int kernel2, cudaStream_t stream) {
  with_kernel2(kernel2, [&](auto size) { launch<size>(params, stream); });
}

}  // namespace srcnn::cuda
