// Tiles of the backward straight through an engine, in conditions of the test's making: a workspace that is NaN everywhere but
// in its row of zeros (a NaN in a gradient then means that something was used that had not been written), and tiles that no
// plan would cut.
#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/backward_plan.h"
#include "cpu/backward_prepare.h"
#include "samples_backward.h"

using namespace srcnn;
using namespace samples;

namespace {

struct Workspace {
  Workspace(const cpu::BackwardLayout& layout)
      : data(static_cast<float*>(std::aligned_alloc(64, static_cast<size_t>(layout.size) * sizeof(float)))) {
    std::fill(data.get(), data.get() + layout.zeros_offset, std::numeric_limits<float>::quiet_NaN());
    std::fill(data.get() + layout.zeros_offset, data.get() + layout.size, 0.0f);
  }
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data;
};

// Every tile of the tiling in a fresh workspace; the gradients must be those of the whole.
void check_tiles(const BackwardSample& sample, Wanted wanted, const cpu::BackwardTiling& tiling) {
  const Pixels input(Layout::kContiguous, sample.image), grad_output(Layout::kContiguous, sample.grad_output);
  for (const cpu::Isa isa : cpu::usable_isas()) {
    const cpu::BackwardEngine& engine = cpu::backward_engine_for(isa);
    GradientMemory memory(sample, wanted);
    const BackwardProblem problem = memory.problem(sample, input, grad_output);
    const cpu::PreparedBackward prepared(problem, engine, tiling);
    const cpu::BackwardPlan& plan = prepared.plan();
    const cpu::BackwardLayout& layout = plan.layout;
    std::vector<float> partial(static_cast<size_t>(plan.partial.size), 0.0f);
    for (int64_t tile = 0; tile < tiling.tiles; ++tile) {
      const Workspace workspace(layout);
      engine.run_tile(plan, tiling.image(tile), tiling.tile(tile), workspace.data.get(), partial.data());
      CHECK(std::all_of(workspace.data.get() + layout.zeros_offset, workspace.data.get() + layout.size,
                        [](float v) { return v == 0.0f; }));
    }
    cpu::write_gradients(problem, plan.partial, partial.data());
    INFO("9-", sample.net.conv2.kernel_size, "-5, x", sample.problem.scale, ", wanted ", wanted, ", tiles of ",
         tiling.segment_height, "x", tiling.strip_width, ", ", name_of(isa));
    CHECK(memory.worst_error(sample) <= kTolerance);
    CHECK(memory.gaps_untouched());
  }
}

cpu::BackwardTiling cut(const BackwardSample& sample, bool input_wanted, int64_t segment_height, int64_t strip_width) {
  const int64_t scale = sample.problem.scale;
  cpu::BackwardTiling tiling{};
  tiling.input_wanted = input_wanted;
  tiling.scale = scale;
  tiling.out_height = scale * sample.image.height;
  tiling.out_width = scale * sample.image.width;
  tiling.height = input_wanted ? sample.image.height : tiling.out_height;
  tiling.width = input_wanted ? sample.image.width : tiling.out_width;
  tiling.segment_height = segment_height;
  tiling.strip_width = strip_width;
  tiling.segments = (tiling.height + segment_height - 1) / segment_height;
  tiling.strips = (tiling.width + strip_width - 1) / strip_width;
  tiling.tiles = sample.image.batch * tiling.segments * tiling.strips;
  tiling.groups = 1;
  return tiling;
}

}  // namespace

TEST_CASE("nothing is used before it is written: tiles of every kind") {
  struct Tile {
    int64_t height, width;
  };
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) {
      const BackwardSample plain(kernel2, 1, padding, 1, Bicubic::kMatlab, 2, 13, 15);
      for (const Tile& tile : {Tile{13, 15}, {5, 4}, {1, 15}, {13, 1}, {3, 14}, {12, 7}}) {
        check_tiles(plain, kWeights, cut(plain, false, tile.height, tile.width));
        check_tiles(plain, kEverything, cut(plain, true, tile.height, tile.width));
      }
      const BackwardSample enlarged(kernel2, 3, padding, 2, kConventions[kernel2 / 2], 1, 7, 9);
      for (const Tile& tile : {Tile{7, 9}, {2, 3}, {1, 8}}) {
        check_tiles(enlarged, kWeights, cut(enlarged, false, tile.height, tile.width));
        check_tiles(enlarged, kEverything, cut(enlarged, true, tile.height, tile.width));
      }
    }
  }
}

TEST_CASE("nothing is used before it is written: whatever is wanted") {
  for (const int kernel2 : kKernels2) {
    const BackwardSample sample(kernel2, 1, Padding::kReplicate, 2, Bicubic::kMatlab, 1, 6, 5);
    for (const Wanted wanted : {Wanted{1}, Wanted{2}, Wanted{4}, Wanted{8}, Wanted{16}, Wanted{32}, Wanted{64}}) {
      const bool input_wanted = wanted == 1;
      check_tiles(sample, wanted, cut(sample, input_wanted, 4, 4));
    }
  }
}

TEST_CASE("tiles cover every pixel once, and what reaches the input") {
  const Network& net = network(5, 1);
  for (const bool input_wanted : {false, true}) {
    for (const int64_t scale : {1, 2, 3, 8}) {
      for (const int64_t side : {1, 7, 90, 401}) {
        BackwardProblem problem;
        problem.conv2 = net.conv2;
        problem.scale = scale;
        problem.input = {nullptr, 2, 1, side, side, 0, 0, 0, 0};
        float pixel = 0;
        if (input_wanted) problem.grad_input.data = &pixel;
        const cpu::BackwardTiling tiling = cpu::plan_backward_tiling(problem);
        CHECK(tiling.groups <= cpu::kMostGroups);
        CHECK(tiling.first_tile(tiling.groups) == tiling.tiles);
        std::vector<int> covered(static_cast<size_t>(2 * scale * scale * side * side));
        for (int64_t t = 0; t < tiling.tiles; ++t) {
          const cpu::BackwardTile tile = tiling.tile(t);
          for (int64_t y = tile.owned.y0; y < tile.owned.y1; ++y) {
            for (int64_t x = tile.owned.x0; x < tile.owned.x1; ++x) {
              ++covered[static_cast<size_t>(((tiling.image(t) * scale * side) + y) * scale * side + x)];
            }
          }
          if (!input_wanted || scale == 1) continue;
          for (const Bicubic bicubic : kConventions) {
            for (int64_t x = 0; x < scale * side; ++x) {
              if (x >= tile.spread.x0 && x < tile.spread.x1) continue;
              for (const reference::Tap& tap : reference::window(bicubic, side, scale * side, static_cast<double>(scale), x)) {
                const bool reaches = tap.source >= tile.input.x0 && tap.source < tile.input.x1 && tap.weight != 0;
                if (reaches) FAIL("column ", x, " of x", scale, " ", name_of(bicubic), " reaches a tile it is not spread to");
              }
            }
          }
        }
        CAPTURE(scale);
        CAPTURE(side);
        CHECK(std::all_of(covered.begin(), covered.end(), [](int n) { return n == 1; }));
      }
    }
  }
}
