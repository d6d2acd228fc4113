// The index and weight tables of bicubic.h for all outputs along one axis.
#pragma once

#include <vector>

#include "../bicubic.h"
#include "engine.h"

namespace srcnn::cpu {

struct ResampleTable {
  int taps;
  std::vector<int32_t> index;  // [out_size][taps]
  std::vector<float> weight;   // [out_size][taps]

  ResampleTable(Bicubic bicubic, int64_t in_size, int64_t out_size, double scale);
  ResampleTableView view() const { return {taps, index.data(), weight.data()}; }
};

}  // namespace srcnn::cpu
