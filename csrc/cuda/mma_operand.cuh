// What an operand of the tensor-core products is made of: how numbers lie in shared memory, how sums of one layer become the A
// operand of the next, and which instruction multiplies. Sums are fp32 throughout.
//
//              in memory     products                                        k of a step
//   Sixteen    16 bits       of fp16 or bf16                                 16
//   Tf32       32 bits       of TF32 (11 significant bits)                   8
//   Tf32x3     32 bits       three TF32 products of high and low parts:      8
//                            22 significant bits, as good as fp32
#pragma once

#include <type_traits>

#include "block.cuh"
#include "forward_mma.h"
#include "ptx.cuh"
#include "storage.cuh"

namespace srcnn::cuda {

// A lane's registers of a 16 x 8-unit tile of A, and of an 8-unit x 8 tile of B; ptx.cuh says which elements they are.
using TileA = uint32_t[4];
using TileB = uint32_t[2];

template <class T>  // Half or BFloat16
struct Sixteen {
  using Image = T;
  using Stored = T;
  static constexpr int kPerUnit = 2, kProducts = 1;
  // A unit must be 4-byte aligned, so rows of taps are kept twice, the second copy shifted by one element.
  static constexpr int kCopies = 2;
  struct A {
    TileA word;
  };
  struct B {
    TileB word;
  };

  static __device__ __forceinline__ T stored(float value) {
    T bits;
    from_float(value, bits);
    return bits;
  }
  static __device__ __forceinline__ uint32_t relu_unit(float low, float high) {
    if constexpr (std::is_same_v<T, Half>) {
      return ptx::pack_relu_f16(low, high);
    } else {
      return ptx::pack_relu_bf16(low, high);
    }
  }

  // relu(sums of a layer) as A of step q of the next: its 16 channels are the tiles 2q and 2q + 1, in their order.
  template <int N>
  static __device__ __forceinline__ void chain(const float (&sum)[N][4], int q, TileA& a) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float (&s)[4] = sum[2 * q + half];
      a[2 * half] = relu_unit(s[0], s[1]);
      a[2 * half + 1] = relu_unit(s[2], s[3]);
    }
  }
  // The unit, of 8, and the place in it of channel `channel` of a step in that order.
  static __device__ __forceinline__ int chained_unit(int channel) { return channel / 2; }
  static __device__ __forceinline__ int chained_part(int channel) { return channel % 2; }

  // A from shared memory, where numbers are stored(), and from chain().
  static __device__ __forceinline__ A loaded_a(const TileA& a) { return {{a[0], a[1], a[2], a[3]}}; }
  static __device__ __forceinline__ A chained_a(const TileA& a) { return loaded_a(a); }
  static __device__ __forceinline__ B prepare_b(uint32_t b0, uint32_t b1) { return {{b0, b1}}; }
  static __device__ __forceinline__ void mma(float (&sum)[4], const A& a, const B& b) {
    if constexpr (std::is_same_v<T, Half>) {
      ptx::mma_m16n8k16_f16(sum, a.word, b.word);
    } else {
      ptx::mma_m16n8k16_bf16(sum, a.word, b.word);
    }
  }
};

// What the two kinds of 32 bits have in common.
struct ThirtyTwo {
  using Image = float;
  using Stored = float;
  static constexpr int kPerUnit = 1;
  static constexpr int kCopies = 1;

  // The 8 channels of step q are tile q: the even ones come first, because a lane holds an even one and its neighbour.
  template <int N>
  static __device__ __forceinline__ void chain(const float (&sum)[N][4], int q, TileA& a) {
    const float (&s)[4] = sum[q];
    a[0] = __float_as_uint(relu(s[0]));
    a[1] = __float_as_uint(relu(s[2]));
    a[2] = __float_as_uint(relu(s[1]));
    a[3] = __float_as_uint(relu(s[3]));
  }
  static __device__ __forceinline__ int chained_unit(int channel) { return channel % 2 * 4 + channel / 2; }
  static __device__ __forceinline__ int chained_part(int /*channel*/) { return 0; }
};

struct Tf32 : ThirtyTwo {
  static constexpr int kProducts = 1;
  struct A {
    TileA word;
  };
  struct B {
    TileB word;
  };
  static __device__ __forceinline__ float stored(float value) { return __uint_as_float(ptx::to_tf32(value)); }
  static __device__ __forceinline__ A loaded_a(const TileA& a) { return {{a[0], a[1], a[2], a[3]}}; }
  // mma would cut the low bits off; rounding halves the error.
  static __device__ __forceinline__ A chained_a(const TileA& a) {
    return {{ptx::to_tf32(__uint_as_float(a[0])), ptx::to_tf32(__uint_as_float(a[1])), ptx::to_tf32(__uint_as_float(a[2])),
             ptx::to_tf32(__uint_as_float(a[3]))}};
  }
  static __device__ __forceinline__ B prepare_b(uint32_t b0, uint32_t b1) { return {{b0, b1}}; }
  static __device__ __forceinline__ void mma(float (&sum)[4], const A& a, const B& b) {
    ptx::mma_m16n8k8_tf32(sum, a.word, b.word);
  }
};

// a b = (a_high + a_low) (b_high + b_low), without a_low b_low: 2^-22 of the product. The low part of an infinity is NaN,
// so what it reaches becomes NaN, also where the reference has infinity.
struct Tf32x3 : ThirtyTwo {
  static constexpr int kProducts = 3;
  struct A {
    TileA high, low;
  };
  struct B {
    TileB high, low;
  };
  static __device__ __forceinline__ float stored(float value) { return value; }
  static __device__ __forceinline__ void split(uint32_t bits, uint32_t& high, uint32_t& low) {
    const float value = __uint_as_float(bits);
    high = ptx::to_tf32(value);
    low = __float_as_uint(value - __uint_as_float(high));
  }
  static __device__ __forceinline__ A loaded_a(const TileA& a) {
    A parts;
#pragma unroll
    for (int i = 0; i < 4; ++i) split(a[i], parts.high[i], parts.low[i]);
    return parts;
  }
  static __device__ __forceinline__ A chained_a(const TileA& a) { return loaded_a(a); }
  static __device__ __forceinline__ B prepare_b(uint32_t b0, uint32_t b1) {
    B parts;
    split(b0, parts.high[0], parts.low[0]);
    split(b1, parts.high[1], parts.low[1]);
    return parts;
  }
  static __device__ __forceinline__ void mma(float (&sum)[4], const A& a, const B& b) {
    ptx::mma_m16n8k8_tf32(sum, a.low, b.high);
    ptx::mma_m16n8k8_tf32(sum, a.high, b.low);
    ptx::mma_m16n8k8_tf32(sum, a.high, b.high);
  }
};

}  // namespace srcnn::cuda
