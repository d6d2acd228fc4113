// Bicubic rows on demand. A row of the resampled image is a weighted sum of a few source rows, each resampled horizontally
// once and kept in a ring until the window has passed it: per output pixel that is `taps` vector multiply-adds, and the scalar
// horizontal pass (a gather by table) is paid once per source row, for 1 / scale of the output pixels.
#pragma once

#include <cstdint>

#include "bfloat16_rows.h"
#include "engine.h"
#include "target.h"

namespace srcnn::cpu {

// Columns [first_column, first_column + width) of the resampling of `ring.channels` planes of one image. Where the image is
// bfloat16, `sixteen` has it and a row of it is widened into `converted` first.
template <class S>
class ResampledRows {
 public:
  ResampledRows(const ImageView<const float>& input, int64_t image, int64_t first_channel, const ResampleTableView& rows,
                const ResampleTableView& columns, const RingLayout& ring, float* workspace, int64_t first_column, int width,
                const BFloat16Images* sixteen = nullptr, float* converted = nullptr)
      : input_(input),
        source_(sixteen ? nullptr : input.plane(image, first_channel)),
        rows_(rows),
        columns_(columns),
        ring_(ring),
        slots_(workspace + ring.offset),
        first_column_(first_column),
        width_(width),
        source16_(sixteen ? sixteen->input.plane(image, first_channel) : nullptr),
        converted_(converted) {
    if (sixteen && width > 0 && columns.taps > 0) find_source_columns();
  }

  // Writes row y: channel c to out + c * out_stride, in whole vectors (out has room for the last one).
  void make(int64_t y, float* out, int64_t out_stride) {
    const int32_t* index = rows_.index + y * rows_.taps;
    const float* weight = rows_.weight + y * rows_.taps;
    fetch_window(index);
    for (int c = 0; c < ring_.channels; ++c) {
      for (int x = 0; x < width_; x += S::kLanes) {
        const int64_t at = c * ring_.stride + x;
        typename S::Vec sum = S::mul(S::set1(weight[0]), S::load(slot(index[0]) + at));
        for (int k = 1; k < rows_.taps; ++k) sum = S::fma(S::set1(weight[k]), S::load(slot(index[k]) + at), sum);
        S::store(out + c * out_stride + x, sum);
      }
    }
  }

 private:
  float* slot(int64_t source_row) const { return slots_ + source_row % ring_.slots * ring_.row_size(); }

  // Mirrored and clamped rows included, a window of taps rows spans at most as many source rows: the ring holds them all.
  // Windows move down, so this resamples each source row once; were one to move up, it would start afresh.
  void fetch_window(const int32_t* index) {
    int64_t low = index[0], high = index[0];
    for (int k = 1; k < rows_.taps; ++k) {
      low = index[k] < low ? index[k] : low;
      high = index[k] > high ? index[k] : high;
    }
    if (low < begin_ || low > end_) begin_ = end_ = low;
    for (; end_ <= high; ++end_) resample_columns(end_);
    if (end_ - begin_ > ring_.slots) begin_ = end_ - ring_.slots;
  }

  void resample_columns(int64_t source_row) {
    for (int c = 0; c < ring_.channels; ++c) {
      const int64_t at = c * input_.stride_c + source_row * input_.stride_h;
      const float* source = source_ ? source_ + at : converted_;
      if (source16_) widen_row<S>(source16_ + at + low_ * input_.stride_w, input_.stride_w, high_ - low_ + 1, converted_);
      float* out = slot(source_row) + c * ring_.stride;
      if (columns_.taps == 4) {
        weighted_sums<4>(source, out);  // every enlargement
      } else {
        weighted_sums<0>(source, out);
      }
    }
  }

  template <int kTaps>  // 0: known at run time only
  void weighted_sums(const float* source, float* out) const {
    const int taps = kTaps ? kTaps : columns_.taps;
    const int64_t stride = source16_ ? 1 : input_.stride_w, low = low_;
    const int32_t* index = columns_.index + first_column_ * taps;
    const float* weight = columns_.weight + first_column_ * taps;
    for (int x = 0; x < width_; ++x, index += taps, weight += taps) {
      float sum = weight[0] * source[(index[0] - low) * stride];
      for (int k = 1; k < taps; ++k) sum += weight[k] * source[(index[k] - low) * stride];
      out[x] = sum;
    }
  }

  // The columns of a source row that are read, those of `converted_`.
  void find_source_columns() {
    const int32_t* index = columns_.index + first_column_ * columns_.taps;
    low_ = high_ = index[0];
    for (int i = 0; i < width_ * columns_.taps; ++i) {
      low_ = index[i] < low_ ? index[i] : low_;
      high_ = index[i] > high_ ? index[i] : high_;
    }
  }

  const ImageView<const float>& input_;
  const float* source_;
  const ResampleTableView rows_, columns_;
  const RingLayout ring_;
  float* slots_;
  int64_t first_column_;
  int width_;
  const BFloat16* source16_;
  float* converted_;
  int64_t low_ = 0, high_ = 0;   // source columns that are read, if the source is bfloat16; 0 else
  int64_t begin_ = 0, end_ = 0;  // source rows in the ring
};

}  // namespace srcnn::cpu
