// How an image is cut for the Winograd kernels, how a strip lies in a workspace, and the weights as the kernels read them. Host
// arithmetic only.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.h"
#include "plan.h"
#include "winograd_engine.h"

namespace srcnn::cpu {

// As plan_tiling; strips and segments begin at multiples of a tile.
Tiling plan_winograd_tiling(const ForwardProblem& problem, const WinogradEngine& engine, int threads);

WinogradLayout plan_winograd_layout(const ForwardProblem& problem, const WinogradEngine& engine, int64_t strip_width);

// Transformed and packed: conv1 as [out / block][horizontal point][vertical point / P][vertical group, horizontal group,
// in][vertical point % P][block] with P the engine's conv1_points, conv2 as [vertical point][horizontal point][out /
// block][in][block] or, of 1x1, [out / block][in][block], conv3 as
// [out][point][in][kx].
struct WinogradWeights {
  WinogradWeights(const ForwardProblem& problem, const WinogradEngine& engine, const Threads& threads);
  std::vector<float> conv1, conv2, conv3;
};

}  // namespace srcnn::cpu
