// Networks, images in every memory layout, thread pools and instruction sets for the tests of the CPU kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "cpu/algorithm.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "reference.h"
#include "srcnn.h"

namespace samples {

using srcnn::Bicubic;
using srcnn::ImageView;
using srcnn::Padding;

inline constexpr double kTolerance = 1e-5;          // for values of order one
inline constexpr double kWinogradTolerance = 5e-5;  // the same, of a forward by Winograd
inline constexpr srcnn::cpu::Algorithm kAlgorithms[] = {srcnn::cpu::Algorithm::kDirect, srcnn::cpu::Algorithm::kWinograd};
inline constexpr Bicubic kConventions[] = {Bicubic::kMatlab, Bicubic::kPil, Bicubic::kTorch};
inline constexpr Padding kPaddings[] = {Padding::kZeros, Padding::kReplicate};
inline constexpr int kKernels2[] = {1, 3, 5};

// std::string because doctest prints a char pointer as an address.
inline std::string name_of(Bicubic bicubic) {
  return bicubic == Bicubic::kMatlab ? "matlab" : bicubic == Bicubic::kPil ? "pil" : "torch";
}

inline std::string name_of(srcnn::cpu::Isa isa) { return srcnn::cpu::isa_name(isa); }

inline std::string name_of(srcnn::cpu::Algorithm algorithm) { return srcnn::cpu::algorithm_name(algorithm); }

inline double tolerance_of(srcnn::cpu::Algorithm algorithm) {
  return algorithm == srcnn::cpu::Algorithm::kDirect ? kTolerance : kWinogradTolerance;
}

// ------------------------------------------------------------------------------------------------- values and networks

// The same numbers on every platform: std::uniform_real_distribution may differ between standard libraries.
class Random {
 public:
  explicit Random(uint32_t seed) : bits_(seed) {}
  double uniform() { return static_cast<double>(bits_()) / 4294967296.0; }
  float uniform(double low, double high) { return static_cast<float>(low + (high - low) * uniform()); }

 private:
  std::mt19937 bits_;
};

// Pixels in [0, 1] that are exact floats, so that kernel and reference start from the same numbers.
inline reference::Image random_image(int64_t batch, int64_t channels, int64_t height, int64_t width, uint32_t seed = 1) {
  reference::Image image(batch, channels, height, width);
  Random random(seed);
  for (double& value : image.values) value = random.uniform(0, 1);
  return image;
}

struct Network {
  std::vector<float> weight1, bias1, weight2, bias2, weight3, bias3;
  srcnn::ConvWeights conv1, conv2, conv3;

  // Weights scaled by their number of inputs: every layer's values are of order one, and about half are cut by the ReLU.
  Network(int kernel2, int channels) {
    Random random(static_cast<uint32_t>(10 * kernel2 + channels));
    conv1 = layer(random, weight1, bias1, srcnn::kWidth1, channels, srcnn::kKernel1);
    conv2 = layer(random, weight2, bias2, srcnn::kWidth2, srcnn::kWidth1, kernel2);
    conv3 = layer(random, weight3, bias3, channels, srcnn::kWidth2, srcnn::kKernel3);
  }
  Network(const Network&) = delete;

  srcnn::ForwardProblem problem(int64_t scale, Bicubic bicubic, Padding padding) const {
    srcnn::ForwardProblem problem;
    problem.conv1 = conv1;
    problem.conv2 = conv2;
    problem.conv3 = conv3;
    problem.scale = scale;
    problem.bicubic = bicubic;
    problem.padding = padding;
    return problem;
  }

 private:
  static srcnn::ConvWeights layer(Random& random, std::vector<float>& weight, std::vector<float>& bias, int out, int in,
                                  int k) {
    weight.resize(static_cast<size_t>(out) * in * k * k);
    bias.resize(static_cast<size_t>(out));
    const double range = 2.5 / std::sqrt(static_cast<double>(in) * k * k);
    for (float& w : weight) w = random.uniform(-range, range);
    for (float& b : bias) b = random.uniform(-0.5, 0.5);
    return {weight.data(), bias.data(), out, in, k};
  }
};

inline const Network& network(int kernel2, int channels) {
  static const Network all[] = {{1, 1}, {3, 1}, {5, 1}, {1, 3}, {3, 3}, {5, 3}};
  return all[(channels == 3 ? 3 : 0) + kernel2 / 2];
}

// ------------------------------------------------------------------------------------------------------ memory layouts

// What a caller's memory looks like. Bytes between the pixels hold a NaN of known bits, and the heap block begins and ends with
// the first and last pixel, so that AddressSanitizer sees any access beyond; except with kCropped, whose block goes on a little
// on both sides, because AddressSanitizer does not look at masked stores.
enum class Layout { kContiguous, kCropped, kTransposed, kChannelsLast, kEverySecond };
inline constexpr Layout kInputLayouts[] = {Layout::kContiguous, Layout::kCropped, Layout::kTransposed, Layout::kChannelsLast,
                                           Layout::kEverySecond};
inline constexpr Layout kOutputLayouts[] = {Layout::kContiguous, Layout::kCropped};  // the kernels write rows without gaps

inline constexpr uint32_t kGapBits = 0x7fc5a5a5;  // a quiet NaN

inline float gap() {
  float value;
  std::memcpy(&value, &kGapBits, sizeof value);
  return value;
}

inline bool is_gap(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits == kGapBits;
}

class Pixels {
 public:
  Pixels(Layout layout, int64_t n, int64_t c, int64_t h, int64_t w) {
    view_ = {nullptr, n, c, h, w, 0, 0, 0, 0};
    int64_t margin = 0;
    switch (layout) {
      case Layout::kContiguous:
        set_strides(c * h * w, h * w, w, 1);
        break;
      case Layout::kCropped:
        margin = 70;  // more than a block of vectors
        set_strides(c * (h + 2) * (w + 7) + 5, (h + 2) * (w + 7), w + 7, 1);
        break;
      case Layout::kTransposed:
        set_strides(c * h * w, h * w, 1, h);
        break;
      case Layout::kChannelsLast:
        set_strides(c * h * w, 1, c * w, c);
        break;
      case Layout::kEverySecond:
        set_strides(c * h * w * 4, h * w * 4, w * 4, 2);
        break;
    }
    const int64_t last =
        (n - 1) * view_.stride_n + (c - 1) * view_.stride_c + (h - 1) * view_.stride_h + (w - 1) * view_.stride_w;
    memory_ = std::vector<float>(static_cast<size_t>(last + 1 + 2 * margin), gap());
    view_.data = memory_.data() + margin;
  }

  Pixels(Layout layout, const reference::Image& image)
      : Pixels(layout, image.batch, image.channels, image.height, image.width) {
    for_each(
        [&](float& pixel, int64_t n, int64_t c, int64_t y, int64_t x) { pixel = static_cast<float>(image.row(n, c, y)[x]); });
  }

  const ImageView<float>& view() const { return view_; }
  ImageView<const float> const_view() const {
    return {view_.data,     view_.batch,    view_.channels, view_.height,  view_.width,
            view_.stride_n, view_.stride_c, view_.stride_h, view_.stride_w};
  }

  template <class Visit>  // visit(pixel, n, c, y, x)
  void for_each(const Visit& visit) const {
    for (int64_t n = 0; n < view_.batch; ++n) {
      for (int64_t c = 0; c < view_.channels; ++c) {
        for (int64_t y = 0; y < view_.height; ++y) {
          for (int64_t x = 0; x < view_.width; ++x) {
            visit(view_.plane(n, c)[y * view_.stride_h + x * view_.stride_w], n, c, y, x);
          }
        }
      }
    }
  }

  // Written nowhere but at pixels.
  bool gaps_untouched() const {
    const auto untouched = std::count_if(memory_.begin(), memory_.end(), is_gap);
    int64_t untouched_pixels = 0;
    for_each([&](float& pixel, auto...) { untouched_pixels += is_gap(pixel); });
    const int64_t pixels = view_.batch * view_.channels * view_.height * view_.width;
    return untouched - untouched_pixels == static_cast<int64_t>(memory_.size()) - pixels;
  }

  bool same_bits(const Pixels& other) const {
    return memory_.size() == other.memory_.size() &&
           std::memcmp(memory_.data(), other.memory_.data(), memory_.size() * sizeof(float)) == 0;
  }

  // The largest difference, infinite where just one is NaN or infinite.
  double max_error(const reference::Image& expected) const {
    double worst = 0;
    for_each([&](float& pixel, int64_t n, int64_t c, int64_t y, int64_t x) {
      const double got = pixel, want = expected.row(n, c, y)[x];
      if (got == want || (std::isnan(got) && std::isnan(want) && !is_gap(pixel))) return;
      const double error = std::abs(got - want) / std::max(1.0, std::abs(want));
      worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
    });
    return worst;
  }

 private:
  void set_strides(int64_t n, int64_t c, int64_t h, int64_t w) {
    view_.stride_n = n;
    view_.stride_c = c;
    view_.stride_h = h;
    view_.stride_w = w;
  }

  std::vector<float> memory_;
  ImageView<float> view_;
};

// --------------------------------------------------------------------------------------- threads and instruction sets

// One after the other: what a parallel_for inside another one does.
inline srcnn::cpu::Threads serial(int count) {
  return {count, [](int workers, const std::function<void(int)>& work) {
            for (int worker = 0; worker < workers; ++worker) work(worker);
          }};
}

inline srcnn::cpu::Threads concurrent(int count) {
  return {count, [](int workers, const std::function<void(int)>& work) {
            std::vector<std::thread> threads;
            for (int worker = 0; worker < workers; ++worker) threads.emplace_back(work, worker);
            for (std::thread& thread : threads) thread.join();
          }};
}

// SRCNN_FUSED_CPU_ISA for the length of a scope.
class IsaScope {
 public:
  explicit IsaScope(const char* name) { setenv("SRCNN_FUSED_CPU_ISA", name, 1); }
  explicit IsaScope(srcnn::cpu::Isa isa) : IsaScope(srcnn::cpu::isa_name(isa)) {}
  ~IsaScope() { unsetenv("SRCNN_FUSED_CPU_ISA"); }
  IsaScope(const IsaScope&) = delete;
};

// SRCNN_FUSED_CPU_ALGO likewise.
class AlgorithmScope {
 public:
  explicit AlgorithmScope(const char* name) { setenv("SRCNN_FUSED_CPU_ALGO", name, 1); }
  explicit AlgorithmScope(srcnn::cpu::Algorithm algorithm) : AlgorithmScope(srcnn::cpu::algorithm_name(algorithm)) {}
  ~AlgorithmScope() { unsetenv("SRCNN_FUSED_CPU_ALGO"); }
  AlgorithmScope(const AlgorithmScope&) = delete;
};

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// ------------------------------------------------------------------------------------------------------ tables of cases

// A forward, or its backward.
struct Case {
  int kernel2, channels;
  Padding padding;
  int64_t scale;
  Bicubic bicubic;
  int64_t batch, height, width;  // of the input
};

inline std::string describe(const Case& c) {
  return text("9-", c.kernel2, "-5, ", c.channels, " channels, ", c.padding == Padding::kZeros ? "zeros" : "replicate", ", x",
              c.scale, " ", name_of(c.bicubic), ", input [", c.batch, ", ", c.channels, ", ", c.height, ", ", c.width, "]");
}

// One axis of a resize.
struct Axis {
  int64_t in, out;
  double scale;
};

inline Axis ratio(int64_t in, int64_t out) { return {in, out, static_cast<double>(out) / static_cast<double>(in)}; }

}  // namespace samples
