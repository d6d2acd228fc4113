// The functions of include/cuda_on_cpu/kernel.h, on the running block.
#include "cuda_on_cpu/kernel.h"

#include "block.h"
#include "text.h"

namespace cuda_on_cpu {

void sync_threads(const Site& site) {
  const auto threads = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
  current_block().barrier("__syncthreads", 0, threads, true, true, site);
}

void named_barrier(int id, int threads, bool wait, const Site& site) {
  Block& block = current_block();
  const char* what = wait ? "bar.sync" : "bar.arrive";
  const auto fail = [&](const char* rule, int got) {
    throw BarrierError(text(block.where(), what, " (", describe(site), "): ", rule, ", got ", got));
  };
  if (id < 1 || id > 15) fail("the barrier must be 1 to 15 (0 is __syncthreads)", id);
  if (threads <= 0 || threads % 32 != 0) fail("the number of threads must be a multiple of 32", threads);
  block.barrier(what, id, threads, wait, false, site);
}

void maybe_yield() { current_block().maybe_yield(); }

int lane_id() { return current_block().lane(); }

void warp_collective(const char* what, uint32_t mask, void* payload, Finish finish, const Site& site) {
  current_block().collective(what, mask, payload, finish, site);
}

void throw_warp_error(const char* what, int lane, int source) {
  throw WarpError(
      text(current_block().where(), what, ": lane ", lane, " reads lane ", source, ", which the mask does not name"));
}

uint32_t vote(const char* what, unsigned mask, bool predicate, const Site& site) {
  Vote payload{lane_id(), predicate, 0};
  warp_collective(
      what, mask, &payload,
      [](void* const* lanes, uint32_t named) {
        uint32_t ballot = 0;
        for (int lane = 0; lane < 32; ++lane) {
          if ((named >> lane & 1) != 0 && static_cast<Vote*>(lanes[lane])->predicate) ballot |= uint32_t{1} << lane;
        }
        for (int lane = 0; lane < 32; ++lane) {
          if ((named >> lane & 1) != 0) static_cast<Vote*>(lanes[lane])->ballot = ballot;
        }
      },
      site);
  return payload.ballot;
}

void* dynamic_shared() { return current_block().shared().data(); }

void shared_red_zone(const void* gap, size_t bytes) {
  Block& block = current_block();
  if (const std::string fault = block.shared().add_gap(gap, bytes); !fault.empty()) {
    throw SharedMemoryError(block.where() + fault);
  }
}

}  // namespace cuda_on_cpu
