// The thread pool that the CPU kernels are lent: torch's, which they see only through this.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <cstdint>
#include <functional>

#include "cpu/kernels.h"

namespace srcnn {

inline cpu::Threads torch_threads() {
  return {static_cast<int>(torch::stable::get_num_threads()), [](int workers, const std::function<void(int)>& work) {
            torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
              for (int64_t worker = begin; worker < end; ++worker) work(static_cast<int>(worker));
            });
          }};
}

}  // namespace srcnn
