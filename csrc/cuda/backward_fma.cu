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

namespace srcnn::cuda {
namespace {

template <int kKernel2>
__device__ void go_through_strip(const BackwardBlock<kKernel2>& b, const Job& job, bool begin) {
  constexpr int kReach2 = kKernel2 / 2;
  const BackwardParams& p = b.p;
  const BackwardConfig& config = p.config;
  const BackwardShared& at = config.shared;
  const BackwardWanted& wanted = p.wanted;
  const int height = b.height(), halo0 = config.halo0;
  const Rows own{job.y0, job.y1};
  const int own_columns = min(config.strip_width, b.width() - job.x0);
  __syncthreads();                                                   // the strip before is done with tables and rings
  const ImageView<const float> image = typed<const float>(p.input);  // tables do not depend on its type
  const EnlargedInput<float> input{image,
                                   job.image,
                                   p.scale,
                                   p.bicubic,
                                   p.padding,
                                   height,
                                   b.width(),
                                   {reinterpret_cast<int32_t*>(b.shared + at.column_index), b.shared + at.column_weight,
                                    reinterpret_cast<int32_t*>(b.shared + at.row_index), b.shared + at.row_weight}};
  if (p.scale > 1) input.tabulate_columns(job.x0 - halo0, config.strip_width + 2 * halo0);
  if (wanted.input) clear_grad_input(b);

  // Rows of both gradients that are wanted, halos included, and which are next.
  const Rows all1{max(0, job.y0 - config.input_halo), min(height, job.y1 + config.input_halo)};
  const Rows all2{max(0, all1.begin - kReach2), min(height, all1.end + kReach2)};
  int next1 = max(0, all2.begin - kReach2), next0 = max(0, next1 - kReach1), next_grad1 = all1.begin, written = job.y0;
  int tabulated = -kRowTable;
  for (int first = all2.begin; first < all2.end; first += config.rows) {
    const Rows rows{first, min(all2.end, first + config.rows)};  // of hidden2
    const Rows rows1{next1, min(height, rows.end + kReach2)};
    const Rows rows0{next0, min(height, rows1.end + kReach1)};
    next1 = rows1.end;
    next0 = rows0.end;

    // ---- What the group is made from
    __syncthreads();  // the group before is done with the rows that are overwritten
    load_input(b, input, job, rows0, tabulated);
    load_grad_output(b, job, rows);
    __syncthreads();

    // ---- The forward, again
    if (wanted.hidden2()) {
      make_hidden1(b, job, rows1);
      __syncthreads();
      make_hidden2(b, job, rows);
      __syncthreads();
    }

    // ---- conv3
    sum_weight3(b, job, first, {rows.within(own), own_columns}, begin);
    if (!wanted.grad2()) {
      begin = false;
      continue;
    }
    __syncthreads();  // hidden2 is overwritten
    make_grad2(b, job, rows);
    __syncthreads();

    // ---- conv2
    sum_weight2(b, {rows.within(own), own_columns}, begin);
    if (wanted.grad1()) {
      __syncthreads();  // hidden1 is overwritten
      const Rows grad1{next_grad1, rows.end == all2.end ? all1.end : max(next_grad1, min(all1.end, rows.end - kReach2))};
      next_grad1 = grad1.end;
      make_grad1(b, job, grad1);
      __syncthreads();

      // ---- conv1
      sum_weight1(b, {grad1.within(own), own_columns}, begin);
      if (wanted.input) {
        give_grad_input(b, job, grad1, own);
        __syncthreads();
        const Rows complete{written, grad1.end == all1.end ? job.y1 : max(written, min(job.y1, grad1.end - kReach1))};
        written = complete.end;
        write_grad_input(b, job, complete);
      }
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
  switch (kernel2) {
    case 1:
      return launch<1>(params, stream);
    case 3:
      return launch<3>(params, stream);
    default:
      return launch<5>(params, stream);
  }
}

}  // namespace srcnn::cuda
