// The three convolutions of the tensor-core forward, for one warp and one image row. Each is a matrix product, pixels x k times
// k x channels.
//
//   conv1   k runs over the units of the 81 taps a channel.
//   conv2   1x1: the sums of conv1, cut and rounded, already are the A operand (as in fused attention): nothing leaves the
//           registers. 3x3, 5x5: a row of hidden1 passes through shared memory and is given out at once to all the rows of
//           hidden2 that it is part of: f2 x 32 columns of one product whose sums stay in registers from row to row. So one
//           load of A serves f2 times as many products as it would if each row of hidden2 gathered its f2 rows, one row of
//           hidden1 has to be kept instead of f2, and shared memory keeps up with the tensor cores.
//   conv3   with one output channel would waste 7 of 8 columns of mma. Instead each hidden pixel makes the 25 products that it
//           gives to its 25 neighbours (32 -> 25, A again straight from conv2's sums); see mma_output.cuh for what becomes of
//           them.
#pragma once

#include "mma_input.cuh"
#include "mma_weights.cuh"

namespace srcnn::cuda {

// conv1 of the warp's pixels in row r.
template <class Net>
__device__ __forceinline__ void conv1(const MmaBlock<Net>& b, int r, Sums<Net::kTiles, kWidth1 / 8>& sum) {
  using Operand = typename Net::Operand;
  const ForwardMmaShared& at = b.p.config.shared;
  // The warp's first pixel is in an even column, and so are those of its tiles: g alone decides.
  const auto* input = b.template at<typename Net::Stored>(at.input) + b.first_pixel() + b.g();
  const int* unit = unit_table(b, r) + b.g() % Operand::kCopies * (Net::kConv1Steps * kStepUnits) + b.t();
  const uint4* weight = b.template at<uint4>(at.weight1);
  start_sums(sum, 0, kWidth1 / 8, b.template at<float>(at.bias1), b.t());
  [[maybe_unused]] constexpr int kUnroll =
      Net::kPerUnit == 2 && Net::kKernel2 < 5 ? 2 : 1;  // two steps at a time, where registers allow it
#pragma unroll kUnroll
  for (int step = 0; step < Net::kConv1Steps; ++step) {
    const auto* low = input + unit[step * kStepUnits];
    const auto* high = input + unit[step * kStepUnits + 4];
    typename Operand::A a[Net::kTiles];
#pragma unroll
    for (int m = 0; m < Net::kTiles; ++m) {
      const auto word = [m](const auto* from, int pixel) {
        return *reinterpret_cast<const uint32_t*>(from + Net::kTileStride * m + pixel);
      };
      a[m] = Operand::loaded_a({word(low, 0), word(low, 8), word(high, 0), word(high, 8)});
    }
    multiply<Operand>(sum, a, weight + step * (kWidth1 / 16) * 32, b.lane);
  }
}

// ------------------------------------------------------------------------------------------------------ conv2

template <class Net>
__device__ __forceinline__ void conv2_1x1(const MmaBlock<Net>& b, const Sums<Net::kTiles, kWidth1 / 8>& hidden1,
                                          Sums<Net::kTiles, kWidth2 / 8>& sum) {
  using Operand = typename Net::Operand;
  const ForwardMmaShared& at = b.p.config.shared;
  start_sums(sum, 0, kWidth2 / 8, b.template at<float>(at.bias2), b.t());
#pragma unroll
  for (int q = 0; q < Net::kConv2Steps; ++q) {
    typename Operand::A a[Net::kTiles];
#pragma unroll
    for (int m = 0; m < Net::kTiles; ++m) {
      TileA words;
      Operand::chain(hidden1[m], q, words);
      a[m] = Operand::chained_a(words);
    }
    multiply<Operand>(sum, a, b.template at<uint4>(at.weight2) + q * (kWidth2 / 16) * 32, b.lane);
  }
}

// The row of hidden1 in shared memory: chunks of 16 bytes of a pixel's channels, [chunk][pixel]. 8 neighbouring pixels are 128
// consecutive bytes, so neither stores nor ldmatrix meet bank conflicts, wherever a kernel column starts.
template <class Net>
__device__ __forceinline__ unsigned char* hidden1_at(const MmaBlock<Net>& b, int chunk, int pixel) {
  return b.shared + b.p.config.shared.hidden1 + (chunk * hidden1_pixels(b.p.config.columns) + pixel) * 16;
}

// relu(sum) into it. `image_column`: of pixel 0; columns outside the image are zero (replicated ones are mended by
// pad_hidden1).
template <class Net>
__device__ __forceinline__ void store_hidden1(const MmaBlock<Net>& b, int image_column,
                                              const Sums<Net::kTiles, kWidth1 / 8>& sum) {
  using Operand = typename Net::Operand;
  const int width = static_cast<int>(b.p.problem.output.width);
#pragma unroll
  for (int m = 0; m < Net::kTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int pixel = b.first_pixel() + Net::kTileStride * m + 8 * half + b.g();
      const int x = image_column + pixel;
      const bool inside = x >= 0 && x < width;
#pragma unroll
      for (int j = 0; j < kWidth1 / 8; ++j) {
        const float low = sum[m][j][2 * half], high = sum[m][j][2 * half + 1];
        if constexpr (Net::kPerUnit == 2) {
          const uint32_t unit = Operand::relu_unit(low, high);
          *reinterpret_cast<uint32_t*>(hidden1_at(b, j, pixel) + 4 * b.t()) = inside ? unit : 0;
        } else {
          const float2 pair = make_float2(Operand::stored(relu(low)), Operand::stored(relu(high)));
          *reinterpret_cast<float2*>(hidden1_at(b, 2 * j + b.t() / 2, pixel) + 8 * (b.t() % 2)) =
              inside ? pair : make_float2(0.0f, 0.0f);
        }
      }
    }
  }
}

// With replicate padding, columns outside the image repeat the edge column. All threads of the block, after a barrier; true if
// there was something to do, and another barrier is due.
template <class Net>
__device__ bool pad_hidden1(const MmaBlock<Net>& b, int image_column) {
  const int columns = b.p.config.columns, width = static_cast<int>(b.p.problem.output.width);
  const int left = max(0, -image_column), right = min(columns, width - image_column);
  if (b.p.problem.padding != Padding::kReplicate || (left == 0 && right == columns)) return false;
  constexpr int kChunks = hidden1_chunks(Net::kPerUnit);
  for (int i = threadIdx.x; i < (left + columns - right) * kChunks; i += blockDim.x) {
    const int outside = i / kChunks, chunk = i % kChunks;
    const int pixel = outside < left ? outside : right + outside - left, edge = outside < left ? left : right - 1;
    *reinterpret_cast<uint4*>(hidden1_at(b, chunk, pixel)) = *reinterpret_cast<const uint4*>(hidden1_at(b, chunk, edge));
  }
  return true;
}

// Adds the row of hidden1 to the sums of the f2 rows of hidden2 that it is part of, the topmost first.
template <class Net>
__device__ __forceinline__ void conv2_give(const MmaBlock<Net>& b, Weight2Stream& stream,
                                           Sums<Net::kTiles, conv2_tiles(Net::kKernel2)>& sum) {
  using Operand = typename Net::Operand;
  constexpr int kKernel2 = Net::kKernel2;
  const bool streamed = b.p.config.stream_weight2;
  const uint4* weight = b.template at<uint4>(b.p.config.shared.weight2);
  // Lane l gives ldmatrix the address of row l % 8 of matrix l / 8: pixels 0-7, 8-15, and the same in the next chunk.
  const unsigned char* row = hidden1_at(b, b.lane / 16, b.first_pixel() + b.lane % 16);
  const int two_chunks = 2 * 16 * hidden1_pixels(b.p.config.columns);
#pragma unroll 1
  for (int q = 0; q < Net::kConv2Steps; ++q) {
#pragma unroll
    for (int kx = 0; kx < kKernel2; ++kx) {
      if (streamed) weight = b.template at<uint4>(b.p.config.shared.weight2) + next_weights2(b, stream) * kWeight2Words<Net>;
      typename Operand::A a[Net::kTiles];
#pragma unroll
      for (int m = 0; m < Net::kTiles; ++m) {
        TileA words;
        ptx::ldmatrix<4>(words, row + (Net::kTileStride * m + kx) * 16);
        a[m] = Operand::loaded_a(words);
      }
      multiply<Operand>(sum, a, weight, b.lane);
      weight += kWeight2Words<Net>;
    }
    row += two_chunks;
  }
}

// Moves the sums one row on, the first row of hidden2 being finished. The new last one is only started when it is needed.
template <class Net>
__device__ __forceinline__ void next_sums(Sums<Net::kTiles, conv2_tiles(Net::kKernel2)>& sum) {
  constexpr int kRow = kWidth2 / 8, kKept = conv2_tiles(Net::kKernel2) - kRow;
#pragma unroll
  for (int m = 0; m < Net::kTiles; ++m) {
#pragma unroll
    for (int j = 0; j < kKept; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sum[m][j][e] = sum[m][j + kRow][e];
    }
  }
}

// ------------------------------------------------------------------------------------------------------ conv3

// What each pixel of the finished row of hidden2 (the first 4 tiles of `hidden2`) gives to channel c of its neighbours: pairs
// of taps, each [pair][pixel]. Pixels outside the image give nothing; `image_column` is pixel 0's.
template <class Net>
__device__ __forceinline__ void conv3_taps(const MmaBlock<Net>& b, int c, int image_column,
                                           const Sums<Net::kTiles, conv2_tiles(Net::kKernel2)>& hidden2) {
  using Operand = typename Net::Operand;
  const ForwardMmaShared& at = b.p.config.shared;
  const int stride = tap_stride(b.p.config.columns), width = static_cast<int>(b.p.problem.output.width);
  const int first = b.first_pixel() + b.g();
#pragma unroll 1
  for (int j = 0; j < kTapTiles; j += 2) {
    Sums<Net::kTiles, 2> sum = {};
#pragma unroll
    for (int q = 0; q < Net::kConv3Steps; ++q) {
      typename Operand::A a[Net::kTiles];
#pragma unroll
      for (int m = 0; m < Net::kTiles; ++m) {
        TileA words;
        Operand::chain(hidden2[m], q, words);
        a[m] = Operand::chained_a(words);
      }
      const int fragment = ((q * Net::kChannels + c) * kTapTiles + j) / 2;
      multiply<Operand>(sum, a, b.template at<uint4>(at.weight3) + fragment * 32, b.lane);
    }
#pragma unroll
    for (int tile = 0; tile < 2; ++tile) {
      const int pair = 4 * (j + tile) + b.t();
      if (pair >= kTapPairs) continue;
      float2* taps = b.template at<float2>(at.taps) + pair * stride + first;
#pragma unroll
      for (int m = 0; m < Net::kTiles; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int pixel = Net::kTileStride * m + 8 * half, x = image_column + first + pixel;
          const bool inside = x >= 0 && x < width;
          taps[pixel] = inside ? make_float2(sum[m][tile][2 * half], sum[m][tile][2 * half + 1]) : make_float2(0.0f, 0.0f);
        }
      }
    }
  }
}

}  // namespace srcnn::cuda
