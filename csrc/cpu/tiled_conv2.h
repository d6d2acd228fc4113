// conv2 of 9-3-5 and 9-5-5 by tiles (pixel_tiles.h): forward, its transpose, and the gradient of its weights. A band is four
// rows, or eight of a narrow image: the points of all weights (512 kB with a 5x5 kernel) pass by once a band and direction, and
// should meet enough tiles. The points of F1 are made once a band, for the features and for the gradient of the weights.
#pragma once

#include <cstdint>
#include <cstring>

#include "backward_engine.h"
#include "pixel_tiles.h"
#include "pixels.h"

namespace srcnn::cpu {

template <class S, int F2>
class TiledConv2 {
  using W = Winograd<kTile, F2 == 1 ? 3 : F2>;  // not used with 1

 public:
  TiledConv2(const BackwardPlan& plan, float* workspace)
      : plan_(plan),
        groups_(static_cast<int>(plan.layout.conv2.rows / kTile)),
        points_(workspace + plan.layout.conv2.points),
        columns_(workspace + plan.layout.conv2.columns),
        products_(workspace + plan.layout.conv2.products),
        half_(workspace + plan.layout.conv2.half),
        sums_(workspace + plan.layout.conv2.sums),
        zeros_(workspace + plan.layout.zeros_offset) {}

  // Pixels that the tiles of so many outputs read.
  static int64_t inputs_of(int64_t pixels) { return int64_t{kTile} * tiles_of(pixels) + F2 - 1; }

  // relu(conv2 + bias) of a band of `count` rows of outputs. rows: all that a whole band reads, from the first output's first
  // tap on. False where something is huge or not finite, and out is not to be used.
  bool convolve(const float* const* rows, int count, int pixels, float* const* out) const {
    return convolve<kWidth1, kWidth2>(rows, plan_.weight2_points, plan_.problem->conv2.bias, count, pixels, out);
  }
  // conv2's transpose, likewise.
  bool convolve_turned(const float* const* rows, int count, int pixels, float* const* out) const {
    return convolve<kWidth2, kWidth1>(rows, plan_.weight2_turned_points, nullptr, count, pixels, out);
  }

  // The gradient of the weights: clear; add, right after convolve(), what pixels [begin, end) of a band of conv2's gradient say
  // (rows that say nothing are null); and finish, which adds all of it to `out`.
  void clear() const { std::memset(sums_, 0, static_cast<size_t>(kAllPoints * kPointWeights) * sizeof(float)); }
  void add_gradient(const float* const* grads, int pixels, int begin, int end) const {
    const int tiles = tiles_of(pixels), all = groups_ * tiles;
    const int64_t stride = int64_t{all} * kWidth2;
    for (int g = 0; g < groups_; ++g) {
      tile_output_gradients<S, W, kWidth2>(grads + g * kTile, zeros_, begin, end, tiles, half_ + g * tiles * kWidth2, stride);
    }
    for (int point = 0; point < kAllPoints; ++point) {
      const float* const in = points_ + int64_t{point} * all * kWidth1;
      add_weight_gradient<S, kWidth2>(&in, 1, kWidth1, kWidth1, half_ + point * stride, all, sums_ + point * kPointWeights);
    }
  }
  void finish(float* out) const {
    tile_weight_gradient<S, W>(sums_, kPointWeights, kPointWeights, out, F2 * kPointWeights, kPointWeights);
  }

 private:
  static constexpr int kAllPoints = W::kPoints * W::kPoints;
  static constexpr int kPointWeights = kWidth1 * kWidth2;

  static int tiles_of(int64_t pixels) { return static_cast<int>((pixels + kTile - 1) / kTile); }

  template <int kIn, int kOut>
  bool convolve(const float* const* rows, const float* weight, const float* bias, int count, int pixels,
                float* const* out) const {
    const int tiles = tiles_of(pixels), all = groups_ * tiles;
    for (int g = 0; g < groups_; ++g) {
      tile_inputs<S, W, kIn>(rows + g * kTile, tiles, columns_, points_ + g * tiles * kIn, int64_t{all} * kIn);
    }
    const float* in = points_;
    for (int p = 0; p < W::kPoints; ++p) {
      for (int q = 0; q < W::kPoints; ++q, in += all * kIn, weight += kPointWeights) {
        convolve_pixels<S, kOut, kIn>(&in, 1, kIn, weight, nullptr, all, products_ + int64_t{q} * all * kOut);
      }
      tile_inverse_rows<S, W, kOut>(products_, all, half_ + p * kOut);
    }
    bool finite = true;
    for (int r = 0; r < count; ++r) {
      const float* const from = half_ + (int64_t{r / kTile} * tiles * kTile + r % kTile) * W::kPoints * kOut;
      finite &= tile_inverse_columns<S, W, kOut>(from, bias, pixels, out[r]);
    }
    return finite;
  }

  const BackwardPlan& plan_;
  const int groups_;  // of four rows in a band
  float *const points_, *const columns_, *const products_, *const half_, *const sums_;
  const float* const zeros_;
};

}  // namespace srcnn::cpu
