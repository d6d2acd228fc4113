// The fused forward against the float64 reference: every network, border, convention and scale, on shapes from one pixel to
// several strips and segments, from and to every memory layout, with every instruction set, both algorithms and several thread
// counts.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "cpu/engine.h"
#include "cpu/kernels.h"
#include "cpu/plan.h"
#include "cpu/winograd_plan.h"
#include "samples.h"

using namespace srcnn;
using namespace samples;

namespace {

// Runs a case with every instruction set, both algorithms and all `threads`. The layouts take turns, so that a table of cases
// sees them all.
void check_case(const Case& c, const std::vector<cpu::Threads>& threads) {
  static unsigned turn = 0;
  const reference::Image image = random_image(c.batch, c.channels, c.height, c.width);
  ForwardProblem problem = network(c.kernel2, c.channels).problem(c.scale, c.bicubic, c.padding);
  const reference::Image expected = reference::srcnn(image, problem);
  for (const cpu::Isa isa : cpu::usable_isas()) {
    const IsaScope scope(isa);
    for (const cpu::Algorithm algorithm : kAlgorithms) {
      const AlgorithmScope algorithm_scope(algorithm);
      for (const cpu::Threads& pool : threads) {
        const Layout layout = kInputLayouts[turn % std::size(kInputLayouts)];
        const Pixels input(layout, image);
        const Pixels output(kOutputLayouts[turn++ % std::size(kOutputLayouts)], c.batch, c.channels, expected.height,
                            expected.width);
        problem.input = input.const_view();
        problem.output = output.view();
        cpu::srcnn_forward(problem, pool);
        INFO(describe(c), ", layout ", static_cast<int>(layout), ", ", name_of(isa), ", ", name_of(algorithm), ", threads ",
             pool.count);
        CHECK(output.max_error(expected) <= tolerance_of(algorithm));
        CHECK(output.gaps_untouched());
      }
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
            check_case({kernel2, channels, padding, scale, bicubic, 1, 1, 1}, threads);
            check_case({kernel2, channels, padding, scale, bicubic, 2, 4, 3}, {threads[turn++ % 3]});
            check_case({kernel2, channels, padding, scale, bicubic, 1, 1, 19}, {threads[turn++ % 3]});
            check_case({kernel2, channels, padding, scale, bicubic, 1, 18, 1}, {threads[turn++ % 3]});
            check_case({kernel2, channels, padding, scale, bicubic, 1, 9, 7}, {threads[turn++ % 3]});
          }
        }
      }
    }
  }
}

TEST_CASE("widths around vectors and blocks of them, heights around blocks of rows") {
  // Vectors are 4, 8 or 16 pixels, blocks 8, 24 or 48, those of conv3 8, 16 or 64; with halos 4, 6 or 8 wider.
  const int64_t widths[] = {2,  3,  4,  5,  7,  8,  9,  11, 12, 13, 15, 16, 17, 19, 20, 21, 23, 24, 25, 27, 28,
                            29, 31, 32, 33, 40, 43, 44, 45, 47, 48, 49, 60, 61, 63, 64, 65, 67, 92, 95, 96, 97};
  const int64_t heights[] = {1, 3, 4, 5, 7, 8, 9, 12, 13};
  unsigned turn = 0;
  for (const int kernel2 : kKernels2) {
    for (const int64_t width : widths) {
      const Padding padding = kPaddings[turn % 2];
      const int channels = turn / 2 % 5 == 0 ? 3 : 1;
      check_case({kernel2, channels, padding, 1, Bicubic::kMatlab, 1, heights[turn % std::size(heights)], width}, {serial(1)});
      ++turn;
    }
  }
}

TEST_CASE("images of several strips and segments") {
  // Few pixels and many threads cut an image as many pixels and few threads would.
  struct Cut {
    int64_t height, width;
    int threads;
  };
  for (const Cut& cut : {Cut{37, 150, 7}, Cut{53, 70, 7}, Cut{18, 260, 16}, Cut{64, 33, 7}}) {
    int64_t strips = 1, segments = 1;
    for (const int kernel2 : kKernels2) {
      for (const Padding padding : kPaddings) {
        const int channels = padding == Padding::kZeros && cut.threads == 7 ? 3 : 1;
        const Case c{kernel2, channels, padding, 1, Bicubic::kMatlab, 1, cut.height, cut.width};
        if (kernel2 == 5 && padding == Padding::kZeros && cut.width > 100) continue;  // the slowest, and nothing new in them
        check_case(c, {serial(cut.threads)});
        ForwardProblem problem = network(kernel2, channels).problem(1, Bicubic::kMatlab, padding);
        problem.output = {nullptr, 1, channels, cut.height, cut.width, 0, 0, 0, 0};
        for (const cpu::Isa isa : cpu::usable_isas()) {
          for (const cpu::Tiling& tiling : {cpu::plan_tiling(problem, cpu::engine_for(isa), cut.threads),
                                            cpu::plan_winograd_tiling(problem, cpu::winograd_engine_for(isa), cut.threads)}) {
            strips = std::max(strips, tiling.strips);
            segments = std::max(segments, tiling.segments);
          }
        }
      }
    }
    CAPTURE(cut.height);
    CAPTURE(cut.width);
    CHECK(strips * segments > 1);  // or this test shows nothing
  }
}

TEST_CASE("strips and segments of enlarged images") {
  for (const Bicubic bicubic : kConventions) {
    check_case({1, 1, Padding::kReplicate, 3, bicubic, 1, 17, 50}, {concurrent(7)});
    check_case({3, 3, Padding::kZeros, 2, bicubic, 1, 19, 40}, {concurrent(7)});
    check_case({5, 1, Padding::kZeros, 5, bicubic, 2, 9, 14}, {concurrent(2)});
  }
}

TEST_CASE("strips as wide as the cache allows") {
  check_case({1, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 6, 1290}, {serial(1)});
  check_case({3, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 3, 800}, {serial(1)});
  check_case({5, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 3, 580}, {serial(1)});
  check_case({1, 3, Padding::kZeros, 3, Bicubic::kPil, 1, 1, 433}, {serial(1)});
}

TEST_CASE("the same bits with any number of threads") {
  const auto check = [](int kernel2, int channels, int64_t scale, Padding padding, int64_t height, int64_t width) {
    const Pixels input(Layout::kContiguous, random_image(2, channels, height, width));
    ForwardProblem problem = network(kernel2, channels).problem(scale, Bicubic::kMatlab, padding);
    problem.input = input.const_view();
    for (const cpu::Isa isa : cpu::usable_isas()) {
      const IsaScope scope(isa);
      for (const cpu::Algorithm algorithm : kAlgorithms) {
        const AlgorithmScope algorithm_scope(algorithm);
        const Pixels first(Layout::kContiguous, 2, channels, scale * height, scale * width);
        problem.output = first.view();
        cpu::srcnn_forward(problem, serial(1));
        for (const int threads : {2, 3, 7, 64}) {
          const Pixels other(Layout::kContiguous, 2, channels, scale * height, scale * width);
          problem.output = other.view();
          cpu::srcnn_forward(problem, threads == 64 ? serial(threads) : concurrent(threads));
          INFO("9-", kernel2, "-5, ", name_of(isa), ", ", name_of(algorithm), ", threads ", threads);
          CHECK(first.same_bits(other));
        }
      }
    }
  };
  check(1, 1, 1, Padding::kZeros, 50, 101);
  check(1, 3, 3, Padding::kReplicate, 15, 33);
  check(3, 1, 2, Padding::kZeros, 16, 37);
  check(5, 1, 1, Padding::kReplicate, 33, 71);
}

TEST_CASE("NaN and infinity reach exactly the pixels that the definition says") {
  for (const int kernel2 : kKernels2) {
    for (const int64_t scale : {1, 3}) {
      for (const double value : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
        reference::Image image = random_image(1, 1, 48 / scale, 75 / scale);
        image.row(0, 0, 20 / scale)[30 / scale] = value;
        ForwardProblem problem = network(kernel2, 1).problem(scale, Bicubic::kMatlab, Padding::kZeros);
        const reference::Image expected = reference::srcnn(image, problem);
        const auto unharmed =
            std::count_if(expected.values.begin(), expected.values.end(), [](double v) { return std::isfinite(v); });
        const Pixels input(Layout::kContiguous, image);
        problem.input = input.const_view();
        for (const cpu::Isa isa : cpu::usable_isas()) {
          const IsaScope scope(isa);
          for (const cpu::Algorithm algorithm : kAlgorithms) {
            const AlgorithmScope algorithm_scope(algorithm);
            const Pixels output(Layout::kCropped, 1, 1, expected.height, expected.width);
            problem.output = output.view();
            cpu::srcnn_forward(problem, serial(7));  // strips after the harmed one use its workspace
            INFO("9-", kernel2, "-5, x", scale, ", ", value, ", ", name_of(isa), ", ", name_of(algorithm));
            CHECK(output.max_error(expected) <= kTolerance);
            CHECK(unharmed > 0);
            CHECK(unharmed < static_cast<int64_t>(expected.values.size()));
          }
        }
      }
    }
  }
}

TEST_CASE("an unusable instruction set is an error that names the usable ones, and the output stays as it was") {
  std::string usable;
  for (const cpu::Isa isa : cpu::usable_isas()) usable += (usable.empty() ? "" : ", ") + name_of(isa);
  const Pixels input(Layout::kContiguous, random_image(1, 1, 8, 8));
  const Pixels output(Layout::kContiguous, 1, 1, 8, 8), untouched(Layout::kContiguous, 1, 1, 8, 8);
  ForwardProblem problem = network(1, 1).problem(1, Bicubic::kMatlab, Padding::kZeros);
  problem.input = input.const_view();
  problem.output = output.view();
  const IsaScope scope("mmx");
  const std::string message = "SRCNN_FUSED_CPU_ISA must be one of " + usable + " on this machine, got 'mmx'";
  CHECK_THROWS_WITH_AS(cpu::srcnn_forward(problem, serial(1)), message.c_str(), std::runtime_error);
  CHECK(output.same_bits(untouched));
}

TEST_CASE("without SRCNN_FUSED_CPU_ISA, or with an empty one, the best instruction set runs") {
  unsetenv("SRCNN_FUSED_CPU_ISA");
  CHECK(cpu::selected_isa() == cpu::usable_isas().front());
  const IsaScope scope("");
  CHECK(cpu::selected_isa() == cpu::usable_isas().front());
}

TEST_CASE("an unknown SRCNN_FUSED_CPU_ALGO is an error that names the known ones, and the output stays as it was") {
  const Pixels input(Layout::kContiguous, random_image(1, 1, 8, 8));
  const Pixels output(Layout::kContiguous, 1, 1, 8, 8), untouched(Layout::kContiguous, 1, 1, 8, 8);
  ForwardProblem problem = network(1, 1).problem(1, Bicubic::kMatlab, Padding::kZeros);
  problem.input = input.const_view();
  problem.output = output.view();
  const AlgorithmScope scope("fft");
  CHECK_THROWS_WITH_AS(cpu::srcnn_forward(problem, serial(1)),
                       "SRCNN_FUSED_CPU_ALGO must be one of auto, direct, winograd, pixels, got 'fft'", std::runtime_error);
  CHECK(output.same_bits(untouched));
}

TEST_CASE("left to itself, the forward takes Winograd for images and not for stamps") {
  unsetenv("SRCNN_FUSED_CPU_ALGO");
  for (const cpu::Isa isa : cpu::usable_isas()) {
    for (const int kernel2 : kKernels2) {
      for (const int64_t channels : {1, 3}) {
        for (const char* name : {"", "auto"}) {
          const AlgorithmScope scope(name);
          INFO("9-", kernel2, "-5, ", channels, " channels, ", name_of(isa));
          CHECK(cpu::selected_algorithm(kernel2, channels, 540, 960, isa) == cpu::Algorithm::kWinograd);
          CHECK(cpu::selected_algorithm(kernel2, channels, 33, 33, isa, 16) == cpu::Algorithm::kPixels);
          if (isa != cpu::Isa::kGeneric) {
            CHECK(cpu::selected_algorithm(kernel2, channels, 4, 4, isa) == cpu::Algorithm::kDirect);
          }
        }
      }
    }
  }
}

TEST_CASE("an image that is not finite does not change its neighbours in a batch") {
  for (const int kernel2 : kKernels2) {
    reference::Image image = random_image(3, 1, 20, 30);
    ForwardProblem problem = network(kernel2, 1).problem(1, Bicubic::kMatlab, Padding::kZeros);
    for (const cpu::Isa isa : cpu::usable_isas()) {
      const IsaScope scope(isa);
      const AlgorithmScope algorithm_scope(cpu::Algorithm::kWinograd);
      const auto run = [&](const Pixels& output) {
        const Pixels input(Layout::kContiguous, image);
        problem.input = input.const_view();
        problem.output = output.view();
        cpu::srcnn_forward(problem, concurrent(3));
      };
      image.row(1, 0, 3)[4] = 0.5;
      const Pixels before(Layout::kContiguous, 3, 1, 20, 30), after(Layout::kContiguous, 3, 1, 20, 30);
      run(before);
      image.row(1, 0, 3)[4] = std::numeric_limits<double>::infinity();
      run(after);
      INFO("9-", kernel2, "-5, ", name_of(isa));
      int changed = 0;
      after.for_each([&](float& pixel, int64_t n, int64_t, int64_t y, int64_t x) {
        const float was = before.view().plane(n, 0)[y * 30 + x];
        changed += n != 1 && std::memcmp(&pixel, &was, sizeof was) != 0;
      });
      CHECK(changed == 0);
      CHECK(after.max_error(reference::srcnn(image, problem)) <= kWinogradTolerance);
    }
  }
}
