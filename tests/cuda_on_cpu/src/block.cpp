#include "block.h"

#include <algorithm>
#include <cstring>
#include <iomanip>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "text.h"

namespace cuda_on_cpu {
namespace {

thread_local Block* current = nullptr;

constexpr uint32_t kSlowness = 1 << 20;  // not for ever, because others may wait for the slow thread in a loop

struct Abandoned {};  // unwinds a thread's stack after another one's error

// Stacks are kept for the OS thread's life: a launch has as many as its blocks have threads.
Fiber* pooled_fiber(size_t i) {
  thread_local std::vector<std::unique_ptr<Fiber>> pool;
  while (pool.size() <= i) pool.push_back(std::make_unique<Fiber>());
  return pool[i].get();
}

size_t count(dim3 d) { return size_t{d.x} * d.y * d.z; }

std::string coordinates(uint3 v) { return text("(", v.x, ",", v.y, ",", v.z, ")"); }

}  // namespace

// Literals, mostly the very same.
static bool same(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

bool same(const Site& a, const Site& b) {
  return a.line() == b.line() && a.column() == b.column() && same(a.file_name(), b.file_name());
}

std::string describe(const Site& site) {
  const std::string_view path = site.file_name();
  return text(path.substr(path.find_last_of('/') + 1), ":", site.line());
}

std::string describe(const std::vector<int>& threads) {
  std::vector<int> sorted = threads;
  std::sort(sorted.begin(), sorted.end());
  std::ostringstream out;
  out << (sorted.size() == 1 ? "thread " : "threads ");
  for (size_t i = 0; i < sorted.size();) {
    size_t last = i;
    while (last + 1 < sorted.size() && sorted[last + 1] == sorted[last] + 1) ++last;
    out << (i > 0 ? ", " : "") << sorted[i];
    if (last > i) out << "-" << sorted[last];
    i = last + 1;
  }
  return out.str();
}

bool in_kernel() { return current != nullptr; }

Block& current_block() {
  if (current == nullptr) throw std::logic_error("cuda_on_cpu: a device function was called outside a kernel");
  return *current;
}

Block::Block(const Launch& launch, uint64_t seed)
    : launch_(launch),
      random_(seed),
      shared_(launch.shared_bytes),
      threads_(count(launch.block)),
      warps_((threads_.size() + 31) / 32),
      warpgroups_(threads_.size() / 128) {
  for (size_t i = 0; i < threads_.size(); ++i) {
    const auto linear = static_cast<unsigned>(i);
    threads_[i].fiber = pooled_fiber(i);
    threads_[i].index = {linear % launch.block.x, linear / launch.block.x % launch.block.y,
                         linear / launch.block.x / launch.block.y};
  }
}

Block::~Block() = default;

std::string Block::where() const { return text(launch_.kernel_name, ", block ", coordinates(index_), ", seed ", seed(), ": "); }

std::string Block::name(int thread) const {
  const bool flat = launch_.block.y == 1 && launch_.block.z == 1;
  return text("thread ", thread, flat ? "" : text(" ", coordinates(threads_[thread].index)));
}

std::string Block::waiting() const {
  struct Place {
    const char* what;
    Site site;
    std::vector<int> threads;
  };
  std::vector<Place> places;
  for (size_t i = 0; i < threads_.size(); ++i) {
    const Thread& thread = threads_[i];
    if (thread.state != State::kWaiting) continue;
    auto place = std::find_if(places.begin(), places.end(),
                              [&](const Place& p) { return same(p.site, thread.site) && same(p.what, thread.what); });
    if (place == places.end()) place = places.insert(place, {thread.what, thread.site, {}});
    place->threads.push_back(static_cast<int>(i));
  }
  std::string all;
  for (const Place& place : places) {
    all += text(all.empty() ? "" : "; ", describe(place.threads), place.threads.size() == 1 ? " waits" : " wait", " at ",
                place.what, " (", describe(place.site), ")");
  }
  return all;
}

std::string Block::exited() const {
  std::vector<int> threads;
  for (size_t i = 0; i < threads_.size(); ++i) {
    if (threads_[i].state == State::kDone) threads.push_back(static_cast<int>(i));
  }
  if (threads.empty()) return "";
  return text(describe(threads), threads.size() == 1 ? " has" : " have", " exited");
}

void Block::thread_main(void* self) {
  Block& block = *static_cast<Block*>(self);
  const int thread = block.running_;
  try {
    block.launch_.call(block.launch_.context);
  } catch (const Abandoned&) {
  } catch (...) {
    if (!block.error_) block.error_ = std::current_exception();
  }
  block.threads_[thread].state = State::kDone;
  ++block.done_;
}

void Block::run(uint3 index) {
  if (current != nullptr) throw std::logic_error("cuda_on_cpu: a kernel cannot launch another");
  struct Current {
    explicit Current(Block* block) { current = block; }
    ~Current() { current = nullptr; }
  } guard(this);
  index_ = index;
  blockIdx = index;
  blockDim = launch_.block;
  gridDim = launch_.grid;
  shared_.clear();
  done_ = 0;
  ready_.clear();
  slow_ready_ = false;
  choose_slow_thread();
  for (Barrier& barrier : barriers_) barrier = {};
  for (auto& meetings : warps_) meetings.clear();
  for (Warpgroup& group : warpgroups_) group.clear();
  proxy_fences_ = 0;
  for (size_t i = 0; i < threads_.size(); ++i) {
    Thread& thread = threads_[i];
    thread.fiber->start(&Block::thread_main, this);
    thread.started = false;
    thread.state = State::kReady;
    thread.copies.clear();
    make_ready(static_cast<int>(i));
  }
  loop();
  if (error_) {
    abandon();
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
  for (const Warpgroup& group : warpgroups_) {
    if (const std::string fault = group.check_end(); !fault.empty()) throw WgmmaError(where() + fault);
  }
  if (const std::string fault = shared_.check_gaps(); !fault.empty()) throw SharedMemoryError(where() + fault);
}

void Block::loop() {
  while (done_ < static_cast<int>(threads_.size()) && !error_) {
    if (ready_.empty() && !slow_ready_) {
      error_ = std::make_exception_ptr(BarrierError(text(where(), "deadlock: ", waiting(), done_ > 0 ? "; " : "", exited())));
      return;
    }
    running_ = next_thread();
    Thread& thread = threads_[running_];
    threadIdx = thread.index;
    thread.started = true;
    thread.fiber->resume();
    if (thread.state == State::kDone && !error_ && barriers_[0].arrived > 0) {
      error_ = std::make_exception_ptr(BarrierError(text(where(), name(running_), " has exited, but ", waiting())));
    }
  }
}

// Unwinds the threads that have begun, so that nothing they hold leaks.
void Block::abandon() {
  abandoning_ = true;
  for (size_t i = 0; i < threads_.size(); ++i) {
    if (!threads_[i].started || threads_[i].state == State::kDone) continue;
    running_ = static_cast<int>(i);
    threadIdx = threads_[i].index;
    threads_[i].fiber->resume();
  }
  abandoning_ = false;
}

void Block::make_ready(int thread) {
  threads_[thread].state = State::kReady;
  if (thread == slow_) {
    slow_ready_ = true;
  } else {
    ready_.push_back(thread);
  }
}

int Block::next_thread() {
  if (slow_ready_ && (ready_.empty() || random_.below(kSlowness) == 0)) {
    slow_ready_ = false;
    return slow_;
  }
  const uint32_t pick = random_.below(static_cast<uint32_t>(ready_.size()));
  std::swap(ready_[pick], ready_.back());
  const int thread = ready_.back();
  ready_.pop_back();
  return thread;
}

void Block::choose_slow_thread() {
  if (slow_ready_) ready_.push_back(slow_);
  slow_ready_ = false;
  slow_ = static_cast<int>(random_.below(static_cast<uint32_t>(threads_.size())));
}

void Block::wait(const char* what, const Site& site) {
  Thread& thread = threads_[running_];
  thread.what = what;
  thread.site = site;
  thread.fiber->suspend();
  if (abandoning_) throw Abandoned();
}

Warpgroup& Block::warpgroup() {
  const auto group = static_cast<size_t>(running_ / 128);
  if (group < warpgroups_.size()) return warpgroups_[group];
  throw WgmmaError(text(where(), name(running_), " is at a wgmma instruction, but has no whole warpgroup: the block has ",
                        threads_.size(), " threads"));
}

void Block::maybe_yield() {
  if (random_.below(4) != 0) return;
  make_ready(running_);
  threads_[running_].fiber->suspend();
  if (abandoning_) throw Abandoned();
}

void Block::barrier(const char* what, int id, int expected, bool wait_for_others, bool one_site, const Site& site) {
  Barrier& barrier = barriers_[id];
  const auto fail = [&](const std::string& problem) {
    throw BarrierError(text(where(), name(running_), " is at ", what, " (", describe(site), ")", problem));
  };
  if (one_site && done_ > 0) fail(text(", but ", exited()));
  if (barrier.arrived == 0) barrier.expected = expected;
  if (barrier.expected != expected) {
    fail(text(" for ", expected, " threads, but others wait there for ", barrier.expected));
  }
  if (one_site && !barrier.sites.empty() && !same(barrier.sites.front(), site)) {
    fail(text(", but ", waiting()));
  }
  if (barrier.sites.empty()) barrier.sites.push_back(site);
  ++barrier.arrived;
  if (wait_for_others) {
    barrier.threads.push_back(running_);
    threads_[running_].state = State::kWaiting;
  }
  if (barrier.arrived == expected) {
    choose_slow_thread();
    for (const int thread : barrier.threads) make_ready(thread);
    barrier.arrived = 0;
    barrier.threads.clear();
    barrier.sites.clear();
  }
  if (wait_for_others) wait(what, site);
}

void Block::collective(const char* what, uint32_t mask, void* payload, Finish finish, const Site& site) {
  const int first = running_ & ~31;
  const auto lanes = std::min<size_t>(32, threads_.size() - static_cast<size_t>(first));
  const auto existing = static_cast<uint32_t>((uint64_t{1} << lanes) - 1);
  const uint32_t own = uint32_t{1} << lane();
  const auto hex = [](uint32_t value) { return text("0x", std::hex, std::setw(8), std::setfill('0'), value); };
  const auto fail = [&](const std::string& problem) {
    throw WarpError(text(where(), name(running_), " (lane ", lane(), ") is at ", what, " (", describe(site), ") with mask ",
                         hex(mask), ", ", problem));
  };
  if ((mask & own) == 0) fail("which does not name its own lane");
  if ((mask & ~existing) != 0) fail(text("but the warp has ", lanes, " threads"));
  for (int i = 0; i < static_cast<int>(lanes); ++i) {
    if ((mask >> i & 1) != 0 && threads_[first + i].state == State::kDone) {
      fail(text("but lane ", i, " has exited"));
    }
  }
  auto& meetings = warps_[static_cast<size_t>(first / 32)];
  auto meeting = std::find_if(meetings.begin(), meetings.end(), [&](const Meeting& m) { return (m.mask & mask) != 0; });
  if (meeting == meetings.end()) {
    meeting = meetings.insert(meeting, {what, site, mask, 0, {}});
  } else if (meeting->mask != mask || !same(meeting->site, site) || !same(meeting->what, what)) {
    std::vector<int> others;
    for (int i = 0; i < 32; ++i) {
      if ((meeting->arrived >> i & 1) != 0) others.push_back(first + i);
    }
    fail(text("but ", describe(others), " came to ", meeting->what, " (", describe(meeting->site), ") with mask ",
              hex(meeting->mask)));
  }
  meeting->arrived |= own;
  meeting->payloads[static_cast<size_t>(lane())] = payload;
  threads_[running_].state = State::kWaiting;
  if (meeting->arrived == mask) {
    const Meeting complete = *meeting;
    meetings.erase(meeting);
    finish(complete.payloads.data(), mask);
    for (int i = 0; i < 32; ++i) {
      if ((mask >> i & 1) != 0) make_ready(first + i);
    }
  }
  wait(what, site);
}

}  // namespace cuda_on_cpu
