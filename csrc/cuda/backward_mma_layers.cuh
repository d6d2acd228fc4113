// The convolutions of the tensor-core backward: the forward's two, and those that take gradients back through conv3 and conv2.
// Each is a matrix product, positions x k times k x channels; a warp's item is two tiles of 16 positions, which go on from row
// to row, and all channels. Weights come as fragments from global memory, where L1 has them for the next warp.
#pragma once

#include "backward_mma_block.cuh"

namespace srcnn::cuda {
namespace {

inline constexpr int kItemTiles = 2;  // tiles of positions that share each load of weights
inline constexpr int kItemPositions = kItemTiles * kTilePixels;

// Position `index` of rows of `columns`; those behind the last stand for one in a column of the same parity.
struct Place {
  int row, column;

  __device__ __forceinline__ Place(int index, int count, int columns) {
    index = index < count ? index : index % 2;
    row = index / columns;
    column = index - row * columns;
  }
};

// Where a lane's sums of an item belong: for each of its positions the number of a pixel in an array, and whether that is in
// the image. Found before the products and packed: what is found after them needs registers while the sums do.
struct Targets {
  uint32_t pixels[kItemTiles];
  uint32_t flags;

  // find(place, index): {pixel, inside}.
  template <class Find>
  __device__ __forceinline__ Targets(int first, int count, int columns, int g, const Find& find) : pixels{}, flags(0) {
#pragma unroll
    for (int k = 0; k < 2 * kItemTiles; ++k) {
      const int index = first + 8 * k + g;
      if (index >= count) continue;
      const Target target = find(Place(index, count, columns), index);
      pixels[k / 2] |= static_cast<uint32_t>(target.pixel) << (k % 2 * 16);
      flags |= (target.inside ? 0x101u : 1u) << k;
    }
    __syncwarp();  // mma is for a warp that has come together again
  }
  struct Target {
    int pixel;
    bool inside;
  };
};

// A lane's share of the sums of an item: store(pixel, whether it is in the image, tile of 8 channels, sums of two channels).
template <int N, class Store>
__device__ __forceinline__ void for_each_pair(const Sums<kItemTiles, N>& sum, const Targets& targets, const Store& store) {
#pragma unroll
  for (int k = 0; k < 2 * kItemTiles; ++k) {
    if ((targets.flags >> k & 1) == 0) continue;
    const int pixel = static_cast<int>(targets.pixels[k / 2] >> (k % 2 * 16) & 0xffff);
    const bool inside = (targets.flags >> (k + 8) & 1) != 0;
#pragma unroll
    for (int j = 0; j < N; ++j) store(pixel, inside, j, sum[k / 2][j][k % 2 * 2], sum[k / 2][j][k % 2 * 2 + 1]);
  }
  __syncwarp();  // as above, for the next item
}

// The sums where the feature is not zero, as 16 bits.
template <class T>
__device__ __forceinline__ uint32_t masked(uint32_t features, bool inside, float low, float high) {
  const bool low_passes = inside && !(to_float(T{static_cast<uint16_t>(features)}) <= 0.0f);  // NaN passes, as in torch
  const bool high_passes = inside && !(to_float(T{static_cast<uint16_t>(features >> 16)}) <= 0.0f);
  return pack<T>(low_passes ? low : 0.0f, high_passes ? high : 0.0f);
}

// ------------------------------------------------------------------------------------------------------ the forward, again

// New rows of conv1 + ReLU. Rows outside the image are the edge row again or zero; so are columns, but for replicate padding,
// see pad_hidden1.
template <class Net>
__device__ void make_hidden1(const BackwardMmaBlock<Net>& b) {
  const MmaStep& step = b.step();
  const Rows rows = step.new_hidden1<Net::kReach2>(b.p.config.rows);
  using Operand = typename Net::Operand;
  const BackwardMmaShared& at = b.p.config.shared;
  const int columns = b.columns1(), count = rows.count() * columns, steps = backward_steps1(b.channels());
  const int y0 = step.first - Net::kReach2;  // of the first row in shared memory
  const int* units = b.template at<int>(at.units) + b.g() % 2 * (steps * kStepUnits) + b.t();
  for (int first = b.warp * kItemPositions; first < count; first += Net::kWarps * kItemPositions) {
    const typename Net::T* pixel[2 * kItemTiles];
#pragma unroll
    for (int k = 0; k < 2 * kItemTiles; ++k) {
      const Place place(first + 8 * k + b.g(), count, columns);
      const int y = y0 + rows.begin + place.row, inside = b.replicate() ? min(max(y, 0), b.height() - 1) : y;
      pixel[k] = b.input() + (inside - y0) * b.input_pitch() + place.column;
    }
    const Targets targets(first, count, columns, b.g(), [&](const Place& place, int index) -> Targets::Target {
      const bool row_counts = b.replicate() || b.has_row(y0 + rows.begin + place.row);
      return {rows.begin * columns + index, row_counts && b.has_column(step.job.x0 - b.p.config.halo1 + place.column)};
    });
    Sums<kItemTiles, kWidth1 / 8> sum;
    start_sums(sum, 0, kWidth1 / 8, b.template at<float>(at.bias), b.t());
    const uint4* weight = b.fragments(b.p.weights_at.weight1);
#pragma unroll 1
    for (int s = 0; s < steps; ++s, weight += kWidth1 / 16 * 32) {
      const int low = units[s * kStepUnits], high = units[s * kStepUnits + 4];
      const auto word = [&](int k, int offset) { return *reinterpret_cast<const uint32_t*>(pixel[k] + offset); };
      typename Operand::A a[kItemTiles];
#pragma unroll
      for (int m = 0; m < kItemTiles; ++m) {
        a[m] = {{word(2 * m, low), word(2 * m + 1, low), word(2 * m, high), word(2 * m + 1, high)}};
      }
      multiply<Operand>(sum, a, weight, b.lane);
    }
    auto* hidden = b.hidden1() + 2 * b.t();
    for_each_pair(sum, targets, [&](int target, bool inside, int j, float low, float high) {
      *reinterpret_cast<uint32_t*>(hidden + target * kPixel1 + 8 * j) = inside ? Operand::relu_unit(low, high) : 0;
    });
  }
}

// With replicate padding columns outside the image repeat its first and last one. All threads, after a barrier; another one is
// due where it returns true.
template <class Net>
__device__ bool pad_hidden1(const BackwardMmaBlock<Net>& b) {
  const MmaStep& step = b.step();
  const Rows rows = step.new_hidden1<Net::kReach2>(b.p.config.rows);
  const int columns = b.columns1(), x0 = step.job.x0 - b.p.config.halo1;
  const int left = max(0, -x0), right = min(columns, b.width() - x0);  // the image's
  if (!b.replicate() || (left == 0 && right == columns)) return false;
  constexpr int kChunks = kWidth1 / 8;
  const int outside = left + columns - right;
  for (int i = opaque(threadIdx.x); i < rows.count() * outside * kChunks; i += Net::kThreads) {
    const int chunk = i % kChunks, place = i / kChunks, row = rows.begin + place / outside, k = place % outside;
    const int column = k < left ? k : right + k - left, edge = k < left ? left : right - 1;
    auto* pixels = b.hidden1() + row * columns * kPixel1 + 8 * chunk;
    *reinterpret_cast<uint4*>(pixels + column * kPixel1) = *reinterpret_cast<const uint4*>(pixels + edge * kPixel1);
  }
  return true;
}

// The step's rows of conv2 + ReLU; zero outside the image.
template <class Net>
__device__ void make_hidden2(const BackwardMmaBlock<Net>& b) {
  const MmaStep& step = b.step();
  using Operand = typename Net::Operand;
  constexpr int kKernel2 = Net::kKernel2;
  const int columns = b.columns2(), count = b.p.config.rows * columns, columns1 = b.columns1();
  for (int first = b.warp * kItemPositions; first < count; first += Net::kWarps * kItemPositions) {
    const typename Net::T* pixel[kItemTiles];  // of lane l the l % 16th, channels 0 or 8
#pragma unroll
    for (int m = 0; m < kItemTiles; ++m) {
      const Place place(first + m * kTilePixels + b.lane % 16, count, columns);
      pixel[m] = b.hidden1() + (place.row * columns1 + place.column) * kPixel1 + b.lane / 16 * 8;
    }
    const Targets targets(first, count, columns, b.g(), [&](const Place& place, int index) -> Targets::Target {
      return {index, b.has_row(step.first + place.row) && b.has_column(step.job.x0 - b.p.config.halo2 + place.column)};
    });
    Sums<kItemTiles, kWidth2 / 8> sum;
    start_sums(sum, 0, kWidth2 / 8, b.template at<float>(b.p.config.shared.bias) + kWidth1, b.t());
    const uint4* weight = b.fragments(b.p.weights_at.weight2);
#pragma unroll 1
    for (int ky = 0; ky < kKernel2; ++ky) {
#pragma unroll 1
      for (int kx = 0; kx < kKernel2; ++kx) {
#pragma unroll
        for (int q = 0; q < kWidth1 / kStepDepth; ++q, weight += kWidth2 / 16 * 32) {
          typename Operand::A a[kItemTiles];
#pragma unroll
          for (int m = 0; m < kItemTiles; ++m) {
            ptx::ldmatrix<4>(a[m].word, pixel[m] + (ky * columns1 + kx) * kPixel1 + q * kStepDepth);
          }
          multiply<Operand>(sum, a, weight, b.lane);
        }
      }
    }
    auto* hidden = b.new_hidden2() + 2 * b.t();
    for_each_pair(sum, targets, [&](int target, bool inside, int j, float low, float high) {
      *reinterpret_cast<uint32_t*>(hidden + target * kPixel2 + 8 * j) = inside ? Operand::relu_unit(low, high) : 0;
    });
  }
}

// ------------------------------------------------------------------------------------------------------ gradients, back

// hidden2's gradient in the place of the step's rows of hidden2: patches through conv3, and the ReLU.
template <class Net>
__device__ void make_grad2(const BackwardMmaBlock<Net>& b) {
  using Operand = typename Net::Operand;
  const int count = b.p.config.rows * b.columns2(), pitch = patch_pixel(b.channels());
  const int steps = patch_taps(b.channels()) / kStepDepth;
  for (int first = b.warp * kItemPositions; first < count; first += Net::kWarps * kItemPositions) {
    Sums<kItemTiles, kWidth2 / 8> sum = {};
    const uint4* weight = b.fragments(b.p.weights_at.back3);
#pragma unroll 1
    for (int s = 0; s < steps; ++s, weight += kWidth2 / 16 * 32) {
      typename Operand::A a[kItemTiles];
#pragma unroll
      for (int m = 0; m < kItemTiles; ++m) {
        const int index = min(first + m * kTilePixels + b.lane % 16, count - 1);
        ptx::ldmatrix<4>(a[m].word, b.patches() + index * pitch + s * kStepDepth + b.lane / 16 * 8);
      }
      multiply<Operand>(sum, a, weight, b.lane);
    }
    const Targets targets(first, count, b.columns2(), b.g(),
                          [](const Place&, int index) -> Targets::Target { return {index, true}; });
    auto* hidden = b.new_hidden2() + 2 * b.t();
    for_each_pair(sum, targets, [&](int target, bool inside, int j, float low, float high) {
      auto* features = reinterpret_cast<uint32_t*>(hidden + target * kPixel2 + 8 * j);
      *features = masked<typename Net::T>(*features, inside, low, high);  // features outside the image are zero
    });
  }
}

// Two steps of k: a pixel of hidden2's gradient, for each tile the lane's own, through one tap.
template <class Net>
__device__ __forceinline__ void give_tap(const BackwardMmaBlock<Net>& b, const typename Net::T* const (&pixel)[kItemTiles],
                                         int tap, Sums<kItemTiles, kWidth1 / 8>& sum) {
  using Operand = typename Net::Operand;
  const uint4* weight = b.fragments(b.p.weights_at.back2) + tap * (2 * kWidth1 / 16 * 32);
#pragma unroll 1  // both steps' operands at once would be too many registers
  for (int q = 0; q < kWidth2 / kStepDepth; ++q, weight += kWidth1 / 16 * 32) {
    typename Operand::A a[kItemTiles];
#pragma unroll
    for (int m = 0; m < kItemTiles; ++m) ptx::ldmatrix<4>(a[m].word, pixel[m] + q * kStepDepth + b.lane / 16 * 8);
    multiply<Operand>(sum, a, weight, b.lane);
  }
}

// With replicate padding the gradient of a position outside the image is one of the edge position that it repeats: what those
// at an edge find at the taps of their copies. All lanes; lanes without such a copy find zeros.
template <class Net>
__device__ void give_copies(const BackwardMmaBlock<Net>& b, int first, int count, int columns,
                            Sums<kItemTiles, kWidth1 / 8>& sum) {
  const MmaStep& step = b.step();
  constexpr int kKernel2 = Net::kKernel2, kReach2 = Net::kReach2;
  int row[kItemTiles], column[kItemTiles];
  bool at_edge = false;
#pragma unroll
  for (int m = 0; m < kItemTiles; ++m) {
    const Place place(first + m * kTilePixels + b.lane % 16, count, columns);
    row[m] = step.first - kReach2 + step.grad1.begin + place.row;
    column[m] = step.job.x0 - b.p.config.input_halo + place.column;
    at_edge = at_edge || row[m] == 0 || row[m] == b.height() - 1 || column[m] == 0 || column[m] == b.width() - 1;
  }
  if (!__any_sync(~0u, at_edge)) return;
  const auto* zeros = b.template at<const typename Net::T>(b.p.config.shared.zeros);
  const int y0 = step.first - 2 * kReach2, x0 = step.job.x0 - b.p.config.halo2;  // of the first in shared memory
#pragma unroll 1
  for (int copy = 0; copy < kKernel2 * kKernel2; ++copy) {
    const int dy = copy / kKernel2 - kReach2, dx = copy % kKernel2 - kReach2;
    if (dy == 0 && dx == 0) continue;
#pragma unroll 1
    for (int tap = 0; tap < kKernel2 * kKernel2; ++tap) {
      const int ky = tap / kKernel2, kx = tap % kKernel2;
      const typename Net::T* pixel[kItemTiles];
      bool finds = false;
#pragma unroll
      for (int m = 0; m < kItemTiles; ++m) {
        const int y = row[m] + dy + kReach2 - ky, x = column[m] + dx + kReach2 - kx;  // of hidden2
        const bool copied = (dy == 0 || row[m] == (dy < 0 ? 0 : b.height() - 1)) &&
                            (dx == 0 || column[m] == (dx < 0 ? 0 : b.width() - 1)) && b.has_row(y) && b.has_column(x);
        pixel[m] = copied ? b.hidden2() + ((y - y0) * b.columns2() + x - x0) * kPixel2 : zeros;
        finds = finds || copied;
      }
      if (__any_sync(~0u, finds)) give_tap(b, pixel, tap, sum);
    }
  }
}

// hidden1's gradient in the place of hidden1: hidden2's through conv2 and the ReLU. Rows step.grad1, columns x0 - input_halo
// ...
template <class Net>
__device__ void make_grad1(const BackwardMmaBlock<Net>& b) {
  const MmaStep& step = b.step();
  constexpr int kKernel2 = Net::kKernel2, kReach2 = Net::kReach2;
  const int columns = b.p.config.strip_width + 2 * b.p.config.input_halo, count = step.grad1.count() * columns;
  const int columns1 = b.columns1(), columns2 = b.columns2();
  for (int first = b.warp * kItemPositions; first < count; first += Net::kWarps * kItemPositions) {
    const typename Net::T* pixel[kItemTiles];
#pragma unroll
    for (int m = 0; m < kItemTiles; ++m) {
      const Place place(first + m * kTilePixels + b.lane % 16, count, columns);
      pixel[m] = b.hidden2() + ((step.grad1.begin + place.row + 2 * kReach2) * columns2 + place.column + 2 * kReach2) *
                                   kPixel2;  // tap (0, 0)'s
    }
    const Targets targets(first, count, columns, b.g(), [&](const Place& place, int) -> Targets::Target {
      return {(step.grad1.begin + place.row) * columns1 + place.column + 2 * kReach2,
              b.has_column(step.job.x0 - b.p.config.input_halo + place.column)};
    });
    Sums<kItemTiles, kWidth1 / 8> sum = {};
#pragma unroll 1
    for (int ky = 0; ky < kKernel2; ++ky) {
#pragma unroll 1
      for (int kx = 0; kx < kKernel2; ++kx) {
        const typename Net::T* shifted[kItemTiles];
#pragma unroll
        for (int m = 0; m < kItemTiles; ++m) shifted[m] = pixel[m] - (ky * columns2 + kx) * kPixel2;
        give_tap(b, shifted, ky * kKernel2 + kx, sum);
      }
    }
    if constexpr (kReach2 > 0) {
      if (b.replicate()) give_copies(b, first, count, columns, sum);
    }
    auto* hidden = b.hidden1() + 2 * b.t();
    for_each_pair(sum, targets, [&](int target, bool inside, int j, float low, float high) {
      auto* features = reinterpret_cast<uint32_t*>(hidden + target * kPixel1 + 8 * j);
      *features = masked<typename Net::T>(*features, inside, low, high);
    });
  }
}

}  // namespace
}  // namespace srcnn::cuda
