// Helpers of the stand-in's own tests: a fault is planted in a kernel, and must be seen.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "platform.cuh"

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAsan = true;
#else
inline constexpr bool kAsan = false;
#endif

// On how many of `seeds` seeds `right` says no, or throws.
template <class Right>
int caught(int seeds, Right&& right) {
  int count = 0;
  cuda_on_cpu::for_seeds(seeds, [&](uint64_t) {
    try {
      if (!right()) ++count;
    } catch (const cuda_on_cpu::Error&) {
      ++count;
    }
  });
  return count;
}

// The message of the E that `launch` throws; what happened instead, in brackets.
template <class E>
std::string message_of(const std::function<void()>& launch) {
  try {
    launch();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("[another exception: ") + error.what() + "]";
  }
  return "[no exception]";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// What `run` writes to stderr in a process of its own, if that ends badly; else "[survived]".
inline std::string last_words(const std::function<void()>& run) {
  int ends[2];
  if (pipe(ends) != 0) return "[no pipe]";
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    run();
    _exit(0);
  }
  close(ends[1]);
  std::string words;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof buffer)) > 0;) words.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "[survived]" : words;
}

// Whole numbers, so that sums in any order are exact.
inline std::vector<float> small_integers(size_t count, uint32_t salt = 1) {
  std::vector<float> values(count);
  uint32_t state = salt;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int>(state >> 24) % 17 - 8);
  }
  return values;
}
