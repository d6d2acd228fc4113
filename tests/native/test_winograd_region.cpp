// Single regions of an image by the Winograd kernels, in a workspace full of NaN: nothing is used before it is written, nothing
// is written outside the region, and what is cut differently comes out the same. Plans for lanes this machine may not have.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "cpu/resample_table.h"
#include "cpu/winograd_plan.h"
#include "samples.h"
#include "workspace.h"

using namespace srcnn;
using namespace samples;

namespace {

// All that an engine needs for regions up to `strip_width` wide.
struct Plan {
  cpu::WinogradWeights weights;
  cpu::ResampleTable rows, columns;
  cpu::WinogradPlan plan;

  Plan(const ForwardProblem& problem, const cpu::WinogradEngine& engine, int64_t strip_width)
      : weights(problem, engine, serial(1)),
        rows(problem.bicubic, problem.input.height, problem.output.height, static_cast<double>(problem.scale)),
        columns(problem.bicubic, problem.input.width, problem.output.width, static_cast<double>(problem.scale)),
        plan{&problem,
             {weights.conv1.data(), problem.conv1.bias},
             {weights.conv2.data(), problem.conv2.bias},
             {weights.conv3.data(), problem.conv3.bias},
             rows.view(),
             columns.view(),
             cpu::plan_winograd_layout(problem, engine, strip_width)} {}
};

void check_regions(int kernel2, int channels, Padding padding, int64_t scale, Bicubic bicubic, int64_t height, int64_t width,
                   const std::vector<cpu::Region>& regions) {
  const reference::Image image = random_image(1, channels, height, width);
  ForwardProblem problem = network(kernel2, channels).problem(scale, bicubic, padding);
  const reference::Image expected = reference::srcnn(image, problem);
  const Pixels input(Layout::kContiguous, image);
  problem.input = input.const_view();
  int64_t widest = 0;
  for (const cpu::Region& region : regions) widest = std::max(widest, region.x1 - region.x0);
  for (const cpu::Isa isa : cpu::usable_isas()) {
    const cpu::WinogradEngine& engine = cpu::winograd_engine_for(isa);
    for (const cpu::Region& region : regions) {
      // The layout of a plan whose widest strip this is, and of one that has wider ones.
      for (const int64_t strip_width : {region.x1 - region.x0, widest}) {
        const Pixels output(Layout::kCropped, 1, channels, expected.height, expected.width);
        problem.output = output.view();
        const Plan made(problem, engine, strip_width);
        const cpu::WinogradLayout& layout = made.plan.layout;
        const Workspace workspace(layout.size, std::numeric_limits<float>::quiet_NaN());
        std::fill(workspace.data.get() + layout.zeros, workspace.data.get() + layout.size, 0.0f);
        engine.forward_region(made.plan, 0, region, workspace.data.get());

        double worst = 0;
        bool outside_untouched = true;
        output.for_each([&](float& pixel, int64_t, int64_t c, int64_t y, int64_t x) {
          if (y < region.y0 || y >= region.y1 || x < region.x0 || x >= region.x1) {
            outside_untouched = outside_untouched && is_gap(pixel);
          } else {
            const double error = std::abs(pixel - expected.row(0, c, y)[x]);
            worst = error <= worst ? worst : error;  // NaN counts
          }
        });
        INFO("9-", kernel2, "-5, ", channels, " channels, x", scale, " ", name_of(bicubic), ", ", name_of(isa), ", columns ",
             region.x0, "..", region.x1, ", rows ", region.y0, "..", region.y1, ", strip ", strip_width);
        CHECK(worst <= kWinogradTolerance);
        CHECK(outside_untouched);
        CHECK(output.gaps_untouched());
        CHECK(std::all_of(workspace.data.get() + layout.zeros, workspace.data.get() + layout.size,
                          [](float v) { return v == 0.0f; }));
      }
    }
  }
}

// Only what plans ask of an engine; the first three are those of the real ones.
const cpu::WinogradEngine kEngines[] = {
    {4, 2, 4, 3, 4, nullptr}, {8, 2, 4, 3, 4, nullptr}, {16, 4, 16, 1, 8, nullptr}, {1, 1, 1, 1, 1, nullptr}};

ForwardProblem make_problem(int kernel2, int64_t channels, int64_t scale, int64_t batch, int64_t height, int64_t width) {
  ForwardProblem problem;
  problem.conv2.kernel_size = kernel2;
  problem.scale = scale;
  problem.input = {nullptr, batch, channels, (height + scale - 1) / scale, (width + scale - 1) / scale, 0, 0, 0, 0};
  problem.output = {nullptr, batch, channels, height, width, 0, 0, 0, 0};
  return problem;
}

}  // namespace

TEST_CASE("nothing is used before it is written: regions of an image by Winograd") {
  // The whole, each border, pieces that begin at a tile and end at the image's edge or at a tile, one tile, one row of tiles.
  const std::vector<cpu::Region> regions = {{0, 61, 0, 33},  {0, 16, 0, 12},   {44, 61, 20, 33},
                                            {4, 56, 4, 32},  {20, 36, 12, 24}, {28, 32, 8, 20},
                                            {60, 61, 0, 33}, {0, 4, 28, 33},   {0, 60, 32, 33}};
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) check_regions(kernel2, 1, padding, 1, Bicubic::kMatlab, 33, 61, regions);
  }
  check_regions(3, 3, Padding::kZeros, 1, Bicubic::kMatlab, 33, 61, regions);
}

TEST_CASE("nothing is used before it is written: regions of an enlarged image by Winograd") {
  const std::vector<cpu::Region> regions = {{0, 60, 0, 33}, {0, 16, 0, 12}, {44, 60, 20, 33}, {4, 56, 4, 32}, {32, 36, 8, 20}};
  for (const Bicubic bicubic : kConventions) {
    for (const Padding padding : kPaddings) check_regions(1, 1, padding, 3, bicubic, 11, 20, regions);
  }
  check_regions(1, 3, Padding::kReplicate, 3, Bicubic::kMatlab, 11, 20, regions);
  check_regions(5, 1, Padding::kReplicate, 3, Bicubic::kTorch, 11, 20, regions);
}

TEST_CASE("nothing is used before it is written: strips of every width by Winograd") {
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) {
      std::vector<cpu::Region> regions;
      for (int64_t x0 = 0; x0 < 140; x0 += 4) regions.push_back({x0, 140 - x0 % 3, 0, 3});
      // The image ends at the last column of the region, whatever its remainder.
      for (const cpu::Region& region : regions) {
        if (region.x1 == 140) check_regions(kernel2, 1, padding, 1, Bicubic::kMatlab, 3, 140, {region});
      }
      for (int64_t width = 1; width <= 70; width += 1 + width / 20) {
        check_regions(kernel2, 1, padding, 1, Bicubic::kMatlab, 3, width, {{0, width, 0, 3}});
      }
    }
  }
}

TEST_CASE("Winograd: every output pixel belongs to one job, and jobs begin at tiles") {
  for (const cpu::WinogradEngine& engine : kEngines) {
    for (const int kernel2 : kKernels2) {
      for (const int64_t width : {1, 2, 3, 5, 16, 17, 63, 64, 65, 200, 271}) {
        for (const int64_t height : {1, 3, 4, 5, 31, 32, 33, 70}) {
          for (const int threads : {1, 2, 7, 64}) {
            const ForwardProblem problem = make_problem(kernel2, 1, 1, 3, height, width);
            const cpu::Tiling tiling = cpu::plan_winograd_tiling(problem, engine, threads);
            std::vector<int> owners(static_cast<size_t>(width * height));
            bool valid = true;
            for (int64_t job = 0; job < tiling.jobs(1); ++job) {
              const cpu::Region region = tiling.region(job);
              valid = valid && region.x0 < region.x1 && region.x1 - region.x0 <= tiling.strip_width && region.y0 < region.y1 &&
                      region.x0 % cpu::kTile == 0 && region.y0 % cpu::kTile == 0;
              for (int64_t y = region.y0; y < region.y1; ++y) {
                for (int64_t x = region.x0; x < region.x1; ++x) ++owners.at(static_cast<size_t>(y * width + x));
              }
            }
            const bool once = std::all_of(owners.begin(), owners.end(), [](int n) { return n == 1; });
            if (valid && once) continue;
            INFO("9-", kernel2, "-5, ", width, "x", height, ", lanes ", engine.lanes, ", threads ", threads);
            CHECK(valid);
            CHECK(once);
          }
        }
      }
    }
  }
}

TEST_CASE("Winograd: a workspace is below 3 MB at any width") {
  for (const cpu::WinogradEngine& engine : kEngines) {
    for (const int kernel2 : kKernels2) {
      for (const int64_t channels : {1, 3}) {
        for (const int threads : {1, 2, 64}) {
          for (int64_t width = 1; width < 2'000'000'000; width += 1 + width / 7) {
            const ForwardProblem problem = make_problem(kernel2, channels, 4, 1, 40, width);
            const cpu::Tiling tiling = cpu::plan_winograd_tiling(problem, engine, threads);
            const int64_t bytes = 4 * cpu::plan_winograd_layout(problem, engine, tiling.strip_width).size;
            if (bytes <= 3'000'000) continue;
            INFO("9-", kernel2, "-5, ", channels, " channels, width ", width, ", lanes ", engine.lanes);
            CHECK(bytes <= 3'000'000);
          }
        }
      }
    }
  }
}
