// The forward for narrow images: whole images of every kind against float64, the same bits with any number of threads, and
// single regions in a workspace full of NaN. (test_forward.cpp has the other algorithms.)
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "cpu/backward_plan.h"
#include "cpu/backward_prepare.h"
#include "cpu/kernels.h"
#include "regions.h"
#include "samples.h"
#include "workspace.h"

using namespace srcnn;
using namespace samples;

namespace {

BackwardProblem replay_of(const ForwardProblem& problem) {
  BackwardProblem replay;
  replay.input = problem.input;
  replay.conv1 = problem.conv1;
  replay.conv2 = problem.conv2;
  replay.conv3 = problem.conv3;
  replay.scale = problem.scale;
  replay.bicubic = problem.bicubic;
  replay.padding = problem.padding;
  return replay;
}

// What regions.h asks of a plan and an engine.
struct Planned {
  const cpu::BackwardLayout& layout;
  const cpu::BackwardPlan& plan;
  const ImageView<float>& output;
};

struct Engine {
  const cpu::BackwardEngine& engine;
  void forward_region(const Planned& planned, int64_t image, const cpu::Region& region, float* workspace) const {
    engine.forward_region(planned.plan, image, region, planned.output, workspace);
  }
};

struct Plan {
  BackwardProblem problem;
  cpu::PreparedBackward prepared;
  Planned plan;

  Plan(const ForwardProblem& forward, const Engine& engine, int64_t strip_width)
      : problem(replay_of(forward)),
        prepared(problem, engine.engine, cpu::Depth::kForward, std::min(forward.output.width, strip_width + kKernel3 - 1)),
        plan{prepared.plan().layout, prepared.plan(), forward.output} {}

  static Engine engine_for(cpu::Isa isa) { return {cpu::backward_engine_for(isa)}; }
  int64_t first_zero() const { return plan.layout.zeros_offset; }
  static constexpr double kAllowed = kWinogradTolerance;
};

// Every instruction set, as often as there are `threads`; all of them the same bits.
void check_case(const Case& c, const std::vector<cpu::Threads>& threads) {
  static unsigned turn = 0;
  const AlgorithmScope algorithm(cpu::Algorithm::kPixels);
  const reference::Image image = random_image(c.batch, c.channels, c.height, c.width);
  ForwardProblem problem = network(c.kernel2, c.channels).problem(c.scale, c.bicubic, c.padding);
  const reference::Image expected = reference::srcnn(image, problem);
  for (const cpu::Isa isa : cpu::usable_isas()) {
    const IsaScope scope(isa);
    const Pixels first(Layout::kContiguous, c.batch, c.channels, expected.height, expected.width);
    for (const cpu::Threads& pool : threads) {
      const Pixels input(kInputLayouts[turn++ % std::size(kInputLayouts)], image);
      const Pixels output(Layout::kContiguous, c.batch, c.channels, expected.height, expected.width);
      problem.input = input.const_view();
      problem.output = (&pool == &threads.front() ? first : output).view();
      cpu::srcnn_forward(problem, pool);
      INFO(describe(c), ", ", name_of(isa), ", threads ", pool.count);
      if (&pool == &threads.front()) {
        CHECK(first.max_error(expected) <= kWinogradTolerance);
      } else {
        CHECK(output.same_bits(first));
      }
    }
  }
}

}  // namespace

TEST_CASE("by pixels: every network, border, convention and scale") {
  for (const int kernel2 : kKernels2) {
    for (const int channels : {1, 3}) {
      for (const Padding padding : kPaddings) {
        for (const int64_t scale : {1, 2, 3}) {
          const Bicubic bicubic = kConventions[(kernel2 / 2 + scale) % 3];
          check_case({kernel2, channels, padding, scale, bicubic, 1, 1, 1}, {serial(1)});
          check_case({kernel2, channels, padding, scale, bicubic, 2, 4, 3}, {concurrent(2)});
          check_case({kernel2, channels, padding, scale, bicubic, 1, 9, 7}, {serial(1)});
        }
      }
    }
  }
}

TEST_CASE("by pixels: widths around tiles and blocks of pixels") {
  unsigned turn = 0;
  for (const int kernel2 : kKernels2) {
    for (const int64_t width : {2, 4, 5, 7, 8, 9, 13, 16, 17, 20, 24, 31, 33, 40}) {
      check_case({kernel2, 1, kPaddings[turn % 2], 1, Bicubic::kMatlab, 1, 1 + turn % 7, width}, {serial(1)});
      ++turn;
    }
  }
}

TEST_CASE("by pixels: strips and segments, the same bits however an image is cut") {
  const std::vector<cpu::Threads> threads = {serial(1), serial(2), serial(3), concurrent(7), serial(64)};
  for (const int kernel2 : kKernels2) {
    const int64_t widest = cpu::widest_piece(kernel2, false) - kKernel3 + 1;
    for (const Padding padding : kPaddings) {
      check_case({kernel2, 1, padding, 1, Bicubic::kMatlab, 1, 67, 12}, threads);
      check_case({kernel2, 1, padding, 1, Bicubic::kMatlab, 2, 33, 9}, threads);
      check_case({kernel2, 1, padding, 1, Bicubic::kMatlab, 1, 2, widest}, {serial(1), serial(4)});
      check_case({kernel2, 1, padding, 1, Bicubic::kMatlab, 1, 3, widest + 1}, {serial(1), serial(4)});
    }
  }
}

TEST_CASE("by pixels: nothing is used before it is written") {
  const std::vector<cpu::Region> regions = {{0, 29, 0, 33},  {0, 16, 0, 12},  {20, 29, 20, 33}, {4, 24, 4, 32},
                                            {12, 16, 8, 20}, {28, 29, 0, 33}, {0, 4, 28, 33},   {0, 28, 32, 33}};
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) check_regions<Plan>(kernel2, 1, padding, 1, Bicubic::kMatlab, 33, 29, regions);
  }
  check_regions<Plan>(3, 3, Padding::kReplicate, 3, Bicubic::kPil, 11, 10, {{0, 30, 0, 33}, {8, 20, 8, 20}, {28, 30, 32, 33}});
}

TEST_CASE("by pixels: what is not finite spreads as the definition says, and to no other image") {
  const AlgorithmScope algorithm(cpu::Algorithm::kPixels);
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) {
      for (const double value : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e30}) {
        reference::Image image = random_image(2, 1, 30, 31);
        image.row(1, 0, 0)[0] = image.row(1, 0, 24)[17] = value;
        ForwardProblem problem = network(kernel2, 1).problem(1, Bicubic::kMatlab, padding);
        const reference::Image expected = reference::srcnn(image, problem);
        const Pixels input(Layout::kContiguous, image);
        problem.input = input.const_view();
        for (const cpu::Isa isa : cpu::usable_isas()) {
          const IsaScope scope(isa);
          const Pixels output(Layout::kContiguous, 2, 1, 30, 31);
          problem.output = output.view();
          cpu::srcnn_forward(problem, serial(2));
          int wrong = 0;
          output.for_each([&](float& pixel, int64_t n, int64_t, int64_t y, int64_t x) {
            const double want = expected.row(n, 0, y)[x];
            const bool ordinary = std::abs(want) < 1e3;  // what depends on the value only by mistake
            wrong += ordinary ? !(std::abs(pixel - want) <= kWinogradTolerance) : std::isfinite(want) != std::isfinite(pixel);
          });
          INFO("9-", kernel2, "-5, ", value, ", ", name_of(isa));
          CHECK(wrong == 0);
        }
      }
    }
  }
}
