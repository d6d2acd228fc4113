// The fused CUDA backward against the float64 reference, run on the CPU: every network, border, convention and scale, from
// every memory layout, for any set of gradients that is wanted, on the GPUs of several generations (their shared memory decides
// how a block works), under several orders of threads, which must not change a bit.
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "backward.h"
#include "kernels.h"
#include "samples_backward.h"
#include "sixteen_bits.h"

using namespace srcnn;
using namespace samples;

namespace {

template <class T>
void run(const BackwardProblemOf<T>& problem) {
  const size_t bytes = cuda::srcnn_backward_workspace(problem);
  std::vector<uint4> workspace(bytes / sizeof(uint4), make_uint4(~0u, ~0u, ~0u, ~0u));  // NaN
  cuda::srcnn_backward(problem, workspace.data(), nullptr);
}

// The imaginary GPU for the length of a scope.
class GpuScope {
 public:
  explicit GpuScope(const cuda_on_cpu::Gpu& gpu) : old_(cuda_on_cpu::gpu()) { cuda_on_cpu::gpu() = gpu; }
  ~GpuScope() { cuda_on_cpu::gpu() = old_; }
  GpuScope(const GpuScope&) = delete;

 private:
  cuda_on_cpu::Gpu old_;
};

BackwardSample sample_of(const Case& c) {
  return {c.kernel2, c.channels, c.padding, c.scale, c.bicubic, c.batch, c.height, c.width};
}

// Of the gradients, those of `wanted` must be right and no other touched.
void check_sample(const Case& c, const BackwardSample& sample, Wanted wanted, Layout input_layout, Layout grad_layout) {
  GradientMemory memory(sample, wanted);
  const Pixels input(input_layout, sample.image), grad_output(grad_layout, sample.grad_output);
  run(memory.problem(sample, input, grad_output));
  INFO(describe(c), ", layouts ", static_cast<int>(input_layout), " and ", static_cast<int>(grad_layout), ", wanted ", wanted,
       ", sm_", cuda_on_cpu::gpu().compute_capability, ", seed ", cuda_on_cpu::seed());
  CHECK(memory.worst_error(sample) <= kTolerance);
  CHECK(memory.gaps_untouched());
}

// The layouts take turns, so that a table of cases sees them all.
void check_case(const Case& c, Wanted wanted = kEverything) {
  static unsigned turn = 0;
  const Layout layout = kInputLayouts[turn++ % std::size(kInputLayouts)];
  check_sample(c, sample_of(c), wanted, layout, kInputLayouts[turn % std::size(kInputLayouts)]);
}

}  // namespace

TEST_CASE("every network, border, convention and scale on images smaller than what the network sees") {
  unsigned turn = 0;
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) {
      for (const Bicubic bicubic : kConventions) {
        for (const int64_t scale : {1, 2, 3, 4}) {
          if (scale == 1 && bicubic != Bicubic::kMatlab) continue;  // nothing is resampled
          const int channels = turn % 2 ? 3 : 1;
          check_case({kernel2, channels, padding, scale, bicubic, 1, 1, 1});
          if (turn++ % 3 == 0) {
            check_case({kernel2, channels, padding, scale, bicubic, 2, 3, 2});
          } else {
            check_case({kernel2, 4 - channels, padding, scale, bicubic, 1, 2, 4});
          }
        }
      }
    }
  }
}
