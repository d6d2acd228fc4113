// Inputs, gradients and their memory for the tests of the CPU backward.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "samples.h"

namespace samples {

// Which gradients: bit 0 for x, then weight1, bias1, ..., bias3.
using Wanted = unsigned;
inline constexpr Wanted kEverything = 127, kWeights = 126;

// An input, a gradient of the output, and what comes of them in float64.
struct BackwardSample {
  // Where a feature is next to 0 before the ReLU, float32 may take the other branch, and its gradients with it; where the terms
  // of a gradient all but cancel out (the input's, if it is one pixel), its error is that of the terms. Then another input is
  // tried.
  static constexpr double kLeftOver = 0.1;
  const double closest;  // more for a 5x5 conv2, whose tiles round more

  BackwardSample(int kernel2, int channels, Padding padding, int64_t scale, Bicubic bicubic, int64_t batch, int64_t height,
                 int64_t width)
      : closest(kernel2 == 5 ? 5e-6 : 2e-6),
        net(network(kernel2, channels)),
        image(batch, channels, height, width),
        grad_output(batch, channels, scale * height, scale * width),
        features{image, image, image, 0},
        expected{image, image, {}, {}, {}} {
    problem.conv1 = net.conv1;
    problem.conv2 = net.conv2;
    problem.conv3 = net.conv3;
    problem.scale = scale;
    problem.bicubic = bicubic;
    problem.padding = padding;
    for (uint32_t seed = 1; features.closest < closest || cancels(); ++seed) {
      if (seed > 50) throw std::runtime_error("no input keeps the features away from 0");
      image = random_image(batch, channels, height, width, seed);
      Random random(99 + seed);
      for (double& value : grad_output.values) value = random.uniform(-1, 1);
      features = reference::features(image, bicubic, scale, padding, net.conv1, net.conv2);
      if (features.closest >= closest) compute();
    }
  }

  void compute() { expected = reference::srcnn_backward(grad_output, image, features, problem); }

  bool cancels() const {
    double largest = 0, terms = 0;
    for (const double value : expected.input.values) largest = std::max(largest, std::abs(value));
    for (const double value : expected.enlarged.values) terms += value * value;
    return largest * largest * static_cast<double>(expected.input.values.size()) < kLeftOver * terms;
  }

  const Network& net;
  srcnn::BackwardProblem problem;  // without views
  reference::Image image, grad_output;
  reference::Features features;
  reference::Gradients expected;
};

// Room for all gradients; those that are not wanted get no pointer. Each is followed by a gap.
class GradientMemory {
 public:
  GradientMemory(const BackwardSample& sample, Wanted wanted)
      : wanted_(wanted),
        input_(Layout::kCropped, sample.image.batch, sample.image.channels, sample.image.height, sample.image.width) {
    for (const std::vector<double>* values : expected(sample)) {
      memory_.emplace_back(values->size() + kGap, gap());
    }
  }

  srcnn::BackwardProblem problem(const BackwardSample& sample, const Pixels& input, const Pixels& grad_output) {
    srcnn::BackwardProblem problem = sample.problem;
    problem.input = input.const_view();
    problem.grad_output = grad_output.const_view();
    if (wanted_ & 1) problem.grad_input = input_.view();
    problem.grad1 = {data(0), data(1)};
    problem.grad2 = {data(2), data(3)};
    problem.grad3 = {data(4), data(5)};
    return problem;
  }

  // The worst difference of any gradient that is wanted, relative to its largest value; infinite where only one is NaN.
  double worst_error(const BackwardSample& sample) const {
    double worst = 0;
    if (wanted_ & 1) {
      double largest = 0, error = 0;
      input_.for_each([&](float& pixel, int64_t n, int64_t c, int64_t y, int64_t x) {
        compare(pixel, sample.expected.input.row(n, c, y)[x], largest, error);
      });
      worst = relative(error, largest);
    }
    for (size_t i = 0; i < memory_.size(); ++i) {
      if (!is_wanted(i)) continue;
      const std::vector<double>& values = *expected(sample)[i];
      double largest = 0, error = 0;
      for (size_t j = 0; j < values.size(); ++j) compare(memory_[i][j], values[j], largest, error);
      worst = std::max(worst, relative(error, largest));
    }
    return worst;
  }

  // Nothing was written but what is wanted, and that whole.
  bool gaps_untouched() const {
    bool good = input_.gaps_untouched();
    if (!(wanted_ & 1)) input_.for_each([&](float& pixel, auto...) { good = good && is_gap(pixel); });
    for (size_t i = 0; i < memory_.size(); ++i) {
      const size_t size = memory_[i].size() - kGap, from = is_wanted(i) ? size : 0;
      for (size_t j = 0; j < memory_[i].size(); ++j) good = good && is_gap(memory_[i][j]) == (j >= from);
    }
    return good;
  }

  bool all_zero() const {
    for (size_t i = 0; i < memory_.size(); ++i) {
      if (std::any_of(memory_[i].begin(), memory_[i].end() - kGap, [](float v) { return v != 0.0f; })) return false;
    }
    return true;
  }

  bool same_bits(const GradientMemory& other) const {
    if (!input_.same_bits(other.input_)) return false;
    for (size_t i = 0; i < memory_.size(); ++i) {
      if (std::memcmp(memory_[i].data(), other.memory_[i].data(), memory_[i].size() * sizeof(float)) != 0) return false;
    }
    return true;
  }

 private:
  static constexpr int kGap = 40;

  static std::vector<const std::vector<double>*> expected(const BackwardSample& s) {
    const reference::Gradients& e = s.expected;
    return {&e.conv1.weight, &e.conv1.bias, &e.conv2.weight, &e.conv2.bias, &e.conv3.weight, &e.conv3.bias};
  }
  static void compare(float got, double want, double& largest, double& error) {
    if (std::isnan(want) && std::isnan(got) && !is_gap(got)) return;
    const double difference = std::abs(static_cast<double>(got) - want);
    error = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(error, difference);
    if (!std::isnan(want)) largest = std::max(largest, std::abs(want));
  }
  static double relative(double error, double largest) { return error == 0 ? 0 : error / largest; }

  bool is_wanted(size_t i) const { return wanted_ >> (i + 1) & 1; }
  float* data(size_t i) { return is_wanted(i) ? memory_[i].data() : nullptr; }

  Wanted wanted_;
  Pixels input_;
  std::vector<std::vector<float>> memory_;  // weight1, bias1, ..., bias3
};

}  // namespace samples
