// filter_norm and its gradient: from torch's tensors to a Problem and back, for all devices.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <string>

#include "call.h"

namespace ddf::binding {

inline void check_filters(const Tensor* grad_output, const Tensor& filters, int64_t taps,
                          const MaybeTensor& scale, bool on_cuda) {
  check_floating("filters", filters);
  check(taps > 1, [&] { return "taps: expected at least 2, got " + std::to_string(taps); });
  check((on_cuda ? filters.is_cuda() : filters.is_cpu()) && filters.dim() == 4 &&
            filters.size(1) % taps == 0,
        [&] {
          return "filters: expected shape (batch, filters * " + std::to_string(taps) +
                 ", height, width) on " + (on_cuda ? "a CUDA device" : "the CPU") + ", got " +
                 shape_of(filters) + " on " + device_of(filters);
        });
  if (grad_output != nullptr) {
    check_same_kind("grad_output", *grad_output, filters);
    check_shape("grad_output", *grad_output,
                {filters.size(0), filters.size(1), filters.size(2), filters.size(3)});
  }
  check(!scale || (is_beside(*scale, filters) && scale->numel() == 1 &&
                   scale->scalar_type() == torch::headeronly::ScalarType::Float),
        [&] { return "scale: expected one float32 number on " + device_of(filters); });
}

inline void check_learned(const char* name, const Tensor& x, const Tensor& filters) {
  using torch::headeronly::ScalarType;
  const ScalarType expected =
      dtype_of(filters) == DType::float64 ? ScalarType::Double : ScalarType::Float;
  check_defined(name, x);
  check(is_beside(x, filters) && x.scalar_type() == expected && x.dim() == 1 &&
            x.size(0) == filters.size(1),
        [&] {
          return std::string(name) + ": expected " + std::to_string(filters.size(1)) +
                 " numbers of " + torch::headeronly::toString(expected) + " on " +
                 device_of(filters) + ", got shape " + shape_of(x) + " of " +
                 torch::headeronly::toString(x.scalar_type()) + " on " + device_of(x);
        });
}

// The two operators of a device, which says how to run a problem without empty tensors, and where:
//   static constexpr bool kOnCuda;
//   static void filter_norm(FilterNormProblem, const Tensor& filters);
template <typename Device>
struct FilterNorm {
  static Tensor forward(const Tensor& filters, int64_t taps, double gain, double eps,
                        MaybeTensor scale, MaybeTensor std, MaybeTensor mean) {
    return run(nullptr, filters, taps, gain, eps, scale, std, mean);
  }

  static Tensor backward(const Tensor& grad_output, const Tensor& filters, int64_t taps,
                         double gain, double eps, MaybeTensor scale, MaybeTensor std) {
    return run(&grad_output, filters, taps, gain, eps, scale, std, {});
  }

  template <typename Library>
  static void register_with(Library& m) {
    m.impl("filter_norm", TORCH_BOX(&FilterNorm::forward));
    m.impl("filter_norm_backward", TORCH_BOX(&FilterNorm::backward));
  }

 private:
  // The normalised filters, or their gradient if there is grad_output.
  static Tensor run(const Tensor* grad_output, const Tensor& filters, int64_t taps, double gain,
                    double eps, const MaybeTensor& scale, const MaybeTensor& deviations,
                    const MaybeTensor& means) {
    check_filters(grad_output, filters, taps, scale, Device::kOnCuda);
    if (deviations) check_learned("std", *deviations, filters);
    if (means) check_learned("mean", *means, filters);
    // To be kept until the kernel is launched.
    const MaybeTensor deviations_ = in_a_row(deviations), means_ = in_a_row(means);
    FilterNormProblem p;
    p.dtype = dtype_of(filters);
    p.batch = filters.size(0);
    p.filters = filters.size(1) / taps;
    p.taps = taps;
    p.height = filters.size(2);
    p.width = filters.size(3);
    p.gain = gain;
    p.eps = eps;
    if (scale) p.scale = static_cast<const float*>(scale->const_data_ptr());
    if (deviations_) p.deviations = deviations_->const_data_ptr();
    if (means_) p.means = means_->const_data_ptr();
    const Tensor out = empty({p.batch, filters.size(1), p.height, p.width}, filters);
    p.x = view_of(filters);
    p.to = result_view_of(out);
    if (grad_output != nullptr) p.grad_output = view_of(*grad_output);
    if (out.numel() > 0) Device::filter_norm(p, filters);
    return out;
  }

  static MaybeTensor in_a_row(const MaybeTensor& x) {
    if (!x) return {};
    return torch::stable::contiguous(*x);
  }
};

}  // namespace ddf::binding
