// interpolation_softmax and its gradient: from torch's tensors to a Problem and back, for all
// devices.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <string>

#include "call.h"

namespace ddf::binding {

inline void check_table(const char* name, const Tensor& x, const Tensor& logits, int64_t tables,
                        int64_t kernel, int64_t size) {
  using torch::headeronly::ScalarType;
  const ScalarType expected =
      dtype_of(logits) == DType::float64 ? ScalarType::Double : ScalarType::Float;
  check_defined(name, x);
  check(is_beside(x, logits) && x.scalar_type() == expected, [&] {
    return std::string(name) + ": expected a tensor of " + torch::headeronly::toString(expected) +
           " on " + device_of(logits) + ", got " + torch::headeronly::toString(x.scalar_type()) +
           " on " + device_of(x);
  });
  check(x.dim() == 3 && x.size(0) == tables && tables > 2 && x.size(1) == kernel &&
            kernel % 2 == 1 && x.size(2) == size,
        [&] {
          return std::string(name) + ": expected shape (2 + maps, kernel_size, " +
                 std::to_string(size) + ") with an odd kernel_size, as rows and columns share, " +
                 "got " + shape_of(x);
        });
}

inline void check_interpolation_softmax(const Tensor* grad_output, const Tensor& logits,
                                        const MaybeTensor& query, const MaybeTensor& key,
                                        const Tensor& rows, const Tensor& columns,
                                        int64_t scale_factor, bool on_cuda) {
  check_floating("logits", logits);
  check_defined("rows", rows);
  const int64_t tables = rows.dim() == 3 ? rows.size(0) : 0;
  const int64_t kernel = rows.dim() == 3 ? rows.size(1) : 0, taps = kernel * kernel;
  check((on_cuda ? logits.is_cuda() : logits.is_cpu()) && logits.dim() == 4, [&] {
    return std::string("logits: expected 4 dimensions, on ") +
           (on_cuda ? "a CUDA device" : "the CPU") + ", got shape " + shape_of(logits) + " on " +
           device_of(logits);
  });
  check_table("rows", rows, logits, tables, kernel, logits.size(2));
  check_table("columns", columns, logits, tables, kernel, logits.size(3));
  check(logits.size(1) >= taps && logits.size(1) % taps == 0, [&] {
    return "logits: expected shape (batch, groups * " + std::to_string(taps) +
           ", height, width), got " + shape_of(logits);
  });
  const int64_t groups = logits.size(1) / taps;
  check(scale_factor >= 1 && scale_factor <= kMostScale, [&] {
    return "scale_factor: expected a value from 1 to " + std::to_string(kMostScale) + ", got " +
           std::to_string(scale_factor);
  });
  check(query.has_value() == key.has_value(), "query, key: expected both or none");
  if (query) {
    check_same_kind("query", *query, logits);
    check_same_kind("key", *key, logits);
    const int64_t channels = query->dim() == 4 ? query->size(1) : 0;
    check(channels >= groups && channels % groups == 0 && query->size(0) == logits.size(0) &&
              query->size(2) == logits.size(2) && query->size(3) == logits.size(3),
          [&] {
            return "query: expected the batch and size of logits " + shape_of(logits) +
                   " and a multiple of " + std::to_string(groups) + " channels, got shape " +
                   shape_of(*query);
          });
    check(key->dim() == 4 && key->size(0) == logits.size(0) && key->size(1) == channels, [&] {
      return "key: expected the batch and channels of query " + shape_of(*query) + ", got shape " +
             shape_of(*key);
    });
    for (int64_t i = 2; i < 4; ++i) {
      const int64_t low = key->size(i), high = logits.size(i);
      check(low >= 1 && high >= 1 && (high - 1) / scale_factor >= low - 1 &&
                high / scale_factor <= low,
            [&] {
              return "logits: height and width " + shape_of(logits) + " do not fit those of key " +
                     shape_of(*key);
            });
    }
  }
  if (grad_output != nullptr) {
    check_same_kind("grad_output", *grad_output, logits);
    check_shape("grad_output", *grad_output,
                {logits.size(0), (tables - 2) * logits.size(1), logits.size(2), logits.size(3)});
  }
}

// The two operators of a device, which says how to run a problem without empty tensors, and where:
//   static constexpr bool kOnCuda;
//   static void interpolation_softmax(const InterpolationSoftmaxProblem&, const Tensor& logits);
template <typename Device>
struct InterpolationSoftmax {
  static Tensor forward(const Tensor& logits, MaybeTensor query, MaybeTensor key,
                        const Tensor& rows, const Tensor& columns, int64_t scale_factor) {
    return run(nullptr, logits, query, key, rows, columns, scale_factor);
  }

  static Tensor backward(const Tensor& grad_output, const Tensor& logits, MaybeTensor query,
                         MaybeTensor key, const Tensor& rows, const Tensor& columns,
                         int64_t scale_factor) {
    return run(&grad_output, logits, query, key, rows, columns, scale_factor);
  }

  template <typename Library>
  static void register_with(Library& m) {
    m.impl("interpolation_softmax", TORCH_BOX(&InterpolationSoftmax::forward));
    m.impl("interpolation_softmax_backward", TORCH_BOX(&InterpolationSoftmax::backward));
  }

 private:
  // Filters, or the gradient of the logits if there is grad_output.
  static Tensor run(const Tensor* grad_output, const Tensor& logits, const MaybeTensor& query,
                    const MaybeTensor& key, const Tensor& rows, const Tensor& columns,
                    int64_t scale_factor) {
    check_interpolation_softmax(grad_output, logits, query, key, rows, columns, scale_factor,
                                Device::kOnCuda);
    const Tensor rows_ = torch::stable::contiguous(rows);
    const Tensor columns_ = torch::stable::contiguous(columns);
    InterpolationSoftmaxProblem p;
    p.dtype = dtype_of(logits);
    p.batch = logits.size(0);
    p.maps = rows.size(0) - 2;
    p.kernel = rows.size(1);
    p.groups = logits.size(1) / p.taps();
    p.height = logits.size(2);
    p.width = logits.size(3);
    p.logits = view_of(logits);
    p.rows = rows_.const_data_ptr();
    p.columns = columns_.const_data_ptr();
    if (query) {
      p.depth = query->size(1) / p.groups;
      p.scale = scale_factor;
      p.low_height = key->size(2);
      p.low_width = key->size(3);
      p.query = view_of(*query);
      p.key = view_of(*key);
    }
    const int64_t maps = grad_output == nullptr ? p.maps : 1;
    const Tensor out = empty({p.batch, maps * logits.size(1), p.height, p.width}, logits);
    if (out.numel() == 0) return out;
    if (grad_output == nullptr) {
      p.out = result_view_of(out);
    } else {
      p.out = view_of(*grad_output);
      p.grad_logits = result_view_of(out);
    }
    Device::interpolation_softmax(p, logits);
    return out;
  }
};

}  // namespace ddf::binding
