// What cuda/ offers to the layer above. No CUDA header is needed to include this.
#pragma once

#include <cstddef>

#include "../srcnn.h"
#include "config.h"

namespace srcnn::cuda {

// All on the current device; they throw std::runtime_error where the CUDA runtime reports an error, the device is too small, or
// SRCNN_FUSED_CUDA_KERNEL asks for what cannot be had. Instantiated for float, Half and BFloat16; sums are float.

// Bytes of device memory that srcnn_forward needs for itself; 0, or under 256 KiB where weights do not fit shared memory.
template <class T>
size_t srcnn_forward_workspace(const ForwardProblemOf<T>& problem);

// In `stream` (a cudaStream_t); pointers are device memory, 16-byte aligned for `workspace`, and needed until the stream
// has come so far. Returns before the work is done.
template <class T>
void srcnn_forward(const ForwardProblemOf<T>& problem, void* workspace, void* stream);

DeviceLimits current_device_limits();

}  // namespace srcnn::cuda
