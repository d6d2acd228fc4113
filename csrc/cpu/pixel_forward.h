// The forward for narrow images: the rows of F1 and F2 that the backward replays (backward_replay.h), and conv3 on them.
// Vectors run along the channels, so that no width leaves one half empty, where Winograd's vectors of 16 tiles want 64 columns.
#pragma once

#include <cstdint>

#include "backward_replay.h"
#include "pixels.h"

namespace srcnn::cpu {

inline constexpr int kConv3Pixels = 8;  // 8 sums, 5 weights, 1 input

// P pixels of one output channel. rows[ky]: first tap of the first pixel; weight: [ky][kx][32].
template <class S, int P>
__attribute__((noinline)) void conv3_pixels(const float* const* rows, int64_t offset, const float* weight, float bias,
                                            float* out) {
  using Vec = typename S::Vec;
  Vec sum[P];
  SRCNN_UNROLL
  for (int p = 0; p < P; ++p) sum[p] = S::set1(0.0f);
  for (int ky = 0; ky < kKernel3; ++ky, weight += kKernel3 * kWidth2) {
    for (int c = 0; c < kWidth2; c += S::kLanes) {
      const float* const in = rows[ky] + offset + c;
      Vec w[kKernel3];
      SRCNN_UNROLL
      for (int kx = 0; kx < kKernel3; ++kx) w[kx] = S::load(weight + kx * kWidth2 + c);
      SRCNN_UNROLL
      for (int i = 0; i < P + kKernel3 - 1; ++i) {
        const Vec x = S::load(in + i * kWidth2);
        SRCNN_UNROLL
        for (int kx = 0; kx < kKernel3; ++kx) {
          if (i - kx >= 0 && i - kx < P) sum[i - kx] = S::fma(x, w[kx], sum[i - kx]);
        }
      }
    }
  }
  SRCNN_UNROLL
  for (int p = 0; p < P; ++p) {
    float lanes[S::kLanes];
    S::store(lanes, sum[p]);
    SRCNN_UNROLL
    for (int half = S::kLanes / 2; half > 0; half /= 2) {
      SRCNN_UNROLL
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    out[p] = lanes[0] + bias;
  }
}

// One region of the output, `output` being where it goes.
template <class S, int F2>
class PixelForward : Replay<S, F2> {
  using Piece = BackwardPiece<S, F2>;
  using Replay = srcnn::cpu::Replay<S, F2>;
  using Piece::at, Piece::zeros, Piece::kHalo2, Piece::kHalo3, Piece::min, Piece::max, Piece::pad_sides;
  using Piece::plan_, Piece::problem_, Piece::layout_, Piece::image_, Piece::height_, Piece::replicate_, Piece::region2_;

 public:
  PixelForward(const BackwardPlan& plan, int64_t image, const Region& region, const ImageView<float>& output, float* workspace)
      : Replay(plan, image, around(region, output), {}, workspace),
        output_(output),
        region_(region),
        next_hidden2_(region2_.y0) {}

  void run() {
    for (int64_t y = region_.y0; y < region_.y1; ++y) {
      const int64_t last = min(region2_.y1 - 1, y + kHalo3);
      while (next_hidden2_ <= last) make_band();
      const float* rows[kKernel3];
      for (int ky = 0; ky < kKernel3; ++ky) {
        const int64_t row = y + ky - kHalo3;
        const bool outside = row < 0 || row >= height_;
        rows[ky] =
            outside && !replicate_ ? zeros() : at(layout_.hidden2, max(0, min(height_ - 1, row)), region_.x0 - kHalo3, kWidth2);
      }
      for (int c = 0; c < output_.channels; ++c)
        make_row(rows, c, output_.plane(image_, c) + y * output_.stride_h + region_.x0);
    }
  }

 private:
  // What conv3 sees of F2; its first row one where tiles begin, however the image was cut.
  static Region around(const Region& r, const ImageView<float>& output) {
    return {max(0, r.x0 - kHalo3), min(output.width, r.x1 + kHalo3), max(0, r.y0 - kHalo3) / kTile * kTile,
            min(output.height, r.y1 + kHalo3)};
  }

  void make_band() {
    const int64_t first = next_hidden2_;
    const int count = static_cast<int>(min(Piece::band_rows(), region2_.y1 - first));
    next_hidden2_ += count;
    Replay::advance_hidden1(first + count - 1 + kHalo2);
    Replay::make_hidden2(first, count);
    for (int64_t r = first; r < next_hidden2_; ++r) {
      pad_sides(layout_.hidden2, r, kWidth2, region2_.x0, region2_.x1, region_.x0 - kHalo3, region_.x1 + kHalo3);
    }
  }

  void make_row(const float* const* rows, int channel, float* out) const {
    const float* const weight = plan_.weight3 + int64_t{channel} * kKernel3 * kKernel3 * kWidth2;
    const float bias = problem_.conv3.bias[channel];
    for_each_piece<kConv3Pixels>(static_cast<int>(region_.x1 - region_.x0), [&](int pixel, int count) {
      with_number<kConv3Pixels>(count, [&](auto p) {
        conv3_pixels<S, decltype(p)::kValue>(rows, int64_t{pixel} * kWidth2, weight, bias, out + pixel);
      });
    });
  }

  const ImageView<float>& output_;
  const Region region_;
  int64_t next_hidden2_;  // first row not made yet
};

template <class S>
void pixel_forward_region(const BackwardPlan& plan, int64_t image, const Region& region, const ImageView<float>& output,
                          float* workspace) {
  switch (plan.problem->conv2.kernel_size) {
    case 1:
      return PixelForward<S, 1>(plan, image, region, output, workspace).run();
    case 3:
      return PixelForward<S, 3>(plan, image, region, output, workspace).run();
    default:
      return PixelForward<S, 5>(plan, image, region, output, workspace).run();
  }
}

}  // namespace srcnn::cpu
