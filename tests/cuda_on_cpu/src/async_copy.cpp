#include "async_copy.h"

#include <cstring>
#include <utility>

namespace cuda_on_cpu {

void AsyncCopies::carry_out(const std::vector<Copy>& group) {
  for (const Copy& copy : group) {
    if (copy.source_bytes > 0) std::memcpy(copy.target, copy.source, static_cast<size_t>(copy.source_bytes));
    std::memset(static_cast<char*>(copy.target) + copy.source_bytes, 0, static_cast<size_t>(copy.bytes - copy.source_bytes));
  }
}

void AsyncCopies::commit() { groups_.push_back(std::exchange(open_, {})); }

void AsyncCopies::wait_for_all_but(size_t newest_groups) {
  while (groups_.size() > newest_groups) {
    carry_out(groups_.front());
    groups_.pop_front();
  }
}

void AsyncCopies::wait_for_all() {
  wait_for_all_but(0);
  carry_out(open_);
  open_.clear();
}

void AsyncCopies::clear() {
  open_.clear();
  groups_.clear();
}

}  // namespace cuda_on_cpu
