// The driver of bicubic_resize: tables for both axes, then segments of rows of single planes, one at a time.
#include <algorithm>
#include <atomic>

#include "engine.h"
#include "kernels.h"
#include "plan.h"
#include "resample_table.h"
#include "workspace.h"

namespace srcnn::cpu {

void bicubic_resize(const ResizeProblem& problem, const Threads& threads) {
  const Engine& engine = engine_for(selected_isa());
  const ImageView<float>& output = problem.output;
  const ResampleTable rows(problem.bicubic, problem.input.height, output.height, problem.scale_height);
  const ResampleTable columns(problem.bicubic, problem.input.width, output.width, problem.scale_width);
  const int64_t width = round_up(output.width, engine.lanes);
  // A window has no more rows than the image, however far it is stretched.
  const int slots = static_cast<int>(std::min<int64_t>(rows.taps, problem.input.height));
  const ResizePlan plan{&problem, rows.view(), columns.view(), plan_ring(slots, 1, 0, width)};

  // Segments of rows: each resamples a window of source rows its neighbour has too, so no shorter than a few windows.
  const int64_t planes = output.batch * output.channels;
  const auto window = static_cast<int64_t>(rows.taps * problem.scale_height) + 1;
  const int64_t wanted = std::max<int64_t>(1, 4 * threads.count / planes);
  const int64_t segment = std::max<int64_t>(8 * window, (output.height + wanted - 1) / wanted);
  const int64_t segments = (output.height + segment - 1) / segment;

  const int64_t jobs = planes * segments;
  const int workers = static_cast<int>(std::min<int64_t>(jobs, threads.count));
  const Workspaces workspaces(plan.source.size() + width, workers);
  std::atomic<int64_t> next{0};
  threads.run(workers, [&](int worker) {
    for (int64_t job; (job = next.fetch_add(1, std::memory_order_relaxed)) < jobs;) {
      const int64_t plane = job / segments, y0 = job % segments * segment;
      const Region region{0, output.width, y0, std::min(output.height, y0 + segment)};
      engine.resize_region(plan, plane / output.channels, plane % output.channels, region, workspaces.of(worker));
    }
  });
}

}  // namespace srcnn::cpu
