// The inner loops of the Winograd strip: products and transforms of tiles of 4 x 4 pixels, the lanes of a vector being
// neighbouring tiles. Of borders nothing here knows but which of four rows of F2 lie in the image, and nothing moves between
// lanes: rows come split into phases (see winograd_engine.h), so that column x + k of all tiles is one load.
//
// Multiply-adds per output pixel of one channel, direct -> here, and the operations of the transforms (input; inverse with bias
// and ReLU):
//   conv1            5184 -> 1296 + 58; 530       conv2 of 9-3-5  18432 -> 4608 + 560; 260
//   conv2 of 9-1-5   2048                         conv2 of 9-5-5  51200 -> 8192 + 1300; 450
//   conv3             800 -> 320 + 112; 10
// All of it runs from L1 and L2: memory sees the input once and the output once, 8 bytes a pixel. The products bound it,
// conv1's inverse transform next (docs/cpu_kernels.md has the measurements). conv3 is in winograd_conv3.h.
#pragma once

#include <cstdint>

#include "../srcnn.h"
#include "target.h"
#include "winograd_conv3.h"
#include "winograd_tile.h"

namespace srcnn::cpu {

// ------------------------------------------------------------------------------------------------------------- products

// sum[c][v] += over `terms` of weight[c] * x[v]. weight: [term][C]; x: vector v of term k at x + k * x_stride + v * v_stride.
template <class S, int C, int V>
SRCNN_INLINE void add_products(const float* x, int64_t x_stride, int64_t v_stride, int terms, const float* weight,
                               typename S::Vec (&sum)[C][V]) {
  using Vec = typename S::Vec;
  for (int k = 0; k < terms; ++k, x += x_stride, weight += C) {
    Vec in[V];
    SRCNN_UNROLL
    for (int v = 0; v < V; ++v) in[v] = S::held(S::load(x + v * v_stride));
    SRCNN_UNROLL
    for (int c = 0; c < C; ++c) {
      const Vec w = S::set1(weight[c]);
      SRCNN_UNROLL
      for (int v = 0; v < V; ++v) sum[c][v] = S::fma(w, in[v], sum[c][v]);
    }
  }
}

// One point of conv2: products[out][tile] = weight[out][in] * tiles[in][tile], for V vectors of tiles. Rows of `tiles` and
// `products` are V vectors long.
template <class S, int C, int V>
__attribute__((noinline)) void multiply_tiles(const float* tiles, const float* weight, float* products) {
  using Vec = typename S::Vec;
  constexpr int kRow = V * S::kLanes;
  for (int c0 = 0; c0 < kWidth2; c0 += C, weight += kWidth1 * C, products += C * kRow) {
    Vec sum[C][V];
    SRCNN_UNROLL
    for (int c = 0; c < C; ++c) {
      SRCNN_UNROLL
      for (int v = 0; v < V; ++v) sum[c][v] = S::set1(0.0f);
    }
    add_products<S, C, V>(tiles, kRow, S::kLanes, kWidth1, weight, sum);
    SRCNN_UNROLL
    for (int c = 0; c < C; ++c) {
      SRCNN_UNROLL
      for (int v = 0; v < V; ++v) S::store(products + c * kRow + v * S::kLanes, sum[c][v]);
    }
  }
}

// ----------------------------------------------------------------------------------------------------------- transforms

// Vertical, of one channel: rows[r] -> out + point * point_stride, all phases of `tiles` tiles; both split into phases
// `phase_stride` apart.
template <class S, class W>
SRCNN_INLINE void transform_rows(const float* const* rows, int64_t phase_stride, int tiles, float* out, int64_t point_stride) {
  using Vec = typename S::Vec;
  for (int phase = 0; phase < kTile; ++phase) {
    for (int64_t at = phase * phase_stride, end = at + tiles; at < end; at += S::kLanes) {
      Vec d[W::kPoints], transformed[W::kPoints];
      SRCNN_UNROLL
      for (int r = 0; r < W::kPoints; ++r) d[r] = S::load(rows[r] + at);
      transform_input<S, W>(d, transformed);
      SRCNN_UNROLL
      for (int p = 0; p < W::kPoints; ++p) S::store(out + p * point_stride + at, transformed[p]);
    }
  }
}

// Horizontal, of one channel and one vector of tiles, whose columns begin at column `first` of the row.
template <class S, class W>
SRCNN_INLINE void transform_columns(const float* row, int first, int64_t phase_stride, float* out, int64_t point_stride) {
  using Vec = typename S::Vec;
  Vec d[W::kPoints], transformed[W::kPoints];
  SRCNN_UNROLL
  for (int k = 0; k < W::kPoints; ++k) d[k] = S::load(row + (first + k) % kTile * phase_stride + (first + k) / kTile);
  transform_input<S, W>(d, transformed);
  SRCNN_UNROLL
  for (int p = 0; p < W::kPoints; ++p) S::store(out + p * point_stride, transformed[p]);
}

// ---------------------------------------------------------------------------------------------------------------- conv1

inline constexpr int kGroups = kKernel1 / Winograd3::kR;  // nine taps are three groups of three
inline constexpr int kConv1Rows = kTile + kKernel1 - 1;   // input rows of four output rows
inline constexpr int kConv1Points = Winograd3::kPoints;
inline constexpr int kConv1TilePoints = kConv1Points * kConv1Points;

// Vertical transform of 12 input rows, once per strip and group of rows. out: [group][channel][point][phase][phase_stride].
template <class S>
__attribute__((noinline)) void conv1_transform_rows(const float* const* rows, int channels, int64_t channel_stride,
                                                    int64_t phase_stride, int tiles, float* out) {
  for (int group = 0; group < kGroups; ++group) {
    for (int c = 0; c < channels; ++c, out += kConv1Points * kTile * phase_stride) {
      const float* from[kConv1Points];
      for (int r = 0; r < kConv1Points; ++r) from[r] = rows[Winograd3::kR * group + r] + c * channel_stride;
      transform_rows<S, Winograd3>(from, phase_stride, tiles, out, kTile * phase_stride);
    }
  }
}

// Horizontal transform of V vectors of tiles. rows: as conv1_transform_rows left them, at the first tile;
// out: [horizontal point][vertical point / P][vertical group, horizontal group, channel][vertical point % P][V * lanes].
template <class S, int P, int V>
__attribute__((noinline)) void conv1_transform_columns(const float* rows, int channels, int64_t phase_stride, float* out) {
  const int64_t term_stride = P * V * S::kLanes, block_stride = kGroups * kGroups * channels * term_stride;
  const int64_t point_stride = kConv1Points / P * block_stride;
  for (int group = 0; group < kGroups; ++group) {
    for (int c = 0; c < channels; ++c) {
      for (int point = 0; point < kConv1Points; ++point, rows += kTile * phase_stride) {
        const auto columns = [&]<int kGroup>() __attribute__((always_inline)) {
          float* to = out + point / P * block_stride + ((group * kGroups + kGroup) * channels + c) * term_stride +
                      point % P * V * S::kLanes;
          for (int v = 0; v < V; ++v) {
            transform_columns<S, Winograd3>(rows + v * S::kLanes, Winograd3::kR * kGroup, phase_stride, to + v * S::kLanes,
                                            point_stride);
          }
        };
        columns.template operator()<0>();
        columns.template operator()<1>();
        columns.template operator()<2>();
      }
    }
  }
}

// Products, sums over groups and channels, inverse transforms and ReLU of four rows of V vectors of tiles. C x P x V sums stay
// in registers over all terms, P being vertical points of one column. With 32 registers that is a whole column of six (4 x 6 x
// 1), whose vertical inverse is taken there: 30 loads, most of them part of a multiply-add, serve 24. With 16 registers a
// column leaves room for two channels, and 18 loads serve 12, which is what bounds it; 4 x 1 x 2 is 6 loads for 8.
// weight: [out / C][horizontal point][vertical point / P][term][vertical point % P][C]; out[r]: row r, first tile, channel 0.
template <class S, int C, int P, int V>
__attribute__((noinline)) void conv1_tiles(const float* tiles, int terms, const float* weight, const float* bias,
                                           float* const* out, int64_t vector_stride, int64_t channel_stride,
                                           int64_t phase_stride) {
  using Vec = typename S::Vec;
  alignas(64) float half[C][V][kTile][kConv1Points][S::kLanes];  // after the vertical inverse
  for (int c0 = 0; c0 < kWidth1; c0 += C) {
    const float* x = tiles;
    for (int column = 0; column < kConv1Points; ++column) {
      const auto inverse = [&](int c, int v, const Vec* points) __attribute__((always_inline)) {
        Vec rows[kTile];
        transform_output<S, Winograd3>(points, rows);
        SRCNN_UNROLL
        for (int r = 0; r < kTile; ++r) S::store(half[c][v][r][column], rows[r]);
      };
      alignas(64) float points[C][V][kConv1Points][S::kLanes];  // where a column is not made at once
      for (int p0 = 0; p0 < kConv1Points; p0 += P) {
        Vec sum[C][V][P];
        SRCNN_UNROLL
        for (int c = 0; c < C; ++c) {
          SRCNN_UNROLL
          for (int v = 0; v < V; ++v) {
            SRCNN_UNROLL
            for (int p = 0; p < P; ++p) sum[c][v][p] = S::set1(0.0f);
          }
        }
        for (int k = 0; k < terms; ++k, x += P * V * S::kLanes, weight += P * C) {
          SRCNN_UNROLL
          for (int p = 0; p < P; ++p) {
            Vec in[V];
            SRCNN_UNROLL
            for (int v = 0; v < V; ++v) in[v] = S::load(x + (p * V + v) * S::kLanes);
            SRCNN_UNROLL
            for (int c = 0; c < C; ++c) {
              const Vec w = S::set1(weight[p * C + c]);
              SRCNN_UNROLL
              for (int v = 0; v < V; ++v) sum[c][v][p] = S::fma(w, in[v], sum[c][v][p]);
            }
          }
        }
        SRCNN_UNROLL
        for (int c = 0; c < C; ++c) {
          SRCNN_UNROLL
          for (int v = 0; v < V; ++v) {
            if constexpr (P == kConv1Points) {
              inverse(c, v, sum[c][v]);
            } else {
              SRCNN_UNROLL
              for (int p = 0; p < P; ++p) S::store(points[c][v][p0 + p], sum[c][v][p]);
            }
          }
        }
      }
      if constexpr (P < kConv1Points) {
        for (int c = 0; c < C; ++c) {
          SRCNN_UNROLL
          for (int v = 0; v < V; ++v) {
            Vec m[kConv1Points];
            SRCNN_UNROLL
            for (int p = 0; p < kConv1Points; ++p) m[p] = S::load(points[c][v][p]);
            inverse(c, v, m);
          }
        }
      }
    }
    for (int c = 0; c < C; ++c) {
      const Vec b = S::set1(bias[c0 + c]);
      for (int v = 0; v < V; ++v) {
        SRCNN_UNROLL
        for (int r = 0; r < kTile; ++r) {
          Vec m[kConv1Points], y[kTile];
          SRCNN_UNROLL
          for (int p = 0; p < kConv1Points; ++p) m[p] = S::load(half[c][v][r][p]);
          transform_output<S, Winograd3>(m, y);
          float* to = out[r] + v * vector_stride + (c0 + c) * channel_stride;
          SRCNN_UNROLL
          for (int phase = 0; phase < kTile; ++phase) S::store(to + phase * phase_stride, S::relu(y[phase] + b));
        }
      }
    }
  }
}

// ------------------------------------------------------------------------------------------------------- conv2 of 9-1-5

// A 1x1 conv2 with ReLU: four rows of one phase of a vector of tiles. in: [channel][row][lane]; C x 4 sums.
template <class S, int C>
__attribute__((noinline)) void conv2_pointwise(const float* in, const float* weight, const float* bias, const RowsInImage& rows,
                                               float* out, int64_t channel_stride, int64_t point_stride) {
  using Vec = typename S::Vec;
  for (int c0 = 0; c0 < kWidth2; c0 += C, weight += kWidth1 * C, out += C * channel_stride) {
    Vec sum[C][kTile];
    SRCNN_UNROLL
    for (int c = 0; c < C; ++c) {
      SRCNN_UNROLL
      for (int r = 0; r < kTile; ++r) sum[c][r] = S::set1(bias[c0 + c]);
    }
    add_products<S, C, kTile>(in, kTile * S::kLanes, S::kLanes, kWidth1, weight, sum);
    SRCNN_UNROLL
    for (int c = 0; c < C; ++c) {
      SRCNN_UNROLL
      for (int r = 0; r < kTile; ++r) sum[c][r] = S::relu(sum[c][r]);
      store_points<S>(sum[c], rows, out + c * channel_stride, point_stride);
    }
  }
}

// ------------------------------------------------------------------------------------------- conv2 of 9-3-5 and 9-5-5

// Vertical transform of the rows of F1 under four rows of F2, once per strip. out: [point][channel][phase][phase_stride].
template <class S, class W>
__attribute__((noinline)) void conv2_transform_rows(const float* const* rows, int64_t channel_stride, int64_t phase_stride,
                                                    int tiles, float* out, int64_t point_stride) {
  for (int c = 0; c < kWidth1; ++c, out += kTile * phase_stride) {
    const float* from[W::kPoints];
    for (int r = 0; r < W::kPoints; ++r) from[r] = rows[r] + c * channel_stride;
    transform_rows<S, W>(from, phase_stride, tiles, out, point_stride);
  }
}

// Horizontal transform of `vectors` vectors of tiles of one vertical point. out: [point][channel][vectors * lanes].
template <class S, class W>
__attribute__((noinline)) void conv2_transform_columns(const float* rows, int64_t phase_stride, int vectors, float* out,
                                                       int64_t point_stride) {
  const int64_t width = vectors * S::kLanes;
  for (int c = 0; c < kWidth1; ++c, rows += kTile * phase_stride, out += width) {
    for (int v = 0; v < vectors; ++v) {
      transform_columns<S, W>(rows + v * S::kLanes, 0, phase_stride, out + v * S::kLanes, point_stride);
    }
  }
}

// Horizontal inverse of the products of one vertical point. products: [point][out][vectors * lanes];
// out: [out][phase][phase_stride].
template <class S, class W>
__attribute__((noinline)) void conv2_inverse_columns(const float* products, int64_t point_stride, int vectors, float* out,
                                                     int64_t phase_stride) {
  using Vec = typename S::Vec;
  const int64_t width = vectors * S::kLanes;
  for (int c = 0; c < kWidth2; ++c, products += width, out += kTile * phase_stride) {
    for (int v = 0; v < vectors; ++v) {
      Vec m[W::kPoints], y[kTile];
      SRCNN_UNROLL
      for (int p = 0; p < W::kPoints; ++p) m[p] = S::load(products + p * point_stride + v * S::kLanes);
      transform_output<S, W>(m, y);
      SRCNN_UNROLL
      for (int phase = 0; phase < kTile; ++phase) S::store(out + phase * phase_stride + v * S::kLanes, y[phase]);
    }
  }
}

// Vertical inverse, bias and ReLU: four rows of F2, which go to conv3's points. halves: [point][out][phase][phase_stride];
// out: [point of conv3][out][phase][phase_stride].
template <class S, class W>
__attribute__((noinline)) void conv2_inverse_rows(const float* halves, int64_t point_stride, int64_t phase_stride, int tiles,
                                                  const float* bias, const RowsInImage& rows, float* out,
                                                  int64_t channel_stride, int64_t out_point_stride) {
  using Vec = typename S::Vec;
  for (int c = 0; c < kWidth2; ++c, halves += kTile * phase_stride, out += channel_stride) {
    const Vec b = S::set1(bias[c]);
    for (int phase = 0; phase < kTile; ++phase) {
      for (int64_t at = phase * phase_stride, end = at + tiles; at < end; at += S::kLanes) {
        Vec m[W::kPoints], y[kTile];
        SRCNN_UNROLL
        for (int p = 0; p < W::kPoints; ++p) m[p] = S::load(halves + p * point_stride + at);
        transform_output<S, W>(m, y);
        SRCNN_UNROLL
        for (int r = 0; r < kTile; ++r) y[r] = S::relu(y[r] + b);
        store_points<S>(y, rows, out + at, out_point_stride);
      }
    }
  }
}

}  // namespace srcnn::cpu
