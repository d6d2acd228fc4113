// Winograd's minimal filtering F(m, r): m outputs of an r-tap filter from m + r - 1 products instead of m * r. Everything is
// derived here from the interpolation points (Toom-Cook), in double and at compile time:
//
//   y = A ((G g) * (B d))      d: m + r - 1 inputs, g: r taps, y: m outputs, *: element by element
//
// With finite points x_i and infinity last, B holds the coefficients of prod_{j != i} (x - x_j) (for infinity: of the product
// over all j), G the taps' polynomial at x_i over prod_{j != i} (x_i - x_j), and A the powers x_i^j. After zero the points
// come in pairs +p, -p, whose rows of B and columns of A agree up to the sign of every other entry: the vector code
// (winograd_tile.h) computes each pair's even and odd half once. Points are powers of two, so B and A are exact in float32.
//
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016); Barabasz et al., "Error Analysis and
// Improving the Accuracy of Winograd Convolution" (2018) for the choice of points.
#pragma once

namespace srcnn::cpu {

template <int kRows, int kColumns>
struct Matrix {
  double at[kRows][kColumns];
};

inline constexpr double kWinogradPoints[] = {0, 1, -1, 2, -2, 0.5, -0.5};

template <int kOutputs, int kTaps>
struct Winograd {
  static constexpr int kM = kOutputs;
  static constexpr int kR = kTaps;
  static constexpr int kPoints = kM + kR - 1;  // infinity included
  static_assert(kPoints % 2 == 0 && kPoints <= 8, "zero, infinity, and pairs of the points above");

  static constexpr Matrix<kPoints, kPoints> make_input() {
    Matrix<kPoints, kPoints> b{};
    for (int i = 0; i < kPoints; ++i) {
      b.at[i][0] = 1;  // the empty product; each factor multiplies by (x - point)
      for (int j = 0; j < kPoints - 1; ++j) {
        if (j == i) continue;
        for (int k = kPoints - 1; k > 0; --k) b.at[i][k] = b.at[i][k - 1] - kWinogradPoints[j] * b.at[i][k];
        b.at[i][0] *= -kWinogradPoints[j];
      }
    }
    return b;
  }

  static constexpr Matrix<kPoints, kR> make_weight() {
    Matrix<kPoints, kR> g{};
    for (int i = 0; i < kPoints - 1; ++i) {
      double power = 1;
      for (int j = 0; j < kPoints - 1; ++j) power /= j == i ? 1 : kWinogradPoints[i] - kWinogradPoints[j];
      for (int k = 0; k < kR; ++k, power *= kWinogradPoints[i]) g.at[i][k] = power;
    }
    g.at[kPoints - 1][kR - 1] = 1;
    return g;
  }

  static constexpr Matrix<kM, kPoints> make_output() {
    Matrix<kM, kPoints> a{};
    for (int i = 0; i < kPoints - 1; ++i) {
      double power = 1;
      for (int j = 0; j < kM; ++j, power *= kWinogradPoints[i]) a.at[j][i] = power;
    }
    a.at[kM - 1][kPoints - 1] = 1;
    return a;
  }

  static constexpr Matrix<kPoints, kPoints> kInput = make_input();  // B
  static constexpr Matrix<kPoints, kR> kWeight = make_weight();     // G
  static constexpr Matrix<kM, kPoints> kOutput = make_output();     // A
};

// Tiles of all stages are 4 x 4, so that what one stage makes is what the next one reads.
inline constexpr int kTile = 4;

using Winograd3 = Winograd<kTile, 3>;  // conv1 (nine taps as three times three), conv2 of 9-3-5
using Winograd5 = Winograd<kTile, 5>;  // conv2 of 9-5-5

}  // namespace srcnn::cpu
