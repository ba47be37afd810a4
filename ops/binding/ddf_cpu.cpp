// The CPU side of torch.ops.ddf_seg: checks, allocation, threads and registration, on torch's
// stable ABI alone (torch/csrc/stable, torch/headeronly), so that one binary serves every torch.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "../kernels/cpu/kernels.h"
#include "call.h"
#include "exports.h"
#include "filter_norm.h"
#include "softmax.h"

namespace {

using ddf::Kernels;
using ddf::Plan;
using ddf::Problem;
using ddf::View;
using ddf::binding::empty;
using ddf::binding::Gradients;
using ddf::binding::MaybeTensor;
using torch::stable::Tensor;

const Kernels& kernels(ddf::DType dtype, bool narrow = false) {
  static const char* error = nullptr;
  static const ddf::KernelsOf wide = ddf::select_kernels(false, &error);
  static const ddf::KernelsOf short_vectors = ddf::select_kernels(true, &error);
  if (wide == nullptr) throw std::runtime_error(error);
  return (narrow ? short_vectors : wide)(dtype);
}

// Kept by each thread from call to call: allocating it anew costs more than a small map.
void* thread_scratch(int64_t bytes) {
  constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(void* memory) const { ::operator delete(memory, kAlignment); }
  };
  thread_local std::unique_ptr<void, Free> memory;
  thread_local int64_t size = 0;
  if (bytes > size) {
    memory.reset();
    size = (bytes + 4095) / 4096 * 4096;
    memory.reset(::operator new(static_cast<size_t>(size), kAlignment, std::nothrow));
    if (memory == nullptr) {
      throw std::runtime_error("ddf_seg: out of memory: no room for the " +
                               std::to_string(std::exchange(size, 0)) +
                               " bytes that a thread works in");
    }
  }
  return memory.get();
}

// Runs body(unit) for all units, each on whichever thread is free. `work` counts multiply-adds.
template <typename Body>
void for_units(int64_t units, int64_t work, const Body& body) {
  constexpr int64_t kLeastWork = 1 << 18;  // waking a thread costs about as much
  const int64_t threads =
      std::min<int64_t>({torch::stable::get_num_threads(), units, 1 + work / kLeastWork});
  if (threads <= 1) {
    for (int64_t unit = 0; unit < units; ++unit) body(unit);
    return;
  }
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    for (int64_t unit = next++; unit < units; unit = next++) body(unit);
  });
}

// The C library gives every block of 32 MiB and more fresh pages, smaller ones now and then, and
// the kernel clears them as they are first written: with pages of 4 KiB that takes longer than the
// operator itself.
void prefer_huge_pages(const Tensor& fresh) {
#if defined(__linux__)
  const int64_t bytes = fresh.numel() * static_cast<int64_t>(fresh.element_size());
  constexpr uintptr_t kHuge = uintptr_t{2} << 20;
  if (bytes < int64_t{4} << 20) return;
  const auto data = reinterpret_cast<uintptr_t>(fresh.mutable_data_ptr());
  const uintptr_t begin = (data + kHuge - 1) / kHuge * kHuge;
  const uintptr_t end = (data + static_cast<uintptr_t>(bytes)) / kHuge * kHuge;
  // Only advice: a kernel without huge pages goes on as before.
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)fresh;
#endif
}

int64_t work_of(const Problem& p) {
  return p.batch * p.channels * p.out_height * p.out_width * p.taps();
}

struct Cpu {
  static constexpr bool kOnCuda = false;

  static Tensor forward(Problem p, const Tensor& features) {
    Tensor output = empty({p.batch, p.channels, p.out_height, p.out_width}, features);
    prefer_huge_pages(output);
    p.output = ddf::binding::result_view_of(output);
    const Kernels& k = kernels(p.dtype, ddf::is_narrow(p));
    const Plan plan = k.plan_forward(p, torch::stable::get_num_threads());
    for_units(plan.units, work_of(p),
              [&](int64_t unit) { k.forward(p, plan, unit, thread_scratch(plan.scratch_bytes)); });
    return output;
  }

  static Gradients backward(Problem p, const Tensor& grad_output, const Tensor& features,
                            const MaybeTensor& channel_filter, const MaybeTensor& spatial_filter,
                            const std::vector<bool>& output_mask) {
    const Gradients gradients = ddf::binding::make_gradients(
        p, grad_output, features, channel_filter, spatial_filter, output_mask);
    prefer_huge_pages(std::get<0>(gradients));
    prefer_huge_pages(std::get<2>(gradients));
    const Kernels& k = kernels(p.dtype, ddf::is_narrow(p));
    const Plan plan = k.plan_backward(p);
    // Freed with the tensor; torch's allocator so that torch's memory statistics see it.
    const auto element = static_cast<int64_t>(features.element_size());
    const Tensor partial = empty({(plan.partial_bytes + element - 1) / element}, features);
    if (plan.partial_bytes > 0) p.partial_sums = partial.mutable_data_ptr();
    for_units(plan.units, 3 * work_of(p),
              [&](int64_t unit) { k.backward(p, plan, unit, thread_scratch(plan.scratch_bytes)); });
    if (p.partial_sums != nullptr)
      torch::stable::parallel_for(0, p.batch * p.channels, 1024, [&](int64_t begin, int64_t end) {
        k.reduce_channel(p, plan, begin, end);
      });
    return gradients;
  }

  static void filter_norm(ddf::FilterNormProblem p, const Tensor& filters) {
    // Rows that follow upon each other are one.
    const auto dense = [&](const View& view) {
      return view.data == nullptr || view.y == p.width * view.x;
    };
    if (p.height * p.width == 1) {  // channel filters: they take the place of the pixels
      for (View* view : {&p.x, &p.to, &p.grad_output}) {
        view->x = p.taps * view->c;
        view->y = 0;
      }
      p.width = p.filters;
      p.filters = 1;
      p.filters_along_x = true;
    } else if (dense(p.x) && dense(p.to) && dense(p.grad_output)) {
      p.width *= p.height;
      p.height = 1;
    }
    p.run = p.x.x == 1 ? 4096 : 512;
    const Kernels& k = kernels(p.dtype);
    const int64_t bytes = k.filter_norm_scratch_bytes(p);
    for_units(p.units(), filters.numel() * 4,
              [&](int64_t unit) { k.filter_norm(p, unit, thread_scratch(bytes)); });
  }

  static void interpolation_softmax(const ddf::InterpolationSoftmaxProblem& p, const Tensor&) {
    const Kernels& k = kernels(p.dtype);
    const Plan plan = k.plan_interpolation_softmax(p);
    const int64_t logits = p.batch * p.groups * p.taps() * p.height * p.width;
    for_units(plan.units, logits * (8 + p.depth), [&](int64_t unit) {
      k.interpolation_softmax(p, plan, unit, thread_scratch(plan.scratch_bytes));
    });
  }
};

MaybeTensor contiguous(const MaybeTensor& x) {
  return x ? MaybeTensor(torch::stable::contiguous(*x)) : std::nullopt;
}

ddf::DepthwisePointwise make_depthwise_pointwise(const Tensor& x, const MaybeTensor& depthwise,
                                                 const Tensor& pointwise, int64_t scale) {
  ddf::binding::check_depthwise_pointwise(x, depthwise, pointwise, scale);
  ddf::DepthwisePointwise p;
  p.dtype = ddf::binding::dtype_of(x);
  p.batch = x.size(0);
  p.channels = x.size(1);
  p.height = x.size(2);
  p.width = x.size(3);
  p.phases = pointwise.size(0);
  p.outputs = pointwise.size(1);
  p.scale = scale;
  p.x = ddf::binding::view_of(x);
  if (depthwise) {
    p.side = depthwise->size(2);
    p.depthwise = depthwise->const_data_ptr();
  }
  p.pointwise = pointwise.const_data_ptr();
  return p;
}

std::vector<int64_t> out_shape(const ddf::DepthwisePointwise& p) {
  if (p.scale == 1) return {p.batch, p.phases * p.outputs, p.height, p.width};
  return {p.batch, p.outputs, p.scale * p.height, p.scale * p.width};
}

// Rows that follow upon each other are one for what looks at no neighbours.
void join_rows(ddf::DepthwisePointwise& p) {
  const auto dense = [&](const View& view) {
    return view.data == nullptr || view.y == p.width * view.x;
  };
  if (p.depthwise != nullptr || p.scale > 1 || !dense(p.x) || !dense(p.out) || !dense(p.grad_x))
    return;
  p.width *= p.height;
  p.height = 1;
}

int64_t work_of(const ddf::DepthwisePointwise& p) {
  return p.batch * p.height * p.width * p.parameter_elements();
}

Tensor depthwise_pointwise(const Tensor& x, const MaybeTensor& depthwise, const Tensor& pointwise,
                           const Tensor& bias, int64_t scale_factor) {
  const MaybeTensor depthwise_ = contiguous(depthwise);
  const Tensor pointwise_ = torch::stable::contiguous(pointwise);
  const Tensor bias_ = torch::stable::contiguous(bias);
  ddf::DepthwisePointwise p = make_depthwise_pointwise(x, depthwise_, pointwise_, scale_factor);
  ddf::binding::check_same_kind("bias", bias, x);
  ddf::binding::check_shape("bias", bias, {p.phases * p.outputs});
  p.bias = bias_.const_data_ptr();
  const Tensor out = empty(out_shape(p), x);
  if (out.numel() == 0) return out;
  p.out = ddf::binding::result_view_of(out);
  join_rows(p);
  const Kernels& k = kernels(p.dtype);
  const Plan plan = k.plan_depthwise_pointwise(p);
  for_units(plan.units, work_of(p), [&](int64_t unit) {
    k.depthwise_pointwise(p, plan, unit, thread_scratch(plan.scratch_bytes));
  });
  return out;
}

void run_depthwise_pointwise_backward(ddf::DepthwisePointwise p, const Tensor& x) {
  join_rows(p);
  const Kernels& k = kernels(p.dtype);
  const Plan plan = k.plan_depthwise_pointwise(p);
  const auto element = static_cast<int64_t>(x.element_size());
  const Tensor partial = empty({(plan.partial_bytes + element - 1) / element}, x);
  if (plan.partial_bytes > 0) p.partial_sums = partial.mutable_data_ptr();
  for_units(plan.units, 3 * work_of(p), [&](int64_t unit) {
    k.depthwise_pointwise(p, plan, unit, thread_scratch(plan.scratch_bytes));
  });
  if (p.has_parameter_gradients())
    torch::stable::parallel_for(
        0, p.parameter_elements(), 1 << 14,
        [&](int64_t begin, int64_t end) { k.reduce_parameters(p, plan, begin, end); });
}

Gradients depthwise_pointwise_backward(const Tensor& grad_output, const Tensor& x,
                                       const MaybeTensor& depthwise, const Tensor& pointwise,
                                       int64_t scale_factor, std::vector<bool> output_mask) {
  const MaybeTensor depthwise_ = contiguous(depthwise);
  const Tensor pointwise_ = torch::stable::contiguous(pointwise);
  ddf::DepthwisePointwise p = make_depthwise_pointwise(x, depthwise_, pointwise_, scale_factor);
  ddf::binding::check_same_kind("grad_output", grad_output, x);
  ddf::binding::check_shape("grad_output", grad_output, out_shape(p));
  ddf::binding::check_mask(output_mask);
  const auto gradient = [&](bool wanted, const Tensor& of) {
    return wanted ? ddf::binding::gradient_like(of) : empty({0}, x);
  };
  const bool of_depthwise = output_mask[1] && depthwise_;
  const Tensor grad_x = gradient(output_mask[0], x);
  const Tensor grad_depthwise = gradient(of_depthwise, depthwise_ ? *depthwise_ : x);
  const Tensor grad_pointwise = gradient(output_mask[2], pointwise_);
  prefer_huge_pages(grad_x);
  p.out = ddf::binding::view_of(grad_output);
  if (output_mask[0]) p.grad_x = ddf::binding::result_view_of(grad_x);
  if (of_depthwise) p.grad_depthwise = grad_depthwise.mutable_data_ptr();
  if (output_mask[2]) p.grad_pointwise = grad_pointwise.mutable_data_ptr();
  if (p.is_backward()) run_depthwise_pointwise_backward(p, x);
  return {grad_x, grad_depthwise, grad_pointwise};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(ddf_seg, CPU, m) {
  ddf::binding::Operators<Cpu>::register_with(m);
  ddf::binding::FilterNorm<Cpu>::register_with(m);
  ddf::binding::InterpolationSoftmax<Cpu>::register_with(m);
  m.impl("depthwise_pointwise", TORCH_BOX(&depthwise_pointwise));
  m.impl("depthwise_pointwise_backward", TORCH_BOX(&depthwise_pointwise_backward));
}

// The instruction set in use, for ddf_seg/ops/native.py (ctypes); the reason if there is none.
DDF_EXPORT const char* ddf_seg_cpu_capability() {
  const char* error = nullptr;
  const ddf::KernelsOf chosen = ddf::select_kernels(false, &error);
  return chosen != nullptr ? chosen(ddf::DType::float32).capability : error;
}
