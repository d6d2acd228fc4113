// How images are cut and workspaces laid out, without running a kernel: for lanes and threads that this machine may not have.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "cpu/conv.h"
#include "cpu/engine.h"
#include "cpu/plan.h"
#include "regions.h"
#include "samples.h"

using namespace srcnn;
using namespace samples;

namespace {

// Only what plans ask of an engine; the first three are those of the real ones.
const cpu::Engine kEngines[] = {{4, 2, 2, 4, nullptr, nullptr},
                                {8, 3, 2, 4, nullptr, nullptr},
                                {16, 3, 4, 8, nullptr, nullptr},
                                {1, 1, 1, 1, nullptr, nullptr},
                                {32, 2, 3, 16, nullptr, nullptr}};

ForwardProblem make_problem(int kernel2, int64_t channels, int64_t scale, int64_t batch, int64_t height, int64_t width) {
  ForwardProblem problem;
  problem.conv2.kernel_size = kernel2;
  problem.scale = scale;
  problem.input = {nullptr, batch, channels, (height + scale - 1) / scale, (width + scale - 1) / scale, 0, 0, 0, 0};
  problem.output = {nullptr, batch, channels, height, width, 0, 0, 0, 0};
  return problem;
}

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace

TEST_CASE("every output pixel belongs to one job") {
  for (const cpu::Engine& engine : kEngines) {
    for (const int kernel2 : kKernels2) {
      for (const int64_t width : {1, 2, 3, 5, 16, 17, 63, 64, 65, 200, 271}) {
        for (const int64_t height : {1, 3, 4, 5, 31, 32, 33, 70}) {
          for (const int threads : {1, 2, 3, 7, 16, 64}) {
            for (const int64_t batch : {1, 3}) {
              const cpu::Tiling tiling = cpu::plan_tiling(make_problem(kernel2, 1, 1, batch, height, width), engine, threads);
              const bool shared_out = tiling.jobs(batch) == batch * tiling.jobs(1) &&
                                      jobs_share_out(tiling, width, height, [](const cpu::Region& region) {
                                        return region.y0 % cpu::kConv3Rows == 0;
                                      });
              if (shared_out) continue;
              INFO("9-", kernel2, "-5, ", width, "x", height, ", lanes ", engine.lanes, ", threads ", threads);
              CHECK(shared_out);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("every row and column of big images belongs to one row and column of jobs") {
  for (const cpu::Engine& engine : kEngines) {
    for (const int kernel2 : kKernels2) {
      for (const int64_t width : {960, 7680, 100'001, 2'000'000'000}) {
        for (const int64_t height : {540, 4320, 1'999'999'999}) {
          for (const int threads : {1, 2, 64}) {
            const cpu::Tiling tiling = cpu::plan_tiling(make_problem(kernel2, 1, 1, 1, height, width), engine, threads);
            INFO("9-", kernel2, "-5, ", width, "x", height, ", lanes ", engine.lanes, ", threads ", threads);
            int64_t x = 0, y = 0;
            for (int64_t strip = 0; strip < std::min<int64_t>(tiling.strips, 10'000); ++strip) {
              const cpu::Region region = tiling.region(strip);
              REQUIRE(region.x0 == x);
              REQUIRE(region.x1 > x);
              x = region.x1;
            }
            for (int64_t segment = 0; segment < std::min<int64_t>(tiling.segments, 10'000); ++segment) {
              const cpu::Region region = tiling.region(segment * tiling.strips);
              REQUIRE(region.y0 == y);
              REQUIRE(region.y1 > y);
              y = region.y1;
            }
            const cpu::Region last = tiling.region(tiling.jobs(1) - 1);
            CHECK(last.x1 == width);
            CHECK(last.y1 == height);
            CHECK(last.x1 > last.x0);
            CHECK(last.y1 > last.y0);
          }
        }
      }
    }
  }
}

TEST_CASE("hardly a thread idles while an image could be cut for it") {
  for (const cpu::Engine& engine : kEngines) {
    for (const int threads : {2, 4, 8, 64}) {
      const cpu::Tiling tiling = cpu::plan_tiling(make_problem(1, 1, 1, 1, 2160, 3840), engine, threads);
      CAPTURE(threads);
      CAPTURE(engine.lanes);
      CHECK(10 * tiling.jobs(1) >= 9 * threads);
    }
  }
}

TEST_CASE("a workspace is below 1.5 MB at any width") {
  for (const cpu::Engine& engine : kEngines) {
    for (const int kernel2 : kKernels2) {
      for (const int64_t channels : {1, 3}) {
        for (const int64_t scale : {1, 4}) {
          for (const int threads : {1, 2, 64}) {
            for (int64_t width = 1; width < 2'000'000'000; width += 1 + width / 7) {
              const ForwardProblem problem = make_problem(kernel2, channels, scale, 1, 40, width);
              const cpu::Tiling tiling = cpu::plan_tiling(problem, engine, threads);
              const int64_t bytes = 4 * cpu::plan_strip_layout(problem, engine, tiling.strip_width).size;
              if (bytes <= 1'500'000) continue;
              INFO("9-", kernel2, "-5, ", channels, " channels, x", scale, ", width ", width, ", lanes ", engine.lanes);
              CHECK(bytes <= 1'500'000);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("rings do not overlap, and a row has room for all that is written to it and read from it") {
  for (const cpu::Engine& engine : kEngines) {
    const int64_t lanes = engine.lanes;
    for (const int kernel2 : kKernels2) {
      for (const int64_t scale : {1, 3}) {
        for (int64_t width = 1; width <= 700; ++width) {
          const ForwardProblem problem = make_problem(kernel2, 3, scale, 1, 40, width);
          const cpu::StripLayout layout = cpu::plan_strip_layout(problem, engine, width);
          INFO("9-", kernel2, "-5, x", scale, ", width ", width, ", lanes ", lanes);

          int64_t end = 0;
          for (const cpu::RingLayout* ring : {&layout.source, &layout.input, &layout.hidden1, &layout.hidden2}) {
            REQUIRE(ring->offset >= end);
            REQUIRE(ring->offset % 16 == 0);
            REQUIRE(ring->stride % 16 == 0);
            end = ring->offset + ring->slots * ring->channels * ring->stride;
            REQUIRE(ring->channels * ring->stride <= layout.size - layout.zeros_offset);  // the row of zeros serves them all
          }
          REQUIRE(layout.zeros_offset >= end);

          // Each stage is made in whole vectors over its columns, from the columns of the stage before with their taps.
          const int64_t conv3_block = engine.conv3_vectors * lanes;
          const int64_t hidden2_made = round_up(width + 4, lanes), hidden1_made = round_up(width + 4 + kernel2 - 1, lanes);
          REQUIRE(layout.hidden2.stride >= round_up(width, conv3_block) + 4);
          REQUIRE(layout.hidden2.stride >= hidden2_made);
          if (kernel2 == 1) {
            REQUIRE(layout.hidden1.stride >= engine.vectors * lanes);
          } else {
            REQUIRE(layout.hidden1.stride >= hidden1_made);
            REQUIRE(layout.hidden1.stride >= hidden2_made + kernel2 - 1);
          }
          REQUIRE(layout.input.stride >= hidden1_made + 8);
          if (scale > 1) {
            const int64_t halo = 2 + kernel2 / 2 + 4, resampled = round_up(width + 2 * halo, lanes);
            REQUIRE(layout.source.stride >= resampled);
            REQUIRE(layout.input.stride >= halo + resampled);  // a row that begins in mid-image begins after its left halo
          }
        }
      }
    }
  }
}
