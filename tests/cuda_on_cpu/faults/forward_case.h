// One forward of the CUDA kernels on the CPU, and how far it is from the float64 reference.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "../backward_16_bits.h"
#include "../sixteen_bits.h"
#include "cuda/kernels.h"
#include "samples.h"

namespace faults {

struct Case {
  int kernel2, channels;
  std::string type;  // float, tf32, half, bfloat16, or wgmma: half by that kernel; or backward, backward_half: all gradients,
                     // in float or half
  srcnn::Padding padding;
  int64_t scale, batch, height, width;  // of the input
  int compute_capability;
};

using samples::round_to;
using samples::to_float;

// Numbers as T, and the same rounded numbers as floats for the reference.
template <class T>
struct Rounded {
  std::vector<T> values;
  std::vector<float> floats;

  template <class From>
  Rounded(const From* from, size_t count) : values(count), floats(count) {
    for (size_t i = 0; i < count; ++i) {
      round_to(static_cast<float>(from[i]), values[i]);
      floats[i] = to_float(values[i]);
    }
  }
};

// A case with its weights, image and expected output, to be run under as many seeds as one likes.
template <class T>
class Forward {
 public:
  explicit Forward(const Case& c)
      : image_(samples::random_image(c.batch, c.channels, c.height, c.width)),
        input_(image_.values.data(), image_.values.size()),
        expected_(0, 0, 0, 0) {
    std::copy(input_.floats.begin(), input_.floats.end(), image_.values.begin());
    srcnn::ForwardProblem exact = samples::network(c.kernel2, c.channels).problem(c.scale, srcnn::Bicubic::kMatlab, c.padding);
    kept_.reserve(6);
    take(exact.conv1, problem_.conv1);
    take(exact.conv2, problem_.conv2);
    take(exact.conv3, problem_.conv3);
    expected_ = reference::srcnn(image_, exact);
    problem_.input = view<const T>(input_.values.data(), c, c.height, c.width);
    problem_.scale = c.scale;
    problem_.padding = c.padding;
    problem_.allow_tf32 = c.type == "tf32";
  }

  // The largest error, relative to numbers above one; infinite where a number is NaN or was never written.
  double error(const Case& c) const {
    T nan;
    round_to(NAN, nan);
    std::vector<T> output(expected_.values.size(), nan);
    srcnn::ForwardProblemOf<T> problem = problem_;
    problem.output = view<T>(output.data(), c, expected_.height, expected_.width);
    std::vector<uint4> workspace(srcnn::cuda::srcnn_forward_workspace(problem) / sizeof(uint4), make_uint4(~0u, ~0u, ~0u, ~0u));
    srcnn::cuda::srcnn_forward(problem, workspace.data(), nullptr);
    double worst = 0;
    for (size_t i = 0; i < output.size(); ++i) {
      const double want = expected_.values[i], error = std::abs(to_float(output[i]) - want) / std::max(1.0, std::abs(want));
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
    return worst;
  }

 private:
  template <class U>
  static srcnn::ImageView<U> view(U* data, const Case& c, int64_t height, int64_t width) {
    return {data, c.batch, c.channels, height, width, c.channels * height * width, height * width, width, 1};
  }

  void take(srcnn::ConvWeights& from, srcnn::ConvWeightsOf<T>& to) {
    const Rounded<T>& weight = kept_.emplace_back(
        from.weight, static_cast<size_t>(from.out_channels) * from.in_channels * from.kernel_size * from.kernel_size);
    const Rounded<T>& bias = kept_.emplace_back(from.bias, static_cast<size_t>(from.out_channels));
    to = {weight.values.data(), bias.values.data(), from.out_channels, from.in_channels, from.kernel_size};
    from.weight = weight.floats.data();
    from.bias = bias.floats.data();
  }

  reference::Image image_;
  Rounded<T> input_;
  std::vector<Rounded<T>> kept_;
  srcnn::ForwardProblemOf<T> problem_;
  reference::Image expected_;
};

// What rounding alone does to the random networks stays below; a fault is far above.
inline double tolerance(const std::string& type) {
  if (type == "backward_half") return samples::kTolerance16<srcnn::Half>;
  return type == "float" || type == "backward" ? samples::kTolerance : type == "bfloat16" ? 3e-2 : 4e-3;
}

}  // namespace faults
