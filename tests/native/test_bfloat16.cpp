// The fused forward of bfloat16 images: to the bit the one in float on the same numbers, rounded once.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "cpu/kernels.h"
#include "samples.h"

using namespace srcnn;
using namespace samples;

namespace {

float widen(BFloat16 a) { return std::bit_cast<float>(static_cast<uint32_t>(a.bits) << 16); }

// By comparing with both neighbours, unlike the kernels'.
BFloat16 round_to_nearest_even(float a) {
  const auto bits = std::bit_cast<uint32_t>(a);
  if (std::isnan(a)) return {static_cast<uint16_t>(bits >> 16 | 0x40)};
  const uint32_t lost = bits & 0xffff, kept = bits >> 16;
  const bool up = lost > 0x8000 || (lost == 0x8000 && kept % 2 == 1);
  return {static_cast<uint16_t>(kept + (up ? 1 : 0))};
}

// Values in bfloat16, and the same in float.
struct Both {
  std::vector<BFloat16> sixteen;
  std::vector<float> wide;

  Both(const float* values, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      sixteen.push_back(round_to_nearest_even(values[i]));
      wide.push_back(widen(sixteen.back()));
    }
  }
};

struct BothConv {
  Both weight, bias;
  ConvWeights shape;

  explicit BothConv(const ConvWeights& conv)
      : weight(conv.weight, static_cast<size_t>(conv.out_channels) * conv.in_channels * conv.kernel_size * conv.kernel_size),
        bias(conv.bias, static_cast<size_t>(conv.out_channels)),
        shape(conv) {}

  ConvWeights wide() const {
    return {weight.wide.data(), bias.wide.data(), shape.out_channels, shape.in_channels, shape.kernel_size};
  }
  ConvWeightsOf<BFloat16> sixteen() const {
    return {weight.sixteen.data(), bias.sixteen.data(), shape.out_channels, shape.in_channels, shape.kernel_size};
  }
};

// Pixels one after the other, or channel beside channel.
template <class T>
ImageView<T> view(T* data, const Case& c, int64_t height, int64_t width, bool channels_last) {
  const int64_t n = c.channels * height * width;
  if (channels_last) return {data, c.batch, c.channels, height, width, n, 1, width * c.channels, c.channels};
  return {data, c.batch, c.channels, height, width, n, height * width, width, 1};
}

void check_case(const Case& c, const std::vector<float>& pixels, bool channels_last) {
  const ForwardProblem drawn = network(c.kernel2, c.channels).problem(c.scale, c.bicubic, c.padding);
  const BothConv conv1(drawn.conv1), conv2(drawn.conv2), conv3(drawn.conv3);
  const Both input(pixels.data(), pixels.size());
  const int64_t height = c.scale * c.height, width = c.scale * c.width;
  const auto count = static_cast<size_t>(c.batch * c.channels * height * width);
  for (const cpu::Isa isa : cpu::usable_isas()) {
    const IsaScope scope(isa);
    for (const cpu::Algorithm algorithm : kAlgorithms) {
      const AlgorithmScope algorithm_scope(algorithm);
      std::vector<float> expected(count);
      ForwardProblem wide = drawn;
      wide.input = view(input.wide.data(), c, c.height, c.width, channels_last);
      wide.output = view(expected.data(), c, height, width, false);
      wide.conv1 = conv1.wide(), wide.conv2 = conv2.wide(), wide.conv3 = conv3.wide();
      cpu::srcnn_forward(wide, serial(1));

      std::vector<BFloat16> actual(count);
      ForwardProblemOf<BFloat16> problem;
      problem.input = view(input.sixteen.data(), c, c.height, c.width, channels_last);
      problem.output = view(actual.data(), c, height, width, false);
      problem.conv1 = conv1.sixteen(), problem.conv2 = conv2.sixteen(), problem.conv3 = conv3.sixteen();
      problem.scale = c.scale, problem.bicubic = c.bicubic, problem.padding = c.padding;
      cpu::srcnn_forward(problem, concurrent(2));

      INFO(describe(c), ", ", name_of(isa), ", ", name_of(algorithm));
      size_t wrong = 0;
      for (size_t i = 0; i < count; ++i) wrong += actual[i].bits != round_to_nearest_even(expected[i]).bits;
      CHECK(wrong == 0);
    }
  }
}

std::vector<float> random_pixels(const Case& c) {
  const reference::Image image = random_image(c.batch, c.channels, c.height, c.width);
  std::vector<float> pixels;
  for (const double value : image.values) pixels.push_back(static_cast<float>(value));
  return pixels;
}

}  // namespace

TEST_CASE("bfloat16 is float, rounded once") {
  bool channels_last = false;
  for (const int kernel2 : {1, 3, 5}) {
    for (const int channels : {1, 3}) {
      for (const int64_t scale : {1, 3}) {
        const Padding padding = scale == 1 ? Padding::kZeros : Padding::kReplicate;
        for (const auto& [height, width] : {std::pair<int64_t, int64_t>{1, 1}, {5, 23}, {18, 90}}) {
          const Case c{kernel2, channels, padding, scale, Bicubic::kMatlab, 2, height, width};
          check_case(c, random_pixels(c), channels_last);
          channels_last = !channels_last;
        }
      }
    }
  }
}

TEST_CASE("NaN, infinities and values at which rounding decides come through bfloat16") {
  const Case c{1, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 24, 40};
  for (const float odd : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 3e38f, 1e-40f}) {
    std::vector<float> pixels = random_pixels(c);
    pixels[500] = odd;
    check_case(c, pixels, false);
  }
}
