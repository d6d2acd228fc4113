#include "backward_prepare.h"

#include <algorithm>

#include "row_tiles.h"

namespace srcnn::cpu {
namespace {

int64_t offset_of(const ConvWeights& conv, int64_t out, int64_t in, int ky, int kx) {
  return ((out * conv.in_channels + in) * conv.kernel_size + ky) * conv.kernel_size + kx;
}

// ------------------------------------------------------------------------------------------------------ packed weights

// [channel / block][row][tap][block], as pixels.h reads them; value(row, tap, channel).
template <class Value>
std::vector<float> pack(int channels, int block, int rows, int taps, const Value& value) {
  std::vector<float> packed(static_cast<size_t>(channels) * rows * taps);
  float* to = packed.data();
  for (int first = 0; first < channels; first += block) {
    for (int row = 0; row < rows; ++row) {
      for (int tap = 0; tap < taps; ++tap) {
        for (int channel = first; channel < first + block; ++channel) *to++ = value(row, tap, channel);
      }
    }
  }
  return packed;
}

// A convolution of planes: row = input channel, ky; tap = kx.
std::vector<float> pack_of_planes(const ConvWeights& conv, int block) {
  const int k = conv.kernel_size;
  return pack(conv.out_channels, block, conv.in_channels * k, k,
              [&](int row, int tap, int channel) { return conv.weight[offset_of(conv, channel, row / k, row % k, tap)]; });
}

// A convolution of pixels: row = ky; tap = kx, input channel.
std::vector<float> pack_of_pixels(const ConvWeights& conv, int block) {
  const int k = conv.kernel_size, in = conv.in_channels;
  return pack(conv.out_channels, block, k, k * in,
              [&](int row, int tap, int channel) { return conv.weight[offset_of(conv, channel, tap % in, row, tap / in)]; });
}

// The transpose of a convolution, from the planes of its output's gradient to its input's channels: the kernel turned around.
std::vector<float> pack_turned_of_planes(const ConvWeights& conv, int block) {
  const int k = conv.kernel_size;
  return pack(conv.in_channels, block, conv.out_channels * k, k, [&](int row, int tap, int channel) {
    return conv.weight[offset_of(conv, row / k, channel, k - 1 - row % k, k - 1 - tap)];
  });
}

// The same from pixels.
std::vector<float> pack_turned_of_pixels(const ConvWeights& conv, int block) {
  const int k = conv.kernel_size, out = conv.out_channels;
  return pack(conv.in_channels, block, k, k * out, [&](int row, int tap, int channel) {
    return conv.weight[offset_of(conv, tap % out, channel, k - 1 - row, k - 1 - tap / out)];
  });
}

// Every point of a kernel of 5, as a kernel of 5 rows of one tap; first(ky, tap, channel) is the weight at kx = 0, and the
// others follow it, or go before it where the kernel is turned.
template <int kStep, class First>
std::vector<float> pack_points(int channels, int block, int taps, const First& first) {
  const size_t size = static_cast<size_t>(kTileTaps) * channels * taps;
  std::vector<float> packed(kPoints * size);
  float* to = packed.data();
  for (int begin = 0; begin < channels; begin += block) {
    for (int ky = 0; ky < kTileTaps; ++ky) {
      for (int tap = 0; tap < taps; ++tap) {
        for (int channel = begin; channel < begin + block; ++channel, ++to) {
          const float* const weight = first(ky, tap, channel);
          for (int point = 0; point < kPoints; ++point) {
            double sum = 0;
            for (int kx = 0; kx < kTileTaps; ++kx) sum += kTileWeight[point][kx] * static_cast<double>(weight[kStep * kx]);
            to[point * size] = static_cast<float>(sum);
          }
        }
      }
    }
  }
  return packed;
}

// [in][out][kx turned around][ky], as input_gradient.h reads conv1's.
std::vector<float> pack_spread(const ConvWeights& conv) {
  const int k = conv.kernel_size;
  std::vector<float> packed;
  packed.reserve(static_cast<size_t>(conv.out_channels) * conv.in_channels * k * k);
  for (int in = 0; in < conv.in_channels; ++in) {
    for (int out = 0; out < conv.out_channels; ++out) {
      for (int kx = k - 1; kx >= 0; --kx) {
        for (int ky = 0; ky < k; ++ky) packed.push_back(conv.weight[offset_of(conv, out, in, ky, kx)]);
      }
    }
  }
  return packed;
}

// From the points of a kernel of 5 to its taps.
void write_points(const float* sums, const ConvWeights& conv, float* weight) {
  if (weight == nullptr) return;
  const int64_t point_size = int64_t{kTileTaps} * conv.in_channels * conv.out_channels;
  for (int ky = 0; ky < kTileTaps; ++ky) {
    for (int64_t in = 0; in < conv.in_channels; ++in) {
      for (int64_t out = 0; out < conv.out_channels; ++out, ++sums) {
        float* const to = weight + offset_of(conv, out, in, ky, 0);
        for (int kx = 0; kx < kTileTaps; ++kx) {
          double sum = 0;
          for (int point = 0; point < kPoints; ++point) {
            sum += kTileWeight[point][kx] * static_cast<double>(sums[point * point_size]);
          }
          to[kx] = static_cast<float>(sum);
        }
      }
    }
  }
}

// From the kernels' order to the weights' own; place(row, tap, channel) is the offset there.
template <class Place>
void unpack(const float* sums, int channels, int rows, int taps, float* weight, const Place& place) {
  if (weight == nullptr) return;
  for (int row = 0; row < rows; ++row) {
    for (int tap = 0; tap < taps; ++tap) {
      for (int channel = 0; channel < channels; ++channel) weight[place(row, tap, channel)] = *sums++;
    }
  }
}

}  // namespace

PreparedBackward::PreparedBackward(const BackwardProblem& problem, const BackwardEngine& engine, const BackwardTiling& tiling)
    : weight1_(pack_of_planes(problem.conv1, engine.block1)), weight2_(pack_of_pixels(problem.conv2, engine.block2)) {
  const ConvWeights& conv2 = problem.conv2;
  const Depth depth = wanted_depth(problem);
  if (depth >= Depth::kConv2) weight3_turned_ = pack_turned_of_planes(problem.conv3, engine.block2);
  if (depth >= Depth::kConv1) weight2_turned_ = pack_turned_of_pixels(conv2, engine.block1);
  if (tiling.input_wanted) weight1_spread_ = pack_spread(problem.conv1);
  if (conv2.kernel_size == kTileTaps) {
    weight2_points_ = pack_points<1>(kWidth2, engine.block2, kWidth1, [&](int ky, int tap, int channel) {
      return conv2.weight + offset_of(conv2, channel, tap, ky, 0);
    });
    if (depth >= Depth::kConv1) {
      weight2_turned_points_ = pack_points<-1>(kWidth1, engine.block1, kWidth2, [&](int ky, int tap, int channel) {
        return conv2.weight + offset_of(conv2, tap, channel, kTileTaps - 1 - ky, kTileTaps - 1);
      });
    }
  }
  plan_.problem = &problem;
  plan_.depth = depth;
  plan_.weight1 = weight1_.data();
  plan_.weight2 = weight2_.data();
  plan_.weight2_turned = weight2_turned_.data();
  plan_.weight2_points = weight2_points_.data();
  plan_.weight2_turned_points = weight2_turned_points_.data();
  plan_.weight3_turned = weight3_turned_.data();
  plan_.weight1_spread = weight1_spread_.data();
  plan_.partial = plan_partial(problem);
  plan_.piece_columns = std::min(tiling.out_width, widest_piece(problem.conv2.kernel_size, tiling.input_wanted));
  plan_.layout = plan_backward_layout(problem, engine, plan_.piece_columns);
  if (problem.scale > 1) {
    const double scale = static_cast<double>(problem.scale);
    plan_.rows = rows_.emplace(problem.bicubic, problem.input.height, tiling.out_height, scale).view();
    plan_.columns = columns_.emplace(problem.bicubic, problem.input.width, tiling.out_width, scale).view();
  }
}

void write_gradients(const BackwardProblem& problem, const PartialLayout& layout, const float* sums) {
  const ConvWeights &conv1 = problem.conv1, &conv2 = problem.conv2, &conv3 = problem.conv3;
  const int k1 = conv1.kernel_size, k2 = conv2.kernel_size, k3 = conv3.kernel_size, in2 = conv2.in_channels;
  unpack(sums + layout.weight1, conv1.out_channels, conv1.in_channels * k1, k1, problem.grad1.weight,
         [&](int row, int tap, int channel) { return offset_of(conv1, channel, row / k1, row % k1, tap); });
  if (k2 == kTileTaps) {
    write_points(sums + layout.weight2, conv2, problem.grad2.weight);
  } else {
    unpack(sums + layout.weight2, conv2.out_channels, k2, k2 * in2, problem.grad2.weight,
           [&](int row, int tap, int channel) { return offset_of(conv2, channel, tap % in2, row, tap / in2); });
  }
  unpack(sums + layout.weight3, conv3.in_channels, conv3.out_channels * k3, k3, problem.grad3.weight,
         [&](int row, int tap, int channel) { return offset_of(conv3, row / k3, channel, k3 - 1 - row % k3, k3 - 1 - tap); });
  const auto copy = [&](float* bias, int64_t offset, int count) {
    if (bias) std::copy_n(sums + offset, count, bias);
  };
  copy(problem.grad1.bias, layout.bias1, conv1.out_channels);
  copy(problem.grad2.bias, layout.bias2, conv2.out_channels);
  copy(problem.grad3.bias, layout.bias3, conv3.out_channels);
}

}  // namespace srcnn::cpu
