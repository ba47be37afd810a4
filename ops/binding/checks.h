// What must hold before a kernel touches memory. ddf_seg/ops/checks.py says the same in Python's
// terms; this is for who calls torch.ops.ddf_seg directly.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "../kernels/problem.h"

namespace ddf::binding {

// What dilation and stride may be at most, and the weights of a channel in all phases; and
// scale_factor, whose square counts phases. What is computed from them then fits into 64 bits.
// ddf_seg/ops/checks.py has the same limits.
inline constexpr int64_t kMost = INT32_MAX, kMostScale = int64_t{1} << 15;

// Messages that are put together are so only where they are needed: that takes longer than all
// checks of a call.
inline void check(bool holds, const char* message) {
  if (!holds) throw std::runtime_error(message);
}
template <typename Message>
inline auto check(bool holds, const Message& message) -> decltype(void(message())) {
  if (!holds) throw std::runtime_error(message());
}

inline std::string shape_of(const torch::stable::Tensor& x) {
  std::ostringstream text;
  text << '(';
  for (int64_t i = 0; i < x.dim(); ++i) text << (i > 0 ? ", " : "") << x.size(i);
  text << ')';
  return text.str();
}

inline void check_shape(const char* name, const torch::stable::Tensor& x,
                        const std::vector<int64_t>& expected) {
  bool same = x.dim() == static_cast<int64_t>(expected.size());
  for (size_t i = 0; same && i < expected.size(); ++i)
    same = x.size(static_cast<int64_t>(i)) == expected[i];
  if (same) return;
  std::ostringstream text;
  text << name << ": expected shape (";
  for (size_t i = 0; i < expected.size(); ++i) text << (i > 0 ? ", " : "") << expected[i];
  text << "), got " << shape_of(x);
  throw std::runtime_error(text.str());
}

// A device as the error messages name it.
inline std::string device_of(const torch::stable::Tensor& x) {
  if (x.is_cpu()) return "the CPU";
  return x.is_cuda() ? "CUDA device " + std::to_string(x.get_device_index()) : "another device";
}

// For a Tensor of a schema, torch takes None, too.
inline void check_defined(const char* name, const torch::stable::Tensor& x) {
  check(x.defined(), [&] { return std::string(name) + ": expected a tensor, got None"; });
}

inline std::optional<DType> find_dtype(const torch::stable::Tensor& x) {
  using torch::headeronly::ScalarType;
  switch (x.scalar_type()) {
#define DDF_CASE(name, scalar_type) \
  case ScalarType::scalar_type:     \
    return DType::name;
    DDF_DTYPES(DDF_CASE)
#undef DDF_CASE
    default:
      return std::nullopt;
  }
}

// Of a tensor that check_floating has seen.
inline DType dtype_of(const torch::stable::Tensor& x) { return find_dtype(x).value(); }

inline void check_floating(const char* name, const torch::stable::Tensor& x) {
  check_defined(name, x);
  check(find_dtype(x).has_value(), [&] {
    std::string known;
#define DDF_NAME(dtype, scalar_type) known += known.empty() ? #dtype : ", " #dtype;
    DDF_DTYPES(DDF_NAME)
#undef DDF_NAME
    return std::string(name) + ": expected one of " + known + ", got " +
           torch::headeronly::toString(x.scalar_type());
  });
}

inline bool is_beside(const torch::stable::Tensor& x, const torch::stable::Tensor& other) {
  return x.is_cpu() == other.is_cpu() && x.is_cuda() == other.is_cuda() &&
         x.get_device_index() == other.get_device_index();
}

inline void check_same_kind(const char* name, const torch::stable::Tensor& x,
                            const torch::stable::Tensor& features) {
  check_defined(name, x);
  check(is_beside(x, features), [&] {
    return std::string(name) + ": expected a tensor on " + device_of(features) +
           ", where features are, got one on " + device_of(x);
  });
  check(x.scalar_type() == features.scalar_type(), [&] {
    return std::string(name) + ": expected the dtype of features, " +
           torch::headeronly::toString(features.scalar_type()) + ", got " +
           torch::headeronly::toString(x.scalar_type());
  });
}

inline void check_pair(const char* name, const std::vector<int64_t>& pair) {
  const auto fits = [](int64_t value) { return value >= 1 && value <= kMost; };
  check(pair.size() == 2 && fits(pair[0]) && fits(pair[1]), [&] {
    std::ostringstream text;
    text << name << ": expected two values from 1 to " << kMost << ", got (";
    for (size_t i = 0; i < pair.size(); ++i) text << (i > 0 ? ", " : "") << pair[i];
    text << ')';
    return text.str();
  });
}

inline void check_channel_filter(const torch::stable::Tensor& features,
                                 const torch::stable::Tensor& filter,
                                 const std::vector<int64_t>& kernel_size, int64_t scale) {
  std::vector<int64_t> expected{features.size(0), features.size(1), kernel_size[0], kernel_size[1]};
  if (filter.dim() == 5) expected.insert(expected.begin() + 1, scale * scale);
  check_shape("channel_filter", filter, expected);
  check(filter.dim() == 4 || scale > 1 || filter.size(1) == 1,
        "channel_filter: expected 4 dimensions");
}

inline void check_spatial_filter(const torch::stable::Tensor& features,
                                 const torch::stable::Tensor& filter,
                                 const std::vector<int64_t>& kernel_size,
                                 const std::vector<int64_t>& stride, int64_t scale) {
  const int64_t channels = features.size(1), taps = kernel_size[0] * kernel_size[1];
  check(filter.dim() == 4 && filter.size(0) == features.size(0) && filter.size(1) >= taps &&
            filter.size(1) % taps == 0 && channels % (filter.size(1) / taps) == 0,
        [&] {
          return "spatial_filter: expected shape (batch, groups * " + std::to_string(taps) +
                 ", height, width) with groups a divisor of the " + std::to_string(channels) +
                 " channels, got " + shape_of(filter);
        });
  for (int64_t i = 0; i < 2; ++i) {
    const int64_t in = features.size(2 + i), out = filter.size(2 + i);
    const int64_t step = stride[static_cast<size_t>(i)];
    // scale * (in - 1) < out < scale * (in + 1), without the products, which may overflow
    const bool fits = scale == 1 ? out == (in - 1) / step + 1
                                 : out >= 1 && (out - 1) / scale >= in - 1 && out / scale <= in;
    check(fits, [&] {
      return "spatial_filter: its height and width " + shape_of(filter) +
             " do not fit those of features " + shape_of(features);
    });
  }
}

// One of the filters may be missing.
inline void check_arguments(const torch::stable::Tensor& features,
                            const std::optional<torch::stable::Tensor>& channel_filter,
                            const std::optional<torch::stable::Tensor>& spatial_filter,
                            const std::vector<int64_t>& kernel_size,
                            const std::vector<int64_t>& dilation,
                            const std::vector<int64_t>& stride, int64_t scale,
                            const std::string& kernel_combine, bool on_cuda) {
  check_floating("features", features);
  check(on_cuda ? features.is_cuda() : features.is_cpu(), [&] {
    return std::string("features: expected a tensor on ") +
           (on_cuda ? "a CUDA device" : "the CPU") + ", got one on " + device_of(features);
  });
  check(channel_filter || spatial_filter,
        "channel_filter: expected a tensor where there is no spatial_filter, got None");
  if (channel_filter) check_same_kind("channel_filter", *channel_filter, features);
  if (spatial_filter) check_same_kind("spatial_filter", *spatial_filter, features);
  check(features.dim() == 4 && features.size(2) > 0 && features.size(3) > 0, [&] {
    return "features: expected 4 dimensions, at least one row and one column, got shape " +
           shape_of(features);
  });
  check_pair("kernel_size", kernel_size);
  check_pair("dilation", dilation);
  check_pair("stride", stride);
  check(kernel_size[0] % 2 == 1 && kernel_size[1] % 2 == 1, "kernel_size: expected odd values");
  check(scale >= 1 && scale <= kMostScale, [&] {
    return "scale_factor: expected a value from 1 to " + std::to_string(kMostScale) + ", got " +
           std::to_string(scale);
  });
  check(static_cast<double>(kernel_size[0]) * static_cast<double>(kernel_size[1]) *
                static_cast<double>(scale * scale) <=
            static_cast<double>(kMost),
        [&] {
          return "kernel_size: expected at most " + std::to_string(kMost) +
                 " weights, kernel_size[0] * kernel_size[1] * scale_factor^2";
        });
  check(kernel_combine == "mul" || kernel_combine == "add",
        [&] { return "kernel_combine: expected 'mul' or 'add', got '" + kernel_combine + "'"; });

  if (channel_filter) check_channel_filter(features, *channel_filter, kernel_size, scale);
  if (spatial_filter) check_spatial_filter(features, *spatial_filter, kernel_size, stride, scale);
}

// Coordinates with all that taps reach: 32 bits in the CUDA kernels.
inline void check_reach(const Problem& p, bool on_cuda) {
  const double most = on_cuda ? static_cast<double>(kMost) : 0x1p62;
  const auto reach = [](int64_t size, int64_t kernel, int64_t dilation, int64_t out) {
    return static_cast<double>(kernel) * static_cast<double>(dilation) +
           static_cast<double>(std::max(size, out));
  };
  check(reach(p.height, p.kernel_y, p.dilation_y, p.out_height) <= most &&
            reach(p.width, p.kernel_x, p.dilation_x, p.out_width) <= most,
        [&] {
          return std::string("features: expected sides of less than 2^") + (on_cuda ? "31" : "62") +
                 " pixels, with all that taps reach";
        });
}

// Of the gradients that are wanted.
inline void check_mask(const std::vector<bool>& output_mask) {
  check(output_mask.size() == 3, "output_mask: expected three values");
}

inline void check_gradient(const torch::stable::Tensor& grad_output,
                           const torch::stable::Tensor& features, const Problem& p,
                           const std::vector<bool>& output_mask) {
  check_same_kind("grad_output", grad_output, features);
  check_shape("grad_output", grad_output, {p.batch, p.channels, p.out_height, p.out_width});
  check_mask(output_mask);
}

inline void check_depthwise_pointwise(const torch::stable::Tensor& x,
                                      const std::optional<torch::stable::Tensor>& depthwise,
                                      const torch::stable::Tensor& pointwise, int64_t scale) {
  check_floating("x", x);
  check(x.dim() == 4 && x.size(1) > 0 && x.size(2) > 0 && x.size(3) > 0, [&] {
    return "x: expected 4 dimensions, at least one channel, row and column, got shape " +
           shape_of(x);
  });
  if (depthwise) check_same_kind("depthwise", *depthwise, x);
  check_same_kind("pointwise", pointwise, x);
  check(pointwise.dim() == 3 && pointwise.size(0) > 0 && pointwise.size(1) > 0 &&
            pointwise.size(2) == x.size(1),
        [&] {
          return "pointwise: expected shape (phases, outputs, " + std::to_string(x.size(1)) +
                 "), got " + shape_of(pointwise);
        });
  check(!depthwise || (depthwise->dim() == 4 && depthwise->size(0) == pointwise.size(0) &&
                       depthwise->size(1) == x.size(1) &&
                       depthwise->size(2) == depthwise->size(3) && depthwise->size(2) % 2 == 1),
        [&] {
          return "depthwise: expected shape (phases, " + std::to_string(x.size(1)) +
                 ", side, side) with an odd side, got " + shape_of(*depthwise);
        });
  check(scale >= 1 && scale <= kMostScale && (scale == 1 || scale * scale == pointwise.size(0)),
        [&] {
          return "scale_factor: expected 1, or the root of the number of phases " +
                 std::to_string(pointwise.size(0)) + ", got " + std::to_string(scale);
        });
}

}  // namespace ddf::binding
