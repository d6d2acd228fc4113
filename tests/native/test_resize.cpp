// Bicubic resampling against the float64 reference: the three conventions, enlarging and shrinking, from and to every memory
// layout, with every instruction set and several thread counts.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "cpu/kernels.h"
#include "samples.h"

using namespace srcnn;
using namespace samples;

namespace {

ResizeProblem make_problem(const Pixels& input, const Pixels& output, const Axis& rows, const Axis& columns, Bicubic bicubic) {
  return {input.const_view(), output.view(), rows.scale, columns.scale, bicubic};
}

// Layouts and threads take turns.
void check_case(int64_t batch, int64_t channels, const Axis& rows, const Axis& columns) {
  static unsigned turn = 0;
  const reference::Image image = random_image(batch, channels, rows.in, columns.in);
  for (const Bicubic bicubic : kConventions) {
    const reference::Image expected = reference::bicubic(image, rows.out, columns.out, rows.scale, columns.scale, bicubic);
    for (const cpu::Isa isa : cpu::usable_isas()) {
      const IsaScope scope(isa);
      const Pixels input(kInputLayouts[turn % std::size(kInputLayouts)], image);
      const Pixels output(kOutputLayouts[turn % std::size(kOutputLayouts)], batch, channels, rows.out, columns.out);
      const cpu::Threads pools[] = {serial(1), concurrent(2), concurrent(7)};
      cpu::bicubic_resize(make_problem(input, output, rows, columns, bicubic), pools[turn++ % std::size(pools)]);
      INFO(rows.in, "x", columns.in, " -> ", rows.out, "x", columns.out, ", ", name_of(bicubic), ", ", name_of(isa));
      CHECK(output.max_error(expected) <= kTolerance);
      CHECK(output.gaps_untouched());
    }
  }
}

}  // namespace

TEST_CASE("lengths from one up, shorter and longer than the window, to lengths around vectors") {
  for (const int64_t in : {1, 2, 3, 5, 16, 41}) {
    for (const int64_t out : {1, 2, 3, 4, 5, 8, 15, 16, 17, 33, 41, 96}) {
      check_case(1, 1, ratio(in, out), ratio(7, 9));
      check_case(1, 1, ratio(7, 9), ratio(in, out));
    }
  }
}

TEST_CASE("integer factors, up and down") {
  for (const int64_t factor : {1, 2, 3, 4, 5}) {
    check_case(1, 3, ratio(13, 13 * factor), ratio(11, 11 * factor));
    check_case(1, 3, ratio(12 * factor, 12), ratio(9 * factor, 9));
    check_case(1, 1, ratio(5 * factor, 5), ratio(7, 7 * factor));
  }
}

TEST_CASE("batches and channels") {
  check_case(3, 2, ratio(9, 21), ratio(17, 6));
  check_case(2, 5, ratio(40, 8), ratio(6, 50));
}

TEST_CASE("huge ratios") {
  check_case(1, 1, ratio(1000, 3), ratio(4, 4));
  check_case(1, 1, ratio(5, 5), ratio(1000, 3));
  check_case(1, 1, ratio(1, 50), ratio(1, 50));
  check_case(1, 1, ratio(2, 1001), ratio(1, 3));
  check_case(1, 1, ratio(300, 1), ratio(300, 1));
  check_case(1, 1, {3, 1, 1e-3}, {5, 50, 10});  // a window of 4000 taps over three rows
}

TEST_CASE("scales other than the ratio of the lengths") {
  check_case(1, 1, {7, 15, 2.2}, {10, 6, 0.55});
  check_case(1, 1, {5, 5, 0.95}, {5, 5, 1.05});  // an axis that keeps its length, yet is resampled
  check_case(1, 1, {20, 9, 0.43}, {6, 6, 1});
  check_case(1, 1, {30, 150, 2}, {11, 60, 3});  // far beyond the image, where mirrored rows come back in reverse order
}

TEST_CASE("an axis that keeps its length is copied, bit for bit") {
  reference::Image image = random_image(1, 1, 9, 21);
  image.row(0, 0, 4)[7] = std::numeric_limits<double>::quiet_NaN();
  image.row(0, 0, 2)[20] = std::numeric_limits<double>::infinity();
  const Pixels input(Layout::kContiguous, image);
  for (const Bicubic bicubic : kConventions) {
    for (const cpu::Isa isa : cpu::usable_isas()) {
      const IsaScope scope(isa);
      const Pixels output(Layout::kContiguous, 1, 1, 9, 21);
      cpu::bicubic_resize(make_problem(input, output, {9, 9, 1}, {21, 21, 1}, bicubic), serial(1));
      CAPTURE(name_of(bicubic));
      CAPTURE(name_of(isa));
      CHECK(output.same_bits(input));
    }
  }
}

TEST_CASE("the same bits with any number of threads") {
  const auto check = [](const Axis& rows, const Axis& columns) {
    const Pixels input(Layout::kContiguous, random_image(1, 2, rows.in, columns.in));
    for (const Bicubic bicubic : kConventions) {
      for (const cpu::Isa isa : cpu::usable_isas()) {
        const IsaScope scope(isa);
        const Pixels first(Layout::kContiguous, 1, 2, rows.out, columns.out);
        cpu::bicubic_resize(make_problem(input, first, rows, columns, bicubic), serial(1));
        for (const int threads : {2, 7, 64}) {
          const Pixels other(Layout::kContiguous, 1, 2, rows.out, columns.out);
          cpu::bicubic_resize(make_problem(input, other, rows, columns, bicubic), concurrent(threads));
          INFO(rows.out, "x", columns.out, ", ", name_of(bicubic), ", ", name_of(isa), ", threads ", threads);
          CHECK(first.same_bits(other));
        }
      }
    }
  };
  check(ratio(90, 271), ratio(31, 65));
  check(ratio(900, 277), ratio(31, 20));
}

TEST_CASE("an unusable instruction set is an error, and the output stays as it was") {
  const Pixels input(Layout::kContiguous, random_image(1, 1, 8, 8));
  const Pixels output(Layout::kContiguous, 1, 1, 4, 4), untouched(Layout::kContiguous, 1, 1, 4, 4);
  const IsaScope scope("AVX512");  // names are lower case
  CHECK_THROWS_WITH_AS(cpu::bicubic_resize(make_problem(input, output, ratio(8, 4), ratio(8, 4), Bicubic::kMatlab), serial(1)),
                       doctest::Contains("SRCNN_FUSED_CPU_ISA must be one of "), std::runtime_error);
  CHECK(output.same_bits(untouched));
}
