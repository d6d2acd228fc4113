// The gradients of weights and biases in the tensor-core backward: sums over the strip's own positions of a step, as matrix
// products whose k are positions. ldmatrix transposes what lies in memory position after position.
//
// Such a sum has one owner, a lane of one warp, for the whole launch; it has the sums of a step in registers and then adds them
// to the block's own, in shared or global memory, as the tiles of mma that they are.
#pragma once

#include "backward_mma_layers.cuh"

namespace srcnn::cuda {
namespace {

// The strip's own positions of a step, 16 neighbours at a time: rows, counted from the first that the stage has in shared
// memory, of the strip's width. What of it is outside the image has gradients of zero.
struct OwnTiles {
  Rows rows;
  int width;  // in tiles

  __device__ __forceinline__ int count() const { return rows.count() * width; }
};

template <class Net>
__device__ __forceinline__ OwnTiles own_tiles(const BackwardMmaBlock<Net>& b, Rows rows) {
  return {rows, b.p.config.strip_width / kTilePixels};
}

// use(row, column from the strip's first) for every splits-th tile.
template <class Use>
__device__ __forceinline__ void for_each_tile(const OwnTiles& own, int split, int splits, const Use& use) {
#pragma unroll 1
  for (int i = split; i < own.count(); i += splits) {
    const int row = i / own.width;
    use(own.rows.begin + row, (i - row * own.width) * kTilePixels);
  }
}

// A and B of a step whose k are 16 positions, `pitch` elements apart: 16 channels from `from` on as rows of A; 16 or 8 as
// columns of B.
template <class T>
__device__ __forceinline__ void load_channels_a(TileA& a, const T* from, int pitch, int lane) {
  ptx::ldmatrix<4, true>(a, from + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 8);
}
template <class T>
__device__ __forceinline__ void load_channels_b(TileB (&b)[2], const T* from, int pitch, int lane) {
  uint32_t words[4];
  ptx::ldmatrix<4, true>(words, from + lane % 16 * pitch + lane / 16 * 8);
  b[0][0] = words[0];
  b[0][1] = words[1];
  b[1][0] = words[2];
  b[1][1] = words[3];
}
template <class T>
__device__ __forceinline__ void load_channels_b(TileB (&b)[1], const T* from, int pitch, int lane) {
  ptx::ldmatrix<2, true>(b[0], from + lane % 16 * pitch);
}

template <class Operand, int M, int N>
__device__ __forceinline__ void multiply_tiles(Sums<M, N>& sum, const TileA (&a)[M], const TileB (&b)[N]) {
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const typename Operand::B right = Operand::prepare_b(b[n][0], b[n][1]);
#pragma unroll
    for (int m = 0; m < M; ++m) Operand::mma(sum[m][n], Operand::loaded_a(a[m]), right);
  }
}

// Adds M x N tiles to a matrix of them, `columns` in a row.
template <int M, int N>
__device__ __forceinline__ void add_tiles(float4* to, int columns, const Sums<M, N>& sum, int lane) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      float4& at = to[(m * columns + n) * 32 + lane];
      const float4 before = at;
      at = make_float4(before.x + sum[m][n][0], before.y + sum[m][n][1], before.z + sum[m][n][2], before.w + sum[m][n][3]);
    }
  }
}

// A bias's gradient is the same product with ones for B: all 8 columns are the sum. Some of the warps have one, too.
template <class Operand>
__device__ __forceinline__ void multiply_ones(Sums<2, 1>& sum, const TileA (&a)[2]) {
  typename Operand::Stored one;
  from_float(1.0f, one);
  const uint32_t ones = static_cast<uint32_t>(one.bits) << 16 | one.bits;
  const TileB b[1] = {{ones, ones}};
  multiply_tiles<Operand>(sum, a, b);
}

// ------------------------------------------------------------------------------------------------------ weights

// conv3: patches x hidden2. An item is 16 taps x 16 channels x a share of the tiles.
template <class Net>
__device__ void sum_weight3(const BackwardMmaBlock<Net>& b) {
  const OwnTiles own = own_tiles(b, b.step().own2);
  const int c = b.channels(), pitch = patch_pixel(c), row_tiles = patch_taps(c) / 16, items = row_tiles * 2;
  float4* sums = b.sums(b.p.config.shared.sum3, b.p.partials_at.weight3);
  for (int item = b.warp; item < items * kSum3Splits; item += Net::kWarps) {
    const int split = item / items, row = item % items / 2, half = item % 2;
    Sums<1, 2> sum = {};
    for_each_tile(own, split, kSum3Splits, [&](int r, int j) {
      const int position = r * b.columns2() + j + b.p.config.halo2;
      TileA a[1];
      TileB features[2];
      load_channels_a(a[0], b.patches() + position * pitch + row * 16, pitch, b.lane);
      load_channels_b(features, b.new_hidden2() + position * kPixel2 + half * 16, kPixel2, b.lane);
      multiply_tiles<typename Net::Operand>(sum, a, features);
    });
    add_tiles(sums + ((split * row_tiles + row) * 4 + half * 2) * 32, 4, sum, b.lane);
  }
}

// conv2: hidden2's gradient x hidden1, and x 1 for the bias. An item is all of hidden2's channels, 8 or 16 of hidden1's, and a
// row of taps.
template <class Net>
__device__ void sum_weight2(const BackwardMmaBlock<Net>& b) {
  const OwnTiles own = own_tiles(b, b.step().own2);
  constexpr int kKernel2 = Net::kKernel2, kTiles = sum2_tiles(kKernel2), kSplits = sum2_splits(kKernel2);
  constexpr int kGroups = kWidth1 / 8 / kTiles, kItems = kKernel2 * kGroups;
  float4* sums = b.sums(b.p.config.shared.sum2, b.p.partials_at.weight2);
  for (int item = b.warp; item < kItems * kSplits; item += Net::kWarps) {
    const int split = item / kItems, ky = item % kItems / kGroups, group = item % kGroups;
    const bool for_bias = b.p.wanted.bias2 && ky == 0 && group == 0;
    Sums<2, 1> bias = {};
    Sums<2, kTiles> sum[kKernel2] = {};
    for_each_tile(own, split, kSplits, [&](int r, int j) {
      const auto* grads = b.new_hidden2() + (r * b.columns2() + j + b.p.config.halo2) * kPixel2;
      const auto* features = b.hidden1() + ((r + ky) * b.columns1() + j + b.p.config.halo1 - Net::kReach2) * kPixel1;
      TileA a[2];
      load_channels_a(a[0], grads, kPixel2, b.lane);
      load_channels_a(a[1], grads + 16, kPixel2, b.lane);
      if (for_bias) multiply_ones<typename Net::Operand>(bias, a);
#pragma unroll
      for (int kx = 0; kx < kKernel2; ++kx) {
        TileB pixels[kTiles];
        load_channels_b(pixels, features + kx * kPixel1 + group * (8 * kTiles), kPixel1, b.lane);
        multiply_tiles<typename Net::Operand>(sum[kx], a, pixels);
      }
    });
    if (for_bias) {
      auto* to = reinterpret_cast<float4*>(b.partials() + b.p.partials_at.bias2 + split * kBias2Floats);
      add_tiles(to, 1, bias, b.lane);
    }
#pragma unroll
    for (int kx = 0; kx < kKernel2; ++kx) {
      const int tap = (split * kKernel2 + ky) * kKernel2 + kx;
      add_tiles(sums + (tap * 16 + group * kTiles) * 32, 8, sum[kx], b.lane);
    }
  }
}

// conv1: hidden1's gradient x the input, and x 1. An item is 32 channels x 24 taps.
template <class Net>
__device__ void sum_weight1(const BackwardMmaBlock<Net>& b) {
  const OwnTiles own = own_tiles(b, b.step().own1);
  constexpr int kTiles = kTapTiles1PerItem;
  const int tap_tiles = tap_tiles1(b.channels()), halves = 2;
  float4* sums = b.sums(b.p.config.shared.sum1, b.p.partials_at.weight1);
  const int* taps = b.template at<int>(b.p.config.shared.taps);
  for (int item = b.warp; item < tap_tiles / kTiles * halves; item += Net::kWarps) {
    const int half = item % halves, tile = item / halves * kTiles;
    int offset[kTiles];
#pragma unroll
    for (int n = 0; n < kTiles; ++n) offset[n] = taps[(tile + n) * 8 + b.g()] + 2 * b.t();
    const bool for_bias = b.p.wanted.bias1 && tile == 0;
    Sums<2, 1> bias = {};
    Sums<2, kTiles> sum = {};
    for_each_tile(own, 0, 1, [&](int r, int j) {
      const auto* grads = b.hidden1() + (r * b.columns1() + j + b.p.config.halo1) * kPixel1 + half * 32;
      const auto* pixels = b.input() + r * b.input_pitch() + j + b.p.config.halo1;
      TileA a[2];
      load_channels_a(a[0], grads, kPixel1, b.lane);
      load_channels_a(a[1], grads + 16, kPixel1, b.lane);
      if (for_bias) multiply_ones<typename Net::Operand>(bias, a);
      TileB found[kTiles];
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        found[n][0] = *reinterpret_cast<const uint32_t*>(pixels + offset[n]);
        found[n][1] = *reinterpret_cast<const uint32_t*>(pixels + offset[n] + 8);
      }
      multiply_tiles<typename Net::Operand>(sum, a, found);
    });
    if (for_bias) {
      auto* to = reinterpret_cast<float4*>(b.partials() + b.p.partials_at.bias1) + half * 2 * 32;
      add_tiles(to, 1, bias, b.lane);
    }
    add_tiles(sums + (half * 2 * tap_tiles + tile) * 32, tap_tiles, sum, b.lane);
  }
}

// conv3's bias: the output's gradient itself, lanes being positions, warps tiles.
template <class Net>
__device__ void sum_bias3(const BackwardMmaBlock<Net>& b) {
  const OwnTiles own = own_tiles(b, b.step().own2);
  const int columns = b.columns3();
  for (int c = 0; c < b.channels(); ++c) {
    const auto* first = b.grad_output() + (kReach3 * b.channels() + c) * columns + b.p.config.halo2 + kReach3;
    float sum = 0.0f;
    for_each_tile(own, b.warp, Net::kWarps, [&](int r, int j) {
      if (b.lane < kTilePixels) sum += to_float(first[r * b.channels() * columns + j + b.lane]);
    });
#pragma unroll
    for (int step = kTilePixels / 2; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (b.lane == 0) b.partials()[b.p.partials_at.bias3 + b.warp * b.channels() + c] += sum;
  }
}

}  // namespace
}  // namespace srcnn::cuda
