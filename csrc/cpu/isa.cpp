#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace srcnn::cpu {

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kGeneric:
      break;
  }
  return "generic";
}

std::vector<Isa> usable_isas() {
  std::vector<Isa> isas;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")) isas.push_back(Isa::kAvx512);
  if (avx2) isas.push_back(Isa::kAvx2);
#endif
  isas.push_back(Isa::kGeneric);
  return isas;
}

Isa selected_isa() {
  static const std::vector<Isa> usable = usable_isas();
  const char* wanted = std::getenv("SRCNN_FUSED_CPU_ISA");
  if (wanted == nullptr || *wanted == '\0') return usable.front();
  std::string names;
  for (const Isa isa : usable) {
    if (std::string(wanted) == isa_name(isa)) return isa;
    names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  }
  throw std::runtime_error("SRCNN_FUSED_CPU_ISA must be one of " + names + " on this machine, got '" + wanted + "'");
}

}  // namespace srcnn::cpu
