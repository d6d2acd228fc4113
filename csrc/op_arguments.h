// The tensors of the ops: argument checks and views. The checks are repeated by the fake kernels in srcnn_fused/_op_checks.py,
// word for word.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <cstdint>
#include <exception>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bicubic.h"
#include "srcnn.h"

namespace srcnn {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Throws the parts as one line. STD_TORCH_CHECK would put function, source file and line number in front of it.
template <class... Parts>
void check(bool condition, const Parts&... parts) {
  if (condition) return;
  std::ostringstream text;
  (text << ... << parts);
  throw std::runtime_error(text.str());
}

inline std::string shape_of(const Tensor& t) {
  std::ostringstream out;
  out << '[';
  for (int64_t d = 0; d < t.dim(); ++d) out << (d ? ", " : "") << t.size(d);
  out << ']';
  return out.str();
}

inline Bicubic parse_bicubic(const std::string& name, const char* argument) {
  if (name == "matlab") return Bicubic::kMatlab;
  if (name == "pil") return Bicubic::kPil;
  check(name == "torch", argument, " must be 'matlab', 'pil' or 'torch', got '", name, "'");
  return Bicubic::kTorch;
}

inline Padding parse_padding(const std::string& name) {
  if (name == "zeros") return Padding::kZeros;
  check(name == "replicate", "padding_mode must be 'zeros' or 'replicate', got '", name, "'");
  return Padding::kReplicate;
}

// A type as torch's Python side names it.
inline std::string type_name(ScalarType type) {
  switch (type) {
    case ScalarType::Float:
      return "float32";
    case ScalarType::Double:
      return "float64";
    case ScalarType::Half:
      return "float16";
    case ScalarType::BFloat16:
      return "bfloat16";
    case ScalarType::Byte:
      return "uint8";
    case ScalarType::Char:
      return "int8";
    case ScalarType::Short:
      return "int16";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Bool:
      return "bool";
    case ScalarType::ComplexFloat:
      return "complex64";
    case ScalarType::ComplexDouble:
      return "complex128";
    default:
      return torch::headeronly::toString(type);
  }
}

// The element types of the kernels.
template <class T>
struct Element;
template <>
struct Element<float> {
  static constexpr ScalarType kType = ScalarType::Float;
};
template <>
struct Element<Half> {
  static constexpr ScalarType kType = ScalarType::Half;
};
template <>
struct Element<BFloat16> {
  static constexpr ScalarType kType = ScalarType::BFloat16;
};

template <class T>
void check_type(const Tensor& t, const char* name) {
  const ScalarType expected = Element<T>::kType;
  check(t.scalar_type() == expected, name, " must be ", type_name(expected), ", got ", type_name(t.scalar_type()));
}

template <class T>
void check_image(const Tensor& x) {
  check(x.dim() == 4 && x.size(2) >= 1 && x.size(3) >= 1, "x must be [N, C, H, W] with H and W at least 1, got ", shape_of(x));
  check(x.size(2) < INT32_MAX && x.size(3) < INT32_MAX, "x must have sides below 2^31, got ", shape_of(x));
  check_type<T>(x, "x");
}

inline void check_shape(const Tensor& t, const char* name, const std::vector<int64_t>& expected) {
  bool equal = t.dim() == static_cast<int64_t>(expected.size());
  for (size_t d = 0; equal && d < expected.size(); ++d) equal = t.size(static_cast<int64_t>(d)) == expected[d];
  std::ostringstream text;
  for (size_t d = 0; d < expected.size(); ++d) text << (d ? ", " : "") << expected[d];
  check(equal, name, " must be [", text.str(), "], got ", shape_of(t));
}

// An uninitialized tensor like x. What torch says when it has no memory for it takes several lines, with its own source files.
inline Tensor new_output(const Tensor& x, const std::vector<int64_t>& shape) {
  try {
    return torch::stable::new_empty(x, shape);
  } catch (const std::exception&) {
    std::ostringstream text;
    for (size_t d = 0; d < shape.size(); ++d) text << (d ? ", " : "") << shape[d];
    throw std::runtime_error("not enough memory for an output of [" + text.str() + "]");
  }
}

template <class T>
ImageView<T> view_of(const Tensor& t) {
  T* data;
  if constexpr (std::is_const_v<T>) {
    data = static_cast<T*>(t.const_data_ptr());
  } else {
    data = static_cast<T*>(t.mutable_data_ptr());
  }
  return {data, t.size(0), t.size(1), t.size(2), t.size(3), t.stride(0), t.stride(1), t.stride(2), t.stride(3)};
}

// A convolution of fixed kernel size, its tensors checked and made contiguous (they are a few kilobytes); holds them alive.
template <class T>
struct ConvArgument {
  Tensor weight, bias;

  ConvArgument(const Tensor& w, const Tensor& b) : weight(torch::stable::contiguous(w)), bias(torch::stable::contiguous(b)) {}

  ConvWeightsOf<T> view() const {
    return {static_cast<const T*>(weight.const_data_ptr()), static_cast<const T*>(bias.const_data_ptr()),
            static_cast<int>(weight.size(0)), static_cast<int>(weight.size(1)), static_cast<int>(weight.size(2))};
  }
};

inline void check_same_device(const Tensor& t, const char* name, const Tensor& x) {
  check(t.is_cuda() == x.is_cuda() && t.get_device_index() == x.get_device_index(), name, " must be on the same device as x");
}

template <class T>
void check_network(const Tensor& x, const Tensor& weight1, const Tensor& bias1, const Tensor& weight2, const Tensor& bias2,
                   const Tensor& weight3, const Tensor& bias3) {
  const int64_t c = x.size(1);
  check(c == 1 || c == 3, "x must have 1 or 3 channels, got ", shape_of(x));
  const std::pair<const char*, const Tensor*> all[] = {{"weight1", &weight1}, {"bias1", &bias1},     {"weight2", &weight2},
                                                       {"bias2", &bias2},     {"weight3", &weight3}, {"bias3", &bias3}};
  for (const auto& [name, tensor] : all) {
    check_type<T>(*tensor, name);
    check_same_device(*tensor, name, x);
  }
  check_shape(weight1, "weight1", {kWidth1, c, kKernel1, kKernel1});
  check_shape(bias1, "bias1", {kWidth1});
  const int64_t kernel2 = weight2.dim() == 4 ? weight2.size(3) : 0;
  check(kernel2 == 1 || kernel2 == 3 || kernel2 == 5, "weight2 must be [32, 64, k, k] with k = 1, 3 or 5, got ",
        shape_of(weight2));
  check_shape(weight2, "weight2", {kWidth2, kWidth1, kernel2, kernel2});
  check_shape(bias2, "bias2", {kWidth2});
  check_shape(weight3, "weight3", {c, kWidth2, kKernel3, kKernel3});
  check_shape(bias3, "bias3", {c});
}

// The checks of srcnn_forward on any device, but for the names of its options.
template <class T>
void check_forward(const Tensor& x, const Tensor& weight1, const Tensor& bias1, const Tensor& weight2, const Tensor& bias2,
                   const Tensor& weight3, const Tensor& bias3, int64_t scale) {
  check_image<T>(x);
  check_network<T>(x, weight1, bias1, weight2, bias2, weight3, bias3);
  check(scale >= 1, "scale must be at least 1, got ", scale);
  check(x.size(2) < INT32_MAX / scale && x.size(3) < INT32_MAX / scale, "scale must keep the sides below 2^31, got ", scale,
        " for x of ", shape_of(x));
}

// srcnn_forward on any device: checks, the problem in plain structs, and run(problem) to solve it.
template <class T, class Run>
Tensor run_forward(const Tensor& x,        // [N, c, h, w]
                   const Tensor& weight1,  // [64, c, 9, 9]
                   const Tensor& bias1,    // [64]
                   const Tensor& weight2,  // [32, 64, k, k]
                   const Tensor& bias2,    // [32]
                   const Tensor& weight3,  // [c, 32, 5, 5]
                   const Tensor& bias3,    // [c]
                   int64_t scale, const std::string& bicubic, const std::string& padding_mode, bool allow_tf32,
                   const Run& run) {
  check_forward<T>(x, weight1, bias1, weight2, bias2, weight3, bias3, scale);
  ForwardProblemOf<T> problem;
  problem.scale = scale;
  problem.bicubic = parse_bicubic(bicubic, "bicubic");
  problem.padding = parse_padding(padding_mode);
  problem.allow_tf32 = allow_tf32;
  Tensor output = new_output(x, {x.size(0), x.size(1), scale * x.size(2), scale * x.size(3)});
  if (output.numel() == 0) return output;
  const ConvArgument<T> conv1(weight1, bias1), conv2(weight2, bias2), conv3(weight3, bias3);
  problem.input = view_of<const T>(x);
  problem.output = view_of<T>(output);
  problem.conv1 = conv1.view();
  problem.conv2 = conv2.view();
  problem.conv3 = conv3.view();
  run(problem);
  return output;
}

// srcnn_backward on any device, likewise; the gradients that output_mask wants, only those, in order.
template <class T, class Run>
std::vector<Tensor> run_backward(const Tensor& grad_output,  // [N, c, scale * h, scale * w]
                                 const Tensor& x, const Tensor& weight1, const Tensor& bias1, const Tensor& weight2,
                                 const Tensor& bias2, const Tensor& weight3, const Tensor& bias3, int64_t scale,
                                 const std::string& bicubic, const std::string& padding_mode,
                                 const std::vector<bool>& output_mask,  // x, weight1, bias1, ..., bias3
                                 const Run& run) {
  check_forward<T>(x, weight1, bias1, weight2, bias2, weight3, bias3, scale);
  BackwardProblemOf<T> problem;
  problem.scale = scale;
  problem.bicubic = parse_bicubic(bicubic, "bicubic");
  problem.padding = parse_padding(padding_mode);
  check_shape(grad_output, "grad_output", {x.size(0), x.size(1), scale * x.size(2), scale * x.size(3)});
  check_type<T>(grad_output, "grad_output");
  check_same_device(grad_output, "grad_output", x);
  const Tensor* const arguments[] = {&x, &weight1, &bias1, &weight2, &bias2, &weight3, &bias3};
  check(output_mask.size() == std::size(arguments), "output_mask must have ", std::size(arguments), " entries, got ",
        output_mask.size());

  std::vector<Tensor> gradients;
  T* data[std::size(arguments)] = {};
  for (size_t i = 0; i < std::size(arguments); ++i) {
    if (!output_mask[i]) continue;
    std::vector<int64_t> shape;
    for (int64_t d = 0; d < arguments[i]->dim(); ++d) shape.push_back(arguments[i]->size(d));
    gradients.push_back(new_output(x, shape));
    data[i] = static_cast<T*>(gradients.back().mutable_data_ptr());
    if (i == 0) problem.grad_input = view_of<T>(gradients.back());
  }
  if (gradients.empty()) return gradients;
  const ConvArgument<T> conv1(weight1, bias1), conv2(weight2, bias2), conv3(weight3, bias3);
  problem.grad_output = view_of<const T>(grad_output);
  problem.input = view_of<const T>(x);
  problem.conv1 = conv1.view();
  problem.conv2 = conv2.view();
  problem.conv3 = conv3.view();
  problem.grad1 = {data[1], data[2]};
  problem.grad2 = {data[3], data[4]};
  problem.grad3 = {data[5], data[6]};
  run(problem);
  return gradients;
}

// bicubic_resize on any device, likewise.
template <class T, class Run>
Tensor run_resize(const Tensor& x,  // [N, C, h, w]
                  int64_t out_height, int64_t out_width, double scale_height, double scale_width, const std::string& convention,
                  const Run& run) {
  check_image<T>(x);
  check(out_height >= 1 && out_width >= 1 && out_height < INT32_MAX && out_width < INT32_MAX,
        "size must be at least 1 and below 2^31, got (", out_height, ", ", out_width, ")");
  check(is_sensible_scale(scale_height, x.size(2)) && is_sensible_scale(scale_width, x.size(3)), "scale must be from ",
        kMinScale, " to ", kMaxScale, ", and at least ", kMinOutput, " / length, got (", scale_height, ", ", scale_width,
        ") for ", x.size(2), " x ", x.size(3), " pixels");
  ResizeProblemOf<T> problem;
  problem.bicubic = parse_bicubic(convention, "convention");
  problem.scale_height = scale_height;
  problem.scale_width = scale_width;
  Tensor output = new_output(x, {x.size(0), x.size(1), out_height, out_width});
  if (output.numel() == 0) return output;
  problem.input = view_of<const T>(x);
  problem.output = view_of<T>(output);
  run(problem);
  return output;
}

}  // namespace srcnn
