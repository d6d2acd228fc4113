// Workers draw jobs (an image and a region of it) from one counter: a core that is slower, or shared, simply takes fewer.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "plan.h"
#include "workspace.h"

namespace srcnn::cpu {

// Calls work(image, region, workspace) for every region of the images listed.
template <class Work>
void run_jobs(const Tiling& tiling, const std::vector<int64_t>& images, int64_t workspace_size, const Threads& threads,
              const Work& work) {
  const int64_t jobs_per_image = tiling.jobs(1);
  const int64_t jobs = jobs_per_image * static_cast<int64_t>(images.size());
  const int workers = static_cast<int>(std::min<int64_t>(jobs, threads.count));
  const Workspaces workspaces(workspace_size, workers);
  std::atomic<int64_t> next{0};
  threads.run(workers, [&](int worker) {
    for (int64_t job; (job = next.fetch_add(1, std::memory_order_relaxed)) < jobs;) {
      work(images[static_cast<size_t>(job / jobs_per_image)], tiling.region(job % jobs_per_image), workspaces.of(worker));
    }
  });
}

}  // namespace srcnn::cpu
