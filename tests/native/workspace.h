// A worker's workspace of exactly the size planned, filled with a value that shows what is read before it is written.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace samples {

// Exactly `floats` floats, aligned as an engine wants it.
struct Workspace {
  explicit Workspace(int64_t floats, float value)
      : size(static_cast<size_t>(floats)), data(static_cast<float*>(std::aligned_alloc(64, size * sizeof(float)))) {
    std::fill(data.get(), data.get() + size, value);
  }
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  size_t size;
  std::unique_ptr<float, Free> data;
};

}  // namespace samples
