// conv2 of 9-5-5 by tiles (row_tiles.h), forward and backward. The points of a row are made once, when the row is, and kept for
// the five rows it is part of; as the convolution is a plain one in ky, so are rows of zeros, copies of the edge row, and sums
// of rows.
#pragma once

#include <cstdint>

#include "backward_engine.h"
#include "pixels.h"
#include "row_tiles.h"

namespace srcnn::cpu {

template <class S>
class TiledConv2 {
 public:
  TiledConv2(const BackwardPlan& plan, float* workspace) : plan_(plan), layout_(plan.layout), workspace_(workspace) {}

  static int tiles_of(int64_t pixels) { return static_cast<int>((pixels + kTile - 1) / kTile); }

  // What the tiles of so many outputs read.
  static int64_t inputs_of(int64_t pixels) { return int64_t{kTile} * tiles_of(pixels) + kTileTaps - 1; }

  float* points(const PointRows& rows, int64_t row) const {
    return workspace_ + rows.offset + row % rows.slots * rows.row_size;
  }

  // Row r of the points of F1 or of conv2's gradient; `row`: the first tap of the first of `pixels` outputs.
  void make_hidden1_points(int64_t r, const float* row, int64_t pixels) const {
    transform_inputs<S, kWidth1>(row, tiles_of(pixels), points(layout_.hidden1_points, r), layout_.hidden1_points.point_stride);
  }
  void make_grad2_points(int64_t r, const float* row, int64_t pixels) const {
    transform_inputs<S, kWidth2>(row, tiles_of(pixels), points(layout_.grad2_points, r), layout_.grad2_points.point_stride);
  }

  // relu(conv2 + bias) from five rows of points. False where something is not finite, and out is not to be used.
  bool convolve(const float* const* rows, const float* bias, int pixels, float* out) const {
    const float* const products = multiply_points<kWidth2, kWidth1>(rows, layout_.hidden1_points, plan_.weight2_points, pixels);
    return transform_outputs<S, kWidth2>(products, layout_.products.point_stride, bias, pixels, out);
  }

  // conv2's transpose, likewise.
  bool convolve_turned(const float* const* rows, int pixels, float* out) const {
    const float* const products =
        multiply_points<kWidth1, kWidth2>(rows, layout_.grad2_points, plan_.weight2_turned_points, pixels);
    return transform_outputs<S, kWidth1>(products, layout_.products.point_stride, nullptr, pixels, out);
  }

  // Adds what pixels [begin, end) of a row of conv2's gradient, `pixels` long, say about its weights.
  void add_gradient(const float* const* rows, const float* grad, int pixels, int begin, int end, float* partial) const {
    float* const grad_points = points(layout_.grad2_output_points, 0);
    const int64_t stride = layout_.grad2_output_points.point_stride;
    const int first = begin / kTile, last = tiles_of(end);  // tiles with something to say
    transform_output_gradients<S, kWidth2>(grad, tiles_of(pixels), begin, end, grad_points, stride);
    for (int p = 0; p < kPoints; ++p) {
      const float* at[kTileTaps];
      for (int ky = 0; ky < kTileTaps; ++ky) {
        at[ky] = rows[ky] + p * layout_.hidden1_points.point_stride + static_cast<int64_t>(first) * kWidth1;
      }
      add_weight_gradient<S, kWidth2>(at, kTileTaps, kWidth1, kWidth1, grad_points + p * stride + first * kWidth2, last - first,
                                      partial + p * kPointWeights);
    }
  }

 private:
  static constexpr int64_t kPointWeights = int64_t{kTileTaps} * kWidth1 * kWidth2;

  // The products of five rows of points with the weights of each point, summed over kIn channels and the rows.
  template <int kOut, int kIn>
  const float* multiply_points(const float* const* rows, const PointRows& from, const float* weights, int pixels) const {
    float* const products = points(layout_.products, 0);
    for (int p = 0; p < kPoints; ++p) {
      const float* at[kTileTaps];
      for (int ky = 0; ky < kTileTaps; ++ky) at[ky] = rows[ky] + p * from.point_stride;
      convolve_pixels<S, kOut, kIn>(at, kTileTaps, kIn, weights + p * kPointWeights, nullptr, tiles_of(pixels),
                                    products + p * layout_.products.point_stride);
    }
    return products;
  }

  const BackwardPlan& plan_;
  const BackwardLayout& layout_;
  float* const workspace_;
};

}  // namespace srcnn::cpu
