// What the backward's kernels read besides the images, in the order they read it, and their sums in the order of the weights.
#pragma once

#include <optional>
#include <vector>

#include "backward_engine.h"
#include "backward_plan.h"
#include "resample_table.h"

namespace srcnn::cpu {

// A plan with the weights and tables it points to. The problem has to outlive it.
class PreparedBackward {
 public:
  PreparedBackward(const BackwardProblem& problem, const BackwardEngine& engine, const BackwardTiling& tiling);
  // For pieces of up to so many columns.
  PreparedBackward(const BackwardProblem& problem, const BackwardEngine& engine, Depth depth, int64_t piece_columns);
  PreparedBackward(const PreparedBackward&) = delete;

  const BackwardPlan& plan() const { return plan_; }

 private:
  std::vector<float> weight1_, weight1_points_, weight2_, weight2_turned_, weight3_, weight3_turned_, weight1_spread_;
  std::vector<float> weight2_points_, weight2_turned_points_;  // of a 3x3 or 5x5 conv2
  std::optional<ResampleTable> rows_, columns_;                // enlargement only
  BackwardPlan plan_{};
};

// From complete sums to the gradients that are wanted.
void write_gradients(const BackwardProblem& problem, const PartialLayout& layout, const float* sums);

}  // namespace srcnn::cpu
