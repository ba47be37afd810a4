// From torch's tensors to a Problem and back: what the bindings of all devices share.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/shim_utils.h>

#include <algorithm>
#include <iomanip>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "../kernels/problem.h"
#include "checks.h"

namespace ddf::binding {

using torch::stable::Tensor;
using Ints = std::vector<int64_t>;
using Gradients = std::tuple<Tensor, Tensor, Tensor>;
using MaybeTensor = std::optional<Tensor>;

// Of a tensor that is only read: asked for memory to write to, torch copies one that shares its
// memory until then (torch._lazy_clone).
inline void* read_only(const Tensor& x) { return const_cast<void*>(x.const_data_ptr()); }

inline View view_at(void* data, const Tensor& x) {
  const auto sizes = x.sizes(), strides = x.strides();
  View view;
  view.data = data;
  view.b = strides[0];
  view.c = strides[1];
  view.y = strides[2];
  view.x = strides[3];
  for (size_t i = 0; i < 4; ++i) view.last += (sizes[i] - 1) * strides[i];
  return view;
}
inline View view_of(const Tensor& input) { return view_at(read_only(input), input); }
inline View result_view_of(const Tensor& x) { return view_at(x.mutable_data_ptr(), x); }

inline FilterView filter_view_at(void* data, const Tensor& x) {
  const auto strides = x.strides();
  const size_t d = strides.size();
  return {data,           strides[0],     d == 5 ? strides[1] : 0,
          strides[d - 3], strides[d - 2], strides[d - 1]};
}

// channels_last only where `like` is that and not contiguous as well: ddf_seg/ops/definition.py.
inline bool is_channels_last(const Tensor& like) {
  if (like.dim() != 4 || like.is_contiguous()) return false;
  const auto sizes = like.sizes(), strides = like.strides();
  int64_t expected = 1;
  for (const size_t i : {1, 3, 2, 0}) {
    if (sizes[i] != 1 && strides[i] != expected) return false;
    expected *= sizes[i];
  }
  return true;
}

// The code that torch's allocator gives back does not tell why it failed; memory is what it lacks.
inline std::string no_memory(const Ints& sizes, const Tensor& like) {
  double bytes = static_cast<double>(like.element_size());
  std::ostringstream text;
  text << "ddf_seg: out of memory: no room for a result of shape (";
  for (size_t i = 0; i < sizes.size(); ++i) {
    text << (i > 0 ? ", " : "") << sizes[i];
    bytes *= static_cast<double>(sizes[i]);
  }
  text << ") and dtype " << torch::headeronly::toString(like.scalar_type()) << " on "
       << device_of(like) << ", " << std::setprecision(3) << bytes / (1 << 30) << " GiB";
  return text.str();
}

// On the device and with the dtype of `like`.
inline Tensor empty(const Ints& sizes, const Tensor& like) {
  const size_t d = sizes.size();
  Ints strides(d), order(d);
  for (size_t i = 0; i < d; ++i) order[i] = static_cast<int64_t>(d - 1 - i);
  if (d == 4 && is_channels_last(like)) order = {1, 3, 2, 0};
  int64_t stride = 1;
  for (const int64_t i : order) {
    strides[static_cast<size_t>(i)] = stride;
    stride *= std::max<int64_t>(1, sizes[static_cast<size_t>(i)]);
  }
  int32_t dtype = 0, device = 0, index = 0;
  AtenTensorHandle handle = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(like.get(), &dtype));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(like.get(), &index));
  if (aoti_torch_empty_strided(static_cast<int64_t>(d), sizes.data(), strides.data(), dtype, device,
                               index, &handle) != AOTI_TORCH_SUCCESS)
    throw std::runtime_error(no_memory(sizes, like));
  return Tensor(handle);
}

inline Tensor gradient_like(const Tensor& x) {
  const auto sizes = x.sizes();
  return empty(Ints(sizes.begin(), sizes.end()), x);
}

inline Problem make_problem(const Tensor& features, const MaybeTensor& channel_filter,
                            const MaybeTensor& spatial_filter, const Ints& kernel_size,
                            const Ints& dilation, const Ints& stride, int64_t scale,
                            const std::string& kernel_combine, bool on_cuda) {
  check_arguments(features, channel_filter, spatial_filter, kernel_size, dilation, stride, scale,
                  kernel_combine, on_cuda);
  Problem p;
  p.dtype = dtype_of(features);
  p.combine = !channel_filter           ? Combine::spatial
              : !spatial_filter         ? Combine::channel
              : kernel_combine == "mul" ? Combine::multiply
                                        : Combine::add;
  p.batch = features.size(0);
  p.channels = features.size(1);
  p.height = features.size(2);
  p.width = features.size(3);
  // Without a spatial filter, whole multiples or steps
  const auto out_size = [&](size_t axis) {
    const auto i = static_cast<int64_t>(2 + axis);
    return spatial_filter ? spatial_filter->size(i)
                          : ((features.size(i) - 1) / stride[axis] + 1) * scale;
  };
  p.out_height = out_size(0);
  p.out_width = out_size(1);
  p.kernel_y = kernel_size[0];
  p.kernel_x = kernel_size[1];
  // Taps and steps that leave the map have the same effect whatever their length; cut, coordinates
  // and what kernels plan by them stay small.
  const auto cut = [](int64_t step, int64_t size) {
    return std::min(step, std::max(size, int64_t{1}));
  };
  p.dilation_y = cut(dilation[0], p.height);
  p.dilation_x = cut(dilation[1], p.width);
  p.stride_y = cut(stride[0], p.height);
  p.stride_x = cut(stride[1], p.width);
  p.scale = scale;
  if (spatial_filter) p.groups = spatial_filter->size(1) / p.taps();
  check_reach(p, on_cuda);
  p.features = view_of(features);
  if (channel_filter)
    p.channel_filter = filter_view_at(read_only(*channel_filter), *channel_filter);
  if (spatial_filter) p.spatial_filter = view_of(*spatial_filter);
  return p;
}

// Gradients without values yet, written into the problem where they are needed; else, or of a
// filter that is missing, empty in both senses.
inline Gradients make_gradients(Problem& p, const Tensor& grad_output, const Tensor& features,
                                const MaybeTensor& channel_filter,
                                const MaybeTensor& spatial_filter,
                                const std::vector<bool>& output_mask) {
  check_gradient(grad_output, features, p, output_mask);
  const bool of_channel = output_mask[1] && channel_filter;
  const bool of_spatial = output_mask[2] && spatial_filter;
  Tensor grad_features = output_mask[0] ? gradient_like(features) : empty({0}, features);
  Tensor grad_channel = of_channel ? gradient_like(*channel_filter) : empty({0}, features);
  Tensor grad_spatial = of_spatial ? gradient_like(*spatial_filter) : empty({0}, features);
  p.output = view_of(grad_output);
  if (output_mask[0]) p.grad_features = result_view_of(grad_features);
  if (of_channel) p.grad_channel = filter_view_at(grad_channel.mutable_data_ptr(), grad_channel);
  if (of_spatial) p.grad_spatial = result_view_of(grad_spatial);
  return {grad_features, grad_channel, grad_spatial};
}

// The four operators of a device, which says how to run a Problem:
//   static constexpr bool kOnCuda;
//   static Tensor forward(Problem, const Tensor& features);
//   static Gradients backward(Problem, const Tensor& grad_output, const Tensor& features,
//                             const MaybeTensor& channel_filter,
//                             const MaybeTensor& spatial_filter,
//                             const std::vector<bool>& output_mask);
template <typename Device>
struct Operators {
  static Tensor ddf(const Tensor& features, MaybeTensor channel_filter, MaybeTensor spatial_filter,
                    Ints kernel_size, Ints dilation, Ints stride, std::string kernel_combine) {
    return Device::forward(make_problem(features, channel_filter, spatial_filter, kernel_size,
                                        dilation, stride, 1, kernel_combine, Device::kOnCuda),
                           features);
  }

  static Tensor ddf_upsample(const Tensor& features, MaybeTensor channel_filter,
                             MaybeTensor spatial_filter, Ints kernel_size, int64_t scale_factor,
                             Ints dilation, std::string kernel_combine) {
    return Device::forward(
        make_problem(features, channel_filter, spatial_filter, kernel_size, dilation, {1, 1},
                     scale_factor, kernel_combine, Device::kOnCuda),
        features);
  }

  static Gradients ddf_backward(const Tensor& grad_output, const Tensor& features,
                                MaybeTensor channel_filter, MaybeTensor spatial_filter,
                                Ints kernel_size, Ints dilation, Ints stride,
                                std::string kernel_combine, std::vector<bool> output_mask) {
    return Device::backward(make_problem(features, channel_filter, spatial_filter, kernel_size,
                                         dilation, stride, 1, kernel_combine, Device::kOnCuda),
                            grad_output, features, channel_filter, spatial_filter, output_mask);
  }

  static Gradients ddf_upsample_backward(const Tensor& grad_output, const Tensor& features,
                                         MaybeTensor channel_filter, MaybeTensor spatial_filter,
                                         Ints kernel_size, int64_t scale_factor, Ints dilation,
                                         std::string kernel_combine,
                                         std::vector<bool> output_mask) {
    return Device::backward(
        make_problem(features, channel_filter, spatial_filter, kernel_size, dilation, {1, 1},
                     scale_factor, kernel_combine, Device::kOnCuda),
        grad_output, features, channel_filter, spatial_filter, output_mask);
  }

  template <typename Library>
  static void register_with(Library& m) {
    m.impl("ddf", TORCH_BOX(&Operators::ddf));
    m.impl("ddf_backward", TORCH_BOX(&Operators::ddf_backward));
    m.impl("ddf_upsample", TORCH_BOX(&Operators::ddf_upsample));
    m.impl("ddf_upsample_backward", TORCH_BOX(&Operators::ddf_upsample_backward));
  }
};

}  // namespace ddf::binding
