// Warp collectives: what they compute, and wrong masks.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "planted_faults.h"

namespace {

using cuda_on_cpu::for_seeds;
using cuda_on_cpu::WarpError;

constexpr int kSeeds = 50;
constexpr unsigned kAll = 0xffffffffu;

__global__ void sum_kernel(const float* x, float* sums) {
  float sum = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(kAll, sum, static_cast<unsigned>(offset));
  if (threadIdx.x % 32 == 0) sums[(blockIdx.x * blockDim.x + threadIdx.x) / 32] = sum;
}

TEST_CASE("warp sums by shuffles") {
  const std::vector<float> x = small_integers(3 * 96);
  for_seeds(kSeeds, [&](uint64_t) {
    std::vector<float> sums(9, NAN);
    SRCNN_LAUNCH(sum_kernel, 3, 96, 0, nullptr, x.data(), sums.data());
    for (int w = 0; w < 9; ++w) CHECK(sums[w] == std::accumulate(&x[32 * w], &x[32 * w] + 32, 0.0f));
  });
}

struct Shuffled {
  int from_5, from_next, up, down, exchanged, up_8, down_8, exchanged_16_of_8;
  unsigned odd;
  int any, none, all;
  double pi;
};

__global__ void shuffles_kernel(Shuffled* out) {
  const int lane = static_cast<int>(threadIdx.x);
  Shuffled& o = out[lane];
  o.from_5 = __shfl_sync(kAll, lane, 5);
  o.from_next = __shfl_sync(kAll, lane, lane + 1, 8);
  o.up = __shfl_up_sync(kAll, lane, 3);
  o.down = __shfl_down_sync(kAll, lane, 3);
  o.exchanged = __shfl_xor_sync(kAll, lane, 6);
  o.up_8 = __shfl_up_sync(kAll, lane, 1, 8);
  o.down_8 = __shfl_down_sync(kAll, lane, 1, 8);
  o.exchanged_16_of_8 = __shfl_xor_sync(kAll, lane, 16, 8);
  o.odd = __ballot_sync(kAll, lane & 1);
  o.any = __any_sync(kAll, lane == 7);
  o.none = __any_sync(kAll, lane == 32);
  o.all = __all_sync(kAll, lane < 32);
  o.pi = __shfl_sync(kAll, lane == 4 ? 3.14 : 0.0, 4);
}

TEST_CASE("every shuffle and vote") {
  std::vector<Shuffled> out(32);
  SRCNN_LAUNCH(shuffles_kernel, 1, 32, 0, nullptr, out.data());
  for (int lane = 0; lane < 32; ++lane) {
    CAPTURE(lane);
    const Shuffled& o = out[lane];
    CHECK(o.from_5 == 5);
    CHECK(o.from_next == (lane & ~7) + (lane + 1) % 8);
    CHECK(o.up == (lane < 3 ? lane : lane - 3));
    CHECK(o.down == (lane > 28 ? lane : lane + 3));
    CHECK(o.exchanged == (lane ^ 6));
    CHECK(o.up_8 == (lane % 8 == 0 ? lane : lane - 1));
    CHECK(o.down_8 == (lane % 8 == 7 ? lane : lane + 1));
    CHECK(o.exchanged_16_of_8 == (lane < 16 ? lane : lane - 16));  // earlier groups may be read, later ones not
    CHECK(o.odd == 0xaaaaaaaau);
    CHECK(o.any == 1);
    CHECK(o.none == 0);
    CHECK(o.all == 1);
    CHECK(o.pi == 3.14);
  }
}

__global__ void divided_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  if (lane < 12) {
    out[lane] = __shfl_sync(0x00000fffu, lane, 11);
  } else {
    out[lane] = __shfl_sync(0xfffff000u, lane, 12);
  }
}

TEST_CASE("two parts of a warp at two places") {
  for_seeds(kSeeds, [](uint64_t) {
    std::vector<int> out(32);
    SRCNN_LAUNCH(divided_kernel, 1, 32, 0, nullptr, out.data());
    for (int lane = 0; lane < 32; ++lane) CHECK(out[lane] == (lane < 12 ? 11 : 12));
  });
}

__global__ void turn_kernel(const float* x, float* y, bool missing_sync) {
  SRCNN_DYNAMIC_SHARED(float, values);
  values[threadIdx.x] = x[threadIdx.x];
  if (!missing_sync) __syncwarp();
  y[threadIdx.x] = values[threadIdx.x ^ 31];
}

bool turn_is_right(bool missing_sync) {
  const std::vector<float> x = small_integers(64);
  std::vector<float> y(64, NAN);
  SRCNN_LAUNCH(turn_kernel, 1, 64, 64 * sizeof(float), nullptr, x.data(), y.data(), missing_sync);
  for (size_t i = 0; i < 64; ++i) {
    if (y[i] != x[i ^ 31]) return false;
  }
  return true;
}

TEST_CASE("a missing __syncwarp is caught on every seed") {
  CHECK(caught(kSeeds, [] { return turn_is_right(false); }) == 0);
  CHECK(caught(kSeeds, [] { return turn_is_right(true); }) == kSeeds);
}

enum class Mask { kNotItself, kUnlike, kTooWide, kExited, kReadsUnnamed, kOtherPlace };

__global__ void wrong_mask_kernel(Mask fault, float* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float value = 1.0f;
  switch (fault) {
    case Mask::kNotItself:
      value = static_cast<float>(__ballot_sync(0xfffffffeu, 1));
      break;
    case Mask::kUnlike:
      value = __shfl_xor_sync(lane < 16 ? kAll : 0xffff0000u, value, 1);
      break;
    case Mask::kTooWide:
      value = __shfl_xor_sync(kAll, value, 1);
      break;
    case Mask::kExited:
      if (lane == 3) return;
      value = __shfl_xor_sync(kAll, value, 1);
      break;
    case Mask::kReadsUnnamed:
      if (lane < 16) value = __shfl_sync(0x0000ffffu, value, 20);
      break;
    case Mask::kOtherPlace:
      if (lane < 16) {
        value = __shfl_xor_sync(kAll, value, 1);
      } else {
        value = __shfl_xor_sync(kAll, value, 1);
      }
      break;
  }
  out[threadIdx.x] = value;
}

TEST_CASE("wrong masks are refused on every seed") {
  const auto message = [](Mask fault, int threads) {
    std::vector<float> out(64);
    // A lane that exits after the others wait is a deadlock.
    std::string text =
        message_of<WarpError>([&] { SRCNN_LAUNCH(wrong_mask_kernel, 1, threads, 0, nullptr, fault, out.data()); });
    return contains(text, "deadlock") && fault == Mask::kExited ? "lane 3 has exited" : text;
  };
  for_seeds(kSeeds, [&](uint64_t) {
    CHECK(contains(message(Mask::kNotItself, 32), "which does not name its own lane"));
    CHECK(contains(message(Mask::kUnlike, 32), "with mask 0xffff0000"));
    CHECK(contains(message(Mask::kTooWide, 40), "but the warp has 8 threads"));
    CHECK(contains(message(Mask::kExited, 32), "lane 3 has exited"));
    CHECK(contains(message(Mask::kReadsUnnamed, 32), "reads lane 20, which the mask does not name"));
    const std::string other_place = message(Mask::kOtherPlace, 64);
    CHECK(contains(other_place, "__shfl_xor_sync (test_emulator_warps.cpp:"));
    CHECK(contains(other_place, "came to __shfl_xor_sync (test_emulator_warps.cpp:"));
  });
}

}  // namespace
