// The host side of the fused backward, and the small kernels around it:
//
//   pack      weights -> the order in which the fused kernel reads them; the FMA kernel's as floats, here
//   fused     (backward_fma.cu, or for 16 bits on tensor cores backward_mma.cuh) the gradient of the (enlarged) input, and each
//             block's sums for those of weights and biases
//   sum       the blocks' sums -> gradients, block after block: no atomics, the same bits every time
//   adjoint   (bicubic_adjoint.cu) where the input is enlarged: its gradient from that of the enlarged one, columns, then rows
#include <cstdlib>
#include <string>
#include <type_traits>
#include <utility>

#include "backward.h"
#include "backward_choose.h"
#include "backward_launch.cuh"
#include "kernels.h"
#include "platform.cuh"
#include "storage.cuh"

namespace srcnn::cuda {
namespace {

// ------------------------------------------------------------------------------------------------------ pack

constexpr int kPackThreads = 256;

template <class T>
struct PackParams {
  ConvWeightsOf<T> conv1, conv2, conv3;
  BackwardWeights at;
  float* weights;
};

// Element i of the packed weights; the gaps that make whole float4s get what was there, nothing.
template <class T>
__device__ float packed_weight(const PackParams<T>& p, int i) {
  const int c = p.conv1.in_channels, taps2 = p.conv2.kernel_size * p.conv2.kernel_size;
  if (i < p.at.weight2) {
    const int o = i % kWidth1, tap = i / kWidth1;  // tap: of all channels
    return to_float(p.conv1.weight[o * c * kKernel1 * kKernel1 + tap]);
  }
  if (i < p.at.transposed2) {
    i -= p.at.weight2;
    const int o = i % kWidth2, tap = i / kWidth2;
    return to_float(p.conv2.weight[o * kWidth1 * taps2 + tap]);
  }
  if (i < p.at.transposed3) {
    i -= p.at.transposed2;
    const int in = i % kWidth1, place = i / kWidth1, o = place / taps2, tap = place - o * taps2;
    return to_float(p.conv2.weight[(o * kWidth1 + in) * taps2 + taps2 - 1 - tap]);
  }
  if (i < p.at.bias) {
    i -= p.at.transposed3;
    const int in = i % kWidth2, place = i / kWidth2, o = place / kTaps3, tap = place - o * kTaps3;
    return to_float(p.conv3.weight[(o * kWidth2 + in) * kTaps3 + kTaps3 - 1 - tap]);
  }
  i -= p.at.bias;
  return to_float(i < kWidth1 ? p.conv1.bias[i] : p.conv2.bias[i - kWidth1]);
}

template <class T>
__global__ void __launch_bounds__(kPackThreads) srcnn_backward_pack_kernel(const PackParams<T> p) {
  const int i = static_cast<int>(blockIdx.x) * kPackThreads + static_cast<int>(threadIdx.x);
  if (i < p.at.size) p.weights[i] = packed_weight(p, i);
}

// ------------------------------------------------------------------------------------------------------ sum

constexpr int kSumLanes = 32, kSumParts = 8;  // a block: so many neighbouring elements x so many shares of the blocks

template <class T>
struct SumParams {
  const float* partials;
  BackwardPartials at;
  int blocks, channels, kernel2;
  ConvGradientsOf<T> grad1, grad2, grad3;
};

// An element of a gradient: where in a block's sums, how many of them, and where to. `to` is null where it is not wanted.
template <class T>
struct Gradient {
  int from, splits, pitch;
  T* to;
};

template <class T>
__device__ Gradient<T> element_of(const SumParams<T>& p, int i) {
  const int c = p.channels, taps1 = c * kKernel1 * kKernel1, taps2 = p.kernel2 * p.kernel2;
  const BackwardPartials& from = p.at;
  const auto at = [](T* gradient, int index) { return gradient == nullptr ? nullptr : gradient + index; };
  if (i < taps1 * kWidth1) {
    const int o = i % kWidth1, tap = i / kWidth1;
    const int place = from.tiles ? tile_sum_at(o, tap, tap_tiles1(c)) : i;
    return {from.weight1 + place, from.splits1, from.tiles ? sum1_floats(c) : taps1 * kWidth1,
            at(p.grad1.weight, o * taps1 + tap)};
  }
  i -= taps1 * kWidth1;
  if (i < taps2 * kWidth1 * kWidth2) {
    const int in = i % kWidth1, o = i / kWidth1 % kWidth2, tap = i / (kWidth1 * kWidth2);
    const int place = from.tiles ? tap * (16 * kTileSum) + tile_sum_at(o, in, kWidth1 / 8) : i;
    return {from.weight2 + place, from.splits2, taps2 * kWidth1 * kWidth2,
            at(p.grad2.weight, (o * kWidth1 + in) * taps2 + tap)};
  }
  i -= taps2 * kWidth1 * kWidth2;
  if (i < c * kTaps3 * kWidth2) {
    const int in = i % kWidth2, all = i / kWidth2, o = all / kTaps3, tap = all - o * kTaps3;
    const int place = from.tiles ? tile_sum_at(o * kPatchTaps + tap, in, kWidth2 / 8) : i;
    return {from.weight3 + place, from.splits3, from.tiles ? sum3_floats(c) : c * kTaps3 * kWidth2,
            at(p.grad3.weight, (o * kWidth2 + in) * kTaps3 + tap)};
  }
  i -= c * kTaps3 * kWidth2;
  if (i < kWidth1) return {from.bias1 + (from.tiles ? tile_sum_at(i, 0, 1) : i), 1, 0, at(p.grad1.bias, i)};
  i -= kWidth1;
  if (i < kWidth2) {
    const int splits = from.tiles ? from.splits2 : 1;
    return {from.bias2 + (from.tiles ? tile_sum_at(i, 0, 1) : i), splits, kBias2Floats, at(p.grad2.bias, i)};
  }
  i -= kWidth2;
  return {from.bias3 + i, from.bias3_splits, c, i < c ? at(p.grad3.bias, i) : nullptr};
}

int sum_elements(int channels, int kernel2) {
  return channels * kKernel1 * kKernel1 * kWidth1 + kernel2 * kernel2 * kWidth1 * kWidth2 + channels * kTaps3 * kWidth2 +
         kWidth1 + kWidth2 + channels;
}

template <class T>
__global__ void __launch_bounds__(kSumLanes* kSumParts) srcnn_backward_sum_kernel(const SumParams<T> p) {
  SRCNN_DYNAMIC_SHARED(float, sums);  // [kSumParts][kSumLanes]
  const int lane = threadIdx.x % kSumLanes, part = threadIdx.x / kSumLanes;
  const Gradient<T> element = element_of(p, static_cast<int>(blockIdx.x) * kSumLanes + lane);
  float sum = 0.0f;
  if (element.to != nullptr) {
    for (int block = part; block < p.blocks; block += kSumParts) {
      const float* from = p.partials + static_cast<int64_t>(block) * p.at.size + element.from;
      for (int split = 0; split < element.splits; ++split) sum += from[split * element.pitch];
    }
  }
  sums[part * kSumLanes + lane] = sum;
  __syncthreads();
  if (part > 0 || element.to == nullptr) return;
  for (int other = 1; other < kSumParts; ++other) sum += sums[other * kSumLanes + lane];
  from_float(sum, *element.to);
}

// ------------------------------------------------------------------------------------------------------ the host's part

struct Plan {
  BackwardPlan choice;
  BackwardWorkspace workspace;
};

// What a plan depends on.
struct PlanKey {
  BackwardShape shape;
  Element element;
  std::string forced;
  int device;
  bool operator==(const PlanKey&) const = default;
};

// Choosing takes as long as a small image; most calls are like the one before.
const Plan& plan_of(const BackwardShape& shape, Element element) {
  thread_local PlanKey last{};
  thread_local Plan plan;
  const char* forced = std::getenv("SRCNN_FUSED_CUDA_KERNEL");
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  PlanKey key{shape, element, forced != nullptr && *forced != '\0' ? forced : "auto", device};
  if (!(key == last)) {
    plan.choice = choose_backward(shape, element, key.forced, current_device_limits());
    plan.workspace = lay_out_workspace(shape, plan.choice.kernel, plan.choice.tiling.blocks);
    last = std::move(key);
  }
  return plan;
}

template <class To, class From>
ImageView<To> untyped(const ImageView<From>& view) {
  return {view.data,     view.batch,    view.channels, view.height,  view.width,
          view.stride_n, view.stride_c, view.stride_h, view.stride_w};
}

// Contiguous floats.
ImageView<float> floats(float* data, int64_t n, int64_t c, int64_t h, int64_t w) {
  return {data, n, c, h, w, c * h * w, h * w, w, 1};
}

}  // namespace

template <class T>
size_t srcnn_backward_workspace(const BackwardProblemOf<T>& problem) {
  return static_cast<size_t>(plan_of(shape_of(problem), kElementOf<T>).workspace.size) * sizeof(float);
}

template <class T>
void srcnn_backward(const BackwardProblemOf<T>& problem, void* workspace, void* stream) {
  const BackwardShape shape = shape_of(problem);
  const Plan& plan = plan_of(shape, kElementOf<T>);
  const BackwardWorkspace& at = plan.workspace;
  const ForwardTiling& tiling = plan.choice.tiling;
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  auto* const memory = static_cast<float*>(workspace);
  const int64_t n = shape.batch, c = shape.channels, height = problem.input.height;
  const bool through_bicubic = shape.wanted.input && shape.scale > 1;

  if (tiling.blocks > 0) {
    const ImageView<float> enlarged = floats(memory + at.enlarged_at, n, c, shape.height, shape.width);
    const ImageView<void> grad_input = through_bicubic ? untyped<void>(enlarged) : untyped<void>(problem.grad_input);
    if (plan.choice.kernel == BackwardKernel::kFma) {
      const PackParams<T> pack{problem.conv1, problem.conv2, problem.conv3, at.weights, memory};
      SRCNN_LAUNCH(srcnn_backward_pack_kernel<T>, (at.weights.size + kPackThreads - 1) / kPackThreads, kPackThreads, 0,
                   cuda_stream, pack);
      check(cudaGetLastError(), "srcnn_backward_pack_kernel");
      const BackwardParams params{untyped<const void>(problem.grad_output),
                                  untyped<const void>(problem.input),
                                  grad_input,
                                  kElementOf<T>,
                                  through_bicubic,
                                  shape.scale,
                                  problem.bicubic,
                                  problem.padding,
                                  shape.wanted,
                                  memory,
                                  memory + at.partials_at,
                                  at.weights,
                                  at.partials,
                                  plan.choice.fma,
                                  tiling};
      launch_srcnn_backward_fma(params, shape.kernel2, cuda_stream);
    } else if constexpr (!std::is_same_v<T, float>) {
      const BackwardMmaParams<T> params{
          problem,      grad_input,  through_bicubic, shape.wanted, memory, memory + at.partials_at,
          at.fragments, at.partials, plan.choice.mma, tiling};
      if constexpr (std::is_same_v<T, Half>) {
        launch_srcnn_backward_mma_f16(params, cuda_stream);
      } else {
        launch_srcnn_backward_mma_bf16(params, cuda_stream);
      }
    }

    if (through_bicubic) {
      const ImageView<float> rows = floats(memory + at.rows_at, n, c, height, shape.width);
      launch_bicubic_adjoint(
          AdjointParams{enlarged.data, n * c * shape.width, height, shape.scale, problem.bicubic, false, shape.width}, rows,
          cuda_stream);
      launch_bicubic_adjoint(
          AdjointParams{rows.data, n * c * height, problem.input.width, shape.scale, problem.bicubic, true, shape.width},
          problem.grad_input, cuda_stream);
    }
  }
  if (at.partials.size > 0) {
    const SumParams<T> sum{memory + at.partials_at, at.partials,   tiling.blocks, shape.channels,
                           shape.kernel2,           problem.grad1, problem.grad2, problem.grad3};
    const int blocks = (sum_elements(shape.channels, shape.kernel2) + kSumLanes - 1) / kSumLanes;
    SRCNN_LAUNCH(srcnn_backward_sum_kernel<T>, blocks, kSumLanes * kSumParts, kSumLanes * kSumParts * sizeof(float),
                 cuda_stream, sum);
    check(cudaGetLastError(), "srcnn_backward_sum_kernel");
  }
}

template size_t srcnn_backward_workspace(const BackwardProblemOf<float>& problem);
template size_t srcnn_backward_workspace(const BackwardProblemOf<Half>& problem);
template size_t srcnn_backward_workspace(const BackwardProblemOf<BFloat16>& problem);
template void srcnn_backward(const BackwardProblemOf<float>& problem, void* workspace, void* stream);
template void srcnn_backward(const BackwardProblemOf<Half>& problem, void* workspace, void* stream);
template void srcnn_backward(const BackwardProblemOf<BFloat16>& problem, void* workspace, void* stream);

}  // namespace srcnn::cuda
