// The forward, again: rows of the enlarged image, of F1 and of F2, for the backward to meet. As in strip.h each stage keeps the
// rows that can still be asked for, here longer: conv1's weights see rows of the input when F1's gradient is there.
#pragma once

#include <cstdint>

#include "backward_piece.h"
#include "huge.h"
#include "pixels.h"
#include "resample_rows.h"
#include "tiled_conv1.h"
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
        next_input_(max(0, hidden1_region_.y0 / kBand * kBand - kHalo1)),
        next_hidden1_(hidden1_region_.y0 / kBand * kBand),
        enlarged_(problem_.input, image, 0, plan.rows, plan.columns, plan.layout.source, workspace, input_begin_,
                  static_cast<int>(input_end_ - input_begin_)),
        conv1_(plan, workspace),
        conv2_(plan, workspace) {}

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
      const int64_t begin = hidden1_region_.x0 - kHalo1, end = hidden1_region_.x1 + kHalo1 + kTile - 1;
      for (int c = 0; c < channels_; ++c) {
        float* const row = at(layout, next_input_, 0, c);
        const float left = replicate_ ? row[input_begin_] : 0.0f, right = replicate_ ? row[input_end_ - 1] : 0.0f;
        for (int64_t x = begin; x < input_begin_; ++x) row[x] = left;
        for (int64_t x = input_end_; x < end; ++x) row[x] = right;
        bool huge = false;
        for (int64_t x = begin; x < end; ++x) huge |= is_huge(row[x]);
        if (huge) last_huge_ = next_input_;
      }
    }
  }

  // Rows r - 4 to r + 4 of all channels, from `column` on: what conv1 and its gradient see.
  void input_rows(int64_t r, int64_t column, const float** rows) const { input_rows(r, kKernel1, kKernel1, column, rows); }

  // The same of a band: `kBandInputs` rows of each channel from r - 4 on, of which `made` have been made.
  void input_rows(int64_t r, int count, int made, int64_t column, const float** rows) const {
    for (int c = 0; c < channels_; ++c) {
      for (int i = 0; i < count; ++i) {
        const int64_t y = r - kHalo1 + i;
        const bool outside = y < 0 || y >= height_;
        *rows++ = i >= made || (outside && !replicate_) ? zeros() : at(layout_.input, max(0, min(height_ - 1, y)), column, c);
      }
    }
  }

  // Whether tiles may be used for rows from r on.
  bool by_tiles(int64_t r) const { return plan_.conv1_by_tiles && last_huge_ < r - kHalo1; }

  // Bands of rows up to `last`.
  void advance_hidden1(int64_t last) {
    const PixelRows& layout = layout_.hidden1;
    const Region& region = hidden1_region_;
    const int64_t pixels = region.x1 - region.x0;
    while (next_hidden1_ <= last && next_hidden1_ < region.y1) {
      const int64_t first = next_hidden1_;
      const int count = static_cast<int>(min(kBand, region.y1 - first));
      next_hidden1_ += count;
      advance_input(first + count - 1 + kHalo1);
      const float* rows[3 * kBandInputs];
      if (by_tiles(first)) {
        float* out[kBand];
        for (int i = 0; i < count; ++i) out[i] = at(layout, first + i, region.x0, kWidth1);
        input_rows(first, kBandInputs, count + kKernel1 - 1, region.x0 - kHalo1, rows);
        conv1_.convolve(rows, count, pixels, out);
      } else {
        for (int64_t r = first; r < next_hidden1_; ++r) {
          input_rows(r, region.x0 - kHalo1, rows);
          convolve_pixels<S, kWidth1, 1>(rows, channels_ * kKernel1, kKernel1, plan_.weight1, problem_.conv1.bias,
                                         static_cast<int>(pixels), at(layout, r, region.x0, kWidth1));
        }
      }
      for (int64_t r = first; r < next_hidden1_; ++r) finish_hidden1(r);
    }
  }

  void finish_hidden1(int64_t r) {
    const PixelRows& layout = layout_.hidden1;
    const Region& region = hidden1_region_;
    pad_sides(layout, r, kWidth1, region.x0, region.x1, region2_.x0 - kHalo2, region2_.x1 + kHalo2);
    if constexpr (F2 > 1) {
      const int64_t end = region2_.x0 - kHalo2 + conv2_.inputs_of(region2_.x1 - region2_.x0);
      Piece::zero(layout, r, kWidth1, region2_.x1 + kHalo2, end);
    }
  }

  // Rows r - f2 / 2 to r + f2 / 2 of F1, and on, `count` in all, of which `made` have been made.
  void hidden1_rows(int64_t r, int count, int made, int64_t column, const float** rows) const {
    for (int i = 0; i < count; ++i) {
      const int64_t y = r - kHalo2 + i;
      const bool outside = y < 0 || y >= height_;
      *rows++ =
          i >= made || (outside && !replicate_) ? zeros() : at(layout_.hidden1, max(0, min(height_ - 1, y)), column, kWidth1);
    }
  }

  // A band of `count` rows of F2. Returns whether it was made by tiles.
  bool make_hidden2(int64_t first, int count) const {
    const int64_t column = region2_.x0 - kHalo2;
    const int pixels = static_cast<int>(region2_.x1 - region2_.x0);
    if constexpr (F2 > 1) {
      const float* rows[Piece::kMostBandRows + F2 - 1];
      float* out[Piece::kMostBandRows];
      hidden1_rows(first, Piece::band_rows() + F2 - 1, count + F2 - 1, column, rows);
      for (int i = 0; i < count; ++i) out[i] = at(layout_.hidden2, first + i, region2_.x0, kWidth2);
      if (conv2_.convolve(rows, count, pixels, out)) return true;
    }
    for (int64_t r = first; r < first + count; ++r) {
      const float* rows[F2];
      hidden1_rows(r, F2, F2, column, rows);
      convolve_pixels<S, kWidth2, kWidth1>(rows, F2, F2 * kWidth1, plan_.weight2, problem_.conv2.bias, pixels,
                                           at(layout_.hidden2, r, region2_.x0, kWidth2));
    }
    return false;
  }

  const int64_t input_begin_, input_end_;  // columns of the input inside the image
  int64_t next_input_, next_hidden1_;      // first rows not made yet
  ResampledRows<S> enlarged_;
  int64_t last_huge_ = -kBandInputs;  // the last row of the input with a value that tiles would spread
  const TiledConv1<S> conv1_;
  const TiledConv2<S, F2> conv2_;
};

}  // namespace srcnn::cpu
