// Winograd's transforms on vectors: each lane is another tile, so no transform moves data between lanes. The coefficients are
// compile-time constants: zeros vanish, ones become additions.
#pragma once

#include "target.h"
#include "winograd_transform.h"

namespace srcnn::cpu {

// sum + coefficient * x
template <class S, float kCoefficient>
SRCNN_INLINE typename S::Vec add_term(typename S::Vec sum, typename S::Vec x) {
  if constexpr (kCoefficient == 0.0f) {
    return sum;
  } else if constexpr (kCoefficient == 1.0f) {
    return sum + x;
  } else if constexpr (kCoefficient == -1.0f) {
    return sum - x;
  } else {
    return S::fma(S::set1(kCoefficient), x, sum);
  }
}

// The terms K, K - 2, ... of one row of B, added to a sum.
template <class S, class W, int kRow, int K>
SRCNN_INLINE typename S::Vec add_input_terms(typename S::Vec sum, const typename S::Vec* d) {
  if constexpr (K < 0) {
    return sum;
  } else {
    constexpr auto kCoefficient = static_cast<float>(W::kInput.at[kRow][K]);
    return add_input_terms<S, W, kRow, K - 2>(add_term<S, kCoefficient>(sum, d[K]), d);
  }
}

// The terms K, K - 2, ... alone.
template <class S, class W, int kRow, int K>
SRCNN_INLINE typename S::Vec input_terms(const typename S::Vec* d) {
  constexpr auto kCoefficient = static_cast<float>(W::kInput.at[kRow][K]);
  static_assert(kCoefficient != 0.0f);
  if constexpr (kCoefficient == 1.0f) {
    return add_input_terms<S, W, kRow, K - 2>(d[K], d);
  } else {
    return add_input_terms<S, W, kRow, K - 2>(S::mul(S::set1(kCoefficient), d[K]), d);
  }
}

// out = B d
template <class S, class W>
SRCNN_INLINE void transform_input(const typename S::Vec* d, typename S::Vec* out) {
  constexpr int n = W::kPoints;
  out[0] = input_terms<S, W, 0, n - 2>(d);
  out[n - 1] = input_terms<S, W, n - 1, n - 1>(d);
  const auto pair = [&]<int kRow>() __attribute__((always_inline)) {
    const typename S::Vec even = input_terms<S, W, kRow, n - 2>(d), odd = input_terms<S, W, kRow, n - 3>(d);
    out[kRow] = even + odd;
    out[kRow + 1] = even - odd;
  };
  pair.template operator()<1>();
  pair.template operator()<3>();
  if constexpr (n > 6) pair.template operator()<5>();
}

// y = A m
template <class S, class W>
SRCNN_INLINE void transform_output(const typename S::Vec* m, typename S::Vec* y) {
  constexpr int n = W::kPoints;
  using Vec = typename S::Vec;
  Vec sum[3], difference[3];
  SRCNN_UNROLL
  for (int p = 0; p < n / 2 - 1; ++p) {
    sum[p] = m[2 * p + 1] + m[2 * p + 2];
    difference[p] = m[2 * p + 1] - m[2 * p + 2];
  }
  const auto row = [&]<int kRow>() __attribute__((always_inline)) {
    const Vec* half = kRow % 2 == 0 ? sum : difference;
    constexpr auto kSecond = static_cast<float>(W::kOutput.at[kRow][3]);
    Vec total = add_term<S, kSecond>(half[0], half[1]);  // the first pair is +1, -1
    if constexpr (n > 6) {
      constexpr auto kThird = static_cast<float>(W::kOutput.at[kRow][5]);
      total = add_term<S, kThird>(total, half[2]);
    }
    if constexpr (kRow == 0) total = total + m[0];
    if constexpr (kRow == W::kM - 1) total = total + m[n - 1];
    y[kRow] = total;
  };
  static_assert(W::kM == kTile && kTile == 4);
  row.template operator()<0>();
  row.template operator()<1>();
  row.template operator()<2>();
  row.template operator()<3>();
}

// out = A^T y: a polynomial, of which y are the coefficients, at the points. The backward takes gradients of outputs there, the
// forward four rows of F2.
template <class S, class W>
SRCNN_INLINE void evaluate(const typename S::Vec* y, typename S::Vec* out) {
  constexpr int n = W::kPoints;
  using Vec = typename S::Vec;
  static_assert(W::kM == 4);
  out[0] = y[0];
  out[n - 1] = y[3];
  const auto pair = [&]<int kPoint>() __attribute__((always_inline)) {
    constexpr auto k1 = static_cast<float>(W::kOutput.at[1][kPoint]), k2 = static_cast<float>(W::kOutput.at[2][kPoint]),
                   k3 = static_cast<float>(W::kOutput.at[3][kPoint]);
    const Vec even = add_term<S, k2>(y[0], y[2]);
    const Vec odd = add_term<S, k3>(k1 == 1.0f ? y[1] : S::mul(S::set1(k1), y[1]), y[3]);
    out[kPoint] = even + odd;
    out[kPoint + 1] = even - odd;
  };
  pair.template operator()<1>();
  pair.template operator()<3>();
  if constexpr (n > 6) pair.template operator()<5>();
}

// out = B^T m: the coefficients of the polynomial that has the values m at the points.
template <class S, class W>
SRCNN_INLINE void interpolate(const typename S::Vec* m, typename S::Vec* out) {
  constexpr int n = W::kPoints;
  using Vec = typename S::Vec;
  Vec sum[n / 2 - 1], difference[n / 2 - 1];
  SRCNN_UNROLL
  for (int p = 0; p < n / 2 - 1; ++p) {
    sum[p] = m[2 * p + 1] + m[2 * p + 2];
    difference[p] = m[2 * p + 1] - m[2 * p + 2];
  }
  const auto coefficient = [&]<int kPower>() __attribute__((always_inline)) {
    // Row 0 of B holds even powers alone, the last one odd ones.
    constexpr int kAlone = kPower % 2 == 0 ? 0 : n - 1;
    const Vec* half = kPower % 2 == 0 ? sum : difference;
    Vec total = S::mul(S::set1(static_cast<float>(W::kInput.at[kAlone][kPower])), m[kAlone]);
    total = add_term<S, static_cast<float>(W::kInput.at[1][kPower])>(total, half[0]);
    total = add_term<S, static_cast<float>(W::kInput.at[3][kPower])>(total, half[1]);
    if constexpr (n > 6) total = add_term<S, static_cast<float>(W::kInput.at[5][kPower])>(total, half[2]);
    out[kPower] = total;
  };
  coefficient.template operator()<0>();
  coefficient.template operator()<1>();
  coefficient.template operator()<2>();
  coefficient.template operator()<3>();
  coefficient.template operator()<4>();
  coefficient.template operator()<5>();
  if constexpr (n > 6) {
    coefficient.template operator()<6>();
    coefficient.template operator()<7>();
  }
}

// taps = G^T m: the weights' gradient from that of its points.
template <class S, class W>
SRCNN_INLINE void transform_weight_gradient(const typename S::Vec* m, typename S::Vec* taps) {
  SRCNN_UNROLL
  for (int k = 0; k < W::kR; ++k) {
    typename S::Vec sum = S::set1(0.0f);
    SRCNN_UNROLL
    for (int p = 0; p < W::kPoints; ++p) {
      if (W::kWeight.at[p][k] != 0) sum = S::fma(S::set1(static_cast<float>(W::kWeight.at[p][k])), m[p], sum);
    }
    taps[k] = sum;
  }
}

}  // namespace srcnn::cpu
