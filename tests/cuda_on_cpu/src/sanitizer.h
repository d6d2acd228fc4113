// The sanitizer's interface, or nothing.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define CUDA_ON_CPU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUDA_ON_CPU_ASAN 1
#endif
#endif

#ifdef CUDA_ON_CPU_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_on_cpu {

#ifdef CUDA_ON_CPU_ASAN
inline constexpr bool kAsan = true;
inline void poison(const void* start, size_t bytes) { __asan_poison_memory_region(start, bytes); }
inline void unpoison(const void* start, size_t bytes) { __asan_unpoison_memory_region(start, bytes); }
inline bool readable(const void* start, size_t bytes) {
  return bytes == 0 || __asan_region_is_poisoned(const_cast<void*>(start), bytes) == nullptr;
}
#else
inline constexpr bool kAsan = false;
inline void poison(const void*, size_t) {}
inline void unpoison(const void*, size_t) {}
inline bool readable(const void*, size_t) { return true; }
#endif

}  // namespace cuda_on_cpu
