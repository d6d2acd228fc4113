// The line-buffer backward of one tile. It replays the forward row by row and meets it, row by row, with the gradient:
//
//   input rows -> ring -> F1 = relu(conv1) -> ring -> F2 = relu(conv2), one row
//   grad_output rows -> ring -> dF2 = relu' * conv3^T -> ring -> dF1 = relu' * conv2^T, one row -> conv1^T (input_gradient.h)
//
// Nothing is read but the input, grad_output and the weights. A gradient of weights is summed as soon as both its rows are
// there: dW3 from F2 and grad_output, dW2 from dF2 and F1, dW1 from dF1 and the input; each pixel's terms by the one tile that
// owns it. What lies around a tile is made again: f2 / 2 columns and rows of dF2 and F2 a side, twice that of F1, and 4 more of
// each where the gradient of the input is wanted.
//
// Borders: rows outside the image are rows of zeros or the edge row again, as in the forward. A gradient has zeros there; with
// replicated borders what it brings to pixels outside the image belongs to the edge pixels. Columns are made there and added to
// the edge (fold); for rows it is cheaper to add up the gradient's rows that a tap sees in the copies of the edge row (gather).
#pragma once

#include <cstdint>
#include <cstring>

#include "backward_engine.h"
#include "input_gradient.h"
#include "pixels.h"
#include "resample_rows.h"

namespace srcnn::cpu {

template <class S, int F2>
class BackwardStrip {
 public:
  // `piece`: columns of the tile, and all its rows. owned: the tile's own pixels in it; spread: those to spread gradients to.
  BackwardStrip(const BackwardPlan& plan, int64_t image, const BackwardTile& tile, const Region& owned, const Region& spread,
                float* workspace, float* partial)
      : plan_(plan),
        problem_(*plan.problem),
        image_(image),
        channels_(static_cast<int>(problem_.input.channels)),
        height_(problem_.scale * problem_.input.height),
        width_(problem_.scale * problem_.input.width),
        replicate_(problem_.padding == Padding::kReplicate),
        input_wanted_(problem_.grad_input.data != nullptr),
        workspace_(workspace),
        partial_(partial),
        owned_(owned),
        region1_(input_wanted_ ? grown(spread, kHalo1) : owned),
        region2_(plan.depth == Depth::kConv1 ? grown(region1_, kHalo2) : owned),
        hidden1_region_(grown(region2_, kHalo2)),
        first_column_(input_wanted_ ? spread.x0 : owned.x0),
        input_begin_(max(0, hidden1_region_.x0 - kHalo1)),
        input_end_(min(width_, hidden1_region_.x1 + kHalo1)),
        next_input_(max(0, hidden1_region_.y0 - kHalo1)),
        next_grad_(max(0, region2_.y0 - kHalo3)),
        next_hidden1_(hidden1_region_.y0),
        next_grad2_(region2_.y0),
        enlarged_(problem_.input, image, 0, plan.rows, plan.columns, plan.layout.source, workspace, input_begin_,
                  static_cast<int>(input_end_ - input_begin_)),
        input_gradient_(plan, image, tile, spread, workspace) {}

  void run() {
    if (plan_.depth != Depth::kConv1) {
      while (next_grad2_ < region2_.y1) make_grad2(next_grad2_++);
      return;
    }
    for (int64_t q = region1_.y0; q < region1_.y1; ++q) {
      const int64_t last = min(region2_.y1 - 1, q + kHalo2);
      while (next_grad2_ <= last) make_grad2(next_grad2_++);
      make_grad1(q);
      if (input_wanted_) input_gradient_.add_row(q, at(plan_.layout.grad1, q, region1_.x0, kWidth1), region1_.x0, region1_.x1);
    }
    if (input_wanted_) input_gradient_.finish(height_);
  }

 private:
  static constexpr int kHalo1 = kKernel1 / 2, kHalo2 = F2 / 2, kHalo3 = kKernel3 / 2;

  static constexpr int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
  static constexpr int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

  // ------------------------------------------------------------------------------------------------ regions and memory

  Region grown(const Region& r, int64_t by) const {
    return {max(0, r.x0 - by), min(width_, r.x1 + by), max(0, r.y0 - by), min(height_, r.y1 + by)};
  }
  // Columns of a region, with those that stand for its edges outside the image where borders are replicated.
  int64_t begin_of(const Region& r, int halo) const { return replicate_ && r.x0 == 0 ? -halo : r.x0; }
  int64_t end_of(const Region& r, int halo) const { return replicate_ && r.x1 == width_ ? width_ + halo : r.x1; }

  bool is_owned(int64_t row) const { return row >= owned_.y0 && row < owned_.y1; }

  float* at(const PixelRows& rows, int64_t row, int64_t column, int channels) const {
    return workspace_ + rows.offset + row % rows.slots * rows.row_size + (column - first_column_ + rows.left) * channels;
  }
  float* at(const PlaneRows& rows, int64_t row, int64_t column, int channel) const {
    return workspace_ + rows.offset + row % rows.slots * rows.row_size + channel * rows.stride + (column - first_column_) +
           rows.left;
  }
  const float* zeros() const { return workspace_ + plan_.layout.zeros_offset; }

  // ----------------------------------------------------------------------------------------------- the forward, again

  // Rows of the enlarged image up to `last`, with padded sides.
  void advance_input(int64_t last) {
    const PlaneRows& layout = plan_.layout.input;
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

  void copy_row(const ImageView<const float>& image, int c, int64_t row, int64_t begin, int64_t end, float* out) const {
    const float* const source = image.plane(image_, c) + row * image.stride_h;
    if (image.stride_w == 1) {
      std::memcpy(out, source + begin, static_cast<size_t>(end - begin) * sizeof(float));
    } else {
      for (int64_t x = begin; x < end; ++x) out[x - begin] = source[x * image.stride_w];
    }
  }

  // Rows r - 4 to r + 4 of all channels, from `column` on: what conv1 and its gradient see.
  void input_rows(int64_t r, int64_t column, const float** rows) const {
    for (int c = 0; c < channels_; ++c) {
      for (int64_t y = r - kHalo1; y <= r + kHalo1; ++y) {
        const bool outside = y < 0 || y >= height_;
        *rows++ = outside && !replicate_ ? zeros() : at(plan_.layout.input, max(0, min(height_ - 1, y)), column, c);
      }
    }
  }

  void advance_hidden1(int64_t last) {
    const PixelRows& layout = plan_.layout.hidden1;
    const Region& region = hidden1_region_;
    for (; next_hidden1_ <= last && next_hidden1_ < region.y1; ++next_hidden1_) {
      advance_input(next_hidden1_ + kHalo1);
      const float* rows[3 * kKernel1];
      input_rows(next_hidden1_, region.x0 - kHalo1, rows);
      convolve_pixels<S, kWidth1, 1>(rows, channels_ * kKernel1, kKernel1, plan_.weight1, problem_.conv1.bias,
                                     static_cast<int>(region.x1 - region.x0), at(layout, next_hidden1_, region.x0, kWidth1));
      pad_sides(layout, next_hidden1_, kWidth1, region.x0, region.x1, region2_.x0 - kHalo2, region2_.x1 + kHalo2);
    }
  }

  // Fills a row's columns from `begin` and up to `end`, outside the image, with zeros or its edge pixels.
  void pad_sides(const PixelRows& layout, int64_t row, int channels, int64_t x0, int64_t x1, int64_t begin, int64_t end) const {
    const size_t pixel = static_cast<size_t>(channels) * sizeof(float);
    const auto fill = [&](int64_t x, int64_t edge) {
      float* const to = at(layout, row, x, channels);
      if (replicate_) {
        std::memcpy(to, at(layout, row, edge, channels), pixel);
      } else {
        std::memset(to, 0, pixel);
      }
    };
    for (int64_t x = begin; x < x0; ++x) fill(x, x0);
    for (int64_t x = x1; x < end; ++x) fill(x, x1 - 1);
  }

  void hidden1_rows(int64_t r, int64_t column, const float** rows) const {
    for (int64_t y = r - kHalo2; y <= r + kHalo2; ++y) {
      const bool outside = y < 0 || y >= height_;
      *rows++ = outside && !replicate_ ? zeros() : at(plan_.layout.hidden1, max(0, min(height_ - 1, y)), column, kWidth1);
    }
  }

  void make_hidden2(int64_t r) const {
    const float* rows[F2];
    hidden1_rows(r, region2_.x0 - kHalo2, rows);
    convolve_pixels<S, kWidth2, kWidth1>(rows, F2, F2 * kWidth1, plan_.weight2, problem_.conv2.bias,
                                         static_cast<int>(region2_.x1 - region2_.x0),
                                         at(plan_.layout.hidden2, r, region2_.x0, kWidth2));
  }

  // ------------------------------------------------------------------------------------------------------- gradients

  // Rows of grad_output up to `last`, with zeros outside the image.
  void advance_grad(int64_t last) {
    const PlaneRows& layout = plan_.layout.grad;
    const int64_t begin = region2_.x0 - 2 * kHalo3, end = region2_.x1 + 2 * kHalo3;
    const int64_t inside_begin = max(0, begin), inside_end = min(width_, end);
    for (; next_grad_ <= last && next_grad_ < height_; ++next_grad_) {
      for (int c = 0; c < channels_; ++c) {
        copy_row(problem_.grad_output, c, next_grad_, inside_begin, inside_end, at(layout, next_grad_, inside_begin, c));
        float* const row = at(layout, next_grad_, 0, c);
        for (int64_t x = begin; x < inside_begin; ++x) row[x] = 0.0f;
        for (int64_t x = inside_end; x < end; ++x) row[x] = 0.0f;
      }
    }
  }

  // The rows of a gradient that the taps of a transposed convolution see in row r of its result: tap j sees row r - halo + j,
  // and at a replicated edge all those that reach the edge's copies outside. `row(y)`: `floats` floats; sums(j) has room for a
  // sum.
  template <class Row, class Sums>
  void gather(int64_t r, int halo, int64_t floats, const float* zero_row, const Row& row, const Sums& sums,
              const float** rows) const {
    for (int j = 0; j <= 2 * halo; ++j) {
      const int64_t y = r - halo + j;
      const int64_t first = max(0, replicate_ && r == 0 ? 0 : y);
      const int64_t last = min(height_ - 1, replicate_ && r == height_ - 1 ? height_ - 1 : y);
      if (first > last) {
        rows[j] = zero_row;
      } else if (first == last) {
        rows[j] = row(first);
      } else {
        float* const sum = sums(j);
        std::memcpy(sum, row(first), static_cast<size_t>(floats) * sizeof(float));
        for (int64_t other = first + 1; other <= last; ++other) {
          const float* const more = row(other);
          for (int64_t i = 0; i < floats; ++i) sum[i] += more[i];
        }
        rows[j] = sum;
      }
    }
  }

  // What lies beyond a replicated edge falls to the edge.
  void fold(const PixelRows& layout, int64_t row, int channels, int64_t begin, int64_t end, int64_t x0, int64_t x1) const {
    const auto add = [&](int64_t x, int64_t edge) {
      const float* const from = at(layout, row, x, channels);
      float* const to = at(layout, row, edge, channels);
      for (int c = 0; c < channels; ++c) to[c] += from[c];
    };
    for (int64_t x = begin; x < x0; ++x) add(x, x0);
    for (int64_t x = x1; x < end; ++x) add(x, x1 - 1);
  }

  // Row r of F2 and of its gradient, and what they say about conv3's and conv2's weights.
  void make_grad2(int64_t r) {
    advance_hidden1(r + kHalo2);
    make_hidden2(r);
    advance_grad(r + kHalo3);
    const BackwardLayout& layout = plan_.layout;
    const int64_t begin = begin_of(region2_, kHalo3), end = end_of(region2_, kHalo3);
    const int64_t floats = end - begin + 2 * kHalo3;
    const float* grad_rows[3 * kKernel3];  // from column begin - 2 on
    for (int c = 0; c < channels_; ++c) {
      gather(
          r, kHalo3, floats, zeros(), [&](int64_t y) { return at(layout.grad, y, begin - kHalo3, c); },
          [&](int j) { return at(layout.grad_sums, j, begin - kHalo3, c); }, grad_rows + c * kKernel3);
    }
    if (problem_.grad3.weight && is_owned(r)) add_weight3(r, grad_rows, begin);
    if (plan_.depth == Depth::kConv3) return;

    float* const grad = at(layout.grad2, r, begin, kWidth2);
    convolve_pixels<S, kWidth2, 1>(grad_rows, channels_ * kKernel3, kKernel3, plan_.weight3_turned, nullptr,
                                   static_cast<int>(end - begin), grad);
    fold(layout.grad2, r, kWidth2, begin, end, region2_.x0, region2_.x1);
    pass_relu<kWidth2>(layout.grad2, layout.hidden2, r, region2_, problem_.grad2.bias, plan_.partial.bias2);
    zero_outside(r);
    if (problem_.grad2.weight && is_owned(r)) {
      const float* rows[F2];
      hidden1_rows(r, owned_.x0 - kHalo2, rows);
      add_weight_gradient<S, kWidth2>(rows, F2, F2 * kWidth1, kWidth1, at(layout.grad2, r, owned_.x0, kWidth2),
                                      static_cast<int>(owned_.x1 - owned_.x0), partial_ + plan_.partial.weight2);
    }
  }

  // conv3 has one output channel or three, too few for vectors: its weights' gradient runs along F2's channels instead, over
  // the pixels of F2, copies outside the image included. grad_rows begin 2 columns before column `begin`.
  void add_weight3(int64_t r, const float* const* grad_rows, int64_t begin) const {
    const PixelRows& layout = plan_.layout.hidden2;
    const int64_t from = begin_of(owned_, kHalo3), to = end_of(owned_, kHalo3);
    if (replicate_) {
      pad_sides(layout, r, kWidth2, owned_.x0, owned_.x1, from, to);
    }
    const float* rows[3 * kKernel3];
    for (int i = 0; i < channels_ * kKernel3; ++i) rows[i] = grad_rows[i] + (from - begin);
    add_weight_gradient<S, kWidth2>(rows, channels_ * kKernel3, kKernel3, 1, at(layout, r, from, kWidth2),
                                    static_cast<int>(to - from), partial_ + plan_.partial.weight3);
  }

  template <int kChannels>
  void pass_relu(const PixelRows& grad, const PixelRows& feature, int64_t r, const Region& region, const float* bias_wanted,
                 int64_t bias_offset) const {
    float* const bias = bias_wanted && is_owned(r) ? partial_ + bias_offset : nullptr;
    relu_backward<S, kChannels>(at(grad, r, region.x0, kChannels), at(feature, r, region.x0, kChannels),
                                static_cast<int>(region.x1 - region.x0), static_cast<int>(owned_.x0 - region.x0),
                                static_cast<int>(owned_.x1 - region.x0), bias);
  }

  // conv2's transpose reads zeros left and right of the image.
  void zero_outside(int64_t r) const {
    const PixelRows& layout = plan_.layout.grad2;
    const int64_t begin = begin_of(region1_, kHalo2) - kHalo2, end = end_of(region1_, kHalo2) + kHalo2;
    const auto zero = [&](int64_t from, int64_t to) {
      if (from < to) std::memset(at(layout, r, from, kWidth2), 0, static_cast<size_t>(to - from) * kWidth2 * sizeof(float));
    };
    zero(begin, region2_.x0);
    zero(region2_.x1, end);
  }

  // Row q of F1's gradient, and what it says about conv1's weights.
  void make_grad1(int64_t q) {
    const BackwardLayout& layout = plan_.layout;
    const int64_t begin = begin_of(region1_, kHalo2), end = end_of(region1_, kHalo2);
    const float* rows[F2];
    gather(
        q, kHalo2, (end - begin + 2 * kHalo2) * kWidth2, zeros(),
        [&](int64_t y) { return at(layout.grad2, y, begin - kHalo2, kWidth2); },
        [&](int j) { return at(layout.grad2_sums, j, begin - kHalo2, kWidth2); }, rows);
    convolve_pixels<S, kWidth1, kWidth2>(rows, F2, F2 * kWidth2, plan_.weight2_turned, nullptr, static_cast<int>(end - begin),
                                         at(layout.grad1, q, begin, kWidth1));
    fold(layout.grad1, q, kWidth1, begin, end, region1_.x0, region1_.x1);
    pass_relu<kWidth1>(layout.grad1, layout.hidden1, q, region1_, problem_.grad1.bias, plan_.partial.bias1);
    if (problem_.grad1.weight && is_owned(q)) {
      const float* input[3 * kKernel1];
      input_rows(q, owned_.x0 - kHalo1, input);
      add_weight_gradient<S, kWidth1>(input, channels_ * kKernel1, kKernel1, 1, at(layout.grad1, q, owned_.x0, kWidth1),
                                      static_cast<int>(owned_.x1 - owned_.x0), partial_ + plan_.partial.weight1);
    }
  }

  const BackwardPlan& plan_;
  const BackwardProblem& problem_;
  const int64_t image_;
  const int channels_;
  const int64_t height_, width_;  // of the output
  const bool replicate_, input_wanted_;
  float *const workspace_, *const partial_;
  const Region owned_;                                          // pixels whose terms of the weight gradients are summed
  const Region region1_;                                        // of dF1
  const Region region2_;                                        // of F2 and dF2
  const Region hidden1_region_;                                 // of F1
  const int64_t first_column_;                                  // of the piece
  const int64_t input_begin_, input_end_;                       // columns of the input inside the image
  int64_t next_input_, next_grad_, next_hidden1_, next_grad2_;  // first rows not made yet
  ResampledRows<S> enlarged_;
  InputGradient<S> input_gradient_;
};

// conv3's bias: grad_output, added up.
template <class S>
void add_bias3(const BackwardProblem& problem, int64_t image, const Region& owned, float* bias) {
  const ImageView<const float>& grad = problem.grad_output;
  for (int64_t c = 0; c < grad.channels; ++c) {
    for (int64_t y = owned.y0; y < owned.y1; ++y) {
      const float* const row = grad.plane(image, c) + y * grad.stride_h;
      double sum = 0;
      for (int64_t x = owned.x0; x < owned.x1; ++x) sum += row[x * grad.stride_w];
      bias[c] += static_cast<float>(sum);
    }
  }
}

template <class S, int F2>
void run_pieces(const BackwardPlan& plan, int64_t image, const BackwardTile& tile, float* workspace, float* partial) {
  const Region& all = plan.problem->grad_input.data ? tile.spread : tile.owned;
  for (int64_t x = all.x0; x < all.x1; x += plan.piece_columns) {
    const int64_t end = x + plan.piece_columns < all.x1 ? x + plan.piece_columns : all.x1;
    Region owned = tile.owned, spread = tile.spread;
    owned.x0 = owned.x0 > x ? owned.x0 : x;
    owned.x1 = owned.x1 < end ? owned.x1 : end;
    if (owned.x1 <= owned.x0) owned = {x, x, 0, 0};  // the gradient of the input only
    spread.x0 = x;
    spread.x1 = end;
    BackwardStrip<S, F2>(plan, image, tile, owned, spread, workspace, partial).run();
  }
}

template <class S>
void run_tile(const BackwardPlan& plan, int64_t image, const BackwardTile& tile, float* workspace, float* partial) {
  const BackwardProblem& problem = *plan.problem;
  if (problem.grad3.bias) add_bias3<S>(problem, image, tile.owned, partial + plan.partial.bias3);
  if (plan.depth == Depth::kBias3) return;
  const ImageView<float>& grad = problem.grad_input;
  if (grad.data && problem.scale > 1) {  // shares are added to it
    for (int64_t c = 0; c < grad.channels; ++c) {
      for (int64_t y = tile.input.y0; y < tile.input.y1; ++y) {
        std::memset(grad.plane(image, c) + y * grad.stride_h + tile.input.x0, 0,
                    static_cast<size_t>(tile.input.x1 - tile.input.x0) * sizeof(float));
      }
    }
  }
  switch (problem.conv2.kernel_size) {
    case 1:
      return run_pieces<S, 1>(plan, image, tile, workspace, partial);
    case 3:
      return run_pieces<S, 3>(plan, image, tile, workspace, partial);
    default:
      return run_pieces<S, 5>(plan, image, tile, workspace, partial);
  }
}

template <class S>
constexpr BackwardEngine make_backward_engine() {
  return {S::kLanes, kPixelBlock<S, kWidth1>, kPixelBlock<S, kWidth2>, S::kSpreadVectors * S::kLanes, &run_tile<S>};
}

}  // namespace srcnn::cpu
