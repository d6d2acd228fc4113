// Zero-filled, cache-line aligned scratch memory, one piece a worker.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace srcnn::cpu {

inline constexpr int64_t kLineFloats = 16;  // a 64-byte cache line

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

class Workspaces {
 public:
  Workspaces(int64_t floats, int count) : stride_(round_up(floats, kLineFloats)) {
    const size_t bytes = static_cast<size_t>(stride_ * count) * sizeof(float);
    memory_.reset(static_cast<float*>(std::aligned_alloc(kLineFloats * sizeof(float), bytes)));
    if (!memory_) throw std::bad_alloc();
    std::memset(memory_.get(), 0, bytes);
  }

  float* of(int worker) const { return memory_.get() + worker * stride_; }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  int64_t stride_;
  std::unique_ptr<float, Free> memory_;
};

}  // namespace srcnn::cpu
