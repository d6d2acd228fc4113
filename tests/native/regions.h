// Checks of an engine's regions and of a plan's jobs, for the direct kernels and those by Winograd.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "cpu/plan.h"
#include "samples.h"
#include "workspace.h"

namespace samples {

using srcnn::ForwardProblem;
namespace cpu = srcnn::cpu;

// Each region by itself, in a workspace that is NaN everywhere but in its zeros, against the float64 reference. Plan: all that
// an engine needs for regions of some width, made from (problem, engine, strip width).
template <class Plan, class Engine>
void check_regions_of(const Engine& engine, const std::string& name, int kernel2, int channels, Padding padding, int64_t scale,
                      Bicubic bicubic, int64_t height, int64_t width, const std::vector<cpu::Region>& regions) {
  const reference::Image image = random_image(1, channels, height, width);
  ForwardProblem problem = network(kernel2, channels).problem(scale, bicubic, padding);
  const reference::Image expected = reference::srcnn(image, problem);
  const Pixels input(Layout::kContiguous, image);
  problem.input = input.const_view();
  int64_t widest = 0;
  for (const cpu::Region& region : regions) widest = std::max(widest, region.x1 - region.x0);
  for (const cpu::Region& region : regions) {
    // The layout of a plan whose widest strip this is, and of one that has wider ones.
    for (const int64_t strip_width : {region.x1 - region.x0, widest}) {
      const Pixels output(Layout::kCropped, 1, channels, expected.height, expected.width);
      problem.output = output.view();
      const Plan made(problem, engine, strip_width);
      const int64_t size = made.plan.layout.size;
      const Workspace workspace(size, std::numeric_limits<float>::quiet_NaN());
      std::fill(workspace.data.get() + made.first_zero(), workspace.data.get() + size, 0.0f);
      engine.forward_region(made.plan, 0, region, workspace.data.get());

      double worst = 0;
      bool outside_untouched = true;
      output.for_each([&](float& pixel, int64_t, int64_t c, int64_t y, int64_t x) {
        if (y < region.y0 || y >= region.y1 || x < region.x0 || x >= region.x1) {
          outside_untouched = outside_untouched && is_gap(pixel);
        } else {
          const double error = std::abs(pixel - expected.row(0, c, y)[x]);
          if (!std::isnan(worst) && !(error <= worst)) worst = error;  // NaN counts, and stays
        }
      });
      INFO("9-", kernel2, "-5, ", channels, " channels, x", scale, " ", name_of(bicubic), ", ", name, ", columns ", region.x0,
           "..", region.x1, ", rows ", region.y0, "..", region.y1, ", strip ", strip_width);
      CHECK(worst <= Plan::kAllowed);
      CHECK(outside_untouched);
      CHECK(output.gaps_untouched());
      CHECK(std::all_of(workspace.data.get() + made.first_zero(), workspace.data.get() + size,
                        [](float v) { return v == 0.0f; }));
    }
  }
}

// The same by the engine of every instruction set that is here.
template <class Plan>
void check_regions(int kernel2, int channels, Padding padding, int64_t scale, Bicubic bicubic, int64_t height, int64_t width,
                   const std::vector<cpu::Region>& regions) {
  for (const cpu::Isa isa : cpu::usable_isas()) {
    check_regions_of<Plan>(Plan::engine_for(isa), name_of(isa), kernel2, channels, padding, scale, bicubic, height, width,
                           regions);
  }
}

// Whether every pixel belongs to one job, and `right` says so of every job's region.
template <class Right>
bool jobs_share_out(const cpu::Tiling& tiling, int64_t width, int64_t height, const Right& right) {
  std::vector<int> owners(static_cast<size_t>(width * height));
  for (int64_t job = 0; job < tiling.jobs(1); ++job) {
    const cpu::Region region = tiling.region(job);
    if (region.x0 >= region.x1 || region.x1 - region.x0 > tiling.strip_width || region.y0 >= region.y1) return false;
    if (!right(region)) return false;
    for (int64_t y = region.y0; y < region.y1; ++y) {
      for (int64_t x = region.x0; x < region.x1; ++x) ++owners.at(static_cast<size_t>(y * width + x));
    }
  }
  return std::all_of(owners.begin(), owners.end(), [](int n) { return n == 1; });
}

}  // namespace samples
