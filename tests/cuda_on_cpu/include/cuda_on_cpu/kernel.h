// What a kernel sees: its coordinates, barriers, warp collectives, atomics.
//
// Collectives take their call site as a defaulted argument: threads that meet must meet at one place in the source. A helper
// function with a barrier inside is one place, wherever it is called from.
#pragma once

#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "cuda_on_cpu/types.h"

inline constinit thread_local uint3 threadIdx{}, blockIdx{};
inline constinit thread_local dim3 blockDim{}, gridDim{};
inline constexpr int warpSize = 32;

namespace cuda_on_cpu {

using Site = std::source_location;

void sync_threads(const Site& site);

// bar.sync / bar.arrive: `threads` arrivals in all; unlike at __syncthreads, call sites may differ (producer, consumer).
void named_barrier(int id, int threads, bool wait, const Site& site);

// Gives the scheduler a chance (one in four) to run other threads first.
void maybe_yield();

// Waits until all lanes of `mask` have come here; then `finish(lanes, mask)` runs once, with each lane's `payload`.
using Finish = void (*)(void* const* lanes, uint32_t mask);
void warp_collective(const char* what, uint32_t mask, void* payload, Finish finish, const Site& site);

int lane_id();

[[noreturn]] void throw_warp_error(const char* what, int lane, int source);

}  // namespace cuda_on_cpu

inline void __syncthreads(cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) { cuda_on_cpu::sync_threads(site); }

inline void __syncwarp(unsigned mask = 0xffffffffu, cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  cuda_on_cpu::warp_collective("__syncwarp", mask, nullptr, [](void* const*, uint32_t) {}, site);
}

namespace cuda_on_cpu {

template <class T>
struct Shuffle {
  T value;
  int lane, source;  // source: the lane to read
  T result;
};

template <class T>
T shuffle(const char* what, unsigned mask, T value, int source, const Site& site) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  Shuffle<T> payload{value, lane_id(), source, value};
  warp_collective(
      what, mask, &payload,
      [](void* const* lanes, uint32_t named) {
        for (int lane = 0; lane < 32; ++lane) {
          if ((named >> lane & 1) == 0) continue;
          auto& self = *static_cast<Shuffle<T>*>(lanes[lane]);
          if ((named >> self.source & 1) == 0) throw_warp_error("a shuffle", lane, self.source);
          self.result = static_cast<Shuffle<T>*>(lanes[self.source])->value;
        }
      },
      site);
  return payload.result;
}

struct Vote {
  int lane;
  bool predicate;
  uint32_t ballot;
};

uint32_t vote(const char* what, unsigned mask, bool predicate, const Site& site);

}  // namespace cuda_on_cpu

// The lane read by each of the four shuffles; a lane whose source lies outside its segment reads itself.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  const int lane = cuda_on_cpu::lane_id();
  return cuda_on_cpu::shuffle("__shfl_sync", mask, value, (lane & ~(width - 1)) | (source & (width - 1)), site);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  const int lane = cuda_on_cpu::lane_id(), source = lane - static_cast<int>(delta);
  return cuda_on_cpu::shuffle("__shfl_up_sync", mask, value, source < (lane & ~(width - 1)) ? lane : source, site);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  const int lane = cuda_on_cpu::lane_id(), source = lane + static_cast<int>(delta);
  return cuda_on_cpu::shuffle("__shfl_down_sync", mask, value, source > (lane | (width - 1)) ? lane : source, site);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  const int lane = cuda_on_cpu::lane_id(), source = (lane ^ lane_mask) & 31;
  return cuda_on_cpu::shuffle("__shfl_xor_sync", mask, value, source > (lane | (width - 1)) ? lane : source, site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  return cuda_on_cpu::vote("__ballot_sync", mask, predicate != 0, site);
}

inline int __any_sync(unsigned mask, int predicate, cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  return cuda_on_cpu::vote("__any_sync", mask, predicate != 0, site) != 0;
}

inline int __all_sync(unsigned mask, int predicate, cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  return cuda_on_cpu::vote("__all_sync", mask, predicate != 0, site) == mask;
}

// Fibers are switched only in the functions above, so that a plain read-modify-write is atomic.
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = static_cast<T>(old + value);
  return old;
}

template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = old < value ? value : old;
  return old;
}

template <class T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = value < old ? value : old;
  return old;
}

template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = value;
  return old;
}

template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  const T old = *address;
  if (old == expected) *address = value;
  return old;
}

template <class T>
T __ldg(const T* address) {
  return *address;
}

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) { cuda_on_cpu::maybe_yield(); }
