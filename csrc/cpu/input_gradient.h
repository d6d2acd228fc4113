// The last steps back to the input: conv1's gradient rows, spread over the rows of the enlarged image, and the transpose of the
// bicubic enlargement.
//
// A gradient row of conv1 reaches nine rows of its input. They are kept in a ring and added to until no later row can reach
// them; then they are finished: what lies beyond a replicated edge falls to the edge, and the row goes to its place in
// grad_input, or, enlarged, its share to each input pixel it was made from. A tile writes the pixels of grad_input that are its
// own and no others, always in the same order.
#pragma once

#include <cstdint>
#include <cstring>

#include "backward_engine.h"
#include "target.h"

namespace srcnn::cpu {

inline constexpr int kSpreadRows = kKernel1;

// Adds to `out`, nine rows, what V vectors of their pixels get from one row of 64 channels. planes: what the leftmost tap of
// the first pixel reads of channel 0; weight: [channel][kx][ky].
template <class S, int V>
__attribute__((noinline)) void spread_block(const float* planes, int64_t stride, const float* weight, float* const* out,
                                            int64_t at) {
  using Vec = typename S::Vec;
  Vec sum[kSpreadRows][V];
  SRCNN_UNROLL
  for (int r = 0; r < kSpreadRows; ++r) {
    SRCNN_UNROLL
    for (int v = 0; v < V; ++v) sum[r][v] = S::set1(0.0f);
  }
  for (int c = 0; c < kWidth1; ++c) {
    for (int kx = 0; kx < kKernel1; ++kx, weight += kSpreadRows) {
      Vec g[V];
      SRCNN_UNROLL
      for (int v = 0; v < V; ++v) g[v] = S::load(planes + c * stride + at + kx + v * S::kLanes);
      SRCNN_UNROLL
      for (int r = 0; r < kSpreadRows; ++r) {
        const Vec w = S::set1(weight[r]);
        SRCNN_UNROLL
        for (int v = 0; v < V; ++v) sum[r][v] = S::fma(w, g[v], sum[r][v]);
      }
    }
  }
  for (int r = 0; r < kSpreadRows; ++r) {
    if (out[r] == nullptr) continue;  // a row that is not wanted
    for (int v = 0; v < V; ++v) {
      float* const to = out[r] + at + v * S::kLanes;
      S::store(to, S::add(S::load(to), sum[r][v]));
    }
  }
}

// The gradient of the input over one piece of a tile.
template <class S>
class InputGradient {
 public:
  // `piece`: the part of tile.spread in question; `grad1`: conv1's gradient, [column][64], from column grad1_begin on.
  InputGradient(const BackwardPlan& plan, int64_t image, const BackwardTile& tile, const Region& piece, float* workspace)
      : plan_(plan),
        problem_(*plan.problem),
        image_(image),
        input_(tile.input),
        piece_(piece),
        height_(problem_.scale * problem_.input.height),
        width_(problem_.scale * problem_.input.width),
        replicate_(problem_.padding == Padding::kReplicate),
        planes_(workspace + plan.layout.grad1_planes.offset),
        ring_(workspace + plan.layout.spread.offset),
        narrow_(workspace + plan.layout.narrow_offset),
        begin_(piece.x0 - (replicate_ && piece.x0 == 0 ? kHalo : 0)),
        end_(piece.x1 + (replicate_ && piece.x1 == width_ ? kHalo : 0)),
        started_(piece.y0),
        finished_(piece.y0) {}

  // Spreads row q of conv1's gradient, columns [x0, x1) of it; beyond them are other pieces' columns, or the image's edge.
  void add_row(int64_t q, const float* grad1, int64_t x0, int64_t x1) {
    transpose(grad1, x0, x1);
    for (; started_ <= q + kHalo && started_ < piece_.y1; ++started_) {
      std::memset(row(started_, 0), 0, static_cast<size_t>(plan_.layout.spread.row_size) * sizeof(float));
    }
    constexpr int kColumns = S::kSpreadVectors * S::kLanes;
    for (int c = 0; c < static_cast<int>(problem_.input.channels); ++c) {
      float* out[kSpreadRows];
      for (int ky = 0; ky < kSpreadRows; ++ky) out[ky] = target(q + ky - kHalo, c);
      const float* weight = plan_.weight1_spread + static_cast<int64_t>(c) * kWidth1 * kKernel1 * kSpreadRows;
      for (int64_t at = 0; at < end_ - begin_; at += kColumns) {
        spread_block<S, S::kSpreadVectors>(planes_, plan_.layout.grad1_planes.stride, weight, out, at);
      }
    }
    finish(q - kHalo);
  }

  // Finishes all rows up to `last`.
  void finish(int64_t last) {
    for (; finished_ <= last && finished_ < piece_.y1; ++finished_) {
      for (int c = 0; c < static_cast<int>(problem_.input.channels); ++c) finish_row(finished_, c);
    }
  }

 private:
  static constexpr int kHalo = kKernel1 / 2;

  float* row(int64_t r, int c) const {
    const PlaneRows& layout = plan_.layout.spread;
    return ring_ + r % layout.slots * layout.row_size + c * layout.stride;
  }

  // Where a row's share goes: rows beyond a replicated edge are the edge row, others that are not this piece's are nowhere.
  float* target(int64_t r, int c) const {
    if (replicate_) r = r < 0 ? 0 : (r >= height_ ? height_ - 1 : r);
    return r >= piece_.y0 && r < piece_.y1 ? row(r, c) : nullptr;
  }

  // Planes whose column 0 is what the leftmost tap of column begin_ reads; zeros beyond the image.
  void transpose(const float* grad1, int64_t x0, int64_t x1) {
    const int64_t stride = plan_.layout.grad1_planes.stride;
    const int64_t first = begin_ - kHalo, last = end_ + kHalo;
    const int64_t inside_begin = x0 > first ? x0 : first, inside_end = x1 < last ? x1 : last;
    for (int c = 0; c < kWidth1; ++c) {
      float* const plane = planes_ + c * stride;
      for (int64_t x = first; x < inside_begin; ++x) plane[x - first] = 0.0f;
      for (int64_t x = inside_end; x < last; ++x) plane[x - first] = 0.0f;
    }
    // Sixteen channels at a time: their planes' cache lines stay in L1 from column to column.
    constexpr int kAtOnce = 16;
    for (int c = 0; c < kWidth1; c += kAtOnce) {
      float* const plane = planes_ + c * stride - first;
      for (int64_t x = inside_begin; x < inside_end; ++x) {
        const float* const pixel = grad1 + (x - x0) * kWidth1 + c;
        for (int i = 0; i < kAtOnce; ++i) plane[i * stride + x] = pixel[i];
      }
    }
  }

  void finish_row(int64_t r, int c) const {
    float* const gradient = row(r, c);
    for (int64_t x = begin_; x < piece_.x0; ++x) gradient[piece_.x0 - begin_] += gradient[x - begin_];
    for (int64_t x = piece_.x1; x < end_; ++x) gradient[piece_.x1 - 1 - begin_] += gradient[x - begin_];
    const float* const inside = gradient + (piece_.x0 - begin_);
    const ImageView<float>& to = problem_.grad_input;
    if (problem_.scale == 1) {
      std::memcpy(to.plane(image_, c) + r * to.stride_h + piece_.x0, inside,
                  static_cast<size_t>(piece_.x1 - piece_.x0) * sizeof(float));
    } else {
      shrink_row(r, c, inside);
    }
  }

  // The transpose of the enlargement, columns first: every pixel gives its taps their share back.
  void shrink_row(int64_t r, int c, const float* inside) const {
    const int64_t width = input_.x1 - input_.x0;
    const ResampleTableView& columns = plan_.columns;
    std::memset(narrow_, 0, static_cast<size_t>(width) * sizeof(float));
    for (int64_t x = piece_.x0; x < piece_.x1; ++x) {
      for (int k = 0; k < columns.taps; ++k) {
        const int64_t to = columns.index[x * columns.taps + k] - input_.x0;
        if (to >= 0 && to < width) narrow_[to] += columns.weight[x * columns.taps + k] * inside[x - piece_.x0];
      }
    }
    const ResampleTableView& rows = plan_.rows;
    for (int k = 0; k < rows.taps; ++k) {
      const int64_t to = rows.index[r * rows.taps + k];
      if (to < input_.y0 || to >= input_.y1) continue;
      const float weight = rows.weight[r * rows.taps + k];
      float* const out = problem_.grad_input.plane(image_, c) + to * problem_.grad_input.stride_h + input_.x0;
      for (int64_t x = 0; x < width; ++x) out[x] += weight * narrow_[x];
    }
  }

  const BackwardPlan& plan_;
  const BackwardProblem& problem_;
  const int64_t image_;
  const Region input_, piece_;
  const int64_t height_, width_;
  const bool replicate_;
  float *planes_, *ring_, *narrow_;
  const int64_t begin_, end_;   // columns that the ring's rows hold, what lies beyond a replicated edge included
  int64_t started_, finished_;  // first row not started, not finished yet
};

}  // namespace srcnn::cpu
