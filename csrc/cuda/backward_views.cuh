// What the backward kernels share: views of images whose type is known at run time (the exact one alone), and ranges of rows.
#pragma once

#include "backward.h"
#include "block.cuh"
#include "storage.cuh"

namespace srcnn::cuda {
namespace {

// f(T{}) for the element type that images have in memory; it is the same for the whole launch.
template <class F>
__device__ __forceinline__ auto with_element(Element element, const F& f) {
  switch (element) {
    case Element::kHalf:
      return f(Half{});
    case Element::kBFloat16:
      return f(BFloat16{});
    default:
      return f(float{});
  }
}

template <class T, class Any>
__device__ __forceinline__ ImageView<T> typed(const ImageView<Any>& view) {
  return {static_cast<T*>(view.data),
          view.batch,
          view.channels,
          view.height,
          view.width,
          view.stride_n,
          view.stride_c,
          view.stride_h,
          view.stride_w};
}

// Rows [begin, end).
struct Rows {
  int begin, end;

  __device__ __forceinline__ int count() const { return max(0, end - begin); }
  __device__ __forceinline__ bool has(int r) const { return r >= begin && r < end; }
  __device__ __forceinline__ Rows within(Rows other) const { return {max(begin, other.begin), min(end, other.end)}; }
};

}  // namespace
}  // namespace srcnn::cuda
