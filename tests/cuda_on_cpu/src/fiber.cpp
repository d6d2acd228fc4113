#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#include "sanitizer.h"

#if !defined(__x86_64__) || !defined(__linux__)
#error "fibers are switched by x86-64 instructions, on Linux"
#endif

extern "C" {
// Saves the registers that a function must keep, leaves its stack pointer in *save and goes on where `to` was saved.
void cuda_on_cpu_switch(void** save, void* to);
void cuda_on_cpu_fiber_entry();
}

asm(R"(
.text
.p2align 4
.type cuda_on_cpu_switch,@function
.globl cuda_on_cpu_switch
.hidden cuda_on_cpu_switch
cuda_on_cpu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_on_cpu_switch,.-cuda_on_cpu_switch

.p2align 4
.type cuda_on_cpu_fiber_entry,@function
.globl cuda_on_cpu_fiber_entry
.hidden cuda_on_cpu_fiber_entry
cuda_on_cpu_fiber_entry:
  .cfi_startproc
  .cfi_undefined rip
  movq %r12, %rdi
  xorl %ebp, %ebp
  call *%r13
  ud2
  .cfi_endproc
.size cuda_on_cpu_fiber_entry,.-cuda_on_cpu_fiber_entry
)");

namespace cuda_on_cpu {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kStackBytes = 256 * 1024;  // of address space; a fiber touches a few pages of it

}  // namespace

Fiber::Fiber() {
  memory_ = mmap(nullptr, kPageBytes + kStackBytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory_ == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory_, kPageBytes, PROT_NONE);  // an overflow ends the program, not its neighbour's stack
  auto** top = reinterpret_cast<void**>(static_cast<char*>(memory_) + kPageBytes + kStackBytes);
  *--top = nullptr;  // keeps the stack aligned to 16 bytes at the entry
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&cuda_on_cpu_fiber_entry);
  *--top = nullptr;                                // rbp
  *--top = nullptr;                                // rbx
  *--top = this;                                   // r12
  *--top = reinterpret_cast<void*>(&Fiber::loop);  // r13
  *--top = nullptr;                                // r14
  *--top = nullptr;                                // r15
  stack_pointer_ = top;
}

Fiber::~Fiber() {
  body_ = nullptr;
  resume();  // lets the sanitizer free the fake stack
  unpoison(memory_, kPageBytes + kStackBytes);
  munmap(memory_, kPageBytes + kStackBytes);
}

void Fiber::resume() {
#ifdef CUDA_ON_CPU_ASAN
  __sanitizer_start_switch_fiber(&outside_fake_stack_, static_cast<char*>(memory_) + kPageBytes, kStackBytes);
#endif
  cuda_on_cpu_switch(&outside_stack_pointer_, stack_pointer_);
#ifdef CUDA_ON_CPU_ASAN
  __sanitizer_finish_switch_fiber(outside_fake_stack_, nullptr, nullptr);
#endif
}

void Fiber::suspend() { leave(false); }

void Fiber::leave([[maybe_unused]] bool for_good) {
#ifdef CUDA_ON_CPU_ASAN
  __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack_, outside_bottom_, outside_bytes_);
#endif
  cuda_on_cpu_switch(&stack_pointer_, outside_stack_pointer_);
#ifdef CUDA_ON_CPU_ASAN
  __sanitizer_finish_switch_fiber(fake_stack_, &outside_bottom_, &outside_bytes_);
#endif
}

void Fiber::loop(Fiber* self) {
#ifdef CUDA_ON_CPU_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &self->outside_bottom_, &self->outside_bytes_);
#endif
  while (self->body_ != nullptr) {
    self->body_(self->argument_);
    self->leave(false);
  }
  self->leave(true);
}

}  // namespace cuda_on_cpu
