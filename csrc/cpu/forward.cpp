// The driver of the fused forward: plan, pack the weights, let each worker take strip after strip.
#include <algorithm>
#include <atomic>
#include <optional>
#include <vector>

#include "engine.h"
#include "kernels.h"
#include "plan.h"
#include "resample_table.h"
#include "workspace.h"

namespace srcnn::cpu {
namespace {

// [out][in][ky][kx] -> [out / block][in][ky][kx][block]: a step of the inner loop reads one block.
std::vector<float> pack_channel_blocks(const ConvWeights& conv, int block) {
  const size_t taps = static_cast<size_t>(conv.in_channels) * conv.kernel_size * conv.kernel_size;
  std::vector<float> packed(taps * conv.out_channels);
  for (int o = 0; o < conv.out_channels; ++o) {
    float* to = packed.data() + static_cast<size_t>(o / block) * taps * block + o % block;
    for (size_t t = 0; t < taps; ++t) to[t * block] = conv.weight[o * taps + t];
  }
  return packed;
}

// [out][in][ky][kx] -> [out][in][kx][ky]: conv3 holds a column of taps in registers.
std::vector<float> pack_columns(const ConvWeights& conv) {
  const int k = conv.kernel_size;
  std::vector<float> packed(static_cast<size_t>(conv.out_channels) * conv.in_channels * k * k);
  for (size_t plane = 0; plane < packed.size(); plane += static_cast<size_t>(k) * k) {
    for (int ky = 0; ky < k; ++ky) {
      for (int kx = 0; kx < k; ++kx) packed[plane + kx * k + ky] = conv.weight[plane + ky * k + kx];
    }
  }
  return packed;
}

}  // namespace

const Engine& engine_for(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kAvx512Engine;
  if (isa == Isa::kAvx2) return kAvx2Engine;
#endif
  return kGenericEngine;
}

void srcnn_forward(const ForwardProblem& problem, const Threads& threads) {
  const Engine& engine = engine_for(selected_isa());
  const Tiling tiling = plan_tiling(problem, engine, threads.count);

  const std::vector<float> weight1 = pack_channel_blocks(problem.conv1, engine.channel_block);
  const std::vector<float> weight2 = pack_channel_blocks(problem.conv2, engine.channel_block);
  const std::vector<float> weight3 = pack_columns(problem.conv3);
  std::optional<ResampleTable> rows, columns;
  ForwardPlan plan{&problem,
                   {weight1.data(), problem.conv1.bias},
                   {weight2.data(), problem.conv2.bias},
                   {weight3.data(), problem.conv3.bias},
                   {},
                   {},
                   plan_strip_layout(problem, engine, tiling.strip_width)};
  if (problem.scale > 1) {
    const double scale = static_cast<double>(problem.scale);
    plan.rows = rows.emplace(problem.bicubic, problem.input.height, problem.output.height, scale).view();
    plan.columns = columns.emplace(problem.bicubic, problem.input.width, problem.output.width, scale).view();
  }

  // Workers draw jobs from one counter: a core that is slower, or shared, simply takes fewer.
  const int64_t jobs = tiling.jobs(problem.output.batch);
  const int64_t jobs_per_image = tiling.jobs(1);
  const int workers = static_cast<int>(std::min<int64_t>(jobs, threads.count));
  const Workspaces workspaces(plan.layout.size, workers);
  std::atomic<int64_t> next{0};
  threads.run(workers, [&](int worker) {
    for (int64_t job; (job = next.fetch_add(1, std::memory_order_relaxed)) < jobs;) {
      engine.forward_region(plan, job / jobs_per_image, tiling.region(job % jobs_per_image), workspaces.of(worker));
    }
  });
}

}  // namespace srcnn::cpu
