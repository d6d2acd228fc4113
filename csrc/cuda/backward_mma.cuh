// The fused backward on tensor cores, for 16-bit images and weights on sm_80 and later: replays the forward and takes the
// gradient back, in one kernel. A template over the network and the type; one .cu file instantiates each type.
//
// It goes about as backward_fma.cu does: a persistent block takes strip after strip and goes through each top to bottom, `rows`
// rows of hidden2 at a time, and every position belongs to one strip and segment, which adds it to the weights' gradients. But
// every product is an mma, of numbers of 16 bits, with sums in float. Features and their gradients are rounded to 16 bits, as
// PyTorch's own are in 16 bits or under autocast; what is too large becomes infinite, and is never lost.
//
//   input rows, with their padding            (bicubic or copied); rows of grad_output
//   -> conv1 + ReLU = hidden1                 positions x taps x 64
//   -> conv2 + ReLU = hidden2                 positions x 64 channels a tap x 32
//      patches: conv3's taps of grad_output   no product: CUDA cores gather them
//   weight3 += patches x hidden2              taps x positions x 32
//   grad2 = back through conv3 and ReLU       patches x 32, in the place of hidden2
//   weight2 += grad2 x hidden1                for each tap 32 x positions x 64
//   grad1 = back through conv2 and ReLU       positions x 32 channels a tap x 64, in the place of hidden1
//   weight1 += grad1 x input                  64 x positions x taps
//   grad_input += grad1 through conv1         positions x 64 channels x taps, then added up
//
// A position's channels are neighbours in memory. So ldmatrix gives A of a product whose k are channels, ldmatrix.trans A or B
// of one whose k are positions, and another tap is another address.
//
// Padding lies in memory (backward_mma_block.cuh), but for the way back through replicate padding: an edge position sums the
// taps of its copies, too; patches do it for conv3.
#pragma once

#include "backward_launch.cuh"
#include "backward_mma_input_sums.cuh"
#include "backward_mma_weight_sums.cuh"
#include "networks.cuh"

namespace srcnn::cuda {
namespace {

// ------------------------------------------------------------------------------------------------------ pack

inline constexpr int kPackThreads = 256;

// A number of a matrix of B fragments: step, k in it (0 .. 15), column, from its place among them.
struct FragmentPlace {
  int step, k, column;

  __device__ __forceinline__ FragmentPlace(int element, int tiles) {
    const int part = element % 2, word = element / 2, lane = word / 4 % 32, pair = word / 128;
    step = pair / (tiles / 2);
    column = (pair % (tiles / 2) * 2 + word % 4 / 2) * 8 + lane / 4;
    k = (word % 2 * 4 + lane % 4) * 2 + part;
  }
};

template <class T>
__device__ T packed_weight(const BackwardMmaParams<T>& p, int i) {
  const BackwardMmaWeights& at = p.weights_at;
  const int c = static_cast<int>(p.problem.input.channels), taps2 = p.problem.conv2.kernel_size * p.problem.conv2.kernel_size;
  const T *weight1 = p.problem.conv1.weight, *weight2 = p.problem.conv2.weight, *weight3 = p.problem.conv3.weight;
  if (i < 2 * at.weight2) {  // units of a row: taps 0 and 1, 2 and 3, ..., nothing and 8; see load_weights1 of the forward
    const FragmentPlace place(i, kWidth1 / 8);
    const int unit = place.step * kStepUnits + place.k / 2, row = unit / row_units(2), in_row = unit % row_units(2);
    const int kx = in_row < row_units(2) - 1 ? place.k % 2 + 2 * in_row : kKernel1 - 1;
    const bool nothing = unit >= conv1_units(c, 2) || (in_row == row_units(2) - 1 && place.k % 2 == 0);
    return nothing ? T{0} : weight1[(place.column * c * kKernel1 + row) * kKernel1 + kx];
  }
  if (i < 2 * at.back1) {
    const FragmentPlace place(i - 2 * at.weight2, kWidth2 / 8);
    constexpr int kSteps = kWidth1 / kStepDepth;
    const int tap = place.step / kSteps, channel = place.step % kSteps * kStepDepth + place.k;
    return weight2[(place.column * kWidth1 + channel) * taps2 + tap];
  }
  if (i < 2 * at.back2) {
    const FragmentPlace place(i - 2 * at.back1, kGivenTiles);
    constexpr int kSteps = kWidth1 / kStepDepth;
    const int channel = place.step / kSteps, from = place.step % kSteps * kStepDepth + place.k;
    return place.column < kTaps1 ? weight1[(from * c + channel) * kTaps1 + place.column] : T{0};
  }
  if (i < 2 * at.back3) {
    const FragmentPlace place(i - 2 * at.back2, kWidth1 / 8);
    constexpr int kSteps = kWidth2 / kStepDepth;
    const int tap = place.step / kSteps, from = place.step % kSteps * kStepDepth + place.k;
    return weight2[(from * kWidth1 + place.column) * taps2 + tap];
  }
  const FragmentPlace place(i - 2 * at.back3, kWidth2 / 8);
  constexpr int kTaps3 = kKernel3 * kKernel3;
  const int all = place.step * kStepDepth + place.k, channel = all / kPatchTaps, tap = all % kPatchTaps;
  return tap < kTaps3 ? weight3[(channel * kWidth2 + place.column) * kTaps3 + tap] : T{0};
}

template <class T>
__global__ void __launch_bounds__(kPackThreads) srcnn_backward_mma_pack_kernel(const BackwardMmaParams<T> p) {
  const int i = static_cast<int>(blockIdx.x) * kPackThreads + static_cast<int>(threadIdx.x);
  const int bias = p.weights_at.bias;
  if (i < 2 * bias) static_cast<T*>(p.weights)[i] = packed_weight(p, i);
  if (i < kWidth1) static_cast<float*>(p.weights)[bias + i] = to_float(p.problem.conv1.bias[i]);
  if (i < kWidth2) static_cast<float*>(p.weights)[bias + kWidth1 + i] = to_float(p.problem.conv2.bias[i]);
}

// ------------------------------------------------------------------------------------------------------ the fused kernel

// The strip's next step; its first one where the number of its job is given. One thread.
template <class Net>
__device__ void next_step(const BackwardMmaBlock<Net>& b, const int64_t* job_index) {
  constexpr int kReach2 = Net::kReach2;
  const int rows = b.p.config.rows, halo = b.p.config.input_halo;
  MmaStep& step = b.step();
  step.begins = job_index != nullptr;
  if (job_index != nullptr) {
    const int64_t tiles = static_cast<int64_t>(b.p.tiling.strips) * b.p.tiling.segments;
    step.job_index = *job_index;
    step.job = job_at(b.p.tiling, tiles, b.p.config.strip_width, b.height(), *job_index);
  }
  // Rows of hidden1's gradient that the strip makes. What a step makes of rows outside the image are zeros or copies.
  const int y0 = step.job.y0, y1 = step.job.y1;
  const Rows strip{max(0, y0 - halo), min(b.height(), y1 + halo)};
  const int first = job_index != nullptr ? strip.begin - kReach2 : step.first + rows, top = first - kReach2;
  step.first = first;
  step.ends = first + rows >= strip.end + kReach2;
  step.grad1 = {max(0, strip.begin - top), min(rows, strip.end - top)};
  step.own1 = {max(0, y0 - top), min(rows, y1 - top)};
  step.own2 = {max(0, y0 - first), min(rows, y1 - first)};
}

template <class Net>
__device__ void go_through_strip(const BackwardMmaBlock<Net>& b, int64_t job_index) {
  constexpr int kReach2 = Net::kReach2, kKept = 2 * kReach2;  // rows of hidden1 and of hidden2's gradient
  const BackwardWanted& wanted = b.p.wanted;
  const MmaStep& step = b.step();
  if (threadIdx.x == 0) next_step(b, &job_index);
  if (wanted.input) clear_grad_input(b);
  if (b.p.problem.scale > 1) {
    __syncthreads();
    input_of(b, step.job.image).tabulate_columns(step.job.x0 - b.p.config.halo0, b.columns0());
  }
  while (true) {
    // ---- What the rows are made from
    __syncthreads();
    const int rows = b.p.config.rows;
    if (!step.begins) {
      move_rows<Net>(b.input(), b.input_pitch() * 2, rows, kKept + 2 * kReach1);
      if constexpr (kReach2 > 0) {
        move_rows<Net>(b.hidden1(), b.columns1() * kPixel1 * 2, rows, kKept);
        move_rows<Net>(b.hidden2(), b.columns2() * kPixel2 * 2, rows, kKept);
      }
      __syncthreads();
    } else if constexpr (kReach2 > 0) {
      clear<Net>(reinterpret_cast<uint4*>(b.hidden2()), kKept * b.columns2() * kPixel2 / 8);
    }
    load_input(afresh(b));
    load_grad_output(afresh(b));
    __syncthreads();

    // ---- The forward, again
    if (wanted.hidden2()) {
      make_hidden1(afresh(b));
      make_patches(afresh(b));
      __syncthreads();
      if (pad_hidden1(afresh(b))) __syncthreads();
      make_hidden2(afresh(b));
      __syncthreads();
    }

    // ---- conv3
    if (step.own2.count() > 0) {
      if (wanted.weight3) sum_weight3(afresh(b));
      if (wanted.bias3) sum_bias3(afresh(b));
    }
    if (wanted.grad2()) {
      __syncthreads();  // hidden2 is overwritten
      make_grad2(afresh(b));
      __syncthreads();

      // ---- conv2
      if (step.own2.count() > 0) {
        if (wanted.weight2 || wanted.bias2) sum_weight2(afresh(b));
      }
    }
    if (wanted.grad1()) {
      __syncthreads();  // hidden1 is overwritten
      make_grad1(afresh(b));
      __syncthreads();

      // ---- conv1
      if (step.own1.count() > 0) {
        if (wanted.weight1 || wanted.bias1) sum_weight1(afresh(b));
      }
    }
    if (wanted.input) {
      give_grad_input(b);
      write_grad_input(afresh(b));
    }
    if (step.ends) return;
    __syncthreads();  // all have done with the step and its rows
    if (threadIdx.x == 0) next_step(b, nullptr);
  }
}

template <class Net>
__global__ void __launch_bounds__(Net::kThreads, backward_mma_blocks(Net::kKernel2))
    srcnn_backward_mma_kernel(const BackwardMmaParams<typename Net::T> p) {
  SRCNN_DYNAMIC_SHARED(unsigned char, shared);
  const BackwardMmaBlock<Net> block{p, shared, static_cast<int>(threadIdx.x) % 32, static_cast<int>(threadIdx.x) / 32};
  const BackwardMmaShared& at = p.config.shared;
  if constexpr (kSharedGap > 0) {
    mark_red_zones(
        {at.bias, at.units, at.taps, at.zeros, at.input, at.grad_output, at.hidden1, at.hidden2, at.patches, at.grad_input,
         at.sum1, at.sum2, at.sum3, at.phase_first, at.phase_weight, at.column_index, at.column_weight, at.size},
        shared);
  }
  prepare_block(block);
  if (p.problem.scale > 1) input_of(block, 0).tabulate_phases();
  for (int64_t index = blockIdx.x; index < p.tiling.jobs; index = block.step().job_index + gridDim.x) {
    __syncthreads();  // the strip before is done with its tables, and the tables of the block are there
    go_through_strip(block, index);
  }
  __syncthreads();
  const auto write = [&](int sums, int partials, int count) {
    if (sums < 0) return;
    auto* to = reinterpret_cast<float4*>(block.partials() + partials);
    for (int i = opaque(threadIdx.x); i < count / 4; i += Net::kThreads) to[i] = block.template at<float4>(sums)[i];
  };
  write(at.sum1, p.partials_at.weight1, sum1_floats(block.channels()));
  write(at.sum2, p.partials_at.weight2, sum2_splits(Net::kKernel2) * sum2_floats(Net::kKernel2));
  write(at.sum3, p.partials_at.weight3, kSum3Splits * sum3_floats(block.channels()));
}

template <int kKernel2, class T>
void launch(const BackwardMmaParams<T>& params, cudaStream_t stream) {
  using Net = BackwardMmaNetwork<kKernel2, T>;
  const auto kernel = srcnn_backward_mma_kernel<Net>;
  const int shared_bytes = params.config.shared.size;
  const int pack_blocks = (2 * params.weights_at.bias + kPackThreads - 1) / kPackThreads;
  SRCNN_LAUNCH(srcnn_backward_mma_pack_kernel<T>, pack_blocks, kPackThreads, 0, stream, params);
  check(cudaGetLastError(), "srcnn_backward_mma_pack_kernel");
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes), "cudaFuncSetAttribute");
  SRCNN_LAUNCH(kernel, params.tiling.blocks, Net::kThreads, shared_bytes, stream, params);
  check(cudaGetLastError(), "srcnn_backward_mma_kernel");
}

template <class T>
void launch_network(const BackwardMmaParams<T>& params, cudaStream_t stream) {
  with_kernel2(params.problem.conv2.kernel_size, [&](auto kernel2) { launch<kernel2>(params, stream); });
}

}  // namespace
}  // namespace srcnn::cuda
