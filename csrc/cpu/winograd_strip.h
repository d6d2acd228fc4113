// The Winograd forward of one strip, four rows at a time:
//
//   bicubic or copied row -> split into phases -> ring of 12 rows -> conv1 + ReLU, 4 rows -> ring of 8 rows (f2 > 1)
//                                                 -> conv2 + ReLU, 4 rows -> ring of 8 or 12 -> conv3 -> 4 rows of output
//
// As in strip.h, borders are a property of the rings, no row is made twice and columns only in the halo of a strip. Groups of
// rows and tiles of columns begin at the same places of the image however it is cut, so that every cut gives the same bits.
#pragma once

#include <cstdint>
#include <cstring>

#include "resample_rows.h"
#include "winograd_engine.h"
#include "winograd_kernels.h"

namespace srcnn::cpu {

// How far right of the image a tile reads that lies in it at least with its first column: conv1's are the widest.
inline constexpr int kReach = kTile + kKernel1 - 1;
// And how many tiles right of its own.
inline constexpr int kConv1ReadTiles = (kKernel1 - 1) / kTile, kConv2ReadTiles = 1;

// The last rows of one stage, split into phases, made `kTile` rows at a time.
template <class S>
class PhaseRing {
 public:
  PhaseRing(const PhaseRingLayout& layout, const WinogradPlan& plan, const Region& region, float* workspace)
      : layout_(layout),
        rows_(workspace + layout.offset),
        zeros_(workspace + plan.layout.zeros),
        padding_(plan.problem->padding),
        height_(plan.problem->output.height),
        top_(region.y0 - layout.halo),
        next_(top_) {
    const int64_t left = layout.halo - region.x0;
    const int64_t right = plan.problem->output.width - region.x0 + layout.halo;
    const int columns = layout.tiles * kTile;
    outside_left_ = static_cast<int>(left > 0 ? left : 0);
    outside_right_ = static_cast<int>(right < columns ? right : columns);
  }

  const PhaseRingLayout& layout() const { return layout_; }
  int outside_left() const { return outside_left_; }    // columns left of the image
  int outside_right() const { return outside_right_; }  // first column right of it, or past the row

  // Tiles that lie in the image, whole or in part; the others are padding alone and need not be made.
  int first_tile() const { return outside_left_ / kTile; }
  int end_tile() const { return (outside_right_ + kTile - 1) / kTile; }

  // Row r of the stage; rows outside the image are what the padding says.
  const float* row(int64_t r) const {
    if (r < 0 || r >= height_) {
      if (padding_ == Padding::kZeros) return zeros_;
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
      if (outside_left_ == 0 && outside_right_ == layout_.tiles * kTile) continue;
      for (int r = 0; r < kRows; ++r) pad_sides(rows[r]);
    }
  }

 private:
  float* memory(int64_t r) const { return rows_ + (r - top_) % layout_.slots * layout_.row_size(); }

  // Columns outside the image, as far as a tile that lies in it can reach: beyond, whatever the memory holds harms no one.
  void pad_sides(float* memory) const {
    const int64_t stride = layout_.phase_stride;
    const int columns = layout_.tiles * kTile, reached = outside_right_ + kReach, end = reached < columns ? reached : columns;
    const int last = outside_right_ - 1;
    for (int c = 0; c < layout_.channels; ++c, memory += layout_.channel_stride) {
      const bool zeros = padding_ == Padding::kZeros;
      const float left = zeros ? 0.0f : memory[outside_left_ % kTile * stride + outside_left_ / kTile];
      const float right = zeros ? 0.0f : memory[last % kTile * stride + last / kTile];
      SRCNN_UNROLL
      for (int phase = 0; phase < kTile; ++phase) {
        float* const row = memory + phase * stride;
        for (int x = phase; x < outside_left_; x += kTile) row[x / kTile] = left;
        for (int x = outside_right_ + (phase - outside_right_ % kTile + kTile) % kTile; x < end; x += kTile) {
          row[x / kTile] = right;
        }
      }
    }
  }

  const PhaseRingLayout layout_;
  float* rows_;
  const float* zeros_;
  const Padding padding_;
  const int64_t height_, top_;
  int outside_left_, outside_right_;
  int64_t next_;  // first row not made yet
};

// How many registers an instruction set has decides the blocks: 32 with AVX-512, else 16.
template <class S>
struct WinogradBlocks {
  static constexpr bool kManyRegisters = S::kLanes >= 16;
  static constexpr int kConv1Channels = 4;  // x kConv1Points x kConv1Vectors
  static constexpr int kConv1Points = kManyRegisters ? 6 : 1;
  static constexpr int kConv1Vectors = kManyRegisters ? 1 : 2;
  static constexpr int kProductChannels = kManyRegisters ? 8 : 4;  // x kProductVectors
  static constexpr int kProductVectors = kManyRegisters ? 2 : 3;
  static constexpr int kPointwiseChannels = kManyRegisters ? 8 : 4;  // x kPointwiseUnits
  static constexpr int kPointwiseUnits = 2;
  static constexpr int kConv3Units = kManyRegisters ? 4 : 2;  // x 4 rows
  static constexpr int kConv3Vectors = kManyRegisters ? 1 : 2;
  static constexpr int kConv3Channels = kManyRegisters ? kWidth2 : 4;
};

template <class S, int F2>
class WinogradStrip {
  using Blocks = WinogradBlocks<S>;
  using W2 = Winograd<kTile, F2 == 1 ? 3 : F2>;  // not used with 1

 public:
  WinogradStrip(const WinogradPlan& plan, int64_t image, const Region& region, float* workspace)
      : plan_(plan),
        problem_(*plan.problem),
        layout_(plan.layout),
        image_(image),
        region_(region),
        workspace_(workspace),
        input_(layout_.input, plan, region, workspace),
        hidden1_(layout_.hidden1, plan, region, workspace),
        hidden2_(layout_.hidden2, plan, region, workspace),
        first_column_(region.x0 - layout_.input.halo + input_.outside_left()),
        input_width_(input_.outside_right() - input_.outside_left()),
        enlarged_(problem_.input, image, 0, plan.rows, plan.columns, layout_.source, workspace, first_column_, input_width_,
                  plan.sixteen, workspace + layout_.converted) {}

  void run() {
    for (int64_t y = region_.y0; y < region_.y1; y += kTile) {
      hidden2_.template advance<kTile>(y + kTile - 1 + kKernel3 / 2,
                                       [&](int64_t r, float* const* rows) { make_hidden2(r, rows); });
      make_output(y);
    }
  }

 private:
  // --- input: a row of the enlarged image, columns inside the image only, split into phases; the ring pads the rest.
  void make_input(int64_t r, float* row) {
    const ImageView<const float>& in = problem_.input;
    const PhaseRingLayout& layout = input_.layout();
    float* planar = workspace_ + layout_.planar;
    const int64_t planar_stride = layout_.source.stride;
    if (problem_.scale > 1) enlarged_.make(r, planar, planar_stride);
    for (int c = 0; c < layout.channels; ++c, row += layout.channel_stride) {
      const float* source = planar + c * planar_stride;
      int64_t stride = 1;
      if (problem_.scale == 1) {
        const int64_t at = c * in.stride_c + r * in.stride_h + first_column_ * in.stride_w;
        if (plan_.sixteen) {
          float* converted = workspace_ + layout_.converted;
          widen_row<S>(plan_.sixteen->input.plane(image_, 0) + at, in.stride_w, input_width_, converted);
          source = converted;
        } else {
          source = in.plane(image_, 0) + at;
          stride = in.stride_w;
        }
      }
      split(source, stride, row);
    }
  }

  void split(const float* source, int64_t stride, float* row) const {
    const int64_t phase_stride = input_.layout().phase_stride;
    int column = input_.outside_left();
    const int end = input_.outside_right();
    const auto one = [&] {
      row[column % kTile * phase_stride + column / kTile] = *source;
      ++column;
      source += stride;
    };
    while (column < end && column % kTile != 0) one();
    for (float* to = row + column / kTile; column + kTile <= end; column += kTile, source += kTile * stride, ++to) {
      SRCNN_UNROLL
      for (int p = 0; p < kTile; ++p) to[p * phase_stride] = source[p * stride];
    }
    while (column < end) one();
  }

  // --- conv1: rows r .. r + 3 of a ring's tiles, some vectors of them after the other. Row i of the vector at tile t goes to
  // out(i, t), of the vectors that are made with it `vector_stride` floats further; then they are handed to use(t, vectors).
  template <class Out, class Use>
  void conv1(int64_t r, const PhaseRing<S>& made, int64_t vector_stride, int64_t channel_stride, int64_t phase_stride,
             const Out& out, const Use& use) {
    input_.template advance<1>(r + kTile - 1 + kKernel1 / 2,
                               [&](int64_t row, float* const* memory) { make_input(row, memory[0]); });
    const PhaseRingLayout& in = input_.layout();
    const float* rows[kConv1Rows];
    for (int i = 0; i < kConv1Rows; ++i) rows[i] = input_.row(r - kKernel1 / 2 + i);
    float* transformed = workspace_ + layout_.rows1;
    conv1_transform_rows<S>(rows, in.channels, in.channel_stride, in.phase_stride, made.end_tile() + kConv1ReadTiles,
                            transformed);
    for (int t = made.first_tile(); t < made.end_tile(); t += Blocks::kConv1Vectors * S::kLanes) {
      float* to[kTile];
      for (int i = 0; i < kTile; ++i) to[i] = out(i, t);
      const int left = (made.end_tile() - t + S::kLanes - 1) / S::kLanes;
      const int vectors = left < Blocks::kConv1Vectors ? left : Blocks::kConv1Vectors;
      conv1_vectors<Blocks::kConv1Vectors>(vectors, transformed + t, to, vector_stride, channel_stride, phase_stride);
      use(t, vectors);
    }
  }

  template <int V>
  void conv1_vectors(int vectors, const float* rows, float* const* out, int64_t vector_stride, int64_t channel_stride,
                     int64_t phase_stride) const {
    if constexpr (V > 1) {
      if (vectors < V) return conv1_vectors<V - 1>(vectors, rows, out, vector_stride, channel_stride, phase_stride);
    }
    const PhaseRingLayout& in = input_.layout();
    float* columns = workspace_ + layout_.tiles1;
    conv1_transform_columns<S, Blocks::kConv1Points, V>(rows, in.channels, in.phase_stride, columns);
    conv1_tiles<S, Blocks::kConv1Channels, Blocks::kConv1Points, V>(columns, kGroups * kGroups * in.channels,
                                                                    plan_.conv1.weight, plan_.conv1.bias, out, vector_stride,
                                                                    channel_stride, phase_stride);
  }

  void make_hidden1(int64_t r, float* const* rows) {
    const PhaseRingLayout& layout = hidden1_.layout();
    conv1(
        r, hidden1_, S::kLanes, layout.channel_stride, layout.phase_stride, [&](int i, int t) { return rows[i] + t; },
        [](int, int) {});
  }

  // --- conv2
  void make_hidden2(int64_t r, float* const* rows) {
    if constexpr (F2 == 1) {
      conv1_and_pointwise(r, rows);
    } else {
      hidden1_.template advance<kTile>(r + kTile - 1 + F2 / 2,
                                       [&](int64_t first, float* const* made) { make_hidden1(first, made); });
      conv2(r, rows);
    }
  }

  // A 1x1 conv2 needs no neighbours: the vectors of tiles that conv1 makes together are used up while they are in L1 and L2.
  void conv1_and_pointwise(int64_t r, float* const* rows) {
    const PhaseRingLayout& layout = hidden2_.layout();
    constexpr int64_t kVector = kTile * S::kLanes, kChannel = Blocks::kConv1Vectors * kVector, kRow = kWidth1 * kChannel;
    float* block = workspace_ + layout_.block1;
    conv1(
        r, hidden2_, kVector, kChannel, S::kLanes, [&](int i, int) { return block + i * kRow; },
        [&](int t, int vectors) {
          for (int i = 0; i < kTile; ++i) {
            conv2_pointwise<S, Blocks::kPointwiseChannels, Blocks::kPointwiseUnits>(
                block + i * kRow, vectors * kTile, plan_.conv2.weight, plan_.conv2.bias, rows[i] + t, kChannel,
                layout.channel_stride, layout.phase_stride);
          }
        });
  }

  void conv2(int64_t r, float* const* out) {
    const PhaseRingLayout& in = hidden1_.layout();
    const PhaseRingLayout& layout = hidden2_.layout();
    constexpr int n = W2::kPoints;
    float* transformed = workspace_ + layout_.rows2.offset;
    float* tiles = workspace_ + layout_.tiles2.offset;
    float* products = workspace_ + layout_.products.offset;
    float* halves = workspace_ + layout_.halves.offset;
    const float* rows[n];
    for (int i = 0; i < n; ++i) rows[i] = hidden1_.row(r - F2 / 2 + i);
    conv2_transform_rows<S, W2>(rows, in.channel_stride, in.phase_stride, hidden2_.end_tile() + kConv2ReadTiles, transformed,
                                layout_.rows2.stride);
    // One row of points at a time: its transformed tiles and products stay in L1 and L2, its weights serve the whole strip.
    const int vectors = (hidden2_.end_tile() + S::kLanes - 1) / S::kLanes;
    for (int point = 0; point < n; ++point) {
      for (int done = 0; done < vectors;) {
        // As even as can be: a lone vector at the end would leave multiply-adds waiting for one another.
        const int blocks = (vectors - done + Blocks::kProductVectors - 1) / Blocks::kProductVectors;
        const int v = (vectors - done + blocks - 1) / blocks;
        const float* row = transformed + point * layout_.rows2.stride + done * S::kLanes;
        float* half = halves + point * layout_.halves.stride + done * S::kLanes;
        conv2_transform_columns<S, W2>(row, in.phase_stride, v, tiles, layout_.tiles2.stride);
        const float* weight = plan_.conv2.weight + static_cast<int64_t>(point) * n * kWidth1 * kWidth2;
        for (int p = 0; p < n; ++p, weight += kWidth1 * kWidth2) {
          multiply<Blocks::kProductVectors>(v, tiles + p * layout_.tiles2.stride, weight,
                                            products + p * layout_.products.stride);
        }
        conv2_inverse_columns<S, W2>(products, layout_.products.stride, v, half, layout.phase_stride);
        done += v;
      }
    }
    conv2_inverse_rows<S, W2>(halves, layout_.halves.stride, layout.phase_stride, hidden2_.end_tile(), plan_.conv2.bias, out,
                              layout.channel_stride);
  }

  template <int V>
  static void multiply(int v, const float* tiles, const float* weight, float* products) {
    if constexpr (V > 1) {
      if (v < V) return multiply<V - 1>(v, tiles, weight, products);
    }
    multiply_tiles<S, Blocks::kProductChannels, V>(tiles, weight, products);
  }

  // --- conv3
  void make_output(int64_t y) const {
    const PhaseRingLayout& in = hidden2_.layout();
    const ImageView<float>& output = problem_.output;
    const int rows_wanted = static_cast<int>(region_.y1 - y < kTile ? region_.y1 - y : kTile);
    const float* first[kTile + kKernel3 - 1];
    for (int r = 0; r < kTile + kKernel3 - 1; ++r) first[r] = hidden2_.row(y - kKernel3 / 2 + r);
    constexpr int kUnits = kTile * Blocks::kConv3Vectors, kColumns = kUnits * S::kLanes;
    for (int64_t x = region_.x0; x < region_.x1; x += kColumns) {
      const float* rows[kTile + kKernel3 - 1];
      for (int r = 0; r < kTile + kKernel3 - 1; ++r) rows[r] = first[r] + (x - region_.x0) / kTile;
      const int columns = static_cast<int>(region_.x1 - x < kColumns ? region_.x1 - x : kColumns);
      const int units = (columns + kTile * S::kLanes - 1) / (kTile * S::kLanes) * kTile;
      for (int64_t c = 0; c < output.channels; ++c) {
        alignas(64) float sums[kTile * kUnits * S::kLanes];
        const float* weight = plan_.conv3.weight + c * kWidth2 * kKernel3 * kKernel3;
        conv3_tiles<S, Blocks::kConv3Units, Blocks::kConv3Channels>(rows, in.halo - kKernel3 / 2, in.channel_stride,
                                                                    in.phase_stride, weight, plan_.conv3.bias[c], units, sums);
        for (int o = 0; o < rows_wanted; ++o) {
          const int64_t at = c * output.stride_c + (y + o) * output.stride_h + x;
          float* to = plan_.sixteen ? workspace_ + layout_.converted : output.plane(image_, 0) + at;
          join(sums + o * units * S::kLanes, columns, to);
          if (plan_.sixteen) round_row<S>(to, columns, plan_.sixteen->output.plane(image_, 0) + at);
        }
      }
    }
  }

  // Units back to a row of pixels: [vector][phase][lane] -> [vector][lane][phase].
  static void join(const float* units, int columns, float* to) {
    for (int first = 0; first < columns; first += kTile * S::kLanes, units += kTile * S::kLanes) {
      const int count = columns - first < kTile * S::kLanes ? columns - first : kTile * S::kLanes;
      for (int i = 0; i < count; ++i) to[first + i] = units[i % kTile * S::kLanes + i / kTile];
    }
  }

  const WinogradPlan& plan_;
  const ForwardProblem& problem_;
  const WinogradLayout& layout_;
  const int64_t image_;
  const Region region_;
  float* workspace_;
  PhaseRing<S> input_, hidden1_, hidden2_;
  const int64_t first_column_;  // of the image, in an input row
  const int input_width_;       // columns of an input row inside the image
  ResampledRows<S> enlarged_;
};

template <class S>
void winograd_region(const WinogradPlan& plan, int64_t image, const Region& region, float* workspace) {
  switch (plan.problem->conv2.kernel_size) {
    case 1:
      return WinogradStrip<S, 1>(plan, image, region, workspace).run();
    case 3:
      return WinogradStrip<S, 3>(plan, image, region, workspace).run();
    default:
      return WinogradStrip<S, 5>(plan, image, region, workspace).run();
  }
}

template <class S>
constexpr WinogradEngine make_winograd_engine() {
  using Blocks = WinogradBlocks<S>;
  return {S::kLanes,
          Blocks::kConv1Channels,
          Blocks::kConv1Points,
          Blocks::kConv1Vectors,
          Blocks::kProductChannels,
          Blocks::kProductVectors,
          Blocks::kPointwiseChannels,
          &winograd_region<S>};
}

}  // namespace srcnn::cpu
