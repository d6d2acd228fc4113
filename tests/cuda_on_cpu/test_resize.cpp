// bicubic_resize's CUDA kernel against the float64 reference, run on the CPU: every convention, enlarging and shrinking, from
// and to every memory layout, on tiles of every kind, under several orders of threads; and the choice of the tiles alone.
#include "resize.h"

#include <cuda_runtime.h>
#include <doctest/doctest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels.h"
#include "samples.h"
#include "sixteen_bits.h"

using namespace srcnn;
using namespace samples;

namespace {

cuda::ResizeConfig config_for(int64_t planes, const Axis& rows, const Axis& columns, Bicubic bicubic) {
  return cuda::choose_resize_config(planes, cuda::make_resize_axis(bicubic, rows.in, rows.out, rows.scale),
                                    cuda::make_resize_axis(bicubic, columns.in, columns.out, columns.scale),
                                    cuda::current_device_limits());
}

std::string describe(const Axis& rows, const Axis& columns, Bicubic bicubic) {
  return text(rows.in, "x", columns.in, " -> ", rows.out, "x", columns.out, " by (", rows.scale, ", ", columns.scale, "), ",
              name_of(bicubic), ", ", config_for(1, rows, columns, bicubic).describe(), ", seed ", cuda_on_cpu::seed());
}

// Layouts take turns.
void check_case(int64_t batch, int64_t channels, const Axis& rows, const Axis& columns, double tolerance = kTolerance) {
  static unsigned turn = 0;
  const reference::Image image = random_image(batch, channels, rows.in, columns.in);
  for (const Bicubic bicubic : kConventions) {
    const reference::Image expected = reference::bicubic(image, rows.out, columns.out, rows.scale, columns.scale, bicubic);
    const Pixels input(kInputLayouts[turn % std::size(kInputLayouts)], image);
    const Pixels output(kInputLayouts[turn++ % std::size(kInputLayouts)], batch, channels, rows.out, columns.out);
    cuda::bicubic_resize(ResizeProblem{input.const_view(), output.view(), rows.scale, columns.scale, bicubic}, nullptr);
    INFO(describe(rows, columns, bicubic));
    CHECK(output.max_error(expected) <= tolerance);
    CHECK(output.gaps_untouched());
  }
}

// Sums are float, so that only the rounding of the result is left: half a unit in the last place of values up to 1 and a bit.
template <class T>
void check_16_bits(const Axis& rows, const Axis& columns, Bicubic bicubic, double tolerance) {
  reference::Image image = random_image(2, 3, rows.in, columns.in);
  std::vector<T> input(image.values.size());
  for (size_t i = 0; i < input.size(); ++i) {
    round_to(static_cast<float>(image.values[i]), input[i]);
    image.values[i] = to_float(input[i]);
  }
  const reference::Image expected = reference::bicubic(image, rows.out, columns.out, rows.scale, columns.scale, bicubic);
  T nan;
  round_to(NAN, nan);
  std::vector<T> output(expected.values.size(), nan);
  const auto view = [](auto* data, int64_t h, int64_t w) {
    return ImageView<std::remove_pointer_t<decltype(data)>>{data, 2, 3, h, w, 3 * h * w, h * w, w, 1};
  };
  const T* pixels = input.data();
  cuda::bicubic_resize(ResizeProblemOf<T>{view(pixels, rows.in, columns.in), view(output.data(), rows.out, columns.out),
                                          rows.scale, columns.scale, bicubic},
                       nullptr);
  double worst = 0;
  for (size_t i = 0; i < output.size(); ++i) {
    const double error = std::abs(to_float(output[i]) - expected.values[i]);
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  INFO(describe(rows, columns, bicubic));
  CHECK(worst <= tolerance);
}

class GpuScope {
 public:
  explicit GpuScope(const cuda_on_cpu::Gpu& gpu) : old_(cuda_on_cpu::gpu()) { cuda_on_cpu::gpu() = gpu; }
  ~GpuScope() { cuda_on_cpu::gpu() = old_; }
  GpuScope(const GpuScope&) = delete;

 private:
  cuda_on_cpu::Gpu old_;
};

// A GPU of one multiprocessor: large tiles pay.
cuda_on_cpu::Gpu small_gpu() {
  cuda_on_cpu::Gpu gpu = cuda_on_cpu::gpu_of(75);
  gpu.multiprocessors = 1;
  return gpu;
}

}  // namespace

TEST_CASE("lengths from one up, shorter and longer than the window") {
  for (const int64_t in : {1, 2, 3, 5, 16, 41}) {
    for (const int64_t out : {1, 2, 3, 4, 5, 17, 41}) {
      check_case(1, 1, ratio(in, out), ratio(7, 9));
      check_case(1, 1, ratio(7, 9), ratio(in, out));
    }
  }
}

TEST_CASE("lengths around the tile") {
  const GpuScope scope(small_gpu());
  const cuda::ResizeConfig config = config_for(1, ratio(100, 200), ratio(100, 200), Bicubic::kMatlab);
  const int64_t width = config.tile_width(), height = config.tile_height;
  REQUIRE(width >= 16);
  REQUIRE(height >= 16);
  for (const int64_t delta : {-1, 0, 1}) {
    check_case(1, 1, {(height + delta + 1) / 2, height + delta, 2}, {(width + delta + 1) / 2, width + delta, 2});
    check_case(1, 1, {height + delta, 2 * height + delta, 2}, {9, 19, 2.1});
    check_case(1, 1, {9, 19, 2.1}, {width + delta, 2 * width + delta, 2});
  }
}

TEST_CASE("integer factors, up and down") {
  for (const int64_t factor : {1, 2, 3, 4, 5}) {
    check_case(1, 3, ratio(13, 13 * factor), ratio(11, 11 * factor));
    check_case(1, 3, ratio(12 * factor, 12), ratio(9 * factor, 9));
    check_case(1, 1, ratio(5 * factor, 5), ratio(7, 7 * factor));
  }
}

TEST_CASE("batches and channels") {
  check_case(3, 2, ratio(9, 21), ratio(17, 6));
  check_case(2, 5, ratio(40, 8), ratio(6, 50));
  const GpuScope scope(small_gpu());  // a block with many tiles keeps its tables from plane to plane
  check_case(50, 3, ratio(3, 7), ratio(4, 5));
}

TEST_CASE("huge ratios: windows of hundreds and thousands of samples, in bands and chunks") {
  check_case(1, 1, ratio(1000, 10), ratio(700, 7));
  check_case(1, 1, ratio(1000, 3), ratio(4, 4));
  check_case(1, 1, ratio(5, 5), ratio(1000, 3));
  check_case(1, 1, ratio(1, 50), ratio(1, 50));
  check_case(1, 1, ratio(2, 1001), ratio(1, 3));
  check_case(1, 1, ratio(300, 1), ratio(300, 1));
  check_case(1, 1, {3, 1, 1e-3}, {5, 50, 10});  // a window of 4000 taps over three rows
  check_case(1, 1, {2, 1, 5e-4}, {2, 1, 5e-4}, 1e-4);
  check_case(1, 1, ratio(7000, 3), ratio(3000, 1));
}

TEST_CASE("scales other than the ratio of the lengths") {
  check_case(1, 1, {7, 15, 2.2}, {10, 6, 0.55});
  check_case(1, 1, {5, 5, 0.95}, {5, 5, 1.05});  // an axis that keeps its length, yet is resampled
  check_case(1, 1, {20, 9, 0.43}, {6, 6, 1});
  check_case(1, 1, {30, 150, 2}, {11, 60, 3});  // far beyond the image, where mirrored rows come back in reverse order
  check_case(1, 1, {40, 90, 0.3}, {50, 80, 0.2});
}

TEST_CASE("an axis that keeps its length is copied, bit for bit") {
  reference::Image image = random_image(1, 1, 9, 21);
  image.row(0, 0, 4)[7] = std::numeric_limits<double>::quiet_NaN();
  image.row(0, 0, 2)[20] = std::numeric_limits<double>::infinity();
  const Pixels input(Layout::kContiguous, image);
  for (const Bicubic bicubic : kConventions) {
    const Pixels output(Layout::kContiguous, 1, 1, 9, 21);
    cuda::bicubic_resize(ResizeProblem{input.const_view(), output.view(), 1, 1, bicubic}, nullptr);
    CAPTURE(name_of(bicubic));
    // fma(1, a, 0) is a; its NaN may have other bits.
    CHECK(output.max_error(image) == 0);
  }
}

TEST_CASE("16-bit images are summed in float") {
  for (const Bicubic bicubic : kConventions) {
    for (const auto& [rows, columns] : {std::pair{ratio(9, 20), ratio(11, 33)}, std::pair{ratio(40, 9), ratio(90, 11)}}) {
      check_16_bits<Half>(rows, columns, bicubic, 0x1p-11 + 1e-6);
      check_16_bits<BFloat16>(rows, columns, bicubic, 0x1p-8 + 1e-6);
    }
  }
}

TEST_CASE("any order of threads gives the same") {
  cuda_on_cpu::for_seeds(16, [](uint64_t seed) {
    const GpuScope scope(seed % 2 ? small_gpu() : cuda_on_cpu::gpu_of(90));
    check_case(2, 1, ratio(11, 25), ratio(9, 31));
    check_case(1, 2, ratio(120, 6), ratio(150, 5));  // lanes share windows
  });
  cuda_on_cpu::for_seeds(4, [](uint64_t) {
    const GpuScope scope(small_gpu());
    check_case(1, 1, ratio(1200, 2), ratio(20000, 2));  // bands and chunks
  });
}

TEST_CASE("offsets beyond 32 bits") {
  // Rows far apart: the pages between them are never touched and take no memory.
  constexpr int64_t kRow = int64_t{1} << 31;
  constexpr size_t kBytes = (4 * kRow + 4096) * sizeof(float);
  const auto map = [] {
    void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    return static_cast<float*>(memory);
  };
  float* const in = map();
  float* const out = map();
  const reference::Image image = random_image(2, 1, 2, 5);
  for (int64_t row = 0; row < 4; ++row) {
    for (int64_t x = 0; x < 5; ++x) in[row * kRow + x] = static_cast<float>(image.values[row * 5 + x]);
  }
  const reference::Image expected = reference::bicubic(image, 2, 10, 1, 2, Bicubic::kMatlab);
  cuda::bicubic_resize(ResizeProblem{{in, 2, 1, 2, 5, 2 * kRow, 2 * kRow, kRow, 1},
                                     {out, 2, 1, 2, 10, 2 * kRow, 2 * kRow, kRow, 1},
                                     1,
                                     2,
                                     Bicubic::kMatlab},
                       nullptr);
  for (int64_t row = 0; row < 4; ++row) {
    for (int64_t x = 0; x < 10; ++x) CHECK(out[row * kRow + x] == doctest::Approx(expected.values[row * 10 + x]).epsilon(1e-5));
  }
  munmap(in, kBytes);
  munmap(out, kBytes);
}

TEST_CASE("the choice of tiles") {
  for (const int generation : {75, 80, 86, 90, 100, 120}) {
    const GpuScope scope(cuda_on_cpu::gpu_of(generation));
    const cuda::DeviceLimits device = cuda::current_device_limits();
    CAPTURE(generation);
    for (const Bicubic bicubic : kConventions) {
      // All of the window at once where there is room, and never more than every GPU has.
      const cuda::ResizeConfig up = config_for(3, ratio(1080, 2160), ratio(1920, 3840), bicubic);
      INFO(up.describe());
      CHECK(up.chunk == 4);
      CHECK(up.column_lanes == 1);
      CHECK(up.tile_width() * up.tile_height >= 1024);
      CHECK(up.shared.sums + device.shared_gap == up.shared.size);  // one band
      for (const double scale : {1e-6, 1e-4, 0.01, 0.1, 0.3, 0.9, 1.0, 1.5, 7.3, 1000.0}) {
        for (const int64_t planes : {int64_t{1}, int64_t{70'000}, int64_t{1} << 20}) {
          const int64_t in = 2000, out = std::max<int64_t>(1, static_cast<int64_t>(scale * 2000));
          const cuda::ResizeConfig config = config_for(planes, {in, out, scale}, {in, out, scale}, bicubic);
          INFO(scale, ", ", planes, " planes: ", config.describe());
          CHECK(config.shared.size <= 48 * 1024);
          CHECK(config.blocks >= 1);
          CHECK(config.blocks <= config.tiles);
          CHECK(config.blocks <= device.sm_count * cuda::kResizeBlocks);
          CHECK(config.tiles_x * config.tile_width() >= out);
          CHECK(config.tiles_y * config.tile_height >= out);
          CHECK(config.tiles == config.tiles_x * config.tiles_y * planes);
        }
      }
    }
  }
  // A strongly shrunk image has few tiles; smaller ones keep more multiprocessors busy.
  CHECK(config_for(1, ratio(4320, 43), ratio(7680, 77), Bicubic::kMatlab).blocks > 40);
}
