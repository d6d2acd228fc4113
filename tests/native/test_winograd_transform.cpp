// Winograd's transforms as algebra: the matrices against the definition of a convolution, the vector code against the matrices.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "cpu/vec_generic.h"
#include "cpu/winograd_tile.h"
#include "cpu/winograd_transform.h"
#include "samples.h"

using namespace srcnn;
using namespace samples;

namespace {

template <class W>
void check_matrices() {
  constexpr int n = W::kPoints;
  // Both sides are bilinear in taps and inputs: unit vectors prove it for all. Read the other way round, of coefficients
  // instead of outputs, it is the product of polynomials that conv3 and the backward take.
  for (int tap = 0; tap < W::kR; ++tap) {
    for (int input = 0; input < n; ++input) {
      for (int output = 0; output < W::kM; ++output) {
        double sum = 0;
        for (int p = 0; p < n; ++p) {
          sum += W::kOutput.at[output][p] * (W::kWeight.at[p][tap] * W::kInput.at[p][input]);
        }
        INFO("F(", W::kM, ", ", W::kR, "), tap ", tap, ", input ", input, ", output ", output);
        CHECK(std::abs(sum - (output + tap == input ? 1 : 0)) <= 1e-14);
      }
    }
  }
  for (const auto& row : W::kInput.at) {
    for (const double b : row) CHECK(static_cast<double>(static_cast<float>(b)) == b);
  }
  for (const auto& row : W::kOutput.at) {
    for (const double a : row) CHECK(static_cast<double>(static_cast<float>(a)) == a);
  }
}

// Small integers: every intermediate value is exact, so that the order of additions does not matter.
template <class W>
void check_vectors() {
  constexpr int n = W::kPoints;
  using Vec = cpu::Generic::Vec;
  Random random(1);
  for (int trial = 0; trial < 100; ++trial) {
    Vec in[n], transformed[n], out[W::kM], values[n], coefficients[n];
    for (Vec& vec : in) {
      for (int lane = 0; lane < cpu::Generic::kLanes; ++lane) vec[lane] = std::round(random.uniform(-512, 512));
    }
    cpu::transform_input<cpu::Generic, W>(in, transformed);
    cpu::transform_output<cpu::Generic, W>(in, out);
    cpu::evaluate<cpu::Generic, W>(in, values);  // of the first kM
    cpu::interpolate<cpu::Generic, W>(in, coefficients);
    for (int lane = 0; lane < cpu::Generic::kLanes; ++lane) {
      for (int p = 0; p < n; ++p) {
        double want = 0;
        for (int k = 0; k < n; ++k) want += W::kInput.at[p][k] * static_cast<double>(in[k][lane]);
        CHECK(static_cast<double>(transformed[p][lane]) == want);
        double value = 0, coefficient = 0;
        for (int j = 0; j < W::kM; ++j) value += W::kOutput.at[j][p] * static_cast<double>(in[j][lane]);
        for (int q = 0; q < n; ++q) coefficient += W::kInput.at[q][p] * static_cast<double>(in[q][lane]);
        CHECK(static_cast<double>(values[p][lane]) == value);
        CHECK(static_cast<double>(coefficients[p][lane]) == coefficient);
      }
      for (int j = 0; j < W::kM; ++j) {
        double want = 0;
        for (int p = 0; p < n; ++p) want += W::kOutput.at[j][p] * static_cast<double>(in[p][lane]);
        CHECK(static_cast<double>(out[j][lane]) == want);
      }
    }
  }
}

}  // namespace

TEST_CASE("the matrices compute the convolution, and are exact in float32 where the kernels use them") {
  check_matrices<cpu::Winograd3>();
  check_matrices<cpu::Winograd5>();
  check_matrices<cpu::Winograd<2, 3>>();
}

TEST_CASE("the vector code multiplies by the matrices") {
  check_vectors<cpu::Winograd3>();
  check_vectors<cpu::Winograd5>();
}
