#include "resample_table.h"

namespace srcnn::cpu {

ResampleTable::ResampleTable(Bicubic bicubic, int64_t in_size, int64_t out_size, double scale) {
  const ResampleAxis axis = make_resample_axis(bicubic, in_size, scale);
  // An axis that keeps its length is copied, not summed with zero weights: NaN and infinity stay where they are.
  const bool identity = in_size == out_size && scale == 1.0;
  taps = identity ? 1 : axis.taps;
  index.resize(static_cast<size_t>(out_size * taps));
  weight.resize(index.size());
  for (int64_t i = 0; i < out_size; ++i) {
    if (identity) {
      index[static_cast<size_t>(i)] = static_cast<int32_t>(i);
      weight[static_cast<size_t>(i)] = 1.0f;
    } else {
      resample_window(axis, i, &index[static_cast<size_t>(i * taps)], &weight[static_cast<size_t>(i * taps)]);
    }
  }
}

}  // namespace srcnn::cpu
