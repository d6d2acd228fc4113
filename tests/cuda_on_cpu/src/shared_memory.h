// One block's dynamic shared memory.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace cuda_on_cpu {

class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  std::byte* data() const { return data_; }

  void clear();                                         // a block begins: all NaN, no gaps
  std::string add_gap(const void* gap, size_t bytes);   // empty, or what is wrong
  std::string check_gaps() const;                       // a block has ended: empty, or what is wrong
  bool holds(const void* address, size_t bytes) const;  // whether a kernel may use these bytes

 private:
  struct Gap {
    size_t offset, bytes;
  };
  std::string check(const Gap& gap) const;

  size_t bytes_;
  std::byte* memory_;  // guard, data, guard
  std::byte* data_;
  std::vector<Gap> gaps_;
};

}  // namespace cuda_on_cpu
