// Weights in the order the direct kernels read them.
#pragma once

#include <vector>

#include "../srcnn.h"

namespace srcnn::cpu {

// [out][in][ky][kx] -> [out / block][in][ky][kx][block]: a step of the inner loop reads one block.
std::vector<float> pack_channel_blocks(const ConvWeights& conv, int block);

// [out][in][ky][kx] -> [out][in][kx][ky]: conv3 holds a column of taps in registers.
std::vector<float> pack_columns(const ConvWeights& conv);

}  // namespace srcnn::cpu
