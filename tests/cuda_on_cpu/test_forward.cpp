// The fused CUDA forward against the float64 reference, run on the CPU: every network, border, convention and scale, from and
// to every memory layout, on the GPUs of several generations (their shared memory decides how a block works), under several
// orders of threads.
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

#include "kernels.h"
#include "samples.h"

using namespace srcnn;
using namespace samples;

namespace {

struct Case {
  int kernel2, channels;
  Padding padding;
  int64_t scale;
  Bicubic bicubic;
  int64_t batch, height, width;  // of the input
};

std::string describe(const Case& c) {
  return text("9-", c.kernel2, "-5, ", c.channels, " channels, ", c.padding == Padding::kZeros ? "zeros" : "replicate", ", x",
              c.scale, " ", name_of(c.bicubic), ", input [", c.batch, ", ", c.channels, ", ", c.height, ", ", c.width, "]");
}

// The layouts take turns, so that a table of cases sees them all.
void check_case(const Case& c) {
  static unsigned turn = 0;
  const reference::Image image = random_image(c.batch, c.channels, c.height, c.width);
  ForwardProblem problem = network(c.kernel2, c.channels).problem(c.scale, c.bicubic, c.padding);
  const reference::Image expected = reference::srcnn(image, problem);
  const Pixels input(kInputLayouts[turn % std::size(kInputLayouts)], image);
  const Pixels output(kOutputLayouts[turn++ % std::size(kOutputLayouts)], c.batch, c.channels, expected.height, expected.width);
  problem.input = input.const_view();
  problem.output = output.view();
  INFO(describe(c), ", sm_", cuda_on_cpu::gpu().compute_capability, ", seed ", cuda_on_cpu::seed());
  cuda::srcnn_forward(problem, nullptr);
  CHECK(output.max_error(expected) <= kTolerance);
  CHECK(output.gaps_untouched());
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
            check_case({kernel2, 4 - channels, padding, scale, bicubic, 1, 5, 7});
          }
        }
      }
    }
  }
}

TEST_CASE("widths around quads, strips and the halo between strips") {
  const int64_t widths[] = {3, 4, 5, 8, 12, 23, 24, 27, 28, 29, 31, 55, 56, 57, 60, 61, 123, 124, 125, 127, 130};
  const int64_t heights[] = {1, 2, 3, 5, 7};
  unsigned turn = 0;
  for (const int64_t width : widths) {
    check_case(
        {kKernels2[turn % 3], 1, kPaddings[turn / 2 % 2], 1, Bicubic::kMatlab, 1, heights[turn % std::size(heights)], width});
    ++turn;
  }
}

TEST_CASE("more rows than one table of bicubic weights, and segments that meet") {
  GpuScope scope(cuda_on_cpu::gpu_of(80));
  check_case({1, 1, Padding::kReplicate, 3, Bicubic::kMatlab, 1, 25, 4});
  cuda_on_cpu::gpu().multiprocessors = 1;  // one long strip
  check_case({1, 1, Padding::kZeros, 4, Bicubic::kTorch, 1, 19, 3});
}

TEST_CASE("every generation of GPU computes the same, in configurations of its own") {
  std::set<std::string> configurations;
  for (const int generation : {75, 80, 86, 90, 120}) {
    const GpuScope scope(cuda_on_cpu::gpu_of(generation));
    for (const int kernel2 : kKernels2) {
      for (const int channels : {1, 3}) {
        const Case c{kernel2, channels, Padding::kReplicate, 2, Bicubic::kPil, 1, 5, 9};
        ForwardProblem problem = network(kernel2, channels).problem(c.scale, c.bicubic, c.padding);
        problem.input.channels = channels;
        configurations.insert(cuda::choose_forward_config(problem, cuda::current_device_limits()).describe());
        check_case(c);
      }
    }
  }
  CHECK(configurations.size() >= 10);
}

TEST_CASE("a device with too little shared memory is refused") {
  const GpuScope scope(cuda_on_cpu::gpu_of(75));
  cuda_on_cpu::gpu().shared_per_block_optin = 16 * 1024;
  CHECK_THROWS_WITH_AS(check_case({5, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 4, 4}),
                       "the device has 16384 bytes of shared memory per block, too few for the fused forward",
                       std::runtime_error);
}

TEST_CASE("any order of threads gives the same") {
  cuda_on_cpu::for_seeds(20, [](uint64_t seed) {
    const int kernel2 = kKernels2[seed % 3];
    const GpuScope scope(cuda_on_cpu::gpu_of(seed % 2 ? 75 : 90));
    check_case({kernel2, 1, kPaddings[seed / 2 % 2], 1 + static_cast<int64_t>(seed % 2), Bicubic::kMatlab, 1, 4, 6});
  });
}
