// Single regions of an image by the Winograd kernels, in a workspace full of NaN: nothing is used before it is written, nothing
// is written outside the region, and what is cut differently comes out the same. Plans for lanes this machine may not have.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "cpu/resample_table.h"
#include "cpu/vec_generic.h"
#include "cpu/winograd_plan.h"
#include "cpu/winograd_strip.h"
#include "regions.h"
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
             nullptr,
             {weights.conv1.data(), problem.conv1.bias},
             {weights.conv2.data(), problem.conv2.bias},
             {weights.conv3.data(), problem.conv3.bias},
             rows.view(),
             columns.view(),
             cpu::plan_winograd_layout(problem, engine, strip_width)} {}

  static const cpu::WinogradEngine& engine_for(cpu::Isa isa) { return cpu::winograd_engine_for(isa); }
  int64_t first_zero() const { return plan.layout.zeros; }
  static constexpr double kAllowed = kWinogradTolerance;
};

// AVX-512's blocks on any machine.
const cpu::WinogradEngine kSixteen = cpu::make_winograd_engine<cpu::ExtensionVector<16>>();

// Of any machine, of 8 lanes, of 16, and of one that there is not; plans ask nothing else of an engine.
const cpu::WinogradEngine kEngines[] = {
    cpu::kGenericWinograd, {8, 4, 1, 2, 4, 3, 2, 2, nullptr}, kSixteen, {1, 1, 1, 1, 1, 1, 1, 1, nullptr}};

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
    for (const Padding padding : kPaddings) check_regions<Plan>(kernel2, 1, padding, 1, Bicubic::kMatlab, 33, 61, regions);
  }
  check_regions<Plan>(3, 3, Padding::kZeros, 1, Bicubic::kMatlab, 33, 61, regions);
}

TEST_CASE("nothing is used before it is written: regions of an enlarged image by Winograd") {
  const std::vector<cpu::Region> regions = {{0, 60, 0, 33}, {0, 16, 0, 12}, {44, 60, 20, 33}, {4, 56, 4, 32}, {32, 36, 8, 20}};
  for (const Bicubic bicubic : kConventions) {
    for (const Padding padding : kPaddings) check_regions<Plan>(1, 1, padding, 3, bicubic, 11, 20, regions);
  }
  check_regions<Plan>(1, 3, Padding::kReplicate, 3, Bicubic::kMatlab, 11, 20, regions);
  check_regions<Plan>(5, 1, Padding::kReplicate, 3, Bicubic::kTorch, 11, 20, regions);
}

TEST_CASE("nothing is used before it is written: regions by Winograd's blocks for 32 registers") {
  const std::vector<cpu::Region> regions = {{0, 140, 0, 13}, {0, 64, 0, 4}, {60, 140, 4, 13}, {136, 140, 8, 12}};
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) {
      for (const int channels : {1, 3}) {
        check_regions_of<Plan>(kSixteen, "16 lanes", kernel2, channels, padding, 1, Bicubic::kMatlab, 13, 140, regions);
      }
    }
  }
  check_regions_of<Plan>(kSixteen, "16 lanes", 1, 1, Padding::kZeros, 2, Bicubic::kMatlab, 7, 70, {{0, 140, 0, 14}});
  check_regions_of<Plan>(kSixteen, "16 lanes", 5, 3, Padding::kReplicate, 3, Bicubic::kPil, 5, 47, {{0, 141, 0, 15}});
}

TEST_CASE("nothing is used before it is written: images of every remainder of four rows by Winograd") {
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) {
      for (int64_t height = 1; height <= 8; ++height) {
        check_regions<Plan>(kernel2, 1, padding, 1, Bicubic::kMatlab, height, 21, {{0, 21, 0, height}});
        if (height > 4) check_regions<Plan>(kernel2, 1, padding, 1, Bicubic::kMatlab, height, 21, {{0, 21, 4, height}});
      }
    }
  }
}

TEST_CASE("nothing is used before it is written: strips of every width by Winograd") {
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) {
      std::vector<cpu::Region> regions;
      for (int64_t x0 = 0; x0 < 140; x0 += 4) regions.push_back({x0, 140 - x0 % 3, 0, 3});
      // The image ends at the last column of the region, whatever its remainder.
      for (const cpu::Region& region : regions) {
        if (region.x1 == 140) check_regions<Plan>(kernel2, 1, padding, 1, Bicubic::kMatlab, 3, 140, {region});
      }
      for (int64_t width = 1; width <= 70; width += 1 + width / 20) {
        check_regions<Plan>(kernel2, 1, padding, 1, Bicubic::kMatlab, 3, width, {{0, width, 0, 3}});
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
            const bool shared_out = jobs_share_out(tiling, width, height, [](const cpu::Region& region) {
              return region.x0 % cpu::kTile == 0 && region.y0 % cpu::kTile == 0;
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
