// The driver of the fused backward: plan, pack the weights (backward_prepare.cpp), let each worker take group after group of
// tiles, add up the groups' partial sums in a fixed tree.
#include <algorithm>
#include <atomic>

#include "backward_engine.h"
#include "backward_plan.h"
#include "backward_prepare.h"
#include "kernels.h"
#include "workspace.h"

namespace srcnn::cpu {
namespace {

// Partial sum 0 becomes the sum of all: neighbours first, then neighbouring pairs, and so on.
void add_partials(const Workspaces& partials, int64_t count, int64_t begin, int64_t end) {
  for (int64_t step = 1; step < count; step *= 2) {
    for (int64_t i = 0; i + step < count; i += 2 * step) {
      float* const to = partials.of(static_cast<int>(i));
      const float* const from = partials.of(static_cast<int>(i + step));
      for (int64_t j = begin; j < end; ++j) to[j] += from[j];
    }
  }
}

}  // namespace

const BackwardEngine& backward_engine_for(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kAvx512BackwardEngine;
  if (isa == Isa::kAvx2) return kAvx2BackwardEngine;
#endif
  return kGenericBackwardEngine;
}

void srcnn_backward(const BackwardProblem& problem, const Threads& threads) {
  const BackwardEngine& engine = backward_engine_for(selected_isa());
  const BackwardTiling tiling = plan_backward_tiling(problem);
  const PreparedBackward prepared(problem, engine, tiling);
  const BackwardPlan& plan = prepared.plan();

  // Every group has a partial sum of its own, which one worker adds to in the order of the tiles, whoever it is.
  const int groups = static_cast<int>(std::max<int64_t>(1, tiling.groups));  // an empty batch leaves one, of zeros
  const int workers = std::min(groups, threads.count);
  const Workspaces partials(std::max<int64_t>(1, plan.partial.size), groups);
  const Workspaces workspaces(plan.layout.size, workers);
  std::atomic<int64_t> next{0};
  threads.run(workers, [&](int worker) {
    for (int64_t group; (group = next.fetch_add(1, std::memory_order_relaxed)) < tiling.groups;) {
      for (int64_t tile = tiling.first_tile(group); tile < tiling.first_tile(group + 1); ++tile) {
        engine.run_tile(plan, tiling.image(tile), tiling.tile(tile), workspaces.of(worker),
                        partials.of(static_cast<int>(group)));
      }
    }
  });
  threads.run(workers, [&](int worker) {
    add_partials(partials, groups, plan.partial.size * worker / workers, plan.partial.size * (worker + 1) / workers);
  });
  write_gradients(problem, plan.partial, partials.of(0));
}

}  // namespace srcnn::cpu
