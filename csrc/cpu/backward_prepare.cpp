#include "backward_prepare.h"

#include <algorithm>

#include "conv1_points.h"
#include "huge.h"

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

// [channel / block][ky][kx, input][block]; weight(channel, input) is where that kernel begins, and step how its taps follow.
template <class Weight>
std::vector<float> pack_of_pixels(int channels, int block, int taps, int inputs, int step, const Weight& weight) {
  std::vector<float> packed(static_cast<size_t>(channels) * inputs * taps);
  float* to = packed.data();
  for (int first = 0; first < channels; first += block) {
    for (int tap = 0; tap < taps; ++tap) {
      for (int input = 0; input < inputs; ++input) {
        for (int channel = first; channel < first + block; ++channel) *to++ = weight(channel, input)[step * tap];
      }
    }
  }
  return packed;
}

// conv3 for pixel_forward.h: [out][ky][kx][in].
std::vector<float> pack_of_pixels(const ConvWeights& conv) {
  return pack_of_pixels(conv.out_channels, 1, conv.kernel_size * conv.kernel_size, conv.in_channels, 1,
                        [&](int channel, int input) { return conv.weight + offset_of(conv, channel, input, 0, 0); });
}

// The transpose of a convolution, from the planes of its output's gradient to its input's channels: the kernel turned around.
std::vector<float> pack_turned_of_planes(const ConvWeights& conv, int block) {
  const int k = conv.kernel_size;
  return pack(conv.in_channels, block, conv.out_channels * k, k, [&](int row, int tap, int channel) {
    return conv.weight[offset_of(conv, row / k, channel, k - 1 - row % k, k - 1 - tap)];
  });
}

// The same kernels at the points of their tiles, each point packed as a kernel of one tap.
std::vector<float> pack_points(const BackwardEngine& engine, int kernel2, const std::vector<float>& packed, int channels,
                               int block) {
  const int taps = kernel2 * kernel2, points = (kTile + kernel2 - 1) * (kTile + kernel2 - 1);
  const int64_t all = static_cast<int64_t>(packed.size()) / taps, count = all / channels * block;
  std::vector<float> transformed(static_cast<size_t>(all * points));
  for (int64_t first = 0; first < all; first += count) {
    engine.tile_weights(kernel2, packed.data() + first * taps, count, transformed.data() + first, all);
  }
  return transformed;
}

// conv1 at the points of its tiles, as tiled_conv1.h reads it.
std::vector<float> pack_conv1_points(const ConvWeights& conv, int block) {
  using W = Winograd3;
  const int terms = conv.in_channels * kConv1Terms;
  std::vector<float> packed(static_cast<size_t>(conv.out_channels) * kConv1TilePoints * terms);
  for (int out = 0; out < conv.out_channels; ++out) {
    for (int term = 0; term < terms; ++term) {
      const int in = term / kConv1Terms, kx = term / kConv1Groups % kConv1Groups * W::kR, ky = term % kConv1Groups * W::kR;
      float* const to = packed.data() + static_cast<int64_t>(out / block) * kConv1TilePoints * terms * block + out % block;
      for (int q = 0; q < W::kPoints; ++q) {
        double column[W::kR] = {};  // at one horizontal point
        for (int i = 0; i < W::kR; ++i) {
          for (int j = 0; j < W::kR; ++j) {
            column[i] += W::kWeight.at[q][j] * static_cast<double>(conv.weight[offset_of(conv, out, in, ky + i, kx + j)]);
          }
        }
        for (int p = 0; p < W::kPoints; ++p) {
          double sum = 0;
          for (int i = 0; i < W::kR; ++i) sum += W::kWeight.at[p][i] * column[i];
          to[((q * terms + term) * W::kPoints + p) * block] = static_cast<float>(sum);
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
    : PreparedBackward(problem, engine, wanted_depth(problem),
                       std::min(tiling.out_width, widest_piece(problem.conv2.kernel_size, tiling.input_wanted))) {}

PreparedBackward::PreparedBackward(const BackwardProblem& problem, const BackwardEngine& engine, Depth depth,
                                   int64_t piece_columns)
    : weight1_(pack_of_planes(problem.conv1, engine.block1)),
      weight1_points_(pack_conv1_points(problem.conv1, engine.tile_block1)) {
  const ConvWeights& conv2 = problem.conv2;
  const int k2 = conv2.kernel_size, taps2 = k2 * k2;
  const auto kernel = [&](int channel, int input) { return conv2.weight + offset_of(conv2, channel, input, 0, 0); };
  const auto last_tap = [&](int channel, int input) { return conv2.weight + offset_of(conv2, input, channel, k2 - 1, k2 - 1); };
  weight2_ = pack_of_pixels(kWidth2, engine.block2, taps2, kWidth1, 1, kernel);
  if (k2 > 1) weight2_points_ = pack_points(engine, k2, weight2_, kWidth2, engine.block2);
  if (depth >= Depth::kConv1) {
    weight2_turned_ = pack_of_pixels(kWidth1, engine.block1, taps2, kWidth2, -1, last_tap);
    if (k2 > 1) weight2_turned_points_ = pack_points(engine, k2, weight2_turned_, kWidth1, engine.block1);
  }
  if (depth >= Depth::kConv2) weight3_turned_ = pack_turned_of_planes(problem.conv3, engine.block2);
  if (depth == Depth::kForward) weight3_ = pack_of_pixels(problem.conv3);
  if (problem.grad_input.data) weight1_spread_ = pack_spread(problem.conv1);
  plan_.problem = &problem;
  plan_.depth = depth;
  plan_.conv1_by_tiles = std::none_of(weight1_.begin(), weight1_.end(), [](float w) { return is_huge(w); });
  plan_.weight1 = weight1_.data();
  plan_.weight1_points = weight1_points_.data();
  plan_.weight2 = weight2_.data();
  plan_.weight2_turned = weight2_turned_.data();
  plan_.weight2_points = weight2_points_.data();
  plan_.weight2_turned_points = weight2_turned_points_.data();
  plan_.weight3 = weight3_.data();
  plan_.weight3_turned = weight3_turned_.data();
  plan_.weight1_spread = weight1_spread_.data();
  plan_.partial = plan_partial(problem);
  plan_.piece_columns = piece_columns;
  plan_.layout = plan_backward_layout(problem, engine, piece_columns, depth);
  if (problem.scale > 1) {
    const double scale = static_cast<double>(problem.scale);
    plan_.rows = rows_.emplace(problem.bicubic, problem.input.height, problem.scale * problem.input.height, scale).view();
    plan_.columns = columns_.emplace(problem.bicubic, problem.input.width, problem.scale * problem.input.width, scale).view();
  }
}

void write_gradients(const BackwardProblem& problem, const PartialLayout& layout, const float* sums) {
  const ConvWeights &conv1 = problem.conv1, &conv2 = problem.conv2, &conv3 = problem.conv3;
  const int k1 = conv1.kernel_size, k2 = conv2.kernel_size, k3 = conv3.kernel_size, in2 = conv2.in_channels;
  unpack(sums + layout.weight1, conv1.out_channels, conv1.in_channels * k1, k1, problem.grad1.weight,
         [&](int row, int tap, int channel) { return offset_of(conv1, channel, row / k1, row % k1, tap); });
  unpack(sums + layout.weight2, conv2.out_channels, k2 * k2, in2, problem.grad2.weight,
         [&](int row, int tap, int channel) { return offset_of(conv2, channel, tap, 0, row); });
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
