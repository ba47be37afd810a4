// The CPU side of torch.ops.ddf_seg: checks, allocation, threads and registration, on torch's
// stable ABI alone (torch/csrc/stable, torch/headeronly), so that one binary serves every torch.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <tuple>
#include <vector>

#include "../kernels/problem.h"
#include "checks.h"

namespace {

using ddf::Kernels;
using ddf::Plan;
using ddf::Problem;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Ints = std::vector<int64_t>;

const Kernels& kernels() {
  static const char* error = nullptr;
  static const Kernels* const chosen = ddf::select_kernels(&error);
  ddf::binding::check(chosen != nullptr, error == nullptr ? "" : error);
  return *chosen;
}

// Kept by each thread from call to call: allocating it anew costs more than a small map.
void* thread_scratch(int64_t bytes) {
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  thread_local std::unique_ptr<void, Free> memory;
  thread_local int64_t size = 0;
  if (bytes > size) {
    memory.reset();
    size = (bytes + 4095) / 4096 * 4096;
    memory.reset(std::aligned_alloc(64, static_cast<size_t>(size)));
    if (memory == nullptr) {
      size = 0;
      throw std::bad_alloc();
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

ddf::View view_of(const Tensor& x) {
  const auto sizes = x.sizes(), strides = x.strides();
  ddf::View view;
  view.data = x.mutable_data_ptr();
  view.b = strides[0];
  view.c = strides[1];
  view.y = strides[2];
  view.x = strides[3];
  for (size_t i = 0; i < 4; ++i) view.last += (sizes[i] - 1) * strides[i];
  return view;
}

ddf::FilterView filter_view_of(const Tensor& x) {
  const auto strides = x.strides();
  const size_t d = strides.size();
  return {x.mutable_data_ptr(), strides[0],     d == 5 ? strides[1] : 0,
          strides[d - 3],       strides[d - 2], strides[d - 1]};
}

// channels_last only where `like` is that and not contiguous as well: ddf_seg/ops/registration.py.
bool is_channels_last(const Tensor& like) {
  if (like.dim() != 4 || like.is_contiguous()) return false;
  const auto sizes = like.sizes(), strides = like.strides();
  int64_t expected = 1;
  for (const size_t i : {1, 3, 2, 0}) {
    if (sizes[i] != 1 && strides[i] != expected) return false;
    expected *= sizes[i];
  }
  return true;
}

// The C library gives every block of 32 MiB and more fresh pages, and the kernel clears them as
// they are first written: with pages of 4 KiB that takes longer than the operator itself.
void prefer_huge_pages(void* data, int64_t bytes) {
#if defined(__linux__)
  constexpr uintptr_t kHuge = uintptr_t{2} << 20;
  if (bytes < int64_t{32} << 20) return;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + kHuge - 1) / kHuge * kHuge;
  const uintptr_t end =
      (reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(bytes)) / kHuge * kHuge;
  // Only advice: a kernel without huge pages goes on as before.
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)data;
  (void)bytes;
#endif
}

Tensor empty(const Ints& sizes, const Tensor& like) {
  const size_t d = sizes.size();
  Ints strides(d), order(d);
  for (size_t i = 0; i < d; ++i) order[i] = static_cast<int64_t>(d - 1 - i);
  if (d == 4 && is_channels_last(like)) order = {1, 3, 2, 0};
  int64_t stride = 1;
  for (const int64_t i : order) {
    strides[static_cast<size_t>(i)] = stride;
    stride *= std::max<int64_t>(1, sizes[static_cast<size_t>(i)]);
  }
  int32_t dtype = 0;
  AtenTensorHandle handle = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(like.get(), &dtype));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(static_cast<int64_t>(d), sizes.data(),
                                                         strides.data(), dtype,
                                                         aoti_torch_device_type_cpu(), 0, &handle));
  Tensor tensor(handle);
  prefer_huge_pages(tensor.mutable_data_ptr(),
                    stride * static_cast<int64_t>(tensor.element_size()));
  return tensor;
}

Tensor empty_like(const Tensor& x, bool needed) {
  if (!needed) return empty({0}, x);
  const auto sizes = x.sizes();
  return empty(Ints(sizes.begin(), sizes.end()), x);
}

ddf::DType dtype_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Double:
      return ddf::DType::float64;
    case ScalarType::Half:
      return ddf::DType::float16;
    case ScalarType::BFloat16:
      return ddf::DType::bfloat16;
    default:
      return ddf::DType::float32;
  }
}

Problem make_problem(const Tensor& features, const Tensor& channel_filter,
                     const Tensor& spatial_filter, const Ints& kernel_size, const Ints& dilation,
                     const Ints& stride, int64_t scale, const std::string& kernel_combine) {
  ddf::binding::check_arguments(features, channel_filter, spatial_filter, kernel_size, dilation,
                                stride, scale, kernel_combine);
  Problem p;
  p.dtype = dtype_of(features);
  p.multiply = kernel_combine == "mul";
  p.batch = features.size(0);
  p.channels = features.size(1);
  p.height = features.size(2);
  p.width = features.size(3);
  p.out_height = spatial_filter.size(2);
  p.out_width = spatial_filter.size(3);
  p.kernel_y = kernel_size[0];
  p.kernel_x = kernel_size[1];
  p.dilation_y = dilation[0];
  p.dilation_x = dilation[1];
  p.stride_y = stride[0];
  p.stride_x = stride[1];
  p.scale = scale;
  p.groups = spatial_filter.size(1) / p.taps();
  p.features = view_of(features);
  p.channel_filter = filter_view_of(channel_filter);
  p.spatial_filter = view_of(spatial_filter);
  return p;
}

int64_t work_of(const Problem& p) {
  return p.batch * p.channels * p.out_height * p.out_width * p.taps();
}

Tensor run_forward(Problem p, const Tensor& features) {
  Tensor output = empty({p.batch, p.channels, p.out_height, p.out_width}, features);
  p.output = view_of(output);
  const Kernels& k = kernels();
  const Plan plan = k.plan_forward(p, torch::stable::get_num_threads());
  for_units(plan.units, work_of(p),
            [&](int64_t unit) { k.forward(p, plan, unit, thread_scratch(plan.scratch_bytes)); });
  return output;
}

using Gradients = std::tuple<Tensor, Tensor, Tensor>;

Gradients run_backward(Problem p, const Tensor& grad_output, const Tensor& features,
                       const Tensor& channel_filter, const Tensor& spatial_filter,
                       const std::vector<bool>& output_mask) {
  ddf::binding::check_gradient(grad_output, features, p, output_mask);
  Tensor grad_features = empty_like(features, output_mask[0]);
  Tensor grad_channel = empty_like(channel_filter, output_mask[1]);
  Tensor grad_spatial = empty_like(spatial_filter, output_mask[2]);
  p.output = view_of(grad_output);
  if (output_mask[0]) p.grad_features = view_of(grad_features);
  if (output_mask[1]) p.grad_channel = filter_view_of(grad_channel);
  if (output_mask[2]) p.grad_spatial = view_of(grad_spatial);

  const Kernels& k = kernels();
  const Plan plan = k.plan_backward(p);
  // Freed with the tensor; torch's allocator so that torch's memory statistics see it.
  Tensor partial = empty({0}, features);
  if (plan.partial_bytes > 0) {
    const int64_t element = static_cast<int64_t>(features.element_size());
    partial = empty({(plan.partial_bytes + element - 1) / element}, features);
    p.partial_sums = partial.mutable_data_ptr();
  }
  const int64_t work = 3 * work_of(p);
  for_units(plan.units, work,
            [&](int64_t unit) { k.backward(p, plan, unit, thread_scratch(plan.scratch_bytes)); });
  if (p.partial_sums != nullptr)
    torch::stable::parallel_for(0, p.batch * p.channels, 1024, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) k.reduce_channel(p, plan, i);
    });
  return {grad_features, grad_channel, grad_spatial};
}

Tensor ddf_forward(const Tensor& features, const Tensor& channel_filter,
                   const Tensor& spatial_filter, Ints kernel_size, Ints dilation, Ints stride,
                   std::string kernel_combine) {
  return run_forward(make_problem(features, channel_filter, spatial_filter, kernel_size, dilation,
                                  stride, 1, kernel_combine),
                     features);
}

Tensor ddf_upsample_forward(const Tensor& features, const Tensor& channel_filter,
                            const Tensor& spatial_filter, Ints kernel_size, int64_t scale_factor,
                            Ints dilation, std::string kernel_combine) {
  return run_forward(make_problem(features, channel_filter, spatial_filter, kernel_size, dilation,
                                  {1, 1}, scale_factor, kernel_combine),
                     features);
}

Gradients ddf_backward(const Tensor& grad_output, const Tensor& features,
                       const Tensor& channel_filter, const Tensor& spatial_filter, Ints kernel_size,
                       Ints dilation, Ints stride, std::string kernel_combine,
                       std::vector<bool> output_mask) {
  return run_backward(make_problem(features, channel_filter, spatial_filter, kernel_size, dilation,
                                   stride, 1, kernel_combine),
                      grad_output, features, channel_filter, spatial_filter, output_mask);
}

Gradients ddf_upsample_backward(const Tensor& grad_output, const Tensor& features,
                                const Tensor& channel_filter, const Tensor& spatial_filter,
                                Ints kernel_size, int64_t scale_factor, Ints dilation,
                                std::string kernel_combine, std::vector<bool> output_mask) {
  return run_backward(make_problem(features, channel_filter, spatial_filter, kernel_size, dilation,
                                   {1, 1}, scale_factor, kernel_combine),
                      grad_output, features, channel_filter, spatial_filter, output_mask);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(ddf_seg, CPU, m) {
  m.impl("ddf", TORCH_BOX(&ddf_forward));
  m.impl("ddf_backward", TORCH_BOX(&ddf_backward));
  m.impl("ddf_upsample", TORCH_BOX(&ddf_upsample_forward));
  m.impl("ddf_upsample_backward", TORCH_BOX(&ddf_upsample_backward));
}

// The instruction set in use, for ddf_seg/ops/native.py (ctypes); the reason if there is none.
extern "C" __attribute__((visibility("default"))) const char* ddf_seg_cpu_capability() {
  const char* error = nullptr;
  const Kernels* chosen = ddf::select_kernels(&error);
  return chosen != nullptr ? chosen->capability : error;
}
