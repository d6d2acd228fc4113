// The line-buffer forward of one strip: bicubic row -> ring -> conv1 + ReLU -> ring -> conv2 + ReLU -> ring -> conv3 -> output.
//
// A strip is a rectangle of the output, made top to bottom. Each stage keeps just the rows the next one can still ask for, so
// everything a core touches (about 0.6 MB, see plan.cpp) stays in its L2 cache whatever the size of the image. No row is made
// twice; columns are, in the halo of a strip (4 + f2 / 2 + 2 a side).
//
// Borders are a property of the rings: a row above or below the image is a row of zeros, or the edge row again; columns left
// and right of it are overwritten so once a row is made. The inner loops (conv.h) never check.
#pragma once

#include <cstdint>
#include <cstring>

#include "conv.h"
#include "engine.h"
#include "resample_rows.h"

namespace srcnn::cpu {

// The last rows of one stage. (A template only so that each instruction set has its own: see target.h.)
template <class S>
class Ring {
 public:
  Ring(const RingLayout& layout, const StripLayout& strip, const ForwardProblem& problem, const Region& region,
       float* workspace)
      : layout_(layout),
        rows_(workspace + layout.offset),
        zeros_(workspace + strip.zeros_offset),
        padding_(problem.padding),
        height_(problem.output.height) {
    const int64_t left = layout.halo - region.x0;
    const int64_t right = problem.output.width - region.x0 + layout.halo;
    columns_ = static_cast<int>(region.x1 - region.x0) + 2 * layout.halo;
    outside_left_ = static_cast<int>(left > 0 ? left : 0);
    outside_right_ = static_cast<int>(right < columns_ ? right : columns_);
    next_ = region.y0 - layout.halo > 0 ? region.y0 - layout.halo : 0;
  }

  const RingLayout& layout() const { return layout_; }
  int columns() const { return columns_; }              // of a row: the strip and its halo
  int outside_left() const { return outside_left_; }    // columns left of the image
  int outside_right() const { return outside_right_; }  // first column right of it

  // Row r of the stage; rows outside the image are what the padding says.
  const float* row(int64_t r) const {
    if (r < 0 || r >= height_) {
      if (padding_ == Padding::kZeros) return zeros_;
      r = r < 0 ? 0 : height_ - 1;
    }
    return rows_ + r % layout_.slots * layout_.row_size();
  }

  // Calls make(r, memory of row r) for all rows up to `last` that have not been made, and pads their sides.
  template <class Make>
  void advance(int64_t last, const Make& make) {
    for (; next_ <= last && next_ < height_; ++next_) {
      float* memory = rows_ + next_ % layout_.slots * layout_.row_size();
      make(next_, memory);
      if (outside_left_ > 0 || outside_right_ < columns_) pad_sides(memory);
    }
  }

 private:
  void pad_sides(float* memory) const {
    for (int c = 0; c < layout_.channels; ++c, memory += layout_.stride) {
      const bool zeros = padding_ == Padding::kZeros;
      const float left = zeros ? 0.0f : memory[outside_left_];
      const float right = zeros ? 0.0f : memory[outside_right_ - 1];
      for (int x = 0; x < outside_left_; ++x) memory[x] = left;
      for (int x = outside_right_; x < columns_; ++x) memory[x] = right;
    }
  }

  const RingLayout layout_;
  float* rows_;
  const float* zeros_;
  const Padding padding_;
  const int64_t height_;
  int columns_, outside_left_, outside_right_;
  int64_t next_;  // first row not made yet
};

template <class S, int F2>
class Strip {
 public:
  Strip(const ForwardPlan& plan, int64_t image, const Region& region, float* workspace)
      : plan_(plan),
        problem_(*plan.problem),
        image_(image),
        region_(region),
        input_(plan.layout.input, plan.layout, problem_, region, workspace),
        hidden1_(plan.layout.hidden1, plan.layout, problem_, region, workspace),
        hidden2_(plan.layout.hidden2, plan.layout, problem_, region, workspace),
        block_(workspace + plan.layout.hidden1.offset),
        first_column_(region.x0 - plan.layout.input.halo + input_.outside_left()),
        input_width_(input_.outside_right() - input_.outside_left()),
        converted_(workspace + plan.layout.converted),
        enlarged_(problem_.input, image, 0, plan.rows, plan.columns, plan.layout.source, workspace, first_column_, input_width_,
                  plan.sixteen, converted_) {}

  void run() {
    for (int64_t y = region_.y0; y < region_.y1; y += kConv3Rows) {
      hidden2_.advance(y + kConv3Rows - 1 + kKernel3 / 2, [&](int64_t r, float* memory) { make_hidden2(r, memory); });
      make_output(y);
    }
  }

 private:
  // A row of the enlarged image, columns inside the image only; Ring pads the rest.
  void make_input(int64_t r, float* memory) {
    const RingLayout& layout = input_.layout();
    float* out = memory + input_.outside_left();
    if (problem_.scale > 1) return enlarged_.make(r, out, layout.stride);
    for (int c = 0; c < layout.channels; ++c, out += layout.stride) {
      const ImageView<const float>& in = problem_.input;
      const int64_t at = c * in.stride_c + r * in.stride_h + first_column_ * in.stride_w;
      if (plan_.sixteen) {
        widen_row<S>(plan_.sixteen->input.plane(image_, 0) + at, in.stride_w, input_width_, out);
        continue;
      }
      const float* source = in.plane(image_, 0) + at;
      if (in.stride_w == 1) {
        std::memcpy(out, source, static_cast<size_t>(input_width_) * sizeof(float));
      } else {
        for (int x = 0; x < input_width_; ++x) out[x] = source[x * in.stride_w];
      }
    }
  }

  void advance_input(int64_t last) {
    input_.advance(last, [&](int64_t r, float* memory) { make_input(r, memory); });
  }

  // Calls block(first column, vectors) over the columns of a stage, the last vector whole.
  template <class Block>
  static void for_each_block(int columns, const Block& block) {
    for (int x = 0; x < columns;) {
      const int v = next_vectors<S>((columns - x + S::kLanes - 1) / S::kLanes);
      block(x, v);
      x += v * S::kLanes;
    }
  }

  void conv1(int64_t r, int x, int v, float* out, int64_t out_stride) const {
    const float* rows[kKernel1];
    for (int ky = 0; ky < kKernel1; ++ky) rows[ky] = input_.row(r - kKernel1 / 2 + ky) + x;
    const RingLayout& in = input_.layout();
    conv_relu_columns<S, kKernel1>(v, rows, in.stride, in.channels, kWidth1, plan_.conv1.weight, plan_.conv1.bias, out,
                                   out_stride);
  }

  void make_hidden1(int64_t r, float* memory) {
    advance_input(r + kKernel1 / 2);
    const RingLayout& layout = hidden1_.layout();
    for_each_block(hidden1_.columns(), [&](int x, int v) { conv1(r, x, v, memory + x, layout.stride); });
  }

  void make_hidden2(int64_t r, float* memory) {
    const RingLayout& layout = hidden2_.layout();
    const RingLayout& in = hidden1_.layout();
    if constexpr (F2 == 1) {
      // A 1x1 conv2 needs no neighbours: each block of conv1 is used up while it is in L1.
      advance_input(r + kKernel1 / 2);
      for_each_block(hidden2_.columns(), [&](int x, int v) {
        conv1(r, x, v, block_, in.stride);
        const float* rows[] = {block_};
        conv_relu_columns<S, F2>(v, rows, in.stride, kWidth1, kWidth2, plan_.conv2.weight, plan_.conv2.bias, memory + x,
                                 layout.stride);
      });
    } else {
      hidden1_.advance(r + F2 / 2, [&](int64_t row, float* made) { make_hidden1(row, made); });
      const float* rows[F2];
      for_each_block(hidden2_.columns(), [&](int x, int v) {
        for (int ky = 0; ky < F2; ++ky) rows[ky] = hidden1_.row(r - F2 / 2 + ky) + x;
        conv_relu_columns<S, F2>(v, rows, in.stride, kWidth1, kWidth2, plan_.conv2.weight, plan_.conv2.bias, memory + x,
                                 layout.stride);
      });
    }
  }

  void make_output(int64_t y) const {
    const RingLayout& in = hidden2_.layout();
    const ImageView<float>& output = problem_.output;
    const int rows_wanted = static_cast<int>(region_.y1 - y < kConv3Rows ? region_.y1 - y : kConv3Rows);
    constexpr int kColumns = S::kConv3Vectors * S::kLanes;
    for (int64_t x = region_.x0; x < region_.x1; x += kColumns) {
      const float* rows[kConv3Inputs];
      for (int r = 0; r < kConv3Inputs; ++r) {
        // Rows that serve no wanted output have not been made; any memory will do for them.
        const bool used = r < rows_wanted + kKernel3 - 1;
        rows[r] = hidden2_.row(used ? y - kKernel3 / 2 + r : y) + (x - region_.x0);
      }
      for (int64_t c = 0; c < output.channels; ++c) {
        float* out[kConv3Rows];
        for (int o = 0; o < kConv3Rows; ++o) {
          out[o] = plan_.sixteen ? converted_ + o * kColumns
                                 : output.plane(image_, c) + (y + (o < rows_wanted ? o : 0)) * output.stride_h + x;
        }
        const float* weight = plan_.conv3.weight + c * kWidth2 * kKernel3 * kKernel3;
        conv3_columns<S, S::kConv3Vectors>(rows, in.stride, weight, plan_.conv3.bias[c], out, rows_wanted, region_.x1 - x);
        if (!plan_.sixteen) continue;
        const int64_t columns = region_.x1 - x < kColumns ? region_.x1 - x : kColumns;
        for (int o = 0; o < rows_wanted; ++o) {
          round_row<S>(out[o], columns, plan_.sixteen->output.plane(image_, c) + (y + o) * output.stride_h + x);
        }
      }
    }
  }

  const ForwardPlan& plan_;
  const ForwardProblem& problem_;
  const int64_t image_;
  const Region region_;
  Ring<S> input_, hidden1_, hidden2_;
  float* block_;                // with a 1x1 conv2: conv1's output for one block of columns
  const int64_t first_column_;  // of the image, in an input row
  const int input_width_;       // columns of an input row inside the image
  float* converted_;
  ResampledRows<S> enlarged_;
};

template <class S>
void forward_region(const ForwardPlan& plan, int64_t image, const Region& region, float* workspace) {
  switch (plan.problem->conv2.kernel_size) {
    case 1:
      return Strip<S, 1>(plan, image, region, workspace).run();
    case 3:
      return Strip<S, 3>(plan, image, region, workspace).run();
    default:
      return Strip<S, 5>(plan, image, region, workspace).run();
  }
}

template <class S>
void resize_region(const ResizePlan& plan, int64_t image, int64_t channel, const Region& region, float* workspace) {
  const ImageView<float>& output = plan.problem->output;
  const int width = static_cast<int>(region.x1 - region.x0);
  ResampledRows<S> rows(plan.problem->input, image, channel, plan.rows, plan.columns, plan.source, workspace, region.x0, width);
  float* row = workspace + plan.source.size();  // one row, since whole vectors would run over the end of the output's
  for (int64_t y = region.y0; y < region.y1; ++y) {
    rows.make(y, row, 0);
    std::memcpy(output.plane(image, channel) + y * output.stride_h + region.x0, row,
                static_cast<size_t>(width) * sizeof(float));
  }
}

template <class S>
constexpr Engine make_engine() {
  return {S::kLanes, S::kVectors, S::kConv3Vectors, S::kChannelBlock, &forward_region<S>, &resize_region<S>};
}

}  // namespace srcnn::cpu
