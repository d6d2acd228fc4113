// Bicubic resampling along one axis: which source samples make output i, and with what weight. One function for host and
// device, the same arithmetic (in double) as srcnn_fused/reference.py, so that every path agrees on the tables.
//
//   u(i) = (i + 0.5) / scale - 0.5                 source coordinate of output i
//   w(j) = h(u - j)            |u - j| < 2         Keys' cubic (1981), parameter a
//   w(j) = h(scale * (u - j))  |u - j| < 2/scale   stretched over the source when shrinking with antialiasing
//
//              a      edges                              shrinking
//   matlab   -0.5     mirrored, edge repeated            antialiased     (MATLAB imresize)
//   pil      -0.5     outside cut, renormalised          antialiased     (Pillow, F.interpolate(antialias=True))
//   torch    -0.75    clamped                            plain           (F.interpolate(mode="bicubic"))
#pragma once

#include <cmath>
#include <cstdint>

#include "srcnn.h"

namespace srcnn {

// The scales that make sense: smaller ones have windows of millions of samples, or of a thousand images side by side, for
// one sample of output.
inline constexpr double kMinScale = 1e-6, kMaxScale = 1e9, kMinOutput = 1e-3;

inline bool is_sensible_scale(double scale, int64_t in_size) {
  return scale >= kMinScale && scale <= kMaxScale && scale * static_cast<double>(in_size) >= kMinOutput;
}

struct ResampleAxis {
  Bicubic bicubic;
  int64_t in_size;
  double scale;
  double kernel_scale;  // min(scale, 1) with antialiasing, 1 without
  int taps;             // source samples per output, the same for all of them
};

SRCNN_HOST_DEVICE inline ResampleAxis make_resample_axis(Bicubic bicubic, int64_t in_size, double scale) {
  const bool antialias = bicubic != Bicubic::kTorch && scale < 1.0;
  const double kernel_scale = antialias ? scale : 1.0;
  return {bicubic, in_size, scale, kernel_scale, static_cast<int>(std::ceil(4.0 / kernel_scale))};
}

// Keys' cubic convolution kernel.
SRCNN_HOST_DEVICE inline double cubic_kernel(double t, double a) {
  t = std::fabs(t);
  if (t < 1.0) return ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0;
  if (t < 2.0) return ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a;
  return 0.0;
}

// Source sample that stands for position j, which may lie outside the image.
SRCNN_HOST_DEVICE inline int64_t resolve_edge(const ResampleAxis& axis, int64_t j) {
  const int64_t n = axis.in_size;
  if (axis.bicubic == Bicubic::kMatlab) {
    const int64_t period = 2 * n;
    j %= period;
    if (j < 0) j += period;
    return j < n ? j : period - 1 - j;
  }
  return j < 0 ? 0 : (j < n ? j : n - 1);
}

// Where output i lies between the source samples, and the first of the axis.taps positions of its window.
SRCNN_HOST_DEVICE inline double source_coordinate(const ResampleAxis& axis, int64_t i) {
  return (static_cast<double>(i) + 0.5) / axis.scale - 0.5;
}

SRCNN_HOST_DEVICE inline int64_t first_position(const ResampleAxis& axis, double u) {
  return static_cast<int64_t>(std::floor(u - 2.0 / axis.kernel_scale)) + 1;
}

// The kernel at position j, before the window is normalised.
SRCNN_HOST_DEVICE inline double position_value(const ResampleAxis& axis, double u, int64_t j) {
  if (axis.bicubic == Bicubic::kPil && (j < 0 || j >= axis.in_size)) return 0.0;
  return cubic_kernel(axis.kernel_scale * (u - static_cast<double>(j)), axis.bicubic == Bicubic::kTorch ? -0.75 : -0.5);
}

// Fills index[axis.taps] and weight[axis.taps] for output position i.
template <class Weight>
SRCNN_HOST_DEVICE inline void resample_window(const ResampleAxis& axis, int64_t i, int32_t* index, Weight* weight) {
  const double u = source_coordinate(axis, i);
  const int64_t first = first_position(axis, u);
  double sum = 0.0;
  for (int k = 0; k < axis.taps; ++k) sum += position_value(axis, u, first + k);
  if (axis.bicubic == Bicubic::kTorch) sum = 1.0;  // its four weights add up to one by construction
  for (int k = 0; k < axis.taps; ++k) {
    index[k] = static_cast<int32_t>(resolve_edge(axis, first + k));
    weight[k] = static_cast<Weight>(position_value(axis, u, first + k) / sum);
  }
}

}  // namespace srcnn
