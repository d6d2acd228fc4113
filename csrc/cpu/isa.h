// Instruction sets the CPU kernels are built for, and which one this machine runs.
#pragma once

#include <vector>

namespace srcnn::cpu {

enum class Isa { kGeneric, kAvx2, kAvx512 };

const char* isa_name(Isa isa);  // "generic", "avx2", "avx512": also the values of SRCNN_FUSED_CPU_ISA

// Built into this binary and supported by this machine, best first; never empty.
std::vector<Isa> usable_isas();

// The best usable one, or the one SRCNN_FUSED_CPU_ISA names. Throws std::runtime_error where that cannot run here.
Isa selected_isa();

}  // namespace srcnn::cpu
