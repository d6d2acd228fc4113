// A stack of one's own, entered and left by hand.
//
// Switching by glibc's swapcontext costs a system call for the signal mask: 650 ns a switch where this one takes 30, and a
// block of 256 threads with a thousand barriers makes half a million of them.
#pragma once

#include <cstddef>

namespace cuda_on_cpu {

class Fiber {
 public:
  Fiber();
  ~Fiber();  // outside the fiber, with no body under way
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Says what the fiber does when it is resumed next. `body` throws nothing.
  void start(void (*body)(void*), void* argument) {
    body_ = body;
    argument_ = argument;
  }

  void resume();   // outside the fiber: runs it until it suspends itself or the body ends
  void suspend();  // inside the fiber: goes on behind the resume()

 private:
  static void loop(Fiber* self);
  void leave(bool for_good);

  void* memory_;
  void* stack_pointer_;
  void* outside_stack_pointer_ = nullptr;
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;

  // For the sanitizer: each stack's fake stack while it is left, and the extent of the one outside.
  void* fake_stack_ = nullptr;
  void* outside_fake_stack_ = nullptr;
  const void* outside_bottom_ = nullptr;
  size_t outside_bytes_ = 0;
};

}  // namespace cuda_on_cpu
