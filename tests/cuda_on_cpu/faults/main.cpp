// Runs forwards (or backwards) on kernels with a planted fault and says who caught it:
//
//   fault EXPECTED SEEDS CASE...
//
// EXPECTED: output (a result differs from the float64 reference), error (the stand-in throws one), sanitizer (ASan or UBSan
// ends the program) or nothing (no fault was planted). CASE: kernel2,channels,type,padding,scale,batch,height,width,sm, of the
// input. The exit status is 0 if it was caught as expected. Each run is in a process of its own, which may end in any way.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "backward_case.h"
#include "forward_case.h"

namespace {

using faults::Case;

constexpr int kWrongOutput = 100, kStandInError = 101;  // exit statuses; sanitizers have their own

Case parse(const std::string& text) {
  std::vector<std::string> fields;
  std::istringstream in(text);
  for (std::string field; std::getline(in, field, ',');) fields.push_back(field);
  if (fields.size() != 9) throw std::invalid_argument("a case must have 9 fields, got " + text);
  if (fields[3] != "zeros" && fields[3] != "replicate") {
    throw std::invalid_argument("padding must be zeros or replicate, got " + fields[3]);
  }
  const auto number = [&](size_t i) { return std::stoi(fields[i]); };
  return {number(0), number(1), fields[2], fields[3] == "zeros" ? srcnn::Padding::kZeros : srcnn::Padding::kReplicate,
          number(4), number(5), number(6), number(7),
          number(8)};
}

template <class Run>  // Forward<T>, Backward or BackwardHalf
int run(const Case& c, int seeds) {
  const Run run(c);
  int status = 0;
  cuda_on_cpu::for_seeds(seeds, [&](uint64_t seed) {
    if (status != 0) return;
    try {
      const double error = run.error(c);
      if (error <= faults::tolerance(c.type)) return;
      std::printf("seed %d: the output is off by %g, allowed are %g\n", static_cast<int>(seed), error,
                  faults::tolerance(c.type));
      status = kWrongOutput;
    } catch (const cuda_on_cpu::Error& error) {
      std::printf("seed %d: %s\n", static_cast<int>(seed), error.what());
      status = kStandInError;
    }
  });
  return status;
}

int run(const Case& c, int seeds) {
  cuda_on_cpu::gpu() = cuda_on_cpu::gpu_of(c.compute_capability);
  // Of the tensor-core kernels blocks as large as they get, instead of many of one warp.
  if (c.type != "float") cuda_on_cpu::gpu().multiprocessors = 1;
  if (c.type == "backward") return run<faults::Backward>(c, seeds);
  if (c.type == "backward_half") return run<faults::BackwardHalf>(c, seeds);
  if (c.type == "float" || c.type == "tf32") return run<faults::Forward<float>>(c, seeds);
  if (c.type == "wgmma") setenv("SRCNN_FUSED_CUDA_KERNEL", "wgmma", 1);
  if (c.type == "half" || c.type == "wgmma") return run<faults::Forward<srcnn::Half>>(c, seeds);
  if (c.type == "bfloat16") return run<faults::Forward<srcnn::BFloat16>>(c, seeds);
  throw std::invalid_argument("type must be float, tf32, half, bfloat16, wgmma, backward or backward_half, got " + c.type);
}

// nothing, output, error, sanitizer, or how else the process ended.
std::string caught_by(const Case& c, int seeds) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    const int status = run(c, seeds);
    std::fflush(nullptr);
    _exit(status);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) throw std::runtime_error("waitpid failed");
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  switch (WEXITSTATUS(status)) {
    case 0:
      return "nothing";
    case kWrongOutput:
      return "output";
    case kStandInError:
      return "error";
    case 1:
      return "sanitizer";
    default:
      return "exit status " + std::to_string(WEXITSTATUS(status));
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    std::fprintf(stderr, "usage: fault output|error|sanitizer|nothing SEEDS CASE...\n");
    return 2;
  }
  const std::string expected = arguments[1];
  bool right = true;
  for (int i = 3; i < count; ++i) {
    const std::string by = caught_by(parse(arguments[i]), std::atoi(arguments[2]));
    std::printf("%s: caught by %s, expected: by %s\n", arguments[i], by.c_str(), expected.c_str());
    right = right && by == expected;
  }
  return right ? 0 : 1;
}
