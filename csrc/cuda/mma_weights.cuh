// The weights as fragments of mma's B in shared memory: for each step of k and two tiles of 8 columns, what each lane needs of
// them as one 16-byte load. Each weight is read once, in the order of global memory, and written where it belongs.
//
// They stay for a block's whole life. conv2's of 3x3 and 5x5, which are many, are packed by a kernel of their own into global
// memory, for all blocks to copy; where they do not fit into shared memory they pass through a ring of buffers there, a step
// at a time.

#pragma once

#include "mma_block.cuh"
#include "wgmma.cuh"

namespace srcnn::cuda {

// Element `part` of unit `unit` (0 .. 7) of step `step`, column `column` of `tiles` x 8: its place among the fragments, in
// elements. Lane (g, t) holds units t and t + 4 of column g (PTX ISA, matrix fragments of mma.m16n8k16 and m16n8k8).
template <int kPerUnit>
__device__ __forceinline__ int fragment_element(int step, int tiles, int unit, int part, int column) {
  const int tile = column / 8, lane = column % 8 * 4 + unit % 4;
  const int word = ((step * (tiles / 2) + tile / 2) * 32 + lane) * 4 + tile % 2 * 2 + unit / 4;
  return word * kPerUnit + part;
}

// The same for conv2's weights, which wgmma wants in another order: [step][half of the units][column].
template <class Net>
__device__ __forceinline__ int weight2_element(int step, int unit, int part, int column) {
  constexpr int kTiles = conv2_tiles(Net::kKernel2);
  if constexpr (Net::kWgmma) {
    return (((step * 2 + unit / 4) * (8 * kTiles) + column) * 4 + unit % 4) * Net::kPerUnit + part;
  } else {
    return fragment_element<Net::kPerUnit>(step, kTiles, unit, part, column);
  }
}

// store(i, weight[i]) for all i < count, shared out among threads. Many loads are under way before the first store, behind
// which the compiler would not move them: one at a time, each would wait for global memory.
template <class T, class Store>
__device__ __forceinline__ void for_each_weight(const T* weight, int count, int thread, int threads, const Store& store) {
  constexpr int kBatch = 16;
  for (int first = thread; first < count; first += kBatch * threads) {
    T batch[kBatch];
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      if (first + k * threads < count) batch[k] = weight[first + k * threads];
    }
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      if (first + k * threads < count) store(first + k * threads, to_float(batch[k]));
    }
  }
}

template <class Net>
__device__ void clear_fragments(const MmaBlock<Net>& b, int offset, int fragments) {
  uint4* to = b.template at<uint4>(offset);
  for (int i = threadIdx.x; i < fragments * (kFragmentBytes / 16); i += blockDim.x) to[i] = make_uint4(0, 0, 0, 0);
}

// conv1 [64][c][9][9]: unit k of a row is taps 2k and 2k + 1 (16 bits) or k (32). The ninth tap is the second half of a unit of
// taps 7 and 8, so that what the first half multiplies by zero is a pixel the tap row reads anyway, and no NaN beyond it.
template <class Net>
__device__ void load_weights1(const MmaBlock<Net>& b) {
  using Operand = typename Net::Operand;
  constexpr int kRows = Net::kChannels * kKernel1, kRowUnits = row_units(Net::kPerUnit);
  const auto* weight = b.p.problem.conv1.weight;
  auto* to = b.template at<typename Net::Stored>(b.p.config.shared.weight1);
  for_each_weight(weight, kWidth1 * kRows * kKernel1, threadIdx.x, blockDim.x, [=](int i, float value) {
    const int column = i / (kRows * kKernel1), row = i / kKernel1 % kRows, kx = i % kKernel1;
    const int in_row = kx / Net::kPerUnit, part = kx == kKernel1 - 1 ? Net::kPerUnit - 1 : kx % Net::kPerUnit;
    const int unit = row * kRowUnits + in_row;
    to[fragment_element<Net::kPerUnit>(unit / kStepUnits, kWidth1 / 8, unit % kStepUnits, part, column)] =
        Operand::stored(value);
  });
}

// conv2 [32][64][f2][f2]. 1x1: the channels in the order in which conv1's sums hold them. Otherwise step (q, kx) is channels
// 8 q ... of all pixels shifted by kx, and row ky of the kernel makes columns 32 (f2 - 1 - ky) ...: the sums of the image rows
// that are furthest along come first.
template <class Net>
__device__ void pack_weights2(const typename Net::Image* weight, typename Net::Stored* to, int thread, int threads) {
  using Operand = typename Net::Operand;
  constexpr int kKernel2 = Net::kKernel2, kTaps = kKernel2 * kKernel2, kStepChannels = kStepUnits * Net::kPerUnit;
  for_each_weight(weight, kWidth2 * kWidth1 * kTaps, thread, threads, [=](int i, float value) {
    const int output = i / (kWidth1 * kTaps), channel = i / kTaps % kWidth1, ky = i / kKernel2 % kKernel2, kx = i % kKernel2;
    const int q = channel / kStepChannels, in_step = channel % kStepChannels;
    const int unit = kKernel2 == 1 ? Operand::chained_unit(in_step) : in_step / Net::kPerUnit;
    const int part = kKernel2 == 1 ? Operand::chained_part(in_step) : in_step % Net::kPerUnit;
    const int column = (kKernel2 - 1 - ky) * kWidth2 + output;
    to[weight2_element<Net>(q * kKernel2 + kx, unit, part, column)] = Operand::stored(value);
  });
}

// conv3 [c][32][5][5]: column 32 c + 6 kx + ky is what a hidden pixel gives to channel c of the pixel that has it as tap (ky,
// kx).
template <class Net>
__device__ void load_weights3(const MmaBlock<Net>& b) {
  using Operand = typename Net::Operand;
  constexpr int kTaps = kKernel3 * kKernel3, kStepChannels = kStepUnits * Net::kPerUnit;
  const auto* weight = b.p.problem.conv3.weight;
  auto* to = b.template at<typename Net::Stored>(b.p.config.shared.weight3);
  for_each_weight(weight, Net::kChannels * kWidth2 * kTaps, threadIdx.x, blockDim.x, [=](int i, float value) {
    const int c = i / (kWidth2 * kTaps), channel = i / kTaps % kWidth2, ky = i / kKernel3 % kKernel3, kx = i % kKernel3;
    const int column = c * (8 * kTapTiles) + kx * (2 * kColumnPairs) + ky, in_step = channel % kStepChannels;
    to[fragment_element<Net::kPerUnit>(channel / kStepChannels, Net::kChannels * kTapTiles, Operand::chained_unit(in_step),
                                       Operand::chained_part(in_step), column)] = Operand::stored(value);
  });
}

// All weights and biases. Ends with a barrier.
template <class Net>
__device__ void load_weights(const MmaBlock<Net>& b) {
  const ForwardMmaShared& at = b.p.config.shared;
  // Units and columns beyond the last are multiplied too, by nothing.
  clear_fragments(b, at.weight1, Net::kConv1Steps * kWidth1 / 16);
  clear_fragments(b, at.weight3, Net::kConv3Steps * Net::kChannels * kTapTiles / 2);
  __syncthreads();
  load_weights1(b);
  if constexpr (Net::kKernel2 == 1) {
    pack_weights2<Net>(b.p.problem.conv2.weight, b.template at<typename Net::Stored>(at.weight2), threadIdx.x, blockDim.x);
  } else if (!b.p.config.stream_weight2) {
    const uint4* from = static_cast<const uint4*>(b.p.workspace);
    uint4* to = b.template at<uint4>(at.weight2);
    for (int i = threadIdx.x; i < b.p.config.weight2_bytes / 16; i += blockDim.x) ptx::cp_async<16>(to + i, from + i);
  }

  load_weights3(b);
  for (int i = threadIdx.x; i < kWidth1; i += blockDim.x) {
    b.template at<float>(at.bias1)[i] = to_float(b.p.problem.conv1.bias[i]);
  }
  for (int i = threadIdx.x; i < kWidth2; i += blockDim.x) {
    b.template at<float>(at.bias2)[i] = to_float(b.p.problem.conv2.bias[i]);
  }
  ptx::cp_async_wait_all();
  if constexpr (Net::kWgmma) ptx::fence_proxy_async();
  __syncthreads();
}

// ------------------------------------------------------------------------------------------------------ streaming

template <class Net>
__global__ void srcnn_pack_weights2_kernel(const typename Net::Image* weight, typename Net::Stored* to) {
  pack_weights2<Net>(weight, to, blockIdx.x * blockDim.x + threadIdx.x, gridDim.x * blockDim.x);
}

// The steps of conv2's weights come round and round: the next to be multiplied.
struct Weight2Stream {
  int step = 0, buffer = 0;
};

template <class Net>
inline constexpr int kWeight2Steps = Net::kConv2Steps * Net::kKernel2;
template <class Net>
inline constexpr int kWeight2Words = conv2_tiles(Net::kKernel2) / 2 * 32;  // of 16 bytes, a step

// Steps that are on their way while one is multiplied; wgmma is given the next one before it has done with the one before.
template <class Net>
inline constexpr int kWeight2Ahead = Net::kWgmma ? kWeight2Buffers - 2 : kWeight2Buffers - 1;

// Sends for the step that comes `ahead` steps after the next one. All threads; its buffer must be free.
template <class Net>
__device__ __forceinline__ void request_weights2(const MmaBlock<Net>& b, const Weight2Stream& stream, int ahead) {
  const int step = (stream.step + ahead) % kWeight2Steps<Net>, buffer = (stream.buffer + ahead) % kWeight2Buffers;
  const uint4* from = static_cast<const uint4*>(b.p.workspace) + step * kWeight2Words<Net>;
  uint4* to = b.template at<uint4>(b.p.config.shared.weight2) + buffer * kWeight2Words<Net>;
  for (int i = opaque(threadIdx.x); i < kWeight2Words<Net>; i += blockDim.x) ptx::cp_async<16>(to + i, from + i);
  ptx::cp_async_commit();
}

template <class Net>
__device__ __forceinline__ void start_weights2(const MmaBlock<Net>& b, const Weight2Stream& stream) {
  for (int ahead = 0; ahead < kWeight2Ahead<Net>; ++ahead) request_weights2(b, stream, ahead);
}

// The buffer of the next step. All threads: contains a barrier, after which the step before (wgmma: the one before that) has
// been multiplied, and its buffer takes one that is to come.
template <class Net>
__device__ __forceinline__ int next_weights2(const MmaBlock<Net>& b, Weight2Stream& stream) {
  ptx::cp_async_wait<kWeight2Ahead<Net> - 1>();
  if constexpr (Net::kWgmma) ptx::fence_proxy_async();
  __syncthreads();
  request_weights2(b, stream, kWeight2Ahead<Net>);
  const int arrived = stream.buffer;
  stream = {(stream.step + 1) % kWeight2Steps<Net>, (stream.buffer + 1) % kWeight2Buffers};
  return arrived;
}

}  // namespace srcnn::cuda
