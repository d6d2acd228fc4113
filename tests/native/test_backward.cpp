// The fused backward against the float64 reference: every network, border, convention and scale, on shapes from one pixel to
// several tiles and pieces, from every memory layout, with every instruction set; the same bits with any number of threads.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cpu/backward_plan.h"
#include "cpu/kernels.h"
#include "samples_backward.h"

using namespace srcnn;
using namespace samples;

namespace {

// Runs a case with every instruction set and all `threads`; of the gradients, those of `wanted` must be right and no other
// touched. The layouts take turns, so that a table of cases sees them all.
void check_case(const Case& c, const std::vector<cpu::Threads>& threads, Wanted wanted = kEverything) {
  static unsigned turn = 0;
  const BackwardSample sample(c.kernel2, c.channels, c.padding, c.scale, c.bicubic, c.batch, c.height, c.width);
  for (const cpu::Isa isa : cpu::usable_isas()) {
    const IsaScope scope(isa);
    for (const cpu::Threads& pool : threads) {
      const Layout layout = kInputLayouts[turn++ % std::size(kInputLayouts)];
      GradientMemory memory(sample, wanted);
      const Pixels input(layout, sample.image), grad_output(kInputLayouts[turn % std::size(kInputLayouts)], sample.grad_output);
      cpu::srcnn_backward(memory.problem(sample, input, grad_output), pool);
      INFO(describe(c), ", layout ", static_cast<int>(layout), ", wanted ", wanted, ", ", name_of(isa), ", threads ",
           pool.count);
      CHECK(memory.worst_error(sample) <= kTolerance);
      CHECK(memory.gaps_untouched());
    }
  }
}

}  // namespace

TEST_CASE("every network, border, convention and scale on images smaller than what the network sees") {
  const std::vector<cpu::Threads> threads = {serial(1), concurrent(2), concurrent(7)};
  unsigned turn = 0;
  for (const int kernel2 : kKernels2) {
    for (const int channels : {1, 3}) {
      for (const Padding padding : kPaddings) {
        for (const Bicubic bicubic : kConventions) {
          for (const int64_t scale : {1, 2, 3, 5}) {
            if (scale == 1 && bicubic != Bicubic::kMatlab) continue;  // nothing is resampled
            check_case({kernel2, channels, padding, scale, bicubic, 1, 1, 1}, {threads[turn++ % 3]});
            check_case({kernel2, channels, padding, scale, bicubic, 2, 4, 3}, {threads[turn++ % 3]});
            check_case({kernel2, channels, padding, scale, bicubic, 1, 1, 7}, {threads[turn++ % 3]});
            check_case({kernel2, channels, padding, scale, bicubic, 1, 8, 1}, {threads[turn++ % 3]});
            check_case({kernel2, channels, padding, scale, bicubic, 1, 2, 2}, {threads[turn++ % 3]});
          }
        }
      }
    }
  }
}

TEST_CASE("every combination of gradients that are wanted") {
  for (const int kernel2 : {1, 3}) {
    for (Wanted wanted = 0; wanted <= kEverything; ++wanted) {
      const Padding padding = kPaddings[wanted % 2];
      check_case({kernel2, 1, padding, 1 + wanted % 3 % 2, Bicubic::kMatlab, 1, 5, 7}, {serial(1)}, wanted);
    }
  }
  for (const Wanted wanted : {Wanted{1}, kEverything - 1, Wanted{8}, Wanted{32}}) {
    check_case({5, 3, Padding::kReplicate, 2, Bicubic::kPil, 1, 5, 7}, {serial(1)}, wanted);
  }
}

TEST_CASE("widths around blocks of pixels") {
  unsigned turn = 0;
  for (const int kernel2 : kKernels2) {
    for (const int64_t width : {2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 16, 17, 24, 25, 33, 64, 65}) {
      check_case({kernel2, turn % 5 == 0 ? 3 : 1, kPaddings[turn % 2], 1, Bicubic::kMatlab, 1, 1 + turn % 4, width},
                 {serial(1)}, turn % 3 == 0 ? kEverything : kWeights);
      ++turn;
    }
  }
}

TEST_CASE("images of several tiles") {
  for (const int kernel2 : kKernels2) {
    const int64_t wide = cpu::widest_piece(kernel2, false), wide_input = cpu::widest_piece(kernel2, true);
    for (const Padding padding : kPaddings) {
      check_case({kernel2, 1, padding, 1, Bicubic::kMatlab, 1, 3, wide}, {serial(1)}, kWeights);
      check_case({kernel2, 1, padding, 1, Bicubic::kMatlab, 1, 3, wide + 1}, {concurrent(3)}, kWeights);
      check_case({kernel2, 1, padding, 1, Bicubic::kMatlab, 1, 5, wide_input + 1}, {concurrent(3)});
      check_case({kernel2, 1, padding, 1, Bicubic::kMatlab, 1, 97, 9}, {concurrent(3)});  // segments
      check_case({kernel2, 1, padding, 3, Bicubic::kMatlab, 1, 35, 5}, {concurrent(3)});
      check_case({kernel2, 1, padding, 2, Bicubic::kPil, 1, 2, wide_input / 2 + 3}, {concurrent(2)});
    }
  }
}

TEST_CASE("an enlargement that takes a tile of one input pixel beyond the widest piece") {
  check_case({1, 1, Padding::kReplicate, 43, Bicubic::kMatlab, 1, 1, 4}, {serial(1)});
  check_case({3, 1, Padding::kZeros, 54, Bicubic::kTorch, 1, 1, 3}, {serial(1)});
}

TEST_CASE("more tiles than groups") {
  check_case({1, 1, Padding::kZeros, 1, Bicubic::kMatlab, 37, 3, 4}, {concurrent(3)});
  const BackwardSample sample(1, 1, Padding::kZeros, 1, Bicubic::kMatlab, 37, 3, 4);
  GradientMemory memory(sample, kEverything);
  const Pixels pixels(Layout::kContiguous, sample.image);
  const cpu::BackwardTiling tiling = cpu::plan_backward_tiling(memory.problem(sample, pixels, pixels));
  CHECK(tiling.tiles == 37);
  CHECK(tiling.groups == cpu::kMostGroups);
}

TEST_CASE("an empty batch has gradients of zero") {
  const BackwardSample sample(3, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 3, 4);
  GradientMemory memory(sample, kWeights);
  const Pixels pixels(Layout::kContiguous, sample.image);
  BackwardProblem problem = memory.problem(sample, pixels, pixels);
  problem.input.batch = problem.grad_output.batch = 0;
  cpu::srcnn_backward(problem, serial(2));
  CHECK(memory.all_zero());
}

TEST_CASE("the same bits with any number of threads, and again") {
  const auto check = [](const Case& c) {
    const BackwardSample sample(c.kernel2, c.channels, c.padding, c.scale, c.bicubic, c.batch, c.height, c.width);
    const Pixels input(Layout::kContiguous, sample.image), grad_output(Layout::kContiguous, sample.grad_output);
    for (const cpu::Isa isa : cpu::usable_isas()) {
      const IsaScope scope(isa);
      GradientMemory first(sample, kEverything);
      cpu::srcnn_backward(first.problem(sample, input, grad_output), serial(1));
      for (const int threads : {1, 2, 3, 7, 64}) {
        GradientMemory other(sample, kEverything);
        cpu::srcnn_backward(other.problem(sample, input, grad_output), threads == 64 ? serial(64) : concurrent(threads));
        INFO(describe(c), ", ", name_of(isa), ", threads ", threads);
        CHECK(first.same_bits(other));
      }
    }
  };
  check({1, 1, Padding::kZeros, 1, Bicubic::kMatlab, 2, 50, 70});
  check({1, 3, Padding::kReplicate, 3, Bicubic::kMatlab, 5, 7, 5});
  check({3, 1, Padding::kReplicate, 2, Bicubic::kPil, 1, 50, 9});
  check({5, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 100, 9});
}

TEST_CASE("NaN reaches exactly the gradients that the definition says") {
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) {
      BackwardSample sample(kernel2, 1, padding, 1, Bicubic::kMatlab, 1, 40, 21);
      sample.grad_output.row(0, 0, 20)[7] = std::numeric_limits<double>::quiet_NaN();
      sample.compute();
      const Pixels input(Layout::kContiguous, sample.image), grad_output(Layout::kCropped, sample.grad_output);
      const auto& values = sample.expected.input.values;
      const auto harmed = std::count_if(values.begin(), values.end(), [](double v) { return std::isnan(v); });
      for (const cpu::Isa isa : cpu::usable_isas()) {
        const IsaScope scope(isa);
        GradientMemory memory(sample, kEverything);
        cpu::srcnn_backward(memory.problem(sample, input, grad_output), serial(2));
        INFO("9-", kernel2, "-5, ", name_of(isa));
        CHECK(memory.worst_error(sample) <= kTolerance);
        CHECK(harmed > 0);
        CHECK(harmed < static_cast<int64_t>(values.size()));
      }
    }
  }
}

TEST_CASE("NaN in the image reaches exactly the gradients that the definition says") {
  for (const int kernel2 : kKernels2) {
    BackwardSample sample(kernel2, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 24, 21);
    sample.image.row(0, 0, 0)[1] = std::numeric_limits<double>::quiet_NaN();  // half of conv1's taps never see it
    sample.features =
        reference::features(sample.image, Bicubic::kMatlab, 1, Padding::kZeros, sample.net.conv1, sample.net.conv2);
    sample.compute();
    const auto& weight1 = sample.expected.conv1.weight;
    CHECK(std::any_of(weight1.begin(), weight1.end(), [](double v) { return std::isnan(v); }));
    CHECK(std::any_of(weight1.begin(), weight1.end(), [](double v) { return !std::isnan(v); }));
    const Pixels input(Layout::kContiguous, sample.image), grad_output(Layout::kContiguous, sample.grad_output);
    for (const cpu::Isa isa : cpu::usable_isas()) {
      const IsaScope scope(isa);
      GradientMemory memory(sample, kWeights);
      cpu::srcnn_backward(memory.problem(sample, input, grad_output), serial(2));
      INFO("9-", kernel2, "-5, ", name_of(isa));
      CHECK(memory.worst_error(sample) <= kTolerance);
    }
  }
}

TEST_CASE("an unusable instruction set is an error, and no gradient is written") {
  const BackwardSample sample(1, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 3, 4);
  GradientMemory memory(sample, kEverything);
  const GradientMemory untouched(sample, kEverything);
  const Pixels pixels(Layout::kContiguous, sample.image);
  const IsaScope scope("mmx");
  CHECK_THROWS_AS(cpu::srcnn_backward(memory.problem(sample, pixels, pixels), serial(1)), std::runtime_error);
  CHECK(memory.same_bits(untouched));
}
