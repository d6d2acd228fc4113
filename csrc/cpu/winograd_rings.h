// Rows split into phases: where the image ends in them, and the last rows of a stage.
#pragma once

#include <cstdint>

#include "winograd_engine.h"

namespace srcnn::cpu {

// How far outside the image a tile reads that lies in it at least with one column: conv1's are the widest.
inline constexpr int kReach = kTile + kKernel1 - 1;
// And how many tiles right of its own.
inline constexpr int kConv1ReadTiles = (kKernel1 - 1) / kTile, kConv2ReadTiles = 1;

// The columns of a stage in one strip.
template <class S>
class PhaseColumns {
 public:
  PhaseColumns(const PhaseRowLayout& layout, const WinogradPlan& plan, const Region& region)
      : padding_(plan.problem->padding), layout_(layout) {
    const int64_t left = layout.halo - region.x0;
    const int64_t right = plan.problem->output.width - region.x0 + layout.halo;
    const int columns = layout.tiles * kTile;
    outside_left_ = static_cast<int>(left > 0 ? left : 0);
    outside_right_ = static_cast<int>(right < columns ? right : columns);
  }

  int outside_left() const { return outside_left_; }    // columns left of the image
  int outside_right() const { return outside_right_; }  // first column right of it, or past the row

  // Tiles that lie in the image, whole or in part; the others are padding alone and need not be made.
  int first_tile() const { return outside_left_ / kTile; }
  int end_tile() const { return (outside_right_ + kTile - 1) / kTile; }

  // Columns of a row outside the image, as far as what lies in it can reach: beyond, whatever the memory holds harms no one.
  void pad_sides(float* row, int reach) const {
    if (outside_left_ == 0 && outside_right_ == layout_.tiles * kTile) return;
    const int64_t stride = layout_.phase_stride;
    const int columns = layout_.tiles * kTile, reached = outside_right_ + reach, end = reached < columns ? reached : columns;
    const int begin = outside_left_ > reach ? outside_left_ - reach : 0, last = outside_right_ - 1;
    for (int c = 0; c < layout_.channels; ++c, row += layout_.channel_stride) {
      const bool zeros = padding_ == Padding::kZeros;
      const float left = zeros ? 0.0f : row[outside_left_ % kTile * stride + outside_left_ / kTile];
      const float right = zeros ? 0.0f : row[last % kTile * stride + last / kTile];
      for (int x = begin; x < outside_left_; ++x) row[x % kTile * stride + x / kTile] = left;
      for (int x = outside_right_; x < end; ++x) row[x % kTile * stride + x / kTile] = right;
    }
  }

 protected:
  const Padding padding_;

 private:
  const PhaseRowLayout layout_;
  int outside_left_, outside_right_;
};

// The last rows of a stage, made some rows at a time.
template <class S>
class PhaseRing : public PhaseColumns<S> {
 public:
  PhaseRing(const PhaseRingLayout& layout, const WinogradPlan& plan, const Region& region, float* workspace)
      : PhaseColumns<S>(layout.row, plan, region),
        layout_(layout),
        rows_(workspace + layout.offset),
        zeros_(workspace + plan.layout.zeros),
        height_(plan.problem->output.height),
        top_(region.y0 - layout.row.halo),
        next_(top_) {}

  const PhaseRowLayout& layout() const { return layout_.row; }

  // Row r of the stage; rows outside the image are what the padding says.
  const float* row(int64_t r) const {
    if (r < 0 || r >= height_) {
      if (this->padding_ == Padding::kZeros) return zeros_;
      r = r < 0 ? 0 : height_ - 1;
    }
    return memory(r);
  }

  // Calls make(first row, memory of its rows) for all groups of kRows rows up to row `last` that have not been made, but for
  // those outside the image, and pads the sides.
  template <int kRows, class Make>
  void advance(int64_t last, const Make& make) {
    for (; next_ <= last && next_ < height_; next_ += kRows) {
      if (next_ + kRows <= 0) continue;
      float* rows[kRows];
      for (int r = 0; r < kRows; ++r) rows[r] = memory(next_ + r);
      make(next_, rows);
      for (int r = 0; r < kRows; ++r) this->pad_sides(rows[r], kReach);
    }
  }

 private:
  float* memory(int64_t r) const { return rows_ + (r - top_) % layout_.slots * layout_.row.size(); }

  const PhaseRingLayout layout_;
  float* rows_;
  const float* zeros_;
  const int64_t height_, top_;
  int64_t next_;  // first row not made yet
};

}  // namespace srcnn::cpu
