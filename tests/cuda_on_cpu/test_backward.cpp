// The fused CUDA backward against the float64 reference, run on the CPU: every network, border, convention and scale, from
// every memory layout, for any set of gradients that is wanted, on the GPUs of several generations (their shared memory decides
// how a block works), under several orders of threads, which must not change a bit.
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "backward.h"
#include "kernels.h"
#include "samples_backward.h"
#include "sixteen_bits.h"

using namespace srcnn;
using namespace samples;

namespace {

template <class T>
void run(const BackwardProblemOf<T>& problem) {
  const size_t bytes = cuda::srcnn_backward_workspace(problem);
  std::vector<uint4> workspace(bytes / sizeof(uint4), make_uint4(~0u, ~0u, ~0u, ~0u));  // NaN
  cuda::srcnn_backward(problem, workspace.data(), nullptr);
}

// The imaginary GPU for the length of a scope.
class GpuScope {
 public:
  explicit GpuScope(const cuda_on_cpu::Gpu& gpu) : old_(cuda_on_cpu::gpu()) { cuda_on_cpu::gpu() = gpu; }
  ~GpuScope() { cuda_on_cpu::gpu() = old_; }
  GpuScope(const GpuScope&) = delete;

 private:
  cuda_on_cpu::Gpu old_;
};

BackwardSample sample_of(const Case& c) {
  return {c.kernel2, c.channels, c.padding, c.scale, c.bicubic, c.batch, c.height, c.width};
}

// Of the gradients, those of `wanted` must be right and no other touched.
void check_sample(const Case& c, const BackwardSample& sample, Wanted wanted, Layout input_layout, Layout grad_layout) {
  GradientMemory memory(sample, wanted);
  const Pixels input(input_layout, sample.image), grad_output(grad_layout, sample.grad_output);
  run(memory.problem(sample, input, grad_output));
  INFO(describe(c), ", layouts ", static_cast<int>(input_layout), " and ", static_cast<int>(grad_layout), ", wanted ", wanted,
       ", sm_", cuda_on_cpu::gpu().compute_capability, ", seed ", cuda_on_cpu::seed());
  CHECK(memory.worst_error(sample) <= kTolerance);
  CHECK(memory.gaps_untouched());
}

// The layouts take turns, so that a table of cases sees them all.
void check_case(const Case& c, Wanted wanted = kEverything) {
  static unsigned turn = 0;
  const Layout layout = kInputLayouts[turn++ % std::size(kInputLayouts)];
  check_sample(c, sample_of(c), wanted, layout, kInputLayouts[turn % std::size(kInputLayouts)]);
}

// Numbers as T, and the same rounded numbers as floats.
template <class T>
struct Rounded {
  std::vector<T> bits;
  std::vector<float> floats;

  template <class Number>
  explicit Rounded(const Number* values, size_t count) : bits(count), floats(count) {
    for (size_t i = 0; i < count; ++i) {
      round_to(static_cast<float>(values[i]), bits[i]);
      floats[i] = to_float(bits[i]);
    }
  }
};

template <class T>
ImageView<T> contiguous(T* data, int64_t n, int64_t c, int64_t h, int64_t w) {
  return {data, n, c, h, w, c * h * w, h * w, w, 1};
}

// Everything of one backward in T, from rounded numbers: x's gradient, then weight1's, bias1's, ..., bias3's.
template <class T, class Numbers>
std::vector<T> all_gradients(const Case& c, const BackwardSample& sample, const std::vector<Numbers>& rounded) {
  const auto data = [&](size_t i) {
    if constexpr (std::is_same_v<T, float>) {
      return rounded[i].floats.data();
    } else {
      return rounded[i].bits.data();
    }
  };
  BackwardProblemOf<T> problem;
  problem.grad_output = contiguous<const T>(data(0), c.batch, c.channels, c.scale * c.height, c.scale * c.width);
  problem.input = contiguous<const T>(data(1), c.batch, c.channels, c.height, c.width);
  problem.scale = c.scale;
  problem.bicubic = c.bicubic;
  problem.padding = c.padding;
  const ConvWeights* const from[] = {&sample.net.conv1, &sample.net.conv2, &sample.net.conv3};
  ConvWeightsOf<T>* const to[] = {&problem.conv1, &problem.conv2, &problem.conv3};
  for (size_t i = 0; i < 3; ++i) {
    *to[i] = {data(2 + 2 * i), data(3 + 2 * i), from[i]->out_channels, from[i]->in_channels, from[i]->kernel_size};
  }
  size_t total = rounded[1].bits.size();
  for (size_t i = 2; i < 8; ++i) total += rounded[i].bits.size();
  T nan;
  round_to(NAN, nan);
  std::vector<T> gradients(total, nan);
  T* at = gradients.data();
  const auto take = [&](size_t i) {
    T* const taken = at;
    at += rounded[i].bits.size();
    return taken;
  };
  problem.grad_input = contiguous(take(1), c.batch, c.channels, c.height, c.width);
  ConvGradientsOf<T>* const grads[] = {&problem.grad1, &problem.grad2, &problem.grad3};
  for (size_t i = 0; i < 3; ++i) {
    grads[i]->weight = take(2 + 2 * i);
    grads[i]->bias = take(3 + 2 * i);
  }
  run(problem);
  return gradients;
}

// In 16 bits the arithmetic is float's: the results are those of the float kernel on the same numbers, rounded.
template <class T>
void check_16_bits(const Case& c) {
  const BackwardSample sample = sample_of(c);
  std::vector<Rounded<T>> rounded;
  rounded.emplace_back(sample.grad_output.values.data(), sample.grad_output.values.size());
  rounded.emplace_back(sample.image.values.data(), sample.image.values.size());
  for (const ConvWeights* conv : {&sample.net.conv1, &sample.net.conv2, &sample.net.conv3}) {
    const size_t taps = static_cast<size_t>(conv->kernel_size) * static_cast<size_t>(conv->kernel_size);
    const auto out = static_cast<size_t>(conv->out_channels);
    rounded.emplace_back(conv->weight, out * static_cast<size_t>(conv->in_channels) * taps);
    rounded.emplace_back(conv->bias, out);
  }
  const std::vector<T> got = all_gradients<T>(c, sample, rounded);
  const std::vector<float> exact = all_gradients<float>(c, sample, rounded);
  size_t different = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    T expected;
    round_to(exact[i], expected);
    different += !std::isfinite(exact[i]) || got[i].bits != expected.bits;
  }
  INFO(describe(c));
  CHECK(different == 0);
}

cuda::BackwardShape shape_of(const Case& c, bool input) {
  return {c.batch,
          c.channels,
          c.kernel2,
          c.scale,
          c.scale * c.height,
          c.scale * c.width,
          {input, true, true, true, true, true, true}};
}

cuda::DeviceLimits device_of(int generation) {
  const cuda_on_cpu::Gpu gpu = cuda_on_cpu::gpu_of(generation);
  return {gpu.multiprocessors, generation, gpu.shared_per_block_optin, gpu.shared_per_multiprocessor,
          gpu.threads_per_multiprocessor};
}

}  // namespace

TEST_CASE("every network, border, convention and scale on images smaller than what the network sees") {
  unsigned turn = 0;
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) {
      for (const Bicubic bicubic : kConventions) {
        for (const int64_t scale : {1, 2, 3, 4}) {
          if (scale == 1 && bicubic != Bicubic::kMatlab) continue;  // nothing is resampled
          const int channels = turn % 5 == 0 ? 3 : 1;
          const Case cases[] = {{kernel2, channels, padding, scale, bicubic, 1, 1, 1},
                                {kernel2, channels, padding, scale, bicubic, 2, 3, 2},
                                {kernel2, channels, padding, scale, bicubic, 1, 2, 4},
                                {kernel2, channels, padding, scale, bicubic, 1, 4, 1}};
          check_case(cases[turn++ % 4]);
        }
      }
    }
  }
}

TEST_CASE("one pixel, one row, one column") {
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) {
      check_case({kernel2, kernel2 == 3 ? 3 : 1, padding, 1, Bicubic::kMatlab, 1, 1, 1});
      check_case({kernel2, 1, padding, 1, Bicubic::kMatlab, 1, 1, 9});
      check_case({kernel2, 1, padding, 1, Bicubic::kMatlab, 1, 11, 1});
    }
  }
}

TEST_CASE("some of the gradients: the others are not touched") {
  unsigned turn = 0;
  for (const Wanted wanted : {0u, 1u, 2u, 4u, 8u, 16u, 32u, 64u, 6u, 24u, 96u, 33u, 66u, 85u, 42u, kWeights}) {
    for (const int kernel2 : {1, 3}) {
      check_case({kernel2, 1, kPaddings[turn % 2], 1 + turn % 3 % 2, Bicubic::kMatlab, 1, 4, 5}, wanted);
      ++turn;
    }
  }
}

TEST_CASE("widths around quads, strips and the halo between strips, and segments that meet") {
  unsigned turn = 0;
  for (const int64_t width : {3, 4, 5, 7, 8, 9, 13, 36, 37, 45}) {
    const int64_t heights[] = {3, 1, 7};
    check_case(
        {turn % 3 == 1 ? 3 : 1, turn % 5 == 4 ? 3 : 1, kPaddings[turn % 2], 1, Bicubic::kMatlab, 1, heights[turn % 3], width},
        turn % 2 ? kEverything : kWeights);
    ++turn;
  }
  check_case({1, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 35, 5});
  check_case({3, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 26, 4});
  check_case({3, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 26, 4});
}

TEST_CASE("one multiprocessor: a block goes from strip to strip and image to image") {
  for (const int generation : {75, 90}) {
    const GpuScope scope(cuda_on_cpu::gpu_of(generation));
    cuda_on_cpu::gpu().multiprocessors = 1;
    check_case({1, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 11, 50});
    check_case({1, 1, Padding::kZeros, 1, Bicubic::kMatlab, 5, 4, 6}, kWeights);
    check_case({3, 1, Padding::kReplicate, 2, Bicubic::kTorch, 2, 6, 5});
    check_case({5, 1, Padding::kZeros, 1, Bicubic::kMatlab, 2, 9, 11}, kWeights);
    check_case({5, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 9, 11});
  }
}

TEST_CASE("more rows than one table of bicubic weights, and more outputs than one chunk of its transpose") {
  const GpuScope scope(cuda_on_cpu::gpu_of(80));
  cuda_on_cpu::gpu().multiprocessors = 1;  // one long strip
  check_case({1, 1, Padding::kReplicate, 3, Bicubic::kMatlab, 1, 9, 3});
  check_case({1, 1, Padding::kZeros, 9, Bicubic::kPil, 1, 2, 1});
}

TEST_CASE("every generation of GPU computes the same, in configurations of its own") {
  std::set<std::string> configurations;
  for (const int generation : {75, 80, 86, 90, 120}) {
    const GpuScope scope(cuda_on_cpu::gpu_of(generation));
    for (const int kernel2 : kKernels2) {
      for (const int channels : {1, 3}) {
        const Case large{kernel2, channels, Padding::kZeros, 1, Bicubic::kMatlab, 16, 256, 256};
        for (const bool input : {false, true}) {
          const auto config = cuda::choose_backward_config(shape_of(large, input), device_of(generation));
          CHECK(config.shared_bytes() <= cuda_on_cpu::gpu().shared_per_block_optin);
          configurations.insert(config.describe());
        }
      }
      if (generation != 90 && generation != 120) {
        check_case({kernel2, kernel2 == 3 ? 3 : 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 3, 5});
      }
    }
  }
  CHECK(configurations.size() >= 20);
}

TEST_CASE("a device with too little shared memory is refused") {
  const GpuScope scope(cuda_on_cpu::gpu_of(75));
  cuda_on_cpu::gpu().shared_per_block_optin = 16 * 1024;
  CHECK_THROWS_WITH_AS(check_case({5, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 1, 2}),
                       "the device has 16384 bytes of shared memory per block, too few for the fused backward",
                       std::runtime_error);
}

TEST_CASE("memory that does not grow with the image, but for the gradient of the enlarged one") {
  const auto bytes = [](const cuda::BackwardShape& shape) {
    const cuda::DeviceLimits device = device_of(90);
    const auto config = cuda::choose_backward_config(shape, device);
    return 4 *
           cuda::lay_out_workspace(shape, cuda::BackwardKernel::kFma, cuda::tile_backward(shape, config, device).blocks).size;
  };
  const Case small{1, 1, Padding::kZeros, 1, Bicubic::kMatlab, 16, 256, 256},
      large{1, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 4320, 7680};
  CHECK(bytes(shape_of(small, true)) <= 32 << 20);
  CHECK(bytes(shape_of(large, true)) <= 32 << 20);
  const Case enlarged{1, 3, Padding::kZeros, 3, Bicubic::kMatlab, 1, 1440, 2560};
  CHECK(bytes(shape_of(enlarged, false)) <= 64 << 20);
  CHECK(bytes(shape_of(enlarged, true)) - (64 << 20) <= int64_t{3} * 4320 * 7680 * 4 * 4 / 3);
}

TEST_CASE("an empty batch has gradients of zero") {
  const BackwardSample sample = sample_of({3, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 3, 4});
  GradientMemory memory(sample, kWeights);
  const Pixels pixels(Layout::kContiguous, sample.image);
  BackwardProblem problem = memory.problem(sample, pixels, pixels);
  problem.input.batch = problem.grad_output.batch = 0;
  run(problem);
  CHECK(memory.all_zero());
}

TEST_CASE("float16 and bfloat16 in memory are float's arithmetic, rounded, if the exact kernel is asked for") {
  setenv("SRCNN_FUSED_CUDA_KERNEL", "fma", 1);
  check_16_bits<Half>({1, 3, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 5, 6});
  check_16_bits<BFloat16>({1, 1, Padding::kZeros, 2, Bicubic::kPil, 2, 3, 3});
  check_16_bits<Half>({3, 1, Padding::kZeros, 2, Bicubic::kMatlab, 1, 3, 2});
  check_16_bits<BFloat16>({5, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 3, 5});
  unsetenv("SRCNN_FUSED_CUDA_KERNEL");
}

TEST_CASE("NaN reaches exactly the gradients that the definition says") {
  for (const int kernel2 : {1, 3}) {
    for (const Padding padding : kPaddings) {
      const Case c{kernel2, 1, padding, 1, Bicubic::kMatlab, 1, 16, 17};
      BackwardSample sample = sample_of(c);
      sample.grad_output.row(0, 0, 8)[7] = std::numeric_limits<double>::quiet_NaN();
      sample.compute();
      const auto& values = sample.expected.input.values;
      const auto harmed = std::count_if(values.begin(), values.end(), [](double v) { return std::isnan(v); });
      CHECK(harmed > 0);
      CHECK(harmed < static_cast<int64_t>(values.size()));
      check_sample(c, sample, kEverything, Layout::kContiguous, Layout::kCropped);
    }
  }
}

TEST_CASE("any order of blocks and threads gives the same bits") {
  const Case cases[] = {{1, 1, Padding::kReplicate, 2, Bicubic::kMatlab, 3, 3, 4},
                        {3, 1, Padding::kZeros, 1, Bicubic::kMatlab, 2, 3, 9},
                        {5, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 1, 4, 5}};
  const GpuScope scope(cuda_on_cpu::gpu_of(90));
  cuda_on_cpu::gpu().multiprocessors = 2;  // several jobs for each block
  for (const Case& c : cases) {
    const BackwardSample sample = sample_of(c);
    const Pixels input(Layout::kTransposed, sample.image), grad_output(Layout::kEverySecond, sample.grad_output);
    GradientMemory first(sample, kEverything);
    run(first.problem(sample, input, grad_output));
    CHECK(first.worst_error(sample) <= kTolerance);
    cuda_on_cpu::for_seeds(5, [&](uint64_t seed) {
      GradientMemory other(sample, kEverything);
      run(other.problem(sample, input, grad_output));
      INFO(describe(c), ", seed ", seed);
      CHECK(first.same_bits(other));
    });
  }
}
