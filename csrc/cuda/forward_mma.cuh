// The fused forward on tensor cores: bicubic + conv1 + ReLU + conv2 + ReLU + conv3 in one kernel, sums in fp32, for sm_80 and
// later. A template over the network and the kind of operand (mma_operand.cuh); one .cu file instantiates each kind.
//
// A persistent block holds all weights in shared memory, as mma fragments, and makes strips of the output top to bottom, one
// row at a time; a warp has 32 or 64 pixels of the row. Per row there are two barriers:
//
//   conv1 of the next row of hidden1, into shared memory or straight on into conv2 (1x1);
//   the input row that will be needed next is under way from global memory meanwhile
//                                                                               -- barrier --
//   conv2: the row is given to the f2 rows of hidden2 it is part of, one of which is finished with it;
//   conv3: the taps of that one, into shared memory
//                                                                               -- barrier --
//   the taps are added to five output rows, one of which is finished (for RGB, this and conv3 once a channel)
#pragma once

#include "launch.cuh"

#include "mma_output.cuh"
#include "networks.cuh"
#include "wgmma_conv2.cuh"

namespace srcnn::cuda {
namespace {

template <class Net>
__device__ __forceinline__ PhasedInput<typename Net::Image> input_of(const MmaBlock<Net>& b, int64_t image) {
  const auto& problem = b.p.problem;
  const ForwardMmaShared& at = b.p.config.shared;
  return {problem.input,
          image,
          static_cast<int>(problem.scale),
          problem.bicubic,
          problem.padding,
          static_cast<int>(problem.output.height),
          static_cast<int>(problem.output.width),
          {b.template at<int>(at.phase_first), b.template at<float4>(at.phase_weight), b.template at<int4>(at.column_index),
           b.template at<float4>(at.column_weight)}};
}

template <class Net>
__device__ void make_strip(const MmaBlock<Net>& b, Weight2Stream& stream, const Job& job) {
  constexpr int kKernel2 = Net::kKernel2, kReach1 = kKernel1 / 2, kReach2 = kKernel2 / 2, kReach3 = kKernel3 / 2;
  const auto& problem = b.p.problem;
  const ForwardMmaShared& at = b.p.config.shared;
  const int height = static_cast<int>(problem.output.height);
  const bool replicate = problem.padding == Padding::kReplicate;
  const PhasedInput<typename Net::Image> input = input_of(b, job.image);
  const int input_column = job.x0 - Net::kHalo0, hidden1_column = job.x0 - Net::kHalo1, hidden2_column = job.x0 - Net::kHalo2;

  // Rows of hidden2 that are wanted, and the rows r of hidden1 that they are made of; those outside the image are worth
  // nothing, or as much as the edge row.
  const int first2 = max(0, job.y0 - kReach3), last2 = min(height - 1, job.y1 - 1 + kReach3);
  int r = first2 - kReach2;
  if (!replicate) r = max(r, 0);

  // ---- The strip's first rows of the input. Of the strip before, others may still be reading taps, but nothing written here.
  {
    if (problem.scale > 1) {
      input.tabulate_columns(input_column, ring_columns(b));
      __syncthreads();
    }
    const int row = max(r, 0), last = min(height - 1, row + kReach1);
    if constexpr (Net::kChannels > 1) {
#pragma unroll 1
      for (int y = max(0, row - kReach1); y <= last; ++y) copy_row(b, input, input_column, y);
    } else {
      constexpr int kBatch = 3;  // rows under way at a time
      LoadedRow<Net> rows[kBatch];
      for (int y = max(0, row - kReach1); y <= last; y += kBatch) {
#pragma unroll
        for (int k = 0; k < kBatch; ++k) {
          if (y + k <= last) load_row(b, input, input_column, y + k, rows[k]);
        }
#pragma unroll
        for (int k = 0; k < kBatch; ++k) {
          if (y + k <= last) store_row(b, input, input_column, y + k, rows[k]);
        }
      }
    }
    find_units(b, row);
  }
  __syncthreads();

  const float* bias2 = b.template at<float>(at.bias2);
  Sums<Net::kTiles, conv2_tiles(kKernel2)> hidden2;  // of rows r - kReach2 ... of hidden2
#pragma unroll
  for (int row = 0; row < kKernel2 - 1; ++row) start_sums(hidden2, row * kWidth2 / 8, kWidth2 / 8, bias2, b.t());
  OpenRows<Net> open_rows;
  open_rows.clear(b);
  int made = -1;  // row of hidden1 that was made last
  for (; r <= last2 + kReach2; ++r) {
    // ---- conv1, unless the row is there already
    const int row = min(max(r, 0), height - 1);
    const bool inside = replicate || row == r;
    if (inside && row != made) {
      made = row;
      const int wanted = row + 1 + kReach1;  // of the input, next
      LoadedRow<Net> next;
      if (Net::kLoadsAhead && wanted < height) load_row(b, input, input_column, wanted, next);
      Sums<Net::kTiles, kWidth1 / 8> hidden1;
      conv1(afresh(b), row, hidden1);
      if constexpr (kKernel2 == 1) {
        conv2_1x1(b, hidden1, hidden2);
      } else {
        store_hidden1(afresh(b), hidden1_column, hidden1);
        if constexpr (Net::kWgmma) ptx::fence_proxy_async();
      }
      if (wanted < height) {
        if constexpr (Net::kLoadsAhead) {
          store_row(b, input, input_column, wanted, next);
        } else {
          copy_row(b, input, input_column, wanted);
        }
      }
      if (row + 1 < height) find_units(afresh(b), row + 1);
    }
    __syncthreads();

    // ---- conv2
    const int finished = r - kReach2;  // row of hidden2
    const bool wanted = finished >= first2 && finished <= last2;
    if constexpr (kKernel2 > 1) {
      start_sums(hidden2, conv2_tiles(kKernel2) - kWidth2 / 8, kWidth2 / 8, bias2, b.t());
      if (inside) {
        if (pad_hidden1(b, hidden1_column)) {
          if constexpr (Net::kWgmma) ptx::fence_proxy_async();
          __syncthreads();
        }
        if constexpr (Net::kWgmma) {
          conv2_give_wgmma(afresh(b), stream, hidden2);
        } else {
          conv2_give(afresh(b), stream, hidden2);
        }
      }
    }

    // ---- conv3 and the output rows
    if (wanted) {
      // The rows outside the image that this one stands for come with it.
      const int from = max(finished == 0 ? -kReach3 : finished, job.y0 - kReach3);
      const int to = min(finished == height - 1 ? height - 1 + kReach3 : finished, job.y1 - 1 + kReach3);
#pragma unroll 1
      for (int c = 0; c < Net::kChannels; ++c) {
        if (c > 0) __syncthreads();  // the taps before have been added
        conv3_taps(afresh(b), c, hidden2_column, hidden2);
        __syncthreads();
        for (int v = from; v <= to; ++v) add_output(afresh(b), job, c, v, replicate || v == finished, open_rows);
      }
    } else {
      __syncthreads();
    }
    if constexpr (kKernel2 > 1) next_sums<Net>(hidden2);
  }
}

template <class Net>
__global__ void __launch_bounds__(Net::kMaxThreads, 256 / Net::kMaxThreads)
    srcnn_forward_mma_kernel(const ForwardMmaParams<typename Net::Image> p) {
  SRCNN_DYNAMIC_SHARED(unsigned char, shared);
  const MmaBlock<Net> block{p, shared, static_cast<int>(threadIdx.x) % 32, static_cast<int>(threadIdx.x) / 32};
  if constexpr (kSharedGap > 0) {
    const ForwardMmaShared& at = p.config.shared;
    mark_red_zones({at.weight2, at.weight3, at.bias1, at.bias2, at.input, at.units, at.hidden1, at.taps, at.open_rows,
                    at.phase_first, at.phase_weight, at.column_index, at.column_weight, at.size},
                   shared);
  }
  clear_row_of_zeros(block);
  if (p.problem.scale > 1) input_of(block, 0).tabulate_phases();
  load_weights(block);
  Weight2Stream stream;
  if (p.config.stream_weight2) start_weights2(block, stream);
  for_each_job(p.tiling, p.config.strip_width, static_cast<int>(p.problem.output.height),
               [&](const Job& job) { make_strip(block, stream, job); });
  ptx::cp_async_wait_all();  // the weights that were sent for last are not needed any more
}

template <class Net>
void launch(const ForwardMmaParams<typename Net::Image>& params, cudaStream_t stream) {
  const auto kernel = srcnn_forward_mma_kernel<Net>;
  const int shared_bytes = params.config.shared.size;
  if (params.config.workspace_bytes() > 0) {
    SRCNN_LAUNCH(srcnn_pack_weights2_kernel<Net>, 64, 256, 0, stream, params.problem.conv2.weight,
                 static_cast<typename Net::Stored*>(params.workspace));
    check(cudaGetLastError(), "srcnn_pack_weights2_kernel");
  }
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes), "cudaFuncSetAttribute");
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, 100), "cudaFuncSetAttribute");
  SRCNN_LAUNCH(kernel, params.tiling.blocks, params.config.threads(), shared_bytes, stream, params);
  check(cudaGetLastError(), "srcnn_forward_mma_kernel");
}

template <class Operand>
void launch_network(const ForwardMmaParams<typename Operand::Image>& params, cudaStream_t stream) {
  with_network(params.problem.conv2.kernel_size, params.problem.input.channels,
               [&](auto kernel2, auto channels) { launch<MmaNetwork<kernel2, channels, Operand>>(params, stream); });
}

template <class Operand>
void launch_network_wgmma(const ForwardMmaParams<typename Operand::Image>& params, cudaStream_t stream) {
  with_network(params.problem.conv2.kernel_size, params.problem.input.channels, [&](auto kernel2, auto channels) {
    // choose_forward has it for no other.
    if constexpr (kernel2 > 1) launch<MmaNetwork<kernel2, channels, Operand, true>>(params, stream);
  });
}

}  // namespace
}  // namespace srcnn::cuda
