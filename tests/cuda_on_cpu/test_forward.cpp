// The fused CUDA forward against the float64 reference, run on the CPU: every network, border, convention and scale, from and
// to every memory layout, on the GPUs of several generations (their shared memory decides how a block works), under several
// orders of threads.
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "choose.h"
#include "kernels.h"
#include "samples.h"
#include "sixteen_bits.h"

using namespace srcnn;
using namespace samples;

namespace {

template <class T>
void run(const ForwardProblemOf<T>& problem) {
  const size_t bytes = cuda::srcnn_forward_workspace(problem);
  std::vector<uint4> workspace(bytes / sizeof(uint4), make_uint4(~0u, ~0u, ~0u, ~0u));  // NaN
  cuda::srcnn_forward(problem, workspace.data(), nullptr);
}

// The kernel that is forced for the length of a scope.
class KernelScope {
 public:
  explicit KernelScope(const char* name) { setenv("SRCNN_FUSED_CUDA_KERNEL", name, 1); }
  ~KernelScope() { unsetenv("SRCNN_FUSED_CUDA_KERNEL"); }
  KernelScope(const KernelScope&) = delete;
};

// The layouts take turns, so that a table of cases sees them all.
void check_float(const Case& c, const char* kernel, double tolerance) {
  static unsigned turn = 0;
  const KernelScope scope(kernel);
  const reference::Image image = random_image(c.batch, c.channels, c.height, c.width);
  ForwardProblem problem = network(c.kernel2, c.channels).problem(c.scale, c.bicubic, c.padding);
  const reference::Image expected = reference::srcnn(image, problem);
  const Pixels input(kInputLayouts[turn % std::size(kInputLayouts)], image);
  const Pixels output(kOutputLayouts[turn++ % std::size(kOutputLayouts)], c.batch, c.channels, expected.height, expected.width);
  problem.input = input.const_view();
  problem.output = output.view();
  INFO(describe(c), ", ", kernel, ", sm_", cuda_on_cpu::gpu().compute_capability, ", seed ", cuda_on_cpu::seed());
  run(problem);
  CHECK(output.max_error(expected) <= tolerance);
  CHECK(output.gaps_untouched());
}

// A network's weights in 16 bits, and the same rounded numbers as floats for the reference.
template <class T>
struct Rounded {
  std::vector<T> bits;
  std::vector<float> floats;

  Rounded(const float* values, size_t count) : bits(count), floats(count) {
    for (size_t i = 0; i < count; ++i) {
      round_to(values[i], bits[i]);
      floats[i] = to_float(bits[i]);
    }
  }
};

template <class T>
void check_16_bits(const Case& c, const char* kernel, double tolerance) {
  const KernelScope scope(kernel);
  reference::Image image = random_image(c.batch, c.channels, c.height, c.width);
  const std::vector<float> pixels(image.values.begin(), image.values.end());
  const Rounded<T> x(pixels.data(), pixels.size());
  std::copy(x.floats.begin(), x.floats.end(), image.values.begin());

  ForwardProblem exact = network(c.kernel2, c.channels).problem(c.scale, c.bicubic, c.padding);
  ForwardProblemOf<T> problem;
  std::vector<Rounded<T>> kept;
  kept.reserve(6);
  const auto round_layer = [&](ConvWeights& from, ConvWeightsOf<T>& to) {
    kept.emplace_back(from.weight,
                      static_cast<size_t>(from.out_channels) * from.in_channels * from.kernel_size * from.kernel_size);
    from.weight = kept.back().floats.data();
    to.weight = kept.back().bits.data();
    kept.emplace_back(from.bias, static_cast<size_t>(from.out_channels));
    from.bias = kept.back().floats.data();
    to = {to.weight, kept.back().bits.data(), from.out_channels, from.in_channels, from.kernel_size};
  };
  round_layer(exact.conv1, problem.conv1);
  round_layer(exact.conv2, problem.conv2);
  round_layer(exact.conv3, problem.conv3);
  const reference::Image expected = reference::srcnn(image, exact);

  const int64_t h = expected.height, w = expected.width;
  T nan;
  round_to(NAN, nan);
  std::vector<T> output(expected.values.size(), nan);
  problem.input = {x.bits.data(),      c.batch, c.channels, c.height, c.width, c.channels * c.height * c.width,
                   c.height * c.width, c.width, 1};
  problem.output = {output.data(), c.batch, c.channels, h, w, c.channels * h * w, h * w, w, 1};
  problem.scale = c.scale;
  problem.bicubic = c.bicubic;
  problem.padding = c.padding;
  run(problem);
  double worst = 0;
  for (size_t i = 0; i < output.size(); ++i) {
    const double error = std::abs(to_float(output[i]) - expected.values[i]) / std::max(1.0, std::abs(expected.values[i]));
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  INFO(describe(c), ", ", sizeof(T) == 2 && std::is_same_v<T, Half> ? "float16" : "bfloat16", ", ", kernel, ", sm_",
       cuda_on_cpu::gpu().compute_capability, ", seed ", cuda_on_cpu::seed());
  CHECK(worst <= tolerance);
}

// Whether a kernel for such elements can do it on the imaginary GPU.
bool has_kernel(const Case& c, cuda::Element element, const char* kernel) {
  const cuda::ForwardShape shape{c.batch, c.channels, c.kernel2, c.scale, c.scale * c.height, c.scale * c.width};
  try {
    cuda::choose_forward(shape, element, true, kernel, cuda::current_device_limits());
  } catch (const std::runtime_error&) {
    return false;
  }
  return true;
}

// One of the tensor-core kernels, or the FMA kernel for 16 bits where the GPU has none. The random weights amplify rounding
// more than trained ones do.
void check_tensor_cores(const Case& c, unsigned which) {
  using cuda::Element;
  switch (which % 7) {
    case 0:
      return check_16_bits<Half>(c, "auto", 4e-3);
    case 1:
      if (has_kernel(c, Element::kHalf, "wgmma")) check_16_bits<Half>(c, "wgmma", 4e-3);
      return;
    case 2:
      return check_16_bits<BFloat16>(c, "auto", 3e-2);
    case 3:
      if (has_kernel(c, Element::kFloat, "tf32")) check_float(c, "tf32", 4e-3);
      return;
    case 4:
      if (has_kernel(c, Element::kFloat, "wgmma")) check_float(c, "wgmma", 4e-3);
      return;
    case 5:
      if (has_kernel(c, Element::kFloat, "tf32x3")) check_float(c, "tf32x3", kTolerance);
      return;
    default:
      if (has_kernel(c, Element::kBFloat16, "wgmma")) check_16_bits<BFloat16>(c, "wgmma", 3e-2);
  }
}

// Sanitizers make a run three times as long. A program that has them takes an eighth of the cases, by lot; the same tests run
// without them on all (CMakeLists.txt).
bool is_taken() {
#ifdef SRCNN_SOME_OF_THE_CASES
  static std::minstd_rand lots;
  return lots() % 8 == 0;
#else
  return true;
#endif
}

void check_all(const Case& c) {
  if (!is_taken()) return;
  check_float(c, "fma", kTolerance);
  for (unsigned which = 0; which < 7; ++which) check_tensor_cores(c, which);
}

// For tables of many cases: by exact multiply-adds, and on tensor cores by two of the ways in turn.
void check_case(const Case& c) {
  static unsigned turn = 0;
  if (!is_taken()) return;
  check_float(c, "fma", kTolerance);
  for (int i = 0; i < 2; ++i) check_tensor_cores(c, turn++);
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

}  // namespace

TEST_CASE("every network, border, convention and scale on images smaller than what the network sees") {
  unsigned turn = 0;
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) {
      for (const Bicubic bicubic : kConventions) {
        for (const int64_t scale : {1, 2, 3, 4}) {
          if (scale == 1 && bicubic != Bicubic::kMatlab) continue;  // nothing is resampled
          const int channels = turn % 2 ? 3 : 1;
          check_case({kernel2, channels, padding, scale, bicubic, 1, 1, 1});
          if (turn++ % 3 == 0) {
            check_case({kernel2, channels, padding, scale, bicubic, 2, 3, 2});
          } else {
            check_case({kernel2, 4 - channels, padding, scale, bicubic, 1, 5, 7});
          }
        }
      }
    }
  }
}

TEST_CASE("widths around quads, strips and the halo between strips") {
  const int64_t widths[] = {3, 4, 5, 8, 12, 23, 24, 27, 28, 29, 31, 55, 56, 57, 60, 61, 123, 124, 125, 127, 130};
  const int64_t heights[] = {1, 2, 3, 5, 7};
  unsigned turn = 0;
  for (const int64_t width : widths) {
    check_case(
        {kKernels2[turn % 3], 1, kPaddings[turn / 2 % 2], 1, Bicubic::kMatlab, 1, heights[turn % std::size(heights)], width});
    ++turn;
  }
}

// With many multiprocessors, small images are shared out among blocks of one warp.
TEST_CASE("one multiprocessor: blocks of all their warps, strip after strip") {
  unsigned turn = 0;
  for (const int generation : {80, 86, 90}) {
    const GpuScope scope(cuda_on_cpu::gpu_of(generation));
    cuda_on_cpu::gpu().multiprocessors = 1;
    for (const int kernel2 : kKernels2) {
      for (const int channels : {1, 3}) {
        const int64_t width = 245 + 9 * (turn % 3);  // around the widest strip
        check_all({kernel2, channels, kPaddings[turn % 2], 1, Bicubic::kMatlab, 1, 3 + static_cast<int64_t>(turn % 4), width});
        ++turn;
      }
    }
  }
}

TEST_CASE("more rows than one table of bicubic weights, and segments that meet") {
  GpuScope scope(cuda_on_cpu::gpu_of(80));
  check_case({1, 1, Padding::kReplicate, 3, Bicubic::kMatlab, 1, 25, 4});
  cuda_on_cpu::gpu().multiprocessors = 1;  // one long strip
  check_case({1, 1, Padding::kZeros, 4, Bicubic::kTorch, 1, 19, 3});
}

TEST_CASE("a scale with more phases than are tabulated takes the other kernel") {
  const Case c{1, 1, Padding::kZeros, 257, Bicubic::kPil, 1, 1, 1};
  CHECK_FALSE(has_kernel(c, cuda::Element::kHalf, "mma"));
  CHECK(has_kernel({1, 1, Padding::kZeros, 256, Bicubic::kPil, 1, 1, 1}, cuda::Element::kHalf, "mma"));
  CHECK(has_kernel(c, cuda::Element::kHalf, "auto"));
}

TEST_CASE("every generation of GPU computes the same, in configurations of its own") {
  std::set<std::string> configurations;
  for (const int generation : {75, 80, 86, 90, 120}) {
    const GpuScope scope(cuda_on_cpu::gpu_of(generation));
    for (const int kernel2 : kKernels2) {
      for (const int channels : {1, 3}) {
        const Case c{kernel2, channels, Padding::kReplicate, 2, Bicubic::kPil, 1, 5, 9};
        const cuda::ForwardShape shape{1, channels, kernel2, 2, 10, 18};
        for (const cuda::Element element : {cuda::Element::kFloat, cuda::Element::kHalf}) {
          configurations.insert(cuda::choose_forward(shape, element, true, "auto", cuda::current_device_limits()).describe());
        }
        check_all(c);
      }
    }
  }
  CHECK(configurations.size() >= 20);
}

TEST_CASE("a device with too little shared memory is refused") {
  const GpuScope scope(cuda_on_cpu::gpu_of(75));
  cuda_on_cpu::gpu().shared_per_block_optin = 16 * 1024;
  CHECK_THROWS_WITH_AS(check_float({5, 1, Padding::kZeros, 1, Bicubic::kMatlab, 1, 4, 4}, "auto", kTolerance),
                       "the device has 16384 bytes of shared memory per block, too few for the fused forward",
                       std::runtime_error);
}

TEST_CASE("any order of threads gives the same") {
  cuda_on_cpu::for_seeds(20, [](uint64_t seed) {
    const int kernel2 = kKernels2[seed % 3];
    const int generations[] = {75, 90, 86, 90};
    const GpuScope scope(cuda_on_cpu::gpu_of(generations[seed / 3 % 4]));
    check_case({kernel2, 1, kPaddings[seed / 2 % 2], 1 + static_cast<int64_t>(seed % 2), Bicubic::kMatlab, 1, 4, 6});
    if (cuda_on_cpu::gpu().compute_capability < 80) return;
    cuda_on_cpu::gpu().multiprocessors = 1;  // several warps
    const Case wide{kernel2, 1, kPaddings[seed / 3 % 2], 1, Bicubic::kMatlab, 1, 4, 140};
    for (unsigned which = 0; which < 7; ++which) {
      if (which % 3 == seed % 3) check_tensor_cores(wide, which);
    }
  });
}
