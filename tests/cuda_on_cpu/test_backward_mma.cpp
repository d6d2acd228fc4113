// The fused CUDA backward on tensor cores, run on the CPU, against a float64 reference that rounds to 16 bits where the kernel
// does (backward_16_bits.h): every network, border and scale, for any set of gradients that is wanted, on GPUs whose shared
// memory decides how a block works, under several orders of threads, which must not change a bit.
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <set>
#include <stdexcept>
#include <string>

#include "backward_16_bits.h"
#include "backward_choose.h"
#include "planted_faults.h"

using namespace srcnn;
using namespace samples;

namespace {

// The imaginary GPU for the length of a scope.
class GpuScope {
 public:
  explicit GpuScope(int generation, int multiprocessors) : old_(cuda_on_cpu::gpu()) {
    cuda_on_cpu::gpu() = cuda_on_cpu::gpu_of(generation);
    cuda_on_cpu::gpu().multiprocessors = multiprocessors;
  }
  ~GpuScope() { cuda_on_cpu::gpu() = old_; }
  GpuScope(const GpuScope&) = delete;

 private:
  cuda_on_cpu::Gpu old_;
};

template <class T>
void check_case(const Case& c, Wanted wanted = kEverything, bool columns_first = false) {
  const Backward16<T> backward(c);
  INFO(describe(c), ", wanted ", wanted, ", sm_", cuda_on_cpu::gpu().compute_capability, " with ",
       cuda_on_cpu::gpu().multiprocessors);
  CHECK(backward.error(backward.run(wanted, columns_first), wanted) <= kTolerance16<T>);
}

cuda::BackwardShape shape_of(const Case& c, bool input) {
  const bool t = true;
  return {c.batch, c.channels, c.kernel2, c.scale, c.scale * c.height, c.scale * c.width, {input, t, t, t, t, t, t}};
}

cuda::DeviceLimits device_of(int generation) {
  const cuda_on_cpu::Gpu gpu = cuda_on_cpu::gpu_of(generation);
  return {gpu.multiprocessors, generation, gpu.shared_per_block_optin, gpu.shared_per_multiprocessor,
          gpu.threads_per_multiprocessor};
}

std::string refusal(const Case& c, cuda::Element element, const std::string& forced, const cuda::DeviceLimits& device) {
  return message_of<std::runtime_error>([&] { cuda::choose_backward(shape_of(c, true), element, forced, device); });
}

}  // namespace

TEST_CASE("every network, border and scale, on images smaller than what the network sees") {
  const GpuScope scope(90, 1);
  unsigned turn = 0;
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) {
      const int channels = turn % 2 == 0 ? 1 : 3;
      check_case<Half>({kernel2, channels, padding, 1, Bicubic::kMatlab, 1, 3, 5}, kEverything, turn % 3 == 0);
      check_case<BFloat16>({kernel2, 4 - channels, padding, 1 + turn % 3, kConventions[turn % 3], 1, 2, 3});
      ++turn;
    }
  }
  check_case<Half>({1, 3, Padding::kReplicate, 3, Bicubic::kPil, 2, 2, 3}, kEverything, true);
  check_case<Half>({3, 1, Padding::kZeros, 2, Bicubic::kTorch, 1, 1, 4});
}

TEST_CASE("one pixel, one row, one column") {
  const GpuScope scope(80, 1);
  for (const int kernel2 : kKernels2) {
    check_case<Half>({kernel2, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 1, 1});
    check_case<Half>({kernel2, 1, kernel2 == 3 ? Padding::kReplicate : Padding::kZeros, 1, Bicubic::kMatlab, 1, 1, 9});
    check_case<Half>({kernel2, 1, kernel2 == 3 ? Padding::kZeros : Padding::kReplicate, 1, Bicubic::kMatlab, 1, 7, 1});
  }
}

TEST_CASE("some of the gradients: the others are not touched") {
  const GpuScope scope(90, 1);
  unsigned turn = 0;
  for (const Wanted wanted : {0u, 1u, 2u, 4u, 8u, 16u, 32u, 64u, 6u, 24u, 96u, 85u, 42u, kWeights}) {
    check_case<Half>({turn % 2 == 0 ? 1 : 3, 1, kPaddings[turn % 2], 1 + turn % 3 / 2, Bicubic::kMatlab, 1, 3, 4}, wanted);
    ++turn;
  }
}

TEST_CASE("strips and segments that meet, several images, blocks that go from one to the next") {
  {
    const GpuScope scope(86, 1);
    check_case<Half>({1, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 9, 35}, kWeights);
    check_case<Half>({1, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 32, 16});
    check_case<Half>({3, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 2, 11, 17});
  }
  {
    const GpuScope scope(120, 5);
    check_case<Half>({1, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 9, 35});
    check_case<Half>({3, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 19, 17});
    check_case<BFloat16>({5, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 13, 17}, kWeights);
  }
  const GpuScope scope(100, 2);
  check_case<Half>({5, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 2, 5, 18});
}

TEST_CASE("the tolerance would show a missing tap, of any layer") {
  for (const int kernel2 : {1, 5}) {
    Backward16<BFloat16> backward({kernel2, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 5, 6});
    const auto right = backward.run();
    CHECK(backward.error(right) <= kTolerance16<BFloat16>);
    for (const size_t layer : {0, 1, 2}) {
      // One tap of one output channel and all its inputs.
      const size_t taps = static_cast<size_t>(backward.convs[layer].kernel_size) * backward.convs[layer].kernel_size;
      std::vector<float>& weight = backward.weights[2 * layer];
      const std::vector<float> whole = weight;
      const size_t inputs = static_cast<size_t>(backward.convs[layer].in_channels);
      for (size_t i = 0; i < inputs; ++i) weight[i * taps + taps / 2] = 0.0f;
      backward.compute();
      INFO("9-", kernel2, "-5, layer ", layer);
      CHECK(backward.error(right) > 3 * kTolerance16<BFloat16>);
      weight = whole;
    }
  }
}

TEST_CASE("what is NaN or too large stays so") {
  const GpuScope scope(90, 1);
  for (const double value : {static_cast<double>(NAN), 60000.0}) {
    Backward16<Half> backward({3, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 5, 18});
    for (double& grad : backward.grad_output.values) grad = std::isnan(value) ? grad : grad * value;
    if (std::isnan(value)) backward.grad_output.row(0, 0, 2)[3] = value;
    backward.compute();
    const auto results = backward.run();
    size_t lost = 0, not_finite = 0;
    for (size_t i = 0; i < results.size(); ++i) {
      for (size_t j = 0; j < backward.expected[i].size(); ++j) {
        Half rounded;
        round_to(static_cast<float>(backward.expected[i][j]), rounded);
        const bool expected = std::isfinite(to_float(rounded));
        not_finite += !expected;
        // What is only just too large may be the largest number in float's sums.
        lost += !expected && std::isfinite(to_float(results[i][j])) && !(std::abs(backward.expected[i][j]) < 65600);
        // Far from the NaN the input's gradient has none.
        if (i == 0 && std::isnan(value)) CHECK(std::isnan(to_float(results[i][j])) == !expected);
      }
    }
    CHECK(not_finite > 0);
    CHECK(lost == 0);
  }
}

TEST_CASE("any order of blocks and threads gives the same bits") {
  const Case cases[] = {{1, 1, Padding::kReplicate, 2, Bicubic::kMatlab, 2, 2, 9},
                        {3, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 3, 17},
                        {5, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 3, 5}};
  const GpuScope scope(90, 2);
  for (const Case& c : cases) {
    const Backward16<Half> backward(c);
    const auto first = backward.run();
    cuda_on_cpu::for_seeds(3, [&](uint64_t seed) {
      const auto other = backward.run();
      INFO(describe(c), ", seed ", seed);
      bool same = true;
      for (size_t i = 0; i < first.size(); ++i) {
        for (size_t j = 0; j < first[i].size(); ++j) same = same && first[i][j].bits == other[i][j].bits;
      }
      CHECK(same);
    });
  }
}

TEST_CASE("an empty batch has gradients of zero") {
  Backward16<Half> backward({3, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 3, 4});
  for (auto& expected : backward.expected) std::fill(expected.begin(), expected.end(), 0.0);
  CHECK(cuda::choose_backward({0, 1, 3, 1, 3, 4, {}}, cuda::Element::kHalf, "mma", device_of(90)).tiling.blocks == 0);
  CHECK(backward.error(backward.run(kWeights, false, 0), kWeights) == 0);
}

TEST_CASE("tensor cores for 16 bits from sm_80 on; else exact multiply-adds, and why") {
  std::set<std::string> plans;
  for (const int generation : {75, 80, 86, 89, 90, 100, 120}) {
    const cuda::DeviceLimits device = device_of(generation);
    for (const int kernel2 : kKernels2) {
      for (const int channels : {1, 3}) {
        for (const bool input : {false, true}) {
          const cuda::BackwardShape shape =
              shape_of({kernel2, channels, Padding::kZeros, 1, Bicubic::kMatlab, 16, 256, 256}, input);
          const auto plan = cuda::choose_backward(shape, cuda::Element::kBFloat16, "auto", device);
          INFO("sm_", generation, ": ", plan.describe());
          REQUIRE(plan.kernel == (generation >= 80 ? cuda::BackwardKernel::kMma : cuda::BackwardKernel::kFma));
          CHECK(cuda::choose_backward(shape, cuda::Element::kFloat, "auto", device).kernel == cuda::BackwardKernel::kFma);
          CHECK(cuda::choose_backward(shape, cuda::Element::kHalf, "fma", device).kernel == cuda::BackwardKernel::kFma);
          plans.insert(plan.describe());
          if (generation < 80) continue;
          const cuda::BackwardMmaConfig& config = plan.mma;
          CHECK(config.shared.size <= device.shared_memory_per_block);
          CHECK(config.blocks_per_sm * (config.shared.size + 1024) <= device.shared_memory_per_sm);
          CHECK(config.blocks_per_sm * config.threads <= device.threads_per_sm);
          CHECK(plan.tiling.blocks <= config.blocks_per_sm * device.sm_count);
          CHECK(plan.tiling.blocks >= config.blocks_per_sm * device.sm_count * 3 / 4);
          const auto workspace = cuda::lay_out_workspace(shape, plan.kernel, plan.tiling.blocks);
          CHECK(4 * workspace.size <= 120 << 20);
        }
      }
    }
  }
  CHECK(plans.size() >= 30);

  const Case c{1, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 64, 64};
  const std::string name = "SRCNN_FUSED_CUDA_KERNEL";
  CHECK(contains(cuda::choose_backward(shape_of(c, true), cuda::Element::kHalf, "wgmma", device_of(90)).describe(),
                 "mma (16 bits on tensor cores): tensor-core backward, strips of "));
  CHECK(refusal(c, cuda::Element::kHalf, "fastest", device_of(90)) ==
        name + " must be auto, fma, mma, tf32, tf32x3 or wgmma, got 'fastest'");
  CHECK(refusal(c, cuda::Element::kFloat, "mma", device_of(90)) == name + "=mma: it is not for float32 (the backward)");
  CHECK(refusal(c, cuda::Element::kHalf, "mma", device_of(75)) ==
        name + "=mma: the GPU has no such tensor cores (they come with sm_80) (the backward)");
  const Case large_scale{1, 1, Padding::kZeros, 300, Bicubic::kMatlab, 1, 2, 2};
  CHECK(cuda::choose_backward(shape_of(large_scale, true), cuda::Element::kHalf, "auto", device_of(90)).why ==
        "not mma: it tabulates the bicubic weights of scales up to 256, this one is 300");
  cuda::DeviceLimits small = device_of(90);
  small.shared_memory_per_block = 24000;
  CHECK(refusal({5, 3, Padding::kZeros, 1, Bicubic::kMatlab, 1, 64, 64}, cuda::Element::kHalf, "mma", small) ==
        name + "=mma: its rows do not fit the 24000 bytes of shared memory that a block has (the backward)");
}
