// The driver of the fused forward: choose the algorithm, plan, pack the weights, let each worker take strip after strip.
#include <algorithm>
#include <memory>
#include <vector>

#include "algorithm.h"
#include "backward_engine.h"
#include "backward_plan.h"
#include "backward_prepare.h"
#include "engine.h"
#include "jobs.h"
#include "kernels.h"
#include "pack.h"
#include "plan.h"
#include "resample_table.h"
#include "vec_generic.h"
#include "winograd_engine.h"
#include "winograd_plan.h"
#include "workspace.h"

namespace srcnn::cpu {
namespace {

// The tables of the enlargement inside the forward; none without one.
struct Enlargement {
  std::unique_ptr<const ResampleTable> rows, columns;

  explicit Enlargement(const ForwardProblem& problem) {
    if (problem.scale == 1) return;
    const auto scale = static_cast<double>(problem.scale);
    rows = std::make_unique<ResampleTable>(problem.bicubic, problem.input.height, problem.output.height, scale);
    columns = std::make_unique<ResampleTable>(problem.bicubic, problem.input.width, problem.output.width, scale);
  }
  static ResampleTableView view(const std::unique_ptr<const ResampleTable>& table) {
    return table ? table->view() : ResampleTableView{};
  }
};

// One forward: the problem, and where the images are if they are not float (else null).
struct Forward {
  const ForwardProblem& problem;
  const BFloat16Images* sixteen;
};

void forward_direct(const Forward& forward, const Enlargement& enlargement, const std::vector<int64_t>& images, Isa isa,
                    const Threads& threads) {
  const ForwardProblem& problem = forward.problem;
  const Engine& engine = engine_for(isa);
  const Tiling tiling = plan_tiling(problem, engine, threads.count);
  const std::vector<float> weight1 = pack_channel_blocks(problem.conv1, engine.channel_block);
  const std::vector<float> weight2 = pack_channel_blocks(problem.conv2, engine.channel_block);
  const std::vector<float> weight3 = pack_columns(problem.conv3);
  const ForwardPlan plan{&problem,
                         forward.sixteen,
                         {weight1.data(), problem.conv1.bias},
                         {weight2.data(), problem.conv2.bias},
                         {weight3.data(), problem.conv3.bias},
                         Enlargement::view(enlargement.rows),
                         Enlargement::view(enlargement.columns),
                         plan_strip_layout(problem, engine, tiling.strip_width)};
  run_jobs(tiling, images, plan.layout.size, threads, [&](int64_t image, const Region& region, float* workspace) {
    engine.forward_region(plan, image, region, workspace);
  });
}

void forward_winograd(const Forward& forward, const Enlargement& enlargement, const std::vector<int64_t>& images, Isa isa,
                      const Threads& threads) {
  const ForwardProblem& problem = forward.problem;
  const WinogradEngine& engine = winograd_engine_for(isa);
  const Tiling tiling = plan_winograd_tiling(problem, engine, threads.count);
  const WinogradWeights weights(problem, engine, threads);
  const WinogradPlan plan{&problem,
                          forward.sixteen,
                          {weights.conv1.data(), problem.conv1.bias},
                          {weights.conv2.data(), problem.conv2.bias},
                          {weights.conv3.data(), problem.conv3.bias},
                          Enlargement::view(enlargement.rows),
                          Enlargement::view(enlargement.columns),
                          plan_winograd_layout(problem, engine, tiling.strip_width)};
  run_jobs(tiling, images, plan.layout.size, threads, [&](int64_t image, const Region& region, float* workspace) {
    engine.forward_region(plan, image, region, workspace);
  });
}

// Strips as wide as the backward's pieces with their halo; segments of whole tiles, enough of them for all threads.
Tiling plan_pixel_tiling(const ForwardProblem& problem, int64_t images, int threads) {
  const int64_t width = problem.output.width, height = problem.output.height;
  const int64_t widest = widest_piece(problem.conv2.kernel_size, false) - kKernel3 + 1;
  const auto ceil_div = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const int64_t strip_width = round_up(ceil_div(width, ceil_div(width, widest)), kTile);
  const int64_t strips = ceil_div(width, strip_width);
  const int64_t wanted = ceil_div(4 * threads, images * strips), most = std::max<int64_t>(1, height / 16);
  const int64_t segment_height = round_up(ceil_div(height, std::min(wanted, most)), kTile);
  return {width, height, strip_width, segment_height, strips, ceil_div(height, segment_height)};
}

void forward_pixels(const ForwardProblem& problem, const std::vector<int64_t>& images, Isa isa, const Threads& threads) {
  BackwardProblem replayed;  // of which nothing but its forward is asked for
  replayed.input = problem.input;
  replayed.conv1 = problem.conv1;
  replayed.conv2 = problem.conv2;
  replayed.conv3 = problem.conv3;
  replayed.scale = problem.scale;
  replayed.bicubic = problem.bicubic;
  replayed.padding = problem.padding;
  const BackwardEngine& engine = backward_engine_for(isa);
  const Tiling tiling = plan_pixel_tiling(problem, static_cast<int64_t>(images.size()), threads.count);
  const PreparedBackward prepared(replayed, engine, Depth::kForward,
                                  std::min(problem.output.width, tiling.strip_width + kKernel3 - 1));
  const BackwardPlan& plan = prepared.plan();
  run_jobs(tiling, images, plan.layout.size, threads, [&](int64_t image, const Region& region, float* workspace) {
    engine.forward_region(plan, image, region, problem.output, workspace);
  });
}

void run_forward(const Forward& forward, const Threads& threads) {
  const ForwardProblem& problem = forward.problem;
  const Isa isa = selected_isa();
  const ImageView<float>& output = problem.output;
  if (output.batch == 0) return;
  const Algorithm algorithm =
      selected_algorithm(problem.conv2.kernel_size, output.channels, output.height, output.width, isa, output.batch);
  std::vector<bool> fit(static_cast<size_t>(output.batch), false);
  if (algorithm == Algorithm::kWinograd) fit = fit_for_winograd(problem, forward.sixteen, threads);
  std::vector<int64_t> direct, winograd;
  for (int64_t image = 0; image < output.batch; ++image) {
    (fit[static_cast<size_t>(image)] ? winograd : direct).push_back(image);
  }
  // The pixels' rows are read by the backward's code, which knows float only.
  if (algorithm == Algorithm::kPixels && forward.sixteen == nullptr) return forward_pixels(problem, direct, isa, threads);
  const Enlargement enlargement(problem);
  if (!winograd.empty()) forward_winograd(forward, enlargement, winograd, isa, threads);
  if (!direct.empty()) forward_direct(forward, enlargement, direct, isa, threads);
}

// A convolution's weights as float; the view is of these vectors.
struct WidenedConv {
  std::vector<float> weight, bias;
  ConvWeights view;

  explicit WidenedConv(const ConvWeightsOf<BFloat16>& conv)
      : weight(static_cast<size_t>(conv.out_channels) * conv.in_channels * conv.kernel_size * conv.kernel_size),
        bias(static_cast<size_t>(conv.out_channels)),
        view{weight.data(), bias.data(), conv.out_channels, conv.in_channels, conv.kernel_size} {
    widen_row<Generic>(conv.weight, 1, static_cast<int64_t>(weight.size()), weight.data());
    widen_row<Generic>(conv.bias, 1, conv.out_channels, bias.data());
  }
};

// The shape and the strides of a view, without the data.
template <class T, class From>
ImageView<T> shape_of(const ImageView<From>& of) {
  return {nullptr, of.batch, of.channels, of.height, of.width, of.stride_n, of.stride_c, of.stride_h, of.stride_w};
}

}  // namespace

const Engine& engine_for(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kAvx512Engine;
  if (isa == Isa::kAvx2) return kAvx2Engine;
#endif
  return kGenericEngine;
}

const WinogradEngine& winograd_engine_for(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kAvx512Winograd;
  if (isa == Isa::kAvx2) return kAvx2Winograd;
#endif
  return kGenericWinograd;
}

void srcnn_forward(const ForwardProblem& problem, const Threads& threads) { run_forward({problem, nullptr}, threads); }

void srcnn_forward(const ForwardProblemOf<BFloat16>& problem, const Threads& threads) {
  const WidenedConv conv1(problem.conv1), conv2(problem.conv2), conv3(problem.conv3);
  const BFloat16Images images{problem.input, problem.output};
  ForwardProblem widened;
  widened.input = shape_of<const float>(problem.input);
  widened.output = shape_of<float>(problem.output);
  widened.conv1 = conv1.view;
  widened.conv2 = conv2.view;
  widened.conv3 = conv3.view;
  widened.scale = problem.scale;
  widened.bicubic = problem.bicubic;
  widened.padding = problem.padding;
  run_forward({widened, &images}, threads);
}

}  // namespace srcnn::cpu
