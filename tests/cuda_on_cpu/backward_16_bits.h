// One backward of the CUDA kernels in 16 bits on the CPU, and how far its gradients are from a reference that rounds where the
// kernel does: the enlarged image, features, and their gradients, to 16 bits; products and sums are float64.
//
// So what is left is the sums of the kernel, in float: where a sum is next to the middle of two 16-bit numbers, it may be
// rounded to the other one, and what is made of it is off by a unit in the last place of one term. With the rounding of the
// result itself that is less than three halves of such units, of the largest value; 16-bit arithmetic can promise no more.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "cuda/backward.h"
#include "samples_backward.h"
#include "sixteen_bits.h"

namespace samples {

// Relative to the largest value of a gradient: four times half a unit in the last place of one.
template <class T>
inline constexpr double kTolerance16 = std::is_same_v<T, srcnn::Half> ? 4.0 / 2048 : 4.0 / 256;

template <class T>
class Backward16 {
 public:
  // x's gradient, then weight1's, bias1's, ..., bias3's, each followed by a gap.
  using Results = std::array<std::vector<T>, 7>;

  explicit Backward16(const Case& c) : case_(c), image(c.batch, c.channels, c.height, c.width), grad_output(image) {
    const Network& net = network(c.kernel2, c.channels);
    const srcnn::ConvWeights* const from[] = {&net.conv1, &net.conv2, &net.conv3};
    for (size_t i = 0; i < 3; ++i) {
      const size_t taps = static_cast<size_t>(from[i]->kernel_size) * static_cast<size_t>(from[i]->kernel_size);
      const auto out = static_cast<size_t>(from[i]->out_channels);
      take(from[i]->weight, out * static_cast<size_t>(from[i]->in_channels) * taps, 2 * i);
      take(from[i]->bias, out, 2 * i + 1);
      convs[i] = {weights[2 * i].data(), weights[2 * i + 1].data(), from[i]->out_channels, from[i]->in_channels,
                  from[i]->kernel_size};
    }
    // A feature next to 0 may be on its other side in float; then another input is tried.
    constexpr double kClosest = 2e-6;
    for (uint32_t seed = 1; seed <= 50; ++seed) {
      image = random_image(c.batch, c.channels, c.height, c.width, seed);
      grad_output = reference::Image(c.batch, c.channels, c.scale * c.height, c.scale * c.width);
      Random random(99 + seed);
      for (double& value : grad_output.values) value = random.uniform(-1, 1);
      rounded(image);
      rounded(grad_output);
      if (compute() >= kClosest) return;
    }
    throw std::runtime_error("no input keeps the features away from 0");
  }

  // The expected gradients, from `image`, `grad_output` and `convs`; returns how close features come to 0.
  double compute() {
    const auto scale = static_cast<double>(case_.scale);
    reference::Image enlarged = case_.scale == 1 ? image
                                                 : reference::bicubic(image, case_.scale * case_.height,
                                                                      case_.scale * case_.width, scale, scale, case_.bicubic);
    rounded(enlarged);
    double closest = INFINITY;
    const auto feature = [&](const reference::Image& x, const srcnn::ConvWeights& conv) {
      reference::Image out = reference::convolution(x, conv, case_.padding, false);
      for (double& value : out.values) {
        closest = std::min(closest, std::abs(value));
        value = value <= 0 ? 0 : value;  // NaN stays
      }
      rounded(out);
      return out;
    };
    const reference::Image hidden1 = feature(enlarged, convs[0]), hidden2 = feature(hidden1, convs[1]);
    const auto back = [&](const reference::Image& grad, const reference::Image& x, size_t i, bool relu) {
      reference::ConvGradients gradients;
      reference::Image out = reference::convolution_backward(grad, x, convs[i], case_.padding, gradients);
      if (relu) {
        for (size_t j = 0; j < out.values.size(); ++j) out.values[j] = x.values[j] <= 0 ? 0 : out.values[j];
        rounded(out);
      }
      expected[1 + 2 * i] = gradients.weight;
      expected[2 + 2 * i] = gradients.bias;
      return out;
    };
    const reference::Image input = back(back(back(grad_output, hidden2, 2, true), hidden1, 1, true), enlarged, 0, false);
    expected[0] =
        (case_.scale == 1 ? input : reference::bicubic_backward(input, case_.height, case_.width, scale, scale, case_.bicubic))
            .values;
    return closest;
  }

  // `columns_first`: the images lie in memory column after column. `images`: the first so many of the batch; by default all.
  Results run(Wanted wanted = kEverything, bool columns_first = false, int64_t images = -1) const {
    srcnn::BackwardProblemOf<T> problem;
    const std::vector<T> x = bits(stored(image, columns_first).values), grad = bits(stored(grad_output, columns_first).values);
    problem.input = view(x.data(), case_.height, case_.width, columns_first);
    problem.grad_output = view(grad.data(), case_.scale * case_.height, case_.scale * case_.width, columns_first);
    if (images >= 0) problem.input.batch = problem.grad_output.batch = images;
    problem.scale = case_.scale;
    problem.bicubic = case_.bicubic;
    problem.padding = case_.padding;
    std::array<std::vector<T>, 6> parameters;
    for (size_t i = 0; i < 6; ++i) parameters[i] = bits(weights[i]);
    srcnn::ConvWeightsOf<T>* const to[] = {&problem.conv1, &problem.conv2, &problem.conv3};
    srcnn::ConvGradientsOf<T>* const grads[] = {&problem.grad1, &problem.grad2, &problem.grad3};
    Results results;
    for (size_t i = 0; i < 7; ++i) results[i].assign(expected[i].size() + kGap, T{kGapBits});
    const auto place = [&](size_t i) { return (wanted >> i & 1) != 0 ? results[i].data() : nullptr; };
    for (size_t i = 0; i < 3; ++i) {
      *to[i] = {parameters[2 * i].data(), parameters[2 * i + 1].data(), convs[i].out_channels, convs[i].in_channels,
                convs[i].kernel_size};
      *grads[i] = {place(1 + 2 * i), place(2 + 2 * i)};
    }
    if ((wanted & 1) != 0) problem.grad_input = view(results[0].data(), case_.height, case_.width);
    const size_t bytes = srcnn::cuda::srcnn_backward_workspace(problem);
    std::vector<uint4> workspace(bytes / sizeof(uint4), make_uint4(~0u, ~0u, ~0u, ~0u));  // NaN
    srcnn::cuda::srcnn_backward(problem, workspace.data(), nullptr);
    return results;
  }

  // The worst difference of any gradient that is wanted, relative to its largest finite value; infinite where the result or
  // what is expected is not finite and they are not the same, or where one was written that is not wanted.
  double error(const Results& results, Wanted wanted = kEverything) const {
    double worst = 0;
    for (size_t i = 0; i < 7; ++i) {
      const bool is_wanted = (wanted >> i & 1) != 0;
      double largest = 0, error = 0;
      for (size_t j = 0; j < results[i].size(); ++j) {
        const bool gap = results[i][j].bits == kGapBits;
        if (gap != (!is_wanted || j >= expected[i].size())) return INFINITY;
        if (gap) continue;
        const double got = to_float(results[i][j]), want = expected[i][j];
        if (!std::isfinite(got) || !std::isfinite(want)) {
          if (got == want || (std::isnan(got) && std::isnan(want))) continue;
          return INFINITY;
        }
        largest = std::max(largest, std::abs(want));
        error = std::max(error, std::abs(got - want));
      }
      if (error > 0) worst = std::max(worst, error / largest);
    }
    return worst;
  }

 private:
  static constexpr size_t kGap = 40;
  static constexpr uint16_t kGapBits = 0x7fa5;  // NaN that no arithmetic gives

  static double rounded(double value) {
    T sixteen;
    round_to(static_cast<float>(value), sixteen);
    return to_float(sixteen);
  }
  static void rounded(reference::Image& image) {
    for (double& value : image.values) value = rounded(value);
  }
  template <class Numbers>
  static std::vector<T> bits(const Numbers& numbers) {
    std::vector<T> result(numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i) round_to(static_cast<float>(numbers[i]), result[i]);
    return result;
  }
  void take(const float* from, size_t count, size_t i) {
    weights[i].resize(count);
    for (size_t j = 0; j < count; ++j) weights[i][j] = static_cast<float>(rounded(from[j]));
  }
  template <class U>
  srcnn::ImageView<U> view(U* data, int64_t height, int64_t width, bool columns_first = false) const {
    const int64_t c = case_.channels, plane = height * width;
    return {data, case_.batch, c, height, width, c * plane, plane, columns_first ? 1 : width, columns_first ? height : 1};
  }
  static reference::Image stored(const reference::Image& image, bool columns_first) {
    if (!columns_first) return image;
    reference::Image turned(image.batch, image.channels, image.width, image.height);
    for (int64_t plane = 0; plane < image.batch * image.channels; ++plane) {
      for (int64_t y = 0; y < image.height; ++y) {
        for (int64_t x = 0; x < image.width; ++x) turned.row(0, plane, x)[y] = image.row(0, plane, y)[x];
      }
    }
    return turned;
  }

  Case case_;

 public:
  std::array<std::vector<float>, 6> weights;  // weight1, bias1, ..., rounded to 16 bits
  reference::Image image, grad_output;
  std::array<srcnn::ConvWeights, 3> convs;
  std::array<std::vector<double>, 7> expected;
};

}  // namespace samples
