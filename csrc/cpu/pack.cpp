#include "pack.h"

#include <cstddef>

namespace srcnn::cpu {

std::vector<float> pack_channel_blocks(const ConvWeights& conv, int block) {
  const size_t taps = static_cast<size_t>(conv.in_channels) * conv.kernel_size * conv.kernel_size;
  std::vector<float> packed(taps * conv.out_channels);
  for (int o = 0; o < conv.out_channels; ++o) {
    float* to = packed.data() + static_cast<size_t>(o / block) * taps * block + o % block;
    for (size_t t = 0; t < taps; ++t) to[t * block] = conv.weight[o * taps + t];
  }
  return packed;
}

std::vector<float> pack_columns(const ConvWeights& conv) {
  const int k = conv.kernel_size;
  std::vector<float> packed(static_cast<size_t>(conv.out_channels) * conv.in_channels * k * k);
  for (size_t plane = 0; plane < packed.size(); plane += static_cast<size_t>(k) * k) {
    for (int ky = 0; ky < k; ++ky) {
      for (int kx = 0; kx < k; ++kx) packed[plane + kx * k + ky] = conv.weight[plane + ky * k + kx];
    }
  }
  return packed;
}

}  // namespace srcnn::cpu
