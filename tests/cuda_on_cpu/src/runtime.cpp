// The host's side: the imaginary GPU, launches and their limits, errors.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "block.h"

namespace cuda_on_cpu {
namespace {

std::mutex mutex;
std::map<const void*, int> shared_allowed;  // by cudaFuncSetAttribute

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t fail(cudaError_t error) { return last_error = error; }

uint64_t seed_from_environment() {
  const char* text = std::getenv("SRCNN_CUDA_ON_CPU_SEED");
  if (text == nullptr || *text == '\0') return 1;
  char* end = nullptr;
  const uint64_t value = std::strtoull(text, &end, 10);
  if (*end != '\0') throw Error("SRCNN_CUDA_ON_CPU_SEED must be a number, got '" + std::string(text) + "'");
  return value;
}

uint64_t& current_seed() {
  static uint64_t value = [] {
    const uint64_t start = seed_from_environment();
    std::fprintf(stderr, "cuda_on_cpu: seeds start at %llu (SRCNN_CUDA_ON_CPU_SEED)\n", static_cast<unsigned long long>(start));
    return start;
  }();
  return value;
}

size_t shared_limit(const void* kernel) {
  const std::lock_guard lock(mutex);
  const auto found = shared_allowed.find(kernel);
  return static_cast<size_t>(found == shared_allowed.end() ? gpu().shared_per_block : found->second);
}

bool valid_shape(dim3 grid, dim3 block) {
  const auto threads = uint64_t{block.x} * block.y * block.z;
  return threads >= 1 && threads <= 1024 && block.x <= 1024 && block.y <= 1024 && block.z <= 64 && grid.x >= 1 && grid.y >= 1 &&
         grid.z >= 1 && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535;
}

}  // namespace

Gpu& gpu() {
  static Gpu value;
  return value;
}

Gpu gpu_of(int compute_capability) {
  Gpu result;
  result.compute_capability = compute_capability;
  const auto set = [&](int multiprocessors, int shared_kib, int threads, int blocks, int l2_mib) {
    result.multiprocessors = multiprocessors;
    result.shared_per_multiprocessor = shared_kib * 1024;
    result.shared_per_block_optin = (shared_kib - (compute_capability >= 80 ? 1 : 0)) * 1024;
    result.reserved_shared_per_block = compute_capability >= 80 ? 1024 : 0;
    result.threads_per_multiprocessor = threads;
    result.blocks_per_multiprocessor = blocks;
    result.l2_bytes = l2_mib * 1024 * 1024;
  };
  switch (compute_capability) {
    case 75:
      set(40, 64, 1024, 16, 4);
      break;  // T4
    case 80:
      set(108, 164, 2048, 32, 40);
      break;  // A100
    case 86:
      set(82, 100, 1536, 16, 6);
      break;  // RTX 3090
    case 89:
      set(128, 100, 1536, 24, 72);
      break;  // RTX 4090
    case 90:
      set(132, 228, 2048, 32, 50);
      break;  // H100, H200
    case 100:
      set(148, 228, 2048, 32, 126);
      break;  // B200
    case 120:
      set(170, 100, 1536, 24, 96);
      break;  // RTX 5090
    default:
      throw Error("no figures for sm_" + std::to_string(compute_capability));
  }
  return result;
}

uint64_t seed() { return current_seed(); }
void set_seed(uint64_t value) { current_seed() = value; }

void run(const Launch& launch) {
  if (!valid_shape(launch.grid, launch.block)) {
    fail(cudaErrorInvalidConfiguration);
    return;
  }
  if (launch.shared_bytes > shared_limit(launch.kernel)) {
    fail(cudaErrorInvalidValue);
    return;
  }
  Block block(launch, seed());
  // Blocks in the order first, first + step, first + 2 step, ...: each once, as step has no divisor in common with their
  // number.
  const uint64_t blocks = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  uint64_t position = block.random().next() % blocks, step = block.random().next() % blocks;
  while (std::gcd(step, blocks) != 1) step = (step + 1) % blocks;
  for (uint64_t i = 0; i < blocks; ++i) {
    const uint64_t row = position / launch.grid.x;
    block.run({static_cast<unsigned>(position % launch.grid.x), static_cast<unsigned>(row % launch.grid.y),
               static_cast<unsigned>(row / launch.grid.y)});
    position = position >= blocks - step ? position - (blocks - step) : position + step;
  }
}

}  // namespace cuda_on_cpu

using cuda_on_cpu::gpu;

cudaError_t cudaGetLastError() { return std::exchange(cuda_on_cpu::last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return cuda_on_cpu::last_error; }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDeviceFunction:
      return "cudaErrorInvalidDeviceFunction";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidDeviceFunction:
      return "invalid device function";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
  }
  return "unrecognized error code";
}

// Every imaginary GPU that gpu() has been is a device with a number of its own: callers may remember what they know of one.
static int current_device() {
  static std::vector<cuda_on_cpu::Gpu> devices;
  const std::lock_guard lock(cuda_on_cpu::mutex);
  const auto known = std::find(devices.begin(), devices.end(), cuda_on_cpu::gpu());
  const auto device = known - devices.begin();
  if (known == devices.end()) devices.push_back(cuda_on_cpu::gpu());
  return static_cast<int>(device);
}

cudaError_t cudaGetDevice(int* device) {
  *device = current_device();
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != current_device()) return cuda_on_cpu::fail(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = 1024;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = gpu().shared_per_block;
      break;
    case cudaDevAttrWarpSize:
      *value = 32;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = gpu().multiprocessors;
      break;
    case cudaDevAttrL2CacheSize:
      *value = gpu().l2_bytes;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = gpu().threads_per_multiprocessor;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = gpu().compute_capability / 10;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = gpu().compute_capability % 10;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = gpu().shared_per_multiprocessor;
      break;
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      *value = gpu().registers_per_multiprocessor;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = gpu().shared_per_block_optin;
      break;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      *value = gpu().blocks_per_multiprocessor;
      break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      *value = gpu().reserved_shared_per_block;
      break;
    default:
      return cuda_on_cpu::fail(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > gpu().shared_per_block_optin) {
    return cuda_on_cpu::fail(cudaErrorInvalidValue);
  }
  const std::lock_guard lock(cuda_on_cpu::mutex);
  cuda_on_cpu::shared_allowed[kernel] = value;
  return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int block_size,
                                                          size_t shared_bytes) {
  if (block_size <= 0) return cuda_on_cpu::fail(cudaErrorInvalidValue);
  const int warps = (block_size + 31) / 32;
  const auto shared = shared_bytes + static_cast<size_t>(gpu().reserved_shared_per_block);
  int count = std::min(gpu().blocks_per_multiprocessor, gpu().threads_per_multiprocessor / 32 / warps);
  if (shared > 0) count = std::min(count, static_cast<int>(static_cast<size_t>(gpu().shared_per_multiprocessor) / shared));
  *blocks = block_size <= 1024 && shared_bytes <= cuda_on_cpu::shared_limit(kernel) ? count : 0;
  return cudaSuccess;
}
