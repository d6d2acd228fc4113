// The forward, again: rows of the enlarged image, of F1 and of F2, for the backward to meet. As in strip.h each stage keeps the
// rows that can still be asked for, here longer: conv1's weights see rows of the input when F1's gradient is there.
#pragma once

#include <cstdint>

#include "backward_piece.h"
#include "pixels.h"
#include "resample_rows.h"
#include "tiled_conv2.h"

namespace srcnn::cpu {

template <class S, int F2>
class Replay : public BackwardPiece<S, F2> {
 protected:
  using Piece = BackwardPiece<S, F2>;
  using Piece::kHalo1, Piece::kHalo2, Piece::min, Piece::max, Piece::at, Piece::zeros, Piece::copy_row, Piece::pad_sides;
  using Piece::plan_, Piece::problem_, Piece::layout_, Piece::channels_, Piece::height_, Piece::width_, Piece::replicate_;
  using Piece::region2_, Piece::hidden1_region_;

  Replay(const BackwardPlan& plan, int64_t image, const Region& owned, const Region& spread, float* workspace)
      : Piece(plan, image, owned, spread, workspace),
        input_begin_(max(0, hidden1_region_.x0 - kHalo1)),
        input_end_(min(width_, hidden1_region_.x1 + kHalo1)),
        next_input_(max(0, hidden1_region_.y0 - kHalo1)),
        next_hidden1_(hidden1_region_.y0),
        enlarged_(problem_.input, image, 0, plan.rows, plan.columns, plan.layout.source, workspace, input_begin_,
                  static_cast<int>(input_end_ - input_begin_)),
        tiled_(plan, workspace) {}

  // Rows of the enlarged image up to `last`, with padded sides.
  void advance_input(int64_t last) {
    const PlaneRows& layout = layout_.input;
    for (; next_input_ <= last && next_input_ < height_; ++next_input_) {
      if (problem_.scale > 1) {
        enlarged_.make(next_input_, at(layout, next_input_, input_begin_, 0), layout.stride);
      } else {
        for (int c = 0; c < channels_; ++c) {
          copy_row(problem_.input, c, next_input_, input_begin_, input_end_, at(layout, next_input_, input_begin_, c));
        }
      }
      for (int c = 0; c < channels_; ++c) {
        float* const row = at(layout, next_input_, 0, c);
        const float left = replicate_ ? row[input_begin_] : 0.0f, right = replicate_ ? row[input_end_ - 1] : 0.0f;
        for (int64_t x = hidden1_region_.x0 - kHalo1; x < input_begin_; ++x) row[x] = left;
        for (int64_t x = input_end_; x < hidden1_region_.x1 + kHalo1; ++x) row[x] = right;
      }
    }
  }

  // Rows r - 4 to r + 4 of all channels, from `column` on: what conv1 and its gradient see.
  void input_rows(int64_t r, int64_t column, const float** rows) const {
    for (int c = 0; c < channels_; ++c) {
      for (int64_t y = r - kHalo1; y <= r + kHalo1; ++y) {
        const bool outside = y < 0 || y >= height_;
        *rows++ = outside && !replicate_ ? zeros() : at(layout_.input, max(0, min(height_ - 1, y)), column, c);
      }
    }
  }

  void advance_hidden1(int64_t last) {
    const PixelRows& layout = layout_.hidden1;
    const Region& region = hidden1_region_;
    for (; next_hidden1_ <= last && next_hidden1_ < region.y1; ++next_hidden1_) {
      advance_input(next_hidden1_ + kHalo1);
      const float* rows[3 * kKernel1];
      input_rows(next_hidden1_, region.x0 - kHalo1, rows);
      convolve_pixels<S, kWidth1, 1>(rows, channels_ * kKernel1, kKernel1, plan_.weight1, problem_.conv1.bias,
                                     static_cast<int>(region.x1 - region.x0), at(layout, next_hidden1_, region.x0, kWidth1));
      pad_sides(layout, next_hidden1_, kWidth1, region.x0, region.x1, region2_.x0 - kHalo2, region2_.x1 + kHalo2);
      if constexpr (F2 == kTileTaps) {
        const int64_t pixels = region2_.x1 - region2_.x0, first = region2_.x0 - kHalo2;
        Piece::zero(layout, next_hidden1_, kWidth1, region2_.x1 + kHalo2, first + tiled_.inputs_of(pixels));
        tiled_.make_hidden1_points(next_hidden1_, at(layout, next_hidden1_, first, kWidth1), pixels);
      }
    }
  }

  // Rows r - f2 / 2 to r + f2 / 2 of F1; row(y) says where row y is.
  template <class Row>
  void rows_around(int64_t r, const Row& row, const float** rows) const {
    for (int64_t y = r - kHalo2; y <= r + kHalo2; ++y) {
      const bool outside = y < 0 || y >= height_;
      *rows++ = outside && !replicate_ ? zeros() : row(max(0, min(height_ - 1, y)));
    }
  }
  void hidden1_rows(int64_t r, int64_t column, const float** rows) const {
    rows_around(r, [&](int64_t y) { return at(layout_.hidden1, y, column, kWidth1); }, rows);
  }
  void hidden1_points(int64_t r, const float** rows) const {
    rows_around(r, [&](int64_t y) { return tiled_.points(layout_.hidden1_points, y); }, rows);
  }

  void make_hidden2(int64_t r) const {
    const float* rows[F2];
    const int pixels = static_cast<int>(region2_.x1 - region2_.x0);
    float* const out = at(layout_.hidden2, r, region2_.x0, kWidth2);
    if constexpr (F2 == kTileTaps) {
      hidden1_points(r, rows);
      if (tiled_.convolve(rows, problem_.conv2.bias, pixels, out)) return;
    }
    hidden1_rows(r, region2_.x0 - kHalo2, rows);
    convolve_pixels<S, kWidth2, kWidth1>(rows, F2, F2 * kWidth1, plan_.weight2, problem_.conv2.bias, pixels, out);
  }

  const int64_t input_begin_, input_end_;  // columns of the input inside the image
  int64_t next_input_, next_hidden1_;      // first rows not made yet
  ResampledRows<S> enlarged_;
  const TiledConv2<S> tiled_;
};

}  // namespace srcnn::cpu
