// The Winograd forward of one strip, four rows at a time:
//
//   bicubic or copied row -> split into phases -> ring of 12 rows -> conv1 + ReLU, 4 rows -> ring of 8 rows (f2 > 1)
//                         -> conv2 + ReLU, 4 rows, at conv3's points -> added to 8 rows of output, of which 4 are complete
//
// The borders of input and F1 are a property of their rings, as in strip.h; rows of F2 outside the image are replaced before
// they go to the points. No row is made twice, and columns only in the halo of a strip. Groups of rows and tiles of columns
// begin at the same places of the image however it is cut, so that every cut gives the same bits.
#pragma once

#include <cstdint>
#include <cstring>

#include "resample_rows.h"
#include "winograd_engine.h"
#include "winograd_kernels.h"
#include "winograd_rings.h"

namespace srcnn::cpu {

// How many registers an instruction set has decides the blocks: 32 with AVX-512, else 16.
template <class S>
struct WinogradBlocks {
  static constexpr bool kManyRegisters = S::kLanes >= 16;
  static constexpr int kConv1Channels = 4;  // x kConv1Points x kConv1Vectors
  static constexpr int kConv1Points = kManyRegisters ? 6 : 1;
  static constexpr int kConv1Vectors = kManyRegisters ? 1 : 2;
  static constexpr int kProductChannels = kManyRegisters ? 8 : 4;  // x kProductVectors
  static constexpr int kProductVectors = kManyRegisters ? 2 : 3;
  static constexpr int kPointwiseChannels = kManyRegisters ? 4 : 2;  // x 4 rows
  static constexpr int kConv3Vectors = 2;                            // x 4 phases
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
        hidden2_(layout_.hidden2.row, plan, region),
        points_(workspace + layout_.hidden2.offset),
        pending_(workspace + layout_.pending),
        first_column_(region.x0 - layout_.input.row.halo + input_.outside_left()),
        input_width_(input_.outside_right() - input_.outside_left()),
        enlarged_(problem_.input, image, 0, plan.rows, plan.columns, layout_.source, workspace, first_column_, input_width_,
                  plan.sixteen, workspace + layout_.converted) {}

  void run() {
    std::memset(pending_, 0, static_cast<size_t>(problem_.output.channels * kTile * layout_.pending_stride) * sizeof(float));
    for (int64_t r = region_.y0 - layout_.hidden2.row.halo; r < region_.y1 + kKernel3 / 2; r += kTile) add_rows(r);
  }

 private:
  // Rows r .. r + 3 of F2, added to the output.
  void add_rows(int64_t r) {
    const int64_t height = problem_.output.height;
    const bool zeros = problem_.padding == Padding::kZeros;
    constexpr int kFirst = 0, kLast = kConv3Points - 1;  // zero and infinity: the first row and the last
    if (r + kTile <= 0) return;                          // they are row 0, which is not made yet
    if (r >= height) return make_output(r, zeros ? Rows::kZeros : Rows::kRepeated, kLast);
    const int64_t above = -r, below = height - r;
    make_hidden2(r, {static_cast<int>(above > 0 ? above : 0), static_cast<int>(below < kTile ? below : kTile), zeros});
    for (int p = 0; p < kConv3Points; ++p) hidden2_.pad_sides(points_ + p * layout_.hidden2.point_stride, kKernel3 / 2);
    if (r == 0 && !zeros) make_output(r - kTile, Rows::kRepeated, kFirst);
    make_output(r, Rows::kMade);
  }

  // --- input: a row of the enlarged image, columns inside the image only, split into phases; the ring pads the rest.
  void make_input(int64_t r, float* row) {
    const ImageView<const float>& in = problem_.input;
    const PhaseRowLayout& layout = input_.layout();
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
  void conv1(int64_t r, const PhaseColumns<S>& made, int64_t vector_stride, int64_t channel_stride, int64_t phase_stride,
             const Out& out, const Use& use) {
    input_.template advance<1>(r + kTile - 1 + kKernel1 / 2,
                               [&](int64_t row, float* const* memory) { make_input(row, memory[0]); });
    const PhaseRowLayout& in = input_.layout();
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
    const PhaseRowLayout& in = input_.layout();
    float* columns = workspace_ + layout_.tiles1;
    conv1_transform_columns<S, Blocks::kConv1Points, V>(rows, in.channels, in.phase_stride, columns);
    conv1_tiles<S, Blocks::kConv1Channels, Blocks::kConv1Points, V>(columns, kGroups * kGroups * in.channels,
                                                                    plan_.conv1.weight, plan_.conv1.bias, out, vector_stride,
                                                                    channel_stride, phase_stride);
  }

  void make_hidden1(int64_t r, float* const* rows) {
    const PhaseRowLayout& layout = hidden1_.layout();
    conv1(
        r, hidden1_, S::kLanes, layout.channel_stride, layout.phase_stride, [&](int i, int t) { return rows[i] + t; },
        [](int, int) {});
  }

  // --- conv2: rows r .. r + 3 of F2 at conv3's points
  void make_hidden2(int64_t r, const RowsInImage& rows) {
    if constexpr (F2 == 1) {
      conv1_and_pointwise(r, rows);
    } else {
      hidden1_.template advance<kTile>(r + kTile - 1 + F2 / 2,
                                       [&](int64_t first, float* const* made) { make_hidden1(first, made); });
      conv2(r, rows);
    }
  }

  // A 1x1 conv2 needs no neighbours: the vectors of tiles that conv1 makes together are used up while they are in L1 and L2.
  void conv1_and_pointwise(int64_t r, const RowsInImage& rows) {
    const PhaseRowLayout& layout = layout_.hidden2.row;
    const int64_t phase_stride = layout_.block1.stride;
    float* block = workspace_ + layout_.block1.offset;
    conv1(
        r, hidden2_, kTile * phase_stride, kTile * S::kLanes, phase_stride, [&](int i, int) { return block + i * S::kLanes; },
        [&](int t, int vectors) {
          for (int unit = 0; unit < vectors * kTile; ++unit) {
            float* out = points_ + t + unit / kTile * S::kLanes + unit % kTile * layout.phase_stride;
            conv2_pointwise<S, Blocks::kPointwiseChannels>(block + unit * phase_stride, plan_.conv2.weight, plan_.conv2.bias,
                                                           rows, out, layout.channel_stride, layout_.hidden2.point_stride);
          }
        });
  }

  void conv2(int64_t r, const RowsInImage& wanted) {
    const PhaseRowLayout& in = hidden1_.layout();
    const PhaseRowLayout& layout = layout_.hidden2.row;
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
    conv2_inverse_rows<S, W2>(halves, layout_.halves.stride, layout.phase_stride, hidden2_.end_tile(), plan_.conv2.bias, wanted,
                              points_, layout.channel_stride, layout_.hidden2.point_stride);
  }

  template <int V>
  static void multiply(int v, const float* tiles, const float* weight, float* products) {
    if constexpr (V > 1) {
      if (v < V) return multiply<V - 1>(v, tiles, weight, products);
    }
    multiply_tiles<S, Blocks::kProductChannels, V>(tiles, weight, products);
  }

  // --- conv3
  enum class Rows { kMade, kRepeated, kZeros };

  // What rows r .. r + 3 of F2 add to the output, and rows r - 2 .. r + 1 of it, which need no more. Of rows that lie outside
  // the image and repeat its first or last one, `point` is the point that holds that.
  void make_output(int64_t r, Rows rows, int point = 0) const {
    const PhaseRowLayout& in = layout_.hidden2.row;
    int64_t column[kConv3Columns];
    for (int k = 0; k < kConv3Columns; ++k) {
      const int x = in.halo - kKernel3 / 2 + k;
      column[k] = x % kTile * in.phase_stride + x / kTile;
    }
    const int tiles = static_cast<int>((region_.x1 - region_.x0 + kTile - 1) / kTile);
    for (int t = 0; t < tiles; t += Blocks::kConv3Vectors * S::kLanes) {
      const int left = (tiles - t + S::kLanes - 1) / S::kLanes;
      const int vectors = left < Blocks::kConv3Vectors ? left : Blocks::kConv3Vectors;
      for (int64_t c = 0; c < problem_.output.channels; ++c) {
        alignas(64) float sums[kConv3Points * Blocks::kConv3Vectors * kTile * S::kLanes];
        alignas(64) float made[kTile * Blocks::kConv3Vectors * kTile * S::kLanes];
        add_points<Blocks::kConv3Vectors>(vectors, rows, point, t, column,
                                          plan_.conv3.weight + c * kConv3Points * kWidth2 * kKernel3, sums);
        conv3_rows<S>(sums, vectors * kTile, plan_.conv3.bias[c], pending_ + c * kTile * layout_.pending_stride + t * kTile,
                      layout_.pending_stride, made);
        write(c, r - kKernel3 / 2, t, vectors, made);
      }
    }
  }

  template <int V>
  void add_points(int vectors, Rows rows, int point, int t, const int64_t* column, const float* weight, float* sums) const {
    if constexpr (V > 1) {
      if (vectors < V) return add_points<V - 1>(vectors, rows, point, t, column, weight, sums);
    }
    constexpr int kPoint = V * kTile * S::kLanes;
    if (rows == Rows::kZeros) {
      std::memset(sums, 0, sizeof(float) * kConv3Points * kPoint);
      return;
    }
    const int64_t stride = layout_.hidden2.point_stride;
    const bool repeated = rows == Rows::kRepeated;
    conv3_points<S, V>(points_ + (repeated ? point * stride : 0) + t, repeated ? 0 : stride, layout_.hidden2.row.channel_stride,
                       column, weight, sums);
    if (!repeated) return;
    // Four equal rows: the polynomial 1 + x + x^2 + x^3, times one of them.
    for (int p = 0; p < kConv3Points; ++p, sums += kPoint) {
      const double value =
          Winograd5::kOutput.at[0][p] + Winograd5::kOutput.at[1][p] + Winograd5::kOutput.at[2][p] + Winograd5::kOutput.at[3][p];
      for (int i = 0; i < kPoint; ++i) sums[i] *= static_cast<float>(value);
    }
  }

  // Four rows of some vectors of tiles, as far as they belong to the region.
  void write(int64_t c, int64_t y, int t, int vectors, const float* made) const {
    const ImageView<float>& output = problem_.output;
    const int64_t x = region_.x0 + int64_t{t} * kTile, row = int64_t{vectors} * kTile * S::kLanes;
    const int columns = static_cast<int>(region_.x1 - x < row ? region_.x1 - x : row);
    for (int o = 0; o < kTile; ++o, made += row) {
      if (y + o < region_.y0 || y + o >= region_.y1) continue;
      const int64_t at = c * output.stride_c + (y + o) * output.stride_h + x;
      float* to = plan_.sixteen ? workspace_ + layout_.converted : output.plane(image_, 0) + at;
      join(made, columns, to);
      if (plan_.sixteen) round_row<S>(to, columns, plan_.sixteen->output.plane(image_, 0) + at);
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
  PhaseRing<S> input_, hidden1_;
  const PhaseColumns<S> hidden2_;
  float* const points_;         // four rows of F2 at conv3's points
  float* const pending_;        // what F2 so far adds to the four rows of output that come next
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
          Blocks::kConv3Vectors,
          &winograd_region<S>};
}

}  // namespace srcnn::cpu
