// The threads of one block at a time, their barriers and their warps.
//
// Scheduling: one thread at a time, drawn at random from those that can go on, runs until it waits at a barrier or a warp
// collective, is put back by maybe_yield(), or ends. So within a stretch between two barriers any two threads run in either
// order over a few seeds, and when one of them writes what the other reads, the reader sees NaN (first use), an old value, or
// a value from the next round: missing __syncthreads and __syncwarp, for read-after-write and for write-after-read, change
// the result.
//   Among many threads that all take their turns no warp gets far ahead of another. So from each barrier to the next one thread
// is slow: it runs when no other can, and the rest of its warp waits for it at the next warp collective.
//   Not seen: races of which either order gives the same result; interleavings inside a stretch (A reads between two writes
// of B, without a yield there); races between blocks, which run one after the other; memory ordering; a loop that waits for
// another thread without a barrier (it hangs); threads that meet at one call site in different rounds of a loop, as long as
// all of them pass it equally often.
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "async_copy.h"
#include "cuda_on_cpu/control.h"
#include "cuda_on_cpu/kernel.h"
#include "cuda_on_cpu/launch.h"
#include "fiber.h"
#include "random.h"
#include "shared_memory.h"
#include "warpgroup.h"

namespace cuda_on_cpu {

class Block {
 public:
  Block(const Launch& launch, uint64_t seed);
  ~Block();

  void run(uint3 index);  // throws what went wrong
  Random& random() { return random_; }
  SharedMemory& shared() { return shared_; }

  // Called by the running thread.
  void barrier(const char* what, int id, int expected, bool wait, bool one_site, const Site& site);
  void collective(const char* what, uint32_t mask, void* payload, Finish finish, const Site& site);
  void maybe_yield();
  int lane() const { return running_ & 31; }
  AsyncCopies& copies() { return threads_[running_].copies; }
  Warpgroup& warpgroup();
  int warp_of_group() const { return running_ / 32 % 4; }
  uint64_t& proxy_fences() { return proxy_fences_; }

  // "kernel, block (0,0,0), seed 1: "
  std::string where() const;

 private:
  enum class State { kReady, kWaiting, kDone };
  struct Thread {
    Fiber* fiber = nullptr;
    uint3 index{};
    bool started = false;
    State state = State::kReady;
    const char* what = nullptr;  // while waiting
    Site site;
    AsyncCopies copies;
  };
  struct Barrier {
    int arrived = 0, expected = 0;
    std::vector<int> threads;  // that have arrived, in order
    std::vector<Site> sites;
  };
  struct Meeting {  // of a warp's lanes at one collective
    const char* what;
    Site site;
    uint32_t mask, arrived;
    std::array<void*, 32> payloads;
  };

  static void thread_main(void* self);
  void wait(const char* what, const Site& site);
  void make_ready(int thread);
  int next_thread();
  void choose_slow_thread();
  void loop();
  void abandon();
  std::string waiting() const;  // "threads 0-31 wait at __syncthreads (k.cu:12); ..."
  std::string exited() const;   // "threads 3, 5 have exited"
  std::string name(int thread) const;

  const Launch& launch_;
  Random random_;
  SharedMemory shared_;
  uint3 index_{};
  std::vector<Thread> threads_;
  std::vector<int> ready_;  // but for the slow one
  int slow_ = 0;
  bool slow_ready_ = false;
  std::array<Barrier, 16> barriers_;
  std::vector<std::vector<Meeting>> warps_;
  std::vector<Warpgroup> warpgroups_;
  uint64_t proxy_fences_ = 0;
  int running_ = -1, done_ = 0;
  bool abandoning_ = false;
  std::exception_ptr error_;
};

// The block whose thread is running on this OS thread; throws std::logic_error outside a kernel.
Block& current_block();
bool in_kernel();

std::string describe(const Site& site);                 // "k.cu:12"
std::string describe(const std::vector<int>& threads);  // "threads 0-31, 40"
bool same(const Site& a, const Site& b);

}  // namespace cuda_on_cpu
