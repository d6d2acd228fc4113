// Block barriers and the scheduler: correct kernels in many orders, and planted faults that must be caught.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "planted_faults.h"
#include "ptx.cuh"

namespace {

using cuda_on_cpu::BarrierError;
using cuda_on_cpu::for_seeds;
namespace ptx = srcnn::cuda::ptx;

constexpr int kSeeds = 50;

std::string place(const char* what, int line) {
  return std::string(what) + " (test_emulator_barriers.cpp:" + std::to_string(line) + ")";
}

__global__ void reduce_kernel(const float* x, float* sum, bool missing_barrier) {
  SRCNN_DYNAMIC_SHARED(float, values);
  const unsigned t = threadIdx.x;
  values[t] = x[blockIdx.x * blockDim.x + t];
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (half != 8 || !missing_barrier) __syncthreads();
    if (t < half) values[t] += values[t + half];
  }
  if (t == 0) sum[blockIdx.x] = values[0];
}

bool reduction_is_right(bool missing_barrier) {
  const std::vector<float> x = small_integers(4 * 128);
  std::vector<float> sum(4, NAN);
  SRCNN_LAUNCH(reduce_kernel, 4, 128, 128 * sizeof(float), nullptr, x.data(), sum.data(), missing_barrier);
  REQUIRE(cudaGetLastError() == cudaSuccess);
  bool right = true;
  for (int b = 0; b < 4; ++b) right &= sum[b] == std::accumulate(&x[b * 128], &x[b * 128] + 128, 0.0f);
  return right;
}

TEST_CASE("reduction") {
  CHECK(caught(kSeeds, [] { return reduction_is_right(false); }) == 0);
}

TEST_CASE("a reduction without one of its barriers is wrong on every seed") {
  CHECK(caught(kSeeds, [] { return reduction_is_right(true); }) == kSeeds);
}

enum class TransposeFault { kNone, kReadAfterWrite, kWriteAfterRead };

// One block transposes all 32 x 32 tiles of a matrix through one buffer.
__global__ void transpose_kernel(const float* in, float* out, int rows, int columns, TransposeFault fault) {
  SRCNN_DYNAMIC_SHARED(float, tile);
  const int tx = static_cast<int>(threadIdx.x), ty = static_cast<int>(threadIdx.y);
  for (int y0 = 0; y0 < rows; y0 += 32) {
    for (int x0 = 0; x0 < columns; x0 += 32) {
      for (int y = ty; y < 32; y += 8) {
        if (y0 + y < rows && x0 + tx < columns) tile[y * 33 + tx] = in[(y0 + y) * columns + x0 + tx];
      }
      if (fault != TransposeFault::kReadAfterWrite) __syncthreads();
      for (int y = ty; y < 32; y += 8) {
        if (x0 + y < columns && y0 + tx < rows) out[(x0 + y) * rows + y0 + tx] = tile[tx * 33 + y];
      }
      if (fault != TransposeFault::kWriteAfterRead) __syncthreads();
    }
  }
}

bool transpose_is_right(TransposeFault fault) {
  const int rows = 45, columns = 70;
  std::vector<float> in(rows * columns), out(rows * columns, NAN);
  std::iota(in.begin(), in.end(), 0.0f);
  SRCNN_LAUNCH(transpose_kernel, 1, dim3(32, 8), 32 * 33 * sizeof(float), nullptr, in.data(), out.data(), rows, columns, fault);
  REQUIRE(cudaGetLastError() == cudaSuccess);
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < columns; ++x) {
      if (out[x * rows + y] != in[y * columns + x]) return false;
    }
  }
  return true;
}

TEST_CASE("tiled transpose") {
  CHECK(caught(kSeeds, [] { return transpose_is_right(TransposeFault::kNone); }) == 0);
}

TEST_CASE("a transpose without its first or its second barrier is wrong on every seed") {
  CHECK(caught(kSeeds, [] { return transpose_is_right(TransposeFault::kReadAfterWrite); }) == kSeeds);
  CHECK(caught(kSeeds, [] { return transpose_is_right(TransposeFault::kWriteAfterRead); }) == kSeeds);
}

constexpr int kDivergentLine = __LINE__ + 3;
__global__ void divergent_kernel() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST_CASE("threads at different barriers") {
  for_seeds(kSeeds, [](uint64_t seed) {
    const std::string message = message_of<BarrierError>([] { SRCNN_LAUNCH(divergent_kernel, dim3(2, 2), 64, 0, nullptr); });
    CAPTURE(message);
    CHECK(contains(message, "divergent_kernel, block ("));
    CHECK(contains(message, "seed " + std::to_string(seed)));
    CHECK(contains(message, place("__syncthreads", kDivergentLine)));
    CHECK(contains(message, place("__syncthreads", kDivergentLine + 2)));
  });
}

constexpr int kEarlyExitLine = __LINE__ + 3;
__global__ void early_exit_kernel() {
  if (threadIdx.x == 5) return;
  __syncthreads();
}

TEST_CASE("a thread that exits before a barrier") {
  for_seeds(kSeeds, [](uint64_t) {
    const std::string message = message_of<BarrierError>([] { SRCNN_LAUNCH(early_exit_kernel, 1, 64, 0, nullptr); });
    CAPTURE(message);
    CHECK(contains(message, "thread 5 has exited"));
    CHECK(contains(message, place("__syncthreads", kEarlyExitLine)));
  });
}

constexpr int kDeadlockLine = __LINE__ + 3;
__global__ void deadlock_kernel() {
  if (threadIdx.x < 16) {
    __syncwarp();
  } else {
    __syncthreads();
  }
}

TEST_CASE("a deadlock names everyone's place") {
  const std::string message = message_of<BarrierError>([] { SRCNN_LAUNCH(deadlock_kernel, 1, 64, 0, nullptr); });
  CAPTURE(message);
  CHECK(contains(message, "deadlock"));
  CHECK(contains(message, "threads 0-15 wait at " + place("__syncwarp", kDeadlockLine)));
  CHECK(contains(message, "threads 16-63 wait at " + place("__syncthreads", kDeadlockLine + 2)));
}

// Warp 0 fills two buffers in turn, warp 1 empties them; barriers 1 and 2 say "full", 3 and 4 "empty".
__global__ void producer_consumer_kernel(const float* x, float* y, int rounds, bool missing_wait) {
  SRCNN_DYNAMIC_SHARED(float, buffers);
  const unsigned lane = threadIdx.x % 32;
  for (int i = 0; i < rounds; ++i) {
    float* buffer = buffers + 32 * (i % 2);
    if (threadIdx.x < 32) {
      if (i >= 2 && !missing_wait) ptx::barrier_sync(3 + i % 2, 64);
      if (i >= 2 && missing_wait) ptx::barrier_arrive(3 + i % 2, 64);
      buffer[lane] = x[32 * i + lane];
      ptx::barrier_arrive(1 + i % 2, 64);
    } else {
      ptx::barrier_sync(1 + i % 2, 64);
      y[32 * i + lane] = buffer[31 - lane];
      if (i + 2 < rounds) ptx::barrier_arrive(3 + i % 2, 64);
    }
  }
}

bool pipeline_is_right(bool missing_wait) {
  const int rounds = 9;
  const std::vector<float> x = small_integers(32 * rounds);
  std::vector<float> y(x.size(), NAN);
  SRCNN_LAUNCH(producer_consumer_kernel, 1, 64, 64 * sizeof(float), nullptr, x.data(), y.data(), rounds, missing_wait);
  for (size_t i = 0; i < y.size(); ++i) {
    if (y[i] != x[i / 32 * 32 + 31 - i % 32]) return false;
  }
  return true;
}

TEST_CASE("producer and consumer over named barriers") {
  CHECK(caught(kSeeds, [] { return pipeline_is_right(false); }) == 0);
}

TEST_CASE("a producer that does not wait for its buffer is caught on every seed") {
  CHECK(caught(kSeeds, [] { return pipeline_is_right(true); }) == kSeeds);
}

__global__ void short_barrier_kernel(int threads) { ptx::barrier_sync(1, threads); }

TEST_CASE("named barriers") {
  CHECK(contains(message_of<BarrierError>([] { SRCNN_LAUNCH(short_barrier_kernel, 1, 32, 0, nullptr, 64); }), "deadlock"));
  CHECK(contains(message_of<BarrierError>([] { SRCNN_LAUNCH(short_barrier_kernel, 1, 32, 0, nullptr, 33); }),
                 "multiple of 32, got 33"));
}

__global__ void order_kernel(int* log, int* position) {
  const int blocks = static_cast<int>(blockIdx.x * blockDim.x);
  log[atomicAdd(position, 1)] = blocks + static_cast<int>(threadIdx.x);
  __syncthreads();
  log[atomicAdd(position, 1)] = blocks + static_cast<int>(threadIdx.x);
}

TEST_CASE("the order depends on the seed alone") {
  std::vector<std::vector<int>> orders;
  for_seeds(3, [&](uint64_t) {
    for (int repeat = 0; repeat < 2; ++repeat) {
      std::vector<int> log(2 * 5 * 16);
      int position = 0;
      SRCNN_LAUNCH(order_kernel, 5, 16, 0, nullptr, log.data(), &position);
      REQUIRE(position == 2 * 5 * 16);
      orders.push_back(log);
    }
  });
  CHECK(orders[0] == orders[1]);
  CHECK(orders[2] == orders[3]);
  CHECK(orders[0] != orders[2]);
  CHECK(orders[2] != orders[4]);
  std::sort(orders[0].begin(), orders[0].end());
  for (int i = 0; i < 2 * 5 * 16; ++i) CHECK(orders[0][static_cast<size_t>(i)] == i / 2);
}

__global__ void grid_kernel(int* visits) {
  visits[(blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] += threadIdx.x == 0 ? 1 : 0;
}

TEST_CASE("every block runs once") {
  for (const dim3 grid : {dim3(1), dim3(7), dim3(4, 6), dim3(3, 4, 5)}) {
    for_seeds(5, [&](uint64_t) {
      std::vector<int> visits(grid.x * grid.y * grid.z);
      SRCNN_LAUNCH(grid_kernel, grid, 2, 0, nullptr, visits.data());
      CHECK(std::all_of(visits.begin(), visits.end(), [](int n) { return n == 1; }));
    });
  }
}

__global__ void holding_kernel(int* alive, int thrower) {
  struct Held {
    int* alive;
    std::vector<int> memory;
    explicit Held(int* count) : alive(count), memory(100) { ++*alive; }
    ~Held() { --*alive; }
  } held(alive);
  __syncthreads();
  if (static_cast<int>(threadIdx.x) == thrower) throw std::domain_error("thrown by a kernel");
  __syncthreads();
}

TEST_CASE("an error unwinds every thread, and the next launch is sound") {
  int alive = 0;
  CHECK(message_of<std::domain_error>([&] { SRCNN_LAUNCH(holding_kernel, 3, 64, 0, nullptr, &alive, 9); }) ==
        "thrown by a kernel");
  CHECK(alive == 0);
  SRCNN_LAUNCH(holding_kernel, 3, 64, 0, nullptr, &alive, -1);
  CHECK(alive == 0);
  CHECK(reduction_is_right(false));
}

}  // namespace
