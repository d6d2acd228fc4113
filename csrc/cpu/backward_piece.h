// One piece of a tile: what region of each stage it needs, and where the rows of the stages lie. Nothing here computes.
#pragma once

#include <cstdint>
#include <cstring>

#include "backward_engine.h"
#include "conv1_points.h"
#include "target.h"

namespace srcnn::cpu {

// (A template only so that each instruction set has its own: see target.h.)
template <class S, int F2>
class BackwardPiece {
 public:
  static constexpr int kHalo1 = kKernel1 / 2, kHalo2 = F2 / 2, kHalo3 = kKernel3 / 2;

  // owned: the tile's own pixels in the piece; spread: those to spread gradients of the input to.
  BackwardPiece(const BackwardPlan& plan, int64_t image, const Region& owned, const Region& spread, float* workspace)
      : plan_(plan),
        problem_(*plan.problem),
        layout_(plan.layout),
        image_(image),
        channels_(static_cast<int>(problem_.input.channels)),
        height_(problem_.scale * problem_.input.height),
        width_(problem_.scale * problem_.input.width),
        replicate_(problem_.padding == Padding::kReplicate),
        input_wanted_(problem_.grad_input.data != nullptr),
        workspace_(workspace),
        owned_(owned),
        region1_(input_wanted_ ? grown(spread, kHalo1) : owned),
        region2_(plan.depth == Depth::kConv1 ? grown(region1_, kHalo2) : owned),
        hidden1_region_(grown(region2_, kHalo2)),
        first_column_(input_wanted_ ? spread.x0 : owned.x0) {}

  static constexpr int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
  static constexpr int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

 protected:
  Region grown(const Region& r, int64_t by) const {
    return {max(0, r.x0 - by), min(width_, r.x1 + by), max(0, r.y0 - by), min(height_, r.y1 + by)};
  }
  // Columns of a region, with those that stand for its edges outside the image where borders are replicated.
  int64_t begin_of(const Region& r, int halo) const { return replicate_ && r.x0 == 0 ? -halo : r.x0; }
  int64_t end_of(const Region& r, int halo) const { return replicate_ && r.x1 == width_ ? width_ + halo : r.x1; }

  // Columns outside the image from which a gradient of conv1's output comes in, and which conv2's transpose is made for.
  int64_t begin1() const { return begin_of(region1_, kHalo2); }
  int64_t end1() const { return end_of(region1_, kHalo2); }

  bool is_owned(int64_t row) const { return row >= owned_.y0 && row < owned_.y1; }

  float* at(const PixelRows& rows, int64_t row, int64_t column, int channels) const {
    return workspace_ + rows.offset + row % rows.slots * rows.row_size + (column - first_column_ + rows.left) * channels;
  }
  // conv2's bands; see tiled_conv2.h.
  static constexpr int kMostBandRows = F2 == 1 ? 1 : kMostBandGroups * kTile;
  int band_rows() const { return static_cast<int>(layout_.conv2.rows); }

  float* at(const PlaneRows& rows, int64_t row, int64_t column, int channel) const {
    return workspace_ + rows.offset + row % rows.slots * rows.row_size + channel * rows.stride + (column - first_column_) +
           rows.left;
  }
  const float* zeros() const { return workspace_ + plan_.layout.zeros_offset; }

  // ------------------------------------------------------------------------------------------------------- rows' sides

  void copy_row(const ImageView<const float>& image, int c, int64_t row, int64_t begin, int64_t end, float* out) const {
    const float* const source = image.plane(image_, c) + row * image.stride_h;
    if (image.stride_w == 1) {
      std::memcpy(out, source + begin, static_cast<size_t>(end - begin) * sizeof(float));
    } else {
      for (int64_t x = begin; x < end; ++x) out[x - begin] = source[x * image.stride_w];
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

  void zero(const PixelRows& layout, int64_t row, int channels, int64_t begin, int64_t end) const {
    if (begin >= end) return;
    std::memset(at(layout, row, begin, channels), 0, static_cast<size_t>((end - begin) * channels) * sizeof(float));
  }

  const BackwardPlan& plan_;
  const BackwardProblem& problem_;
  const BackwardLayout& layout_;
  const int64_t image_;
  const int channels_;
  const int64_t height_, width_;  // of the output
  const bool replicate_, input_wanted_;
  float* const workspace_;
  const Region owned_;           // pixels whose terms of the weight gradients are summed
  const Region region1_;         // of dF1
  const Region region2_;         // of F2 and dF2
  const Region hidden1_region_;  // of F1
  const int64_t first_column_;   // of the piece
};

}  // namespace srcnn::cpu
