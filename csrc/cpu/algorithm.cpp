#include "algorithm.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>

#include "backward_engine.h"
#include "engine.h"
#include "huge.h"
#include "winograd_engine.h"

namespace srcnn::cpu {
namespace {

template <class T>
bool any_huge(const T* values, int64_t count, int64_t stride) {
  uint32_t huge = 0;
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) huge |= is_huge(values[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) huge |= is_huge(values[i * stride]);
  }
  return huge != 0;
}

// Columns up to which vectors of channels are looked at. Beyond, vectors of tiles are mostly full.
int64_t widest_by_pixels(int kernel2) { return kernel2 == 1 ? 160 : 256; }

// What an algorithm costs, in vector multiply-adds. The first two make whole vectors, of pixels or of tiles, and Winograd whole
// rows of tiles: on small images that decides, with the time that its weights take. Per pixel and for one channel, the figures
// for Winograd are its multiply-adds and what the transforms were measured to add, for 16 lanes from 8x8 to 1000x6 pixels (but
// for conv3, whose 500 are of 8), for 8 lanes from 33x33 to 200x200.
double direct_cost(int kernel2, int64_t channels, int64_t height, int64_t width, Isa isa) {
  const int64_t lanes = engine_for(isa).lanes, columns = width + kKernel3 - 1;
  const double per_pixel = (64.0 * 81 + 800) * static_cast<double>(channels) + 2048.0 * kernel2 * kernel2;
  return static_cast<double>(height * ((columns + lanes - 1) / lanes)) * per_pixel;
}

double winograd_cost(int kernel2, int64_t channels, int64_t batch, int64_t height, int64_t width, Isa isa) {
  const int64_t lanes = winograd_engine_for(isa).lanes;
  // A 1x1 conv2 has its tiles on the image's edge; the others begin two columns and rows outside, and F1 has one more.
  const int64_t outside = kernel2 == 1 ? 0 : kKernel3 / 2;
  const int64_t tiles = (width + 2 * outside + kTile - 1) / kTile + (kernel2 > 1 ? 1 : 0);
  const int64_t rows = (height + outside + kTile - 1) / kTile * kTile;
  const auto c = static_cast<double>(channels);
  const double conv1 = lanes == 16 ? 1400 * c + 500 : lanes == 8 ? 1500 * c + 500 : 2300 * c + 800;
  const double conv2 = kernel2 == 1 ? 2048 : lanes == 8 ? (kernel2 == 3 ? 6500 : 11500) : (kernel2 == 3 ? 5900 : 10500);
  // Scalar code, while vectors of half the size pass twice as fast.
  const double weights = (lanes >= 16 ? 1 : 2) * (1.5e5 * c + (kernel2 == 1 ? 0 : kernel2 == 3 ? 1.2e6 : 2.6e6));
  return static_cast<double>(rows * kTile * ((tiles + lanes - 1) / lanes)) * (conv1 + conv2 + 500 * c) +
         weights / static_cast<double>(batch);
}

// No vector is wasted, but whole tiles are made. The figures are what one thread took from 8x8 to 160x160 pixels (8 lanes: from
// 33x33 to 256x256, where a call costs something by itself).
double pixels_cost(int kernel2, int64_t channels, int64_t batch, int64_t height, int64_t width, Isa isa) {
  const int64_t lanes = backward_engine_for(isa).lanes;
  const int64_t pixels = (height + kTile - 1) / kTile * kTile * ((width + kTile - 1) / kTile * kTile);
  const auto c = static_cast<double>(channels);
  const double conv1 = lanes >= 16 ? 1800 * c : 2700 * c;
  const double conv2 = kernel2 == 1 ? 2200 : kernel2 == 3 ? 6200 : lanes == 8 ? 11500 : 12000;
  const double call = lanes == 8 ? 1e5 + 2e5 * c : 0;
  const double once = call + 0.6e5 * c + (kernel2 == 1 ? 0 : kernel2 == 3 ? 1.5e5 : 6.5e5);
  return static_cast<double>(pixels) * (conv1 + conv2 + 1000 * c) / static_cast<double>(lanes) +
         once / static_cast<double>(batch);
}

bool any_huge(const ConvWeights& conv) {
  const int64_t taps = int64_t{conv.in_channels} * conv.kernel_size * conv.kernel_size;
  return any_huge(conv.weight, taps * conv.out_channels, 1) || any_huge(conv.bias, conv.out_channels, 1);
}

}  // namespace

const char* algorithm_name(Algorithm algorithm) {
  return algorithm == Algorithm::kDirect ? "direct" : algorithm == Algorithm::kWinograd ? "winograd" : "pixels";
}

Algorithm selected_algorithm(int kernel2, int64_t channels, int64_t height, int64_t width, Isa isa, int64_t batch) {
  const char* wanted = std::getenv("SRCNN_FUSED_CPU_ALGO");
  const std::string name = wanted == nullptr || *wanted == '\0' ? "auto" : wanted;
  if (name == "direct") return Algorithm::kDirect;
  if (name == "winograd") return Algorithm::kWinograd;
  if (name == "pixels") return Algorithm::kPixels;
  if (name != "auto") {
    throw std::runtime_error("SRCNN_FUSED_CPU_ALGO must be one of auto, direct, winograd, pixels, got '" + name + "'");
  }
  const double direct = direct_cost(kernel2, channels, height, width, isa);
  const double winograd = winograd_cost(kernel2, channels, batch, height, width, isa);
  const double pixels = width > widest_by_pixels(kernel2) ? std::numeric_limits<double>::infinity()
                                                          : pixels_cost(kernel2, channels, batch, height, width, isa);
  if (direct <= winograd && direct <= pixels) return Algorithm::kDirect;
  return winograd <= pixels ? Algorithm::kWinograd : Algorithm::kPixels;
}

std::vector<bool> fit_for_winograd(const ForwardProblem& problem, const BFloat16Images* sixteen, const Threads& threads) {
  const ImageView<const float>& in = problem.input;
  if (any_huge(problem.conv1) || any_huge(problem.conv2) || any_huge(problem.conv3)) {
    return std::vector<bool>(static_cast<size_t>(in.batch), false);
  }
  std::vector<std::atomic<bool>> huge(static_cast<size_t>(in.batch));
  const int64_t rows = in.batch * in.channels * in.height;
  constexpr int64_t kPixelsWorthAThread = 1 << 16;
  const int64_t workers = std::clamp<int64_t>(rows * in.width / kPixelsWorthAThread, 1, threads.count);
  const auto scan = [&](int64_t worker) {
    for (int64_t row = worker * rows / workers, end = (worker + 1) * rows / workers; row < end; ++row) {
      const int64_t y = row % in.height, plane = row / in.height, image = plane / in.channels;
      const int64_t at = plane % in.channels * in.stride_c + y * in.stride_h;
      const bool found = sixteen ? any_huge(sixteen->input.plane(image, 0) + at, in.width, in.stride_w)
                                 : any_huge(in.plane(image, 0) + at, in.width, in.stride_w);
      if (found) huge[static_cast<size_t>(image)].store(true, std::memory_order_relaxed);
    }
  };
  if (workers == 1) {
    scan(0);
  } else {
    threads.run(static_cast<int>(workers), [&](int worker) { scan(worker); });
  }
  std::vector<bool> fit;
  for (const std::atomic<bool>& image : huge) fit.push_back(!image.load(std::memory_order_relaxed));
  return fit;
}

}  // namespace srcnn::cpu
