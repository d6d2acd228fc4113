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
#include "backward_replay.h"
#include "input_gradient.h"
#include "pixel_forward.h"
#include "pixels.h"

namespace srcnn::cpu {

template <class S, int F2>
class BackwardStrip : Replay<S, F2> {
  using Piece = BackwardPiece<S, F2>;
  using Replay = srcnn::cpu::Replay<S, F2>;
  using Piece::begin_of, Piece::end_of, Piece::begin1, Piece::end1, Piece::is_owned, Piece::at, Piece::zeros, Piece::zero;
  using Piece::input_wanted_, Piece::owned_, Piece::region1_, Piece::region2_;
  using Piece::kHalo1, Piece::kHalo2, Piece::kHalo3, Piece::min, Piece::max, Piece::copy_row, Piece::pad_sides;
  using Piece::plan_, Piece::problem_, Piece::layout_, Piece::channels_, Piece::height_, Piece::width_, Piece::replicate_;
  using Replay::input_rows, Replay::hidden1_rows, Replay::by_tiles, Replay::conv1_, Replay::conv2_;

 public:
  // `piece`: columns of the tile, and all its rows. owned: the tile's own pixels in it; spread: those to spread gradients to.
  BackwardStrip(const BackwardPlan& plan, int64_t image, const BackwardTile& tile, const Region& owned, const Region& spread,
                float* workspace, float* partial)
      : Replay(plan, image, owned, spread, workspace),
        partial_(partial),
        next_grad_(max(0, region2_.y0 - kHalo3)),
        next_grad2_(region2_.y0),
        input_gradient_(plan, image, tile, spread, workspace) {}

  void run() {
    if (plan_.depth != Depth::kConv1) {
      while (next_grad2_ < region2_.y1) make_grad2();
      return;
    }
    for (int64_t q = region1_.y0; q < region1_.y1; q += Piece::band_rows()) {
      const int64_t end = min(region1_.y1, q + Piece::band_rows());
      const int64_t last = min(region2_.y1, end + kHalo2);
      while (next_grad2_ < last) make_grad2();
      turn_conv2(q, static_cast<int>(end - q));
      for (int64_t r = q; r < end; ++r) finish_grad1(r);
    }
    if (input_wanted_) input_gradient_.finish(height_);
  }

 private:
  // ------------------------------------------------------------------------------------------------------- gradients

  // Rows of grad_output up to `last`, with zeros outside the image.
  void advance_grad(int64_t last) {
    const PlaneRows& layout = layout_.grad;
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

  // The next band of F2 and of its gradient, and what they say about conv3's and conv2's weights.
  void make_grad2() {
    const int64_t first = next_grad2_;
    const int count = static_cast<int>(min(Piece::band_rows(), region2_.y1 - first));
    next_grad2_ += count;
    Replay::advance_hidden1(first + count - 1 + kHalo2);
    const bool tiled = Replay::make_hidden2(first, count);
    for (int64_t r = first; r < first + count; ++r) make_grad2(r);
    if (problem_.grad2.weight) add_weight2(first, count, tiled);
  }

  void make_grad2(int64_t r) {
    advance_grad(r + kHalo3);
    const int64_t begin = begin_of(region2_, kHalo3), end = end_of(region2_, kHalo3);
    const int64_t floats = end - begin + 2 * kHalo3;
    const float* grad_rows[3 * kKernel3];  // from column begin - 2 on
    for (int c = 0; c < channels_; ++c) {
      gather(
          r, kHalo3, floats, zeros(), [&](int64_t y) { return at(layout_.grad, y, begin - kHalo3, c); },
          [&](int j) { return at(layout_.grad_sums, j, begin - kHalo3, c); }, grad_rows + c * kKernel3);
    }
    if (problem_.grad3.weight && is_owned(r)) add_weight3(r, grad_rows, begin);
    if (plan_.depth == Depth::kConv3) return;

    float* const grad = at(layout_.grad2, r, begin, kWidth2);
    convolve_pixels<S, kWidth2, 1>(grad_rows, channels_ * kKernel3, kKernel3, plan_.weight3_turned, nullptr,
                                   static_cast<int>(end - begin), grad);
    fold(layout_.grad2, r, kWidth2, begin, end, region2_.x0, region2_.x1);
    pass_relu<kWidth2>(layout_.grad2, layout_.hidden2, r, region2_, problem_.grad2.bias, plan_.partial.bias2);
    zero_outside(r);
  }

  void add_weight2(int64_t first, int count, bool tiled) const {
    if constexpr (F2 > 1) {
      if (tiled) {
        const float* grads[Piece::kMostBandRows] = {};
        bool any = false;
        for (int i = 0; i < count; ++i) {
          if (!is_owned(first + i)) continue;
          grads[i] = at(layout_.grad2, first + i, region2_.x0, kWidth2);
          any = true;
        }
        if (!any) return;
        return conv2_.add_gradient(grads, static_cast<int>(region2_.x1 - region2_.x0),
                                   static_cast<int>(owned_.x0 - region2_.x0), static_cast<int>(owned_.x1 - region2_.x0));
      }
    }
    for (int64_t r = first; r < first + count; ++r) {
      if (!is_owned(r)) continue;
      const float* rows[F2];
      hidden1_rows(r, F2, F2, owned_.x0 - kHalo2, rows);
      add_weight_gradient<S, kWidth2>(rows, F2, F2 * kWidth1, kWidth1, at(layout_.grad2, r, owned_.x0, kWidth2),
                                      static_cast<int>(owned_.x1 - owned_.x0), partial_ + plan_.partial.weight2);
    }
  }

  // conv3 has one output channel or three, too few for vectors: its weights' gradient runs along F2's channels instead, over
  // the pixels of F2, copies outside the image included. grad_rows begin 2 columns before column `begin`.
  void add_weight3(int64_t r, const float* const* grad_rows, int64_t begin) const {
    const PixelRows& layout = layout_.hidden2;
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

  // conv2's transpose reads zeros left and right of the image, its tiles whole ones.
  void zero_outside(int64_t r) const {
    const int64_t begin = begin1() - kHalo2;
    const int64_t end = F2 > 1 ? begin + conv2_.inputs_of(end1() - begin1()) : end1() + kHalo2;
    zero(layout_.grad2, r, kWidth2, begin, region2_.x0);
    zero(layout_.grad2, r, kWidth2, region2_.x1, end);
  }

  // A band of F1's gradient, before the ReLU. At a replicated edge a row sees sums of rows, which no tile of four rows can.
  void turn_conv2(int64_t first, int count) const {
    const int64_t begin = begin1(), end = end1();
    bool tiled = false;
    if constexpr (F2 > 1) {
      const float* rows[Piece::kMostBandRows + F2 - 1];
      float* out[Piece::kMostBandRows];
      for (int i = 0; i < Piece::band_rows() + F2 - 1; ++i) {
        const int64_t y = first - kHalo2 + i;
        const bool made = y >= 0 && y < height_ && i < count + F2 - 1;
        rows[i] = made ? at(layout_.grad2, y, begin - kHalo2, kWidth2) : zeros();
      }
      for (int i = 0; i < count; ++i) out[i] = at(layout_.grad1, first + i, begin, kWidth1);
      tiled = conv2_.convolve_turned(rows, count, static_cast<int>(end - begin), out);
    }
    for (int64_t q = first; q < first + count; ++q) {
      const bool edge = replicate_ && F2 > 1 && (q == 0 || q == height_ - 1);
      if (tiled && !edge) continue;
      const float* rows[F2];
      gather(
          q, kHalo2, (end - begin + 2 * kHalo2) * kWidth2, zeros(),
          [&](int64_t y) { return at(layout_.grad2, y, begin - kHalo2, kWidth2); },
          [&](int j) { return at(layout_.grad2_sums, j, begin - kHalo2, kWidth2); }, rows);
      convolve_pixels<S, kWidth1, kWidth2>(rows, F2, F2 * kWidth2, plan_.weight2_turned, nullptr, static_cast<int>(end - begin),
                                           at(layout_.grad1, q, begin, kWidth1));
    }
  }

  // The rest of row q of F1's gradient, and what it says about conv1's weights.
  void finish_grad1(int64_t q) {
    fold(layout_.grad1, q, kWidth1, begin1(), end1(), region1_.x0, region1_.x1);
    pass_relu<kWidth1>(layout_.grad1, layout_.hidden1, q, region1_, problem_.grad1.bias, plan_.partial.bias1);
    if (problem_.grad1.weight && is_owned(q)) {
      const int64_t first = q - (q - owned_.y0) % kBand;
      if (q == first + kBand - 1 || q == owned_.y1 - 1) add_weight1(first, static_cast<int>(q - first + 1));
    }
    if (input_wanted_) input_gradient_.add_row(q, at(layout_.grad1, q, region1_.x0, kWidth1), region1_.x0, region1_.x1);
  }

  // What a band of F1's gradient says about conv1's weights.
  void add_weight1(int64_t first, int count) const {
    const float* input[3 * kBandInputs];
    const int pixels = static_cast<int>(owned_.x1 - owned_.x0);
    if (by_tiles(first)) {
      const float* grads[kBand] = {};
      for (int i = 0; i < count; ++i) grads[i] = at(layout_.grad1, first + i, owned_.x0, kWidth1);
      input_rows(first, kBandInputs, count + kKernel1 - 1, owned_.x0 - kHalo1, input);
      return conv1_.add_gradient(input, grads, pixels);
    }
    for (int64_t r = first; r < first + count; ++r) {
      input_rows(r, owned_.x0 - kHalo1, input);
      add_weight_gradient<S, kWidth1>(input, channels_ * kKernel1, kKernel1, 1, at(layout_.grad1, r, owned_.x0, kWidth1),
                                      pixels, partial_ + plan_.partial.weight1);
    }
  }

  float* const partial_;
  int64_t next_grad_, next_grad2_;  // first rows not made yet
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
  const BackwardProblem& problem = *plan.problem;
  const TiledConv1<S> conv1(plan, workspace);
  const TiledConv2<S, F2> conv2(plan, workspace);
  if (problem.grad1.weight) conv1.clear();
  if (problem.grad2.weight && F2 > 1) conv2.clear();
  const Region& all = problem.grad_input.data ? tile.spread : tile.owned;
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
  if (problem.grad1.weight) conv1.finish(partial + plan.partial.weight1);
  if (problem.grad2.weight && F2 > 1) conv2.finish(partial + plan.partial.weight2);
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
void tile_conv2_weights(int kernel2, const float* taps, int64_t count, float* points, int64_t point_stride) {
  if (kernel2 == 3) return tile_weights<S, Winograd<kTile, 3>>(taps, count, points, point_stride);
  tile_weights<S, Winograd<kTile, 5>>(taps, count, points, point_stride);
}

template <class S>
constexpr BackwardEngine make_backward_engine() {
  return {S::kLanes,
          Conv1Blocks<S>::kChannels,
          kPixelBlock<S, kWidth1>,
          kPixelBlock<S, kWidth2>,
          S::kSpreadVectors * S::kLanes,
          &tile_conv2_weights<S>,
          &run_tile<S>,
          &pixel_forward_region<S>};
}

}  // namespace srcnn::cpu
