// One region straight through an engine, in conditions of the test's making: a workspace that is NaN everywhere but in its row
// of zeros (a NaN in the output then means that something was used that had not been written), rectangles that no plan would
// cut, and images whose strides no 32-bit offset could hold.
#include <doctest/doctest.h>
#include <sys/mman.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/engine.h"
#include "cpu/plan.h"
#include "cpu/resample_table.h"
#include "regions.h"
#include "samples.h"
#include "workspace.h"

using namespace srcnn;
using namespace samples;

namespace {

// [out][in][ky][kx] -> [out / block][in][ky][kx][block]
std::vector<float> pack_blocks(const ConvWeights& conv, int block) {
  std::vector<float> packed;
  const int taps = conv.in_channels * conv.kernel_size * conv.kernel_size;
  for (int first = 0; first < conv.out_channels; first += block) {
    for (int t = 0; t < taps; ++t) {
      for (int o = first; o < first + block; ++o) packed.push_back(conv.weight[o * taps + t]);
    }
  }
  return packed;
}

// [out][in][ky][kx] -> [out][in][kx][ky]
std::vector<float> pack_transposed(const ConvWeights& conv) {
  const int k = conv.kernel_size;
  std::vector<float> packed;
  for (int plane = 0; plane < conv.out_channels * conv.in_channels; ++plane) {
    for (int kx = 0; kx < k; ++kx) {
      for (int ky = 0; ky < k; ++ky) packed.push_back(conv.weight[(plane * k + ky) * k + kx]);
    }
  }
  return packed;
}

// All that an engine needs for regions up to `strip_width` wide.
struct Plan {
  std::vector<float> weight1, weight2, weight3;
  cpu::ResampleTable rows, columns;
  cpu::ForwardPlan plan;

  Plan(const ForwardProblem& problem, const cpu::Engine& engine, int64_t strip_width)
      : weight1(pack_blocks(problem.conv1, engine.channel_block)),
        weight2(pack_blocks(problem.conv2, engine.channel_block)),
        weight3(pack_transposed(problem.conv3)),
        rows(problem.bicubic, problem.input.height, problem.output.height, static_cast<double>(problem.scale)),
        columns(problem.bicubic, problem.input.width, problem.output.width, static_cast<double>(problem.scale)),
        plan{&problem,
             nullptr,
             {weight1.data(), problem.conv1.bias},
             {weight2.data(), problem.conv2.bias},
             {weight3.data(), problem.conv3.bias},
             rows.view(),
             columns.view(),
             cpu::plan_strip_layout(problem, engine, strip_width)} {}

  static const cpu::Engine& engine_for(cpu::Isa isa) { return cpu::engine_for(isa); }
  int64_t first_zero() const { return plan.layout.zeros_offset; }
  static constexpr double kAllowed = kTolerance;
};

}  // namespace

TEST_CASE("nothing is used before it is written: regions of an image") {
  // The whole, each border, corners cut off within the halo, an inner piece, one column, one row.
  const std::vector<cpu::Region> regions = {{0, 61, 0, 33},  {0, 17, 0, 12},   {44, 61, 20, 33},
                                            {3, 59, 4, 32},  {20, 36, 12, 24}, {30, 31, 8, 20},
                                            {58, 61, 0, 33}, {0, 2, 28, 33},   {1, 60, 30, 31}};
  for (const int kernel2 : kKernels2) {
    for (const Padding padding : kPaddings) check_regions<Plan>(kernel2, 1, padding, 1, Bicubic::kMatlab, 33, 61, regions);
  }
  check_regions<Plan>(3, 3, Padding::kZeros, 1, Bicubic::kMatlab, 33, 61, regions);
}

TEST_CASE("nothing is used before it is written: regions of an enlarged image") {
  const std::vector<cpu::Region> regions = {{0, 60, 0, 33}, {0, 17, 0, 12}, {43, 60, 20, 33}, {3, 58, 4, 32}, {30, 31, 8, 20}};
  for (const Bicubic bicubic : kConventions) {
    for (const Padding padding : kPaddings) check_regions<Plan>(1, 1, padding, 3, bicubic, 11, 20, regions);
  }
  check_regions<Plan>(1, 3, Padding::kReplicate, 3, Bicubic::kMatlab, 11, 20, regions);
  check_regions<Plan>(5, 1, Padding::kReplicate, 3, Bicubic::kTorch, 11, 20, regions);
}

TEST_CASE("nothing is used before it is written: strips of every width") {
  for (const int kernel2 : kKernels2) {
    std::vector<cpu::Region> regions;
    for (int64_t width = 1; width <= 70; ++width) regions.push_back({70 - width, 70, 0, 3});
    check_regions<Plan>(kernel2, 1, Padding::kReplicate, 1, Bicubic::kMatlab, 3, 140, regions);
  }
}

TEST_CASE("nothing is used before it is written: resampling") {
  const reference::Image image = random_image(1, 2, 23, 31);
  const Pixels input(Layout::kContiguous, image);
  struct Size {
    int64_t height, width;
  };
  for (const Size& size : {Size{40, 33}, Size{9, 70}, Size{23, 10}, Size{60, 31}, Size{1, 1}, Size{3, 65}}) {
    ResizeProblem problem;
    problem.input = input.const_view();
    problem.scale_height = static_cast<double>(size.height) / 23;
    problem.scale_width = static_cast<double>(size.width) / 31;
    for (const Bicubic bicubic : kConventions) {
      problem.bicubic = bicubic;
      const reference::Image expected =
          reference::bicubic(image, size.height, size.width, problem.scale_height, problem.scale_width, bicubic);
      for (const cpu::Isa isa : cpu::usable_isas()) {
        const Pixels output(Layout::kCropped, 1, 2, size.height, size.width);
        problem.output = output.view();
        const cpu::ResampleTable rows(bicubic, 23, size.height, problem.scale_height);
        const cpu::ResampleTable columns(bicubic, 31, size.width, problem.scale_width);
        const int64_t lanes = cpu::engine_for(isa).lanes, whole_vectors = (size.width + lanes - 1) / lanes * lanes;
        const cpu::ResizePlan plan{&problem, rows.view(), columns.view(),
                                   cpu::plan_ring(std::min(rows.taps, 23), 1, 0, whole_vectors)};
        const int64_t middle = size.height / 2;
        for (const int64_t channel : {0, 1}) {
          for (const cpu::Region& region : {cpu::Region{0, size.width, middle, size.height}, {0, size.width, 0, middle}}) {
            const Workspace workspace((plan.source.size() + whole_vectors + 15) / 16 * 16, gap());
            cpu::engine_for(isa).resize_region(plan, 0, channel, region, workspace.data.get());
          }
        }
        INFO(size.height, "x", size.width, ", ", name_of(bicubic), ", ", name_of(isa));
        CHECK(output.max_error(expected) <= kTolerance);
        CHECK(output.gaps_untouched());
      }
    }
  }
}

// Reserves addresses, not memory: pages that are never touched cost nothing.
struct AddressSpace {
  explicit AddressSpace(int64_t floats)
      : bytes(static_cast<size_t>(floats) * sizeof(float)),
        address(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~AddressSpace() {
    if (*this) munmap(address, bytes);
  }
  AddressSpace(const AddressSpace&) = delete;
  explicit operator bool() const { return address != MAP_FAILED; }
  float* data() const { return static_cast<float*>(address); }

  size_t bytes;
  void* address;
};

TEST_CASE("strides beyond 32 bits") {
  constexpr int64_t kFar = (int64_t{1} << 31) + 96;  // elements: each stride alone would overflow an int
  const reference::Image image = random_image(2, 1, 3, 3);
  struct Strides {
    int64_t n, h, w;
  };
  for (const Strides& strides : {Strides{kFar, 3, 1}, Strides{9, kFar, 1}, Strides{3, 6, kFar}}) {
    const AddressSpace in(strides.n + 2 * strides.h + 2 * strides.w + 1);
    const AddressSpace out(kFar * 6);
    if (!in || !out) {
      MESSAGE("skipped: this machine does not hand out 64 GB of addresses");
      return;
    }
    for (int64_t n = 0; n < 2; ++n) {
      for (int64_t y = 0; y < 3; ++y) {
        for (int64_t x = 0; x < 3; ++x) {
          in.data()[n * strides.n + y * strides.h + x * strides.w] = static_cast<float>(image.row(n, 0, y)[x]);
        }
      }
    }
    for (const int64_t scale : {1, 2}) {
      ForwardProblem problem = network(1, 1).problem(scale, Bicubic::kMatlab, Padding::kReplicate);
      const reference::Image expected = reference::srcnn(image, problem);
      const int64_t side = 3 * scale;
      const bool far_rows = strides.h == kFar;
      problem.input = {in.data(), 2, 1, 3, 3, strides.n, strides.n, strides.h, strides.w};
      problem.output = {out.data(), 2, 1, side, side, far_rows ? side : kFar, kFar, far_rows ? kFar : side, 1};
      for (const cpu::Isa isa : cpu::usable_isas()) {
        const IsaScope scope(isa);
        cpu::srcnn_forward(problem, serial(1));
        double worst = 0;
        for (int64_t n = 0; n < 2; ++n) {
          for (int64_t y = 0; y < side; ++y) {
            for (int64_t x = 0; x < side; ++x) {
              float& got = problem.output.plane(n, 0)[y * problem.output.stride_h + x];
              worst = std::max(worst, std::abs(got - expected.row(n, 0, y)[x]));
              got = 0;
            }
          }
        }
        CAPTURE(name_of(isa));
        CAPTURE(strides.h);
        CAPTURE(scale);
        CHECK(worst <= kTolerance);
      }
    }
  }
}
