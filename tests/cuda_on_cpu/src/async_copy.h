// One thread's cp.async copies: under way from the instruction until a wait that covers them.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

namespace cuda_on_cpu {

class AsyncCopies {
 public:
  void add(void* target, const void* source, int bytes, int source_bytes) {
    open_.push_back({target, source, bytes, source_bytes});
  }
  void commit();
  void wait_for_all_but(size_t newest_groups);  // cp.async.wait_group
  void wait_for_all();                          // cp.async.wait_all: those not committed too
  void clear();

 private:
  struct Copy {
    void* target;
    const void* source;
    int bytes, source_bytes;
  };
  static void carry_out(const std::vector<Copy>& group);

  std::vector<Copy> open_;
  std::deque<std::vector<Copy>> groups_;
};

}  // namespace cuda_on_cpu
