// What cuda/ offers to the layer above. No CUDA header is needed to include this.
#pragma once

#include "../srcnn.h"
#include "config.h"

namespace srcnn::cuda {

// On the current device, in `stream` (a cudaStream_t); pointers are device memory, returns before the work is done.
// Throws std::runtime_error where the CUDA runtime reports an error or the device is too small.
template <class T>  // float, Half or BFloat16; sums are float
void srcnn_forward(const ForwardProblemOf<T>& problem, void* stream);

DeviceLimits current_device_limits();

}  // namespace srcnn::cuda
