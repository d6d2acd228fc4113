// Direct convolution or Winograd in two ways: which one a forward takes.
#pragma once

#include <cstdint>
#include <vector>

#include "../srcnn.h"
#include "bfloat16_rows.h"
#include "isa.h"
#include "kernels.h"

namespace srcnn::cpu {

// kPixels: Winograd too, with vectors of channels where kWinograd has vectors of tiles; for narrow images (pixel_forward.h).
enum class Algorithm { kDirect, kWinograd, kPixels };

const char* algorithm_name(Algorithm algorithm);  // "direct", "winograd", "pixels": also the values of SRCNN_FUSED_CPU_ALGO

// The one SRCNN_FUSED_CPU_ALGO names; without it, or with "auto", the faster one for outputs of this size;
// never a matter of the number of threads. Throws std::runtime_error where it names none.
Algorithm selected_algorithm(int kernel2, int64_t channels, int64_t height, int64_t width, Isa isa, int64_t batch = 1);

// For each image, whether it and the weights are finite and not huge. A Winograd tile mixes all its pixels, so that one NaN or
// infinity, or a value that drowns its neighbours in its rounding error, would reach pixels that do not depend on it.
std::vector<bool> fit_for_winograd(const ForwardProblem& problem, const BFloat16Images* sixteen, const Threads& threads);

}  // namespace srcnn::cpu
