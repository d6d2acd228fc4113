// The networks for which kernels are compiled, and how a launcher gets from a problem's numbers to theirs. The tests that plant
// faults put a file with one network in the place of this one (tests/cuda_on_cpu/faults/plant.cmake).
#pragma once

#include <cstdint>
#include <type_traits>

namespace srcnn::cuda {

template <int kValue>
using Constant = std::integral_constant<int, kValue>;

// call(Constant<conv2's kernel size>{}): 9-1-5, 9-3-5 or 9-5-5
template <class Call>
void with_kernel2(int kernel2, const Call& call) {
  switch (kernel2) {
    case 1:
      return call(Constant<1>{});
    case 3:
      return call(Constant<3>{});
    default:
      return call(Constant<5>{});
  }
}

// call(Constant<conv2's kernel size>{}, Constant<image channels>{})
template <class Call>
void with_network(int kernel2, int64_t channels, const Call& call) {
  with_kernel2(kernel2, [&](auto size) { channels == 3 ? call(size, Constant<3>{}) : call(size, Constant<1>{}); });
}

}  // namespace srcnn::cuda
