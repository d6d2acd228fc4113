#include "shared_memory.h"

#include <cstdint>
#include <cstring>
#include <new>

#include "sanitizer.h"
#include "text.h"

namespace cuda_on_cpu {
namespace {

// The guard in front makes the data's address an odd multiple of 16: what is promised, and no more.
constexpr size_t kFront = 80, kBack = 64;
constexpr std::align_val_t kAlignment{32};
constexpr int kNan = 0xff;  // NaN in every float format, and an odd thing to write over a guard

}  // namespace

SharedMemory::SharedMemory(size_t bytes)
    : bytes_(bytes),
      memory_(static_cast<std::byte*>(::operator new(kFront + bytes + kBack, kAlignment))),
      data_(memory_ + kFront) {}

SharedMemory::~SharedMemory() {
  unpoison(memory_, kFront + bytes_ + kBack);
  ::operator delete(memory_, kAlignment);
}

void SharedMemory::clear() {
  unpoison(memory_, kFront + bytes_ + kBack);
  std::memset(memory_, kNan, kFront + bytes_ + kBack);
  poison(memory_, kFront);
  poison(data_ + bytes_, kBack);
  gaps_.clear();
}

std::string SharedMemory::add_gap(const void* start, size_t bytes) {
  if (bytes == 0) return "";
  const auto offset = reinterpret_cast<uintptr_t>(start) - reinterpret_cast<uintptr_t>(data_);
  if (offset > bytes_ || bytes > bytes_ - offset) return "a red zone was asked for outside the block's shared memory";
  const Gap gap{offset, bytes};
  if (!holds(start, bytes)) return "";  // each thread may announce it
  const std::string fault = check(gap);
  gaps_.push_back(gap);
  poison(start, bytes);
  return fault;
}

std::string SharedMemory::check(const Gap& gap) const {
  for (size_t i = gap.offset; i < gap.offset + gap.bytes; ++i) {
    if (data_[i] == std::byte{kNan}) continue;
    return text("the red zone at byte ", gap.offset, " of shared memory (", gap.bytes, " bytes) was written, first at byte ",
                i);
  }
  return "";
}

std::string SharedMemory::check_gaps() const {
  if constexpr (kAsan) return "";  // the access itself was reported
  for (const Gap& gap : gaps_) {
    if (std::string fault = check(gap); !fault.empty()) return fault;
  }
  for (size_t i = 0; i < kFront; ++i) {
    if (memory_[i] != std::byte{kNan}) return "bytes in front of the block's shared memory were written";
  }
  for (size_t i = 0; i < kBack; ++i) {
    if (data_[bytes_ + i] == std::byte{kNan}) continue;
    return text("byte ", bytes_ + i, " was written, but the block has ", bytes_, " bytes of shared memory");
  }
  return "";
}

bool SharedMemory::holds(const void* address, size_t bytes) const {
  const auto offset = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(data_);
  if (offset > bytes_ || bytes > bytes_ - offset) return false;
  for (const Gap& gap : gaps_) {
    if (offset < gap.offset + gap.bytes && gap.offset < offset + bytes) return false;
  }
  return true;
}

}  // namespace cuda_on_cpu
