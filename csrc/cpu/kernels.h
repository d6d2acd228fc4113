// What cpu/ offers to the layer above: the operations, and the thread pool they are lent.
#pragma once

#include <functional>

#include "../srcnn.h"

namespace srcnn::cpu {

struct Threads {
  int count;
  // Calls work(0), ..., work(workers - 1), at once where it can; returns when all have returned.
  std::function<void(int workers, const std::function<void(int)>& work)> run;
};

// All throw std::runtime_error (SRCNN_FUSED_CPU_ISA) or std::bad_alloc, before the output is touched.
void srcnn_forward(const ForwardProblem& problem, const Threads& threads);
// The same in bfloat16: pixels and weights are widened, everything is computed in float, the results are rounded once.
void srcnn_forward(const ForwardProblemOf<BFloat16>& problem, const Threads& threads);
// Every gradient is the same to the last bit, however many threads there are.
void srcnn_backward(const BackwardProblem& problem, const Threads& threads);
void bicubic_resize(const ResizeProblem& problem, const Threads& threads);

}  // namespace srcnn::cpu
