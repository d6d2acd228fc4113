// One backward of the CUDA kernels on the CPU, and how far its gradients are from the float64 reference's.
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "../backward_16_bits.h"
#include "cuda/backward.h"
#include "forward_case.h"
#include "samples_backward.h"

namespace faults {

// All gradients in float, to be run under as many seeds as one likes.
class Backward {
 public:
  explicit Backward(const Case& c)
      : sample_(c.kernel2, c.channels, c.padding, c.scale, srcnn::Bicubic::kMatlab, c.batch, c.height, c.width),
        input_(samples::Layout::kContiguous, sample_.image),
        grad_output_(samples::Layout::kContiguous, sample_.grad_output) {}

  // The largest error of any gradient, relative to its largest value.
  double error(const Case&) const {
    samples::GradientMemory memory(sample_, samples::kEverything);
    const srcnn::BackwardProblem problem = memory.problem(sample_, input_, grad_output_);
    std::vector<uint4> workspace(srcnn::cuda::srcnn_backward_workspace(problem) / sizeof(uint4),
                                 make_uint4(~0u, ~0u, ~0u, ~0u));
    srcnn::cuda::srcnn_backward(problem, workspace.data(), nullptr);
    return memory.worst_error(sample_);
  }

 private:
  samples::BackwardSample sample_;
  samples::Pixels input_, grad_output_;
};

// All gradients in half, by the kernel that is chosen for it: tensor cores.
class BackwardHalf {
 public:
  explicit BackwardHalf(const Case& c)
      : backward_({c.kernel2, c.channels, c.padding, c.scale, srcnn::Bicubic::kMatlab, c.batch, c.height, c.width}) {}

  double error(const Case&) const { return backward_.error(backward_.run()); }

 private:
  samples::Backward16<srcnn::Half> backward_;
};

}  // namespace faults
