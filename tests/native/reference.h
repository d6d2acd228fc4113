// What the kernels are tested against: bicubic and three convolutions in plain scalar float64 loops, written from the
// definitions (Keys 1981; Dong et al., TPAMI 2016, section 3) and sharing nothing with csrc/ but the problem's enums.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "srcnn.h"

namespace reference {

// [N, C, H, W], contiguous.
struct Image {
  int64_t batch = 0, channels = 0, height = 0, width = 0;
  std::vector<double> values;

  Image(int64_t n, int64_t c, int64_t h, int64_t w)
      : batch(n), channels(c), height(h), width(w), values(static_cast<size_t>(n * c * h * w)) {}

  double* row(int64_t n, int64_t c, int64_t y) { return values.data() + ((n * channels + c) * height + y) * width; }
  const double* row(int64_t n, int64_t c, int64_t y) const { return const_cast<Image*>(this)->row(n, c, y); }
};

inline double keys(double t, double a) {
  t = std::abs(t);
  if (t >= 2) return 0;
  if (t > 1) return a * (t * t * t - 5 * t * t + 8 * t - 4);
  return (a + 2) * t * t * t - (a + 3) * t * t + 1;
}

struct Tap {
  int64_t source;
  double weight;
};

// The source samples that make output i along one axis. Keeping the length is a copy.
inline std::vector<Tap> window(srcnn::Bicubic bicubic, int64_t in, int64_t out, double scale, int64_t i) {
  using srcnn::Bicubic;
  if (in == out && scale == 1) return {{i, 1.0}};
  const double a = bicubic == Bicubic::kTorch ? -0.75 : -0.5;
  const double stretch = bicubic != Bicubic::kTorch && scale < 1 ? scale : 1;
  const double u = (static_cast<double>(i) + 0.5) / scale - 0.5, support = 2 / stretch;
  const auto first = static_cast<int64_t>(std::floor(u - support)) + 1;
  const auto count = static_cast<int64_t>(std::ceil(2 * support));
  std::vector<Tap> taps;
  double sum = 0;
  for (int64_t j = first; j < first + count; ++j) {
    const bool inside = j >= 0 && j < in;
    double weight = keys(stretch * (u - static_cast<double>(j)), a);
    int64_t source = j;
    if (bicubic == Bicubic::kMatlab) {
      while (source < 0 || source >= in) source = source < 0 ? -1 - source : 2 * in - 1 - source;  // mirror, the edge repeated
    } else {
      source = std::clamp<int64_t>(j, 0, in - 1);
      if (bicubic == Bicubic::kPil && !inside) weight = 0;
    }
    taps.push_back({source, weight});
    sum += weight;
  }
  if (bicubic != Bicubic::kTorch) {
    for (Tap& tap : taps) tap.weight /= sum;
  }
  return taps;
}

inline Image bicubic(const Image& x, int64_t height, int64_t width, double scale_height, double scale_width,
                     srcnn::Bicubic convention) {
  Image wide(x.batch, x.channels, x.height, width), out(x.batch, x.channels, height, width);
  for (int64_t i = 0; i < width; ++i) {
    const std::vector<Tap> taps = window(convention, x.width, width, scale_width, i);
    for (int64_t line = 0; line < x.batch * x.channels * x.height; ++line) {
      double sum = 0;
      for (const Tap& tap : taps) sum += tap.weight * x.values[static_cast<size_t>(line * x.width + tap.source)];
      wide.values[static_cast<size_t>(line * width + i)] = sum;
    }
  }
  for (int64_t i = 0; i < height; ++i) {
    const std::vector<Tap> taps = window(convention, x.height, height, scale_height, i);
    for (int64_t plane = 0; plane < x.batch * x.channels; ++plane) {
      double* to = out.row(0, plane, i);
      for (const Tap& tap : taps) {
        const double* from = wide.row(0, plane, tap.source);
        for (int64_t c = 0; c < width; ++c) to[c] += tap.weight * from[c];
      }
    }
  }
  return out;
}

// x with `margin` more pixels on every side.
inline Image padded(const Image& x, int64_t margin, srcnn::Padding padding) {
  Image out(x.batch, x.channels, x.height + 2 * margin, x.width + 2 * margin);
  for (int64_t plane = 0; plane < x.batch * x.channels; ++plane) {
    for (int64_t y = 0; y < out.height; ++y) {
      const int64_t from_y = std::clamp<int64_t>(y - margin, 0, x.height - 1);
      for (int64_t c = 0; c < out.width; ++c) {
        const int64_t from_c = std::clamp<int64_t>(c - margin, 0, x.width - 1);
        const bool inside = from_y == y - margin && from_c == c - margin;
        if (inside || padding == srcnn::Padding::kReplicate) out.row(0, plane, y)[c] = x.row(0, plane, from_y)[from_c];
      }
    }
  }
  return out;
}

// Sanitizers would make this, the bulk of the tests' work, several times slower; they are after the kernels.
__attribute__((no_sanitize("address", "undefined", "thread"))) inline Image convolution(const Image& x,
                                                                                        const srcnn::ConvWeights& conv,
                                                                                        srcnn::Padding padding, bool relu) {
  const int k = conv.kernel_size;
  const Image in = padded(x, k / 2, padding);
  Image out(x.batch, conv.out_channels, x.height, x.width);
  for (int64_t n = 0; n < x.batch; ++n) {
    for (int64_t o = 0; o < conv.out_channels; ++o) {
      for (int64_t y = 0; y < x.height; ++y) {
        double* to = out.row(n, o, y);
        std::fill(to, to + x.width, static_cast<double>(conv.bias[o]));
        const float* weight = conv.weight + o * conv.in_channels * k * k;
        for (int64_t i = 0; i < conv.in_channels; ++i) {
          for (int ky = 0; ky < k; ++ky) {
            for (int kx = 0; kx < k; ++kx, ++weight) {
              const double w = *weight;
              const double* from = in.row(n, i, y + ky) + kx;
              for (int64_t c = 0; c < x.width; ++c) to[c] += w * from[c];
            }
          }
        }
        if (relu) {
          for (int64_t c = 0; c < x.width; ++c) to[c] = to[c] < 0 ? 0 : to[c];  // NaN stays
        }
      }
    }
  }
  return out;
}

// The whole line, for the problem's convolutions, scale, convention and padding; its views are not looked at.
inline Image srcnn(const Image& x, const srcnn::ForwardProblem& problem) {
  const int64_t s = problem.scale;
  const auto scale = static_cast<double>(s);
  const Image y = s == 1 ? x : bicubic(x, s * x.height, s * x.width, scale, scale, problem.bicubic);
  const Image hidden1 = convolution(y, problem.conv1, problem.padding, true);
  const Image hidden2 = convolution(hidden1, problem.conv2, problem.padding, true);
  return convolution(hidden2, problem.conv3, problem.padding, false);
}

// ------------------------------------------------------------------------------------------------------------- backward

struct ConvGradients {
  std::vector<double> weight, bias;
};

struct Gradients {
  Image input, enlarged;
  ConvGradients conv1, conv2, conv3;
};

// From the gradient of a convolution's output to that of its input; adds to those of weights and biases. Every product of the
// forward gives its two factors their share.
__attribute__((no_sanitize("address", "undefined", "thread"))) inline Image convolution_backward(
    const Image& grad, const Image& x, const srcnn::ConvWeights& conv, srcnn::Padding padding, ConvGradients& gradients) {
  const int k = conv.kernel_size;
  const Image in = padded(x, k / 2, padding);
  Image grad_in(in.batch, in.channels, in.height, in.width), grad_x(x.batch, x.channels, x.height, x.width);
  gradients.weight.assign(static_cast<size_t>(conv.out_channels) * conv.in_channels * k * k, 0.0);
  gradients.bias.assign(static_cast<size_t>(conv.out_channels), 0.0);
  for (int64_t n = 0; n < x.batch; ++n) {
    for (int64_t o = 0; o < conv.out_channels; ++o) {
      for (int64_t y = 0; y < x.height; ++y) {
        const double* g = grad.row(n, o, y);
        for (int64_t c = 0; c < x.width; ++c) gradients.bias[static_cast<size_t>(o)] += g[c];
        int64_t w = o * conv.in_channels * k * k;
        for (int64_t i = 0; i < conv.in_channels; ++i) {
          for (int ky = 0; ky < k; ++ky) {
            for (int kx = 0; kx < k; ++kx, ++w) {
              const double* from = in.row(n, i, y + ky) + kx;
              double* to = grad_in.row(n, i, y + ky) + kx;
              double sum = 0;
              for (int64_t c = 0; c < x.width; ++c) {
                sum += g[c] * from[c];
                to[c] += g[c] * static_cast<double>(conv.weight[w]);
              }
              gradients.weight[static_cast<size_t>(w)] += sum;
            }
          }
        }
      }
    }
  }
  // Back through the padding: what a pixel outside was a copy of gets its gradient, zeros get none.
  for (int64_t plane = 0; plane < x.batch * x.channels; ++plane) {
    for (int64_t y = 0; y < in.height; ++y) {
      const int64_t to_y = std::clamp<int64_t>(y - k / 2, 0, x.height - 1);
      for (int64_t c = 0; c < in.width; ++c) {
        const int64_t to_c = std::clamp<int64_t>(c - k / 2, 0, x.width - 1);
        const bool inside = to_y == y - k / 2 && to_c == c - k / 2;
        if (inside || padding == srcnn::Padding::kReplicate) grad_x.row(0, plane, to_y)[to_c] += grad_in.row(0, plane, y)[c];
      }
    }
  }
  return grad_x;
}

// The transpose of bicubic() for an input of height x width.
inline Image bicubic_backward(const Image& grad, int64_t height, int64_t width, double scale_height, double scale_width,
                              srcnn::Bicubic convention) {
  Image wide(grad.batch, grad.channels, height, grad.width), out(grad.batch, grad.channels, height, width);
  const int64_t planes = grad.batch * grad.channels;
  for (int64_t i = 0; i < grad.height; ++i) {
    for (const Tap& tap : window(convention, height, grad.height, scale_height, i)) {
      for (int64_t plane = 0; plane < planes; ++plane) {
        for (int64_t c = 0; c < grad.width; ++c) {
          wide.row(0, plane, tap.source)[c] += tap.weight * grad.row(0, plane, i)[c];
        }
      }
    }
  }
  for (int64_t i = 0; i < grad.width; ++i) {
    for (const Tap& tap : window(convention, width, grad.width, scale_width, i)) {
      for (int64_t line = 0; line < planes * height; ++line) {
        out.values[static_cast<size_t>(line * width + tap.source)] +=
            tap.weight * wide.values[static_cast<size_t>(line * grad.width + i)];
      }
    }
  }
  return out;
}

// The features of the forward, and how close they come to 0 before the ReLU.
struct Features {
  Image enlarged, hidden1, hidden2;
  double closest;
};

inline Features features(const Image& x, srcnn::Bicubic bicubic_name, int64_t s, srcnn::Padding padding,
                         const srcnn::ConvWeights& conv1, const srcnn::ConvWeights& conv2) {
  const auto scale = static_cast<double>(s);
  Image y = s == 1 ? x : bicubic(x, s * x.height, s * x.width, scale, scale, bicubic_name);
  double closest = INFINITY;
  const auto rectified = [&](const Image& in, const srcnn::ConvWeights& conv) {
    Image out = convolution(in, conv, padding, false);
    for (double& value : out.values) {
      closest = std::min(closest, std::abs(value));
      value = value <= 0 ? 0 : value;  // NaN stays
    }
    return out;
  };
  Image hidden1 = rectified(y, conv1);
  Image hidden2 = rectified(hidden1, conv2);
  return {std::move(y), std::move(hidden1), std::move(hidden2), closest};
}

// All gradients of srcnn(), for the problem's convolutions, scale, convention and padding; its views are not looked at.
inline Gradients srcnn_backward(const Image& grad_output, const Image& x, const Features& f,
                                const srcnn::BackwardProblem& problem) {
  const auto cut = [](Image& grad, const Image& feature) {
    for (size_t i = 0; i < grad.values.size(); ++i) grad.values[i] = feature.values[i] <= 0 ? 0 : grad.values[i];
  };
  ConvGradients conv1, conv2, conv3;
  Image grad = convolution_backward(grad_output, f.hidden2, problem.conv3, problem.padding, conv3);
  cut(grad, f.hidden2);
  grad = convolution_backward(grad, f.hidden1, problem.conv2, problem.padding, conv2);
  cut(grad, f.hidden1);
  grad = convolution_backward(grad, f.enlarged, problem.conv1, problem.padding, conv1);
  const auto scale = static_cast<double>(problem.scale);
  Image input = problem.scale == 1 ? grad : bicubic_backward(grad, x.height, x.width, scale, scale, problem.bicubic);
  return {std::move(input), std::move(grad), std::move(conv1), std::move(conv2), std::move(conv3)};
}

}  // namespace reference
