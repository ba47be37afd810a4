// The CUDA side of torch.ops.ddf_seg, a library of its own that is loaded only where torch has
// CUDA: checks, allocation, device, stream and registration, on torch's stable ABI alone.
#include <cuda_runtime_api.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "../kernels/cuda/launch.h"
#include "call.h"
#include "exports.h"
#include "filter_norm.h"
#include "softmax.h"

// What ddf_seg/ops/native.py reports: the architectures compiled for, as TORCH_CUDA_ARCH_LIST.
DDF_EXPORT const char* ddf_seg_cuda_architectures() { return DDF_STRING(DDF_CUDA_ARCHITECTURES); }

// Which kernels a call took: ddf_seg.ops.native.launched_kernels.
DDF_EXPORT uint64_t ddf_seg_cuda_launches() { return ddf::cuda::launches(); }
DDF_EXPORT const char* ddf_seg_cuda_launched(uint64_t number) {
  return ddf::cuda::launched(number);
}

namespace {

using ddf::Problem;
using ddf::binding::Gradients;
using ddf::binding::MaybeTensor;
using torch::stable::Tensor;

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::string message =
      std::string("ddf_seg: ") + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")";
  if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction)
    message += std::string("; this build is for the architectures ") +
               ddf_seg_cuda_architectures() + ": set TORCH_CUDA_ARCH_LIST and build again";
  throw std::runtime_error(message);
}

// Torch's current stream on the tensor's device, which is made the current one of this library's
// own copy of CUDA's runtime: torch's guard sets that of torch's copy alone.
cudaStream_t stream_of(const Tensor& x) {
  int device = 0;
  check(cudaGetDevice(&device));
  if (device != x.get_device_index()) check(cudaSetDevice(x.get_device_index()));
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

// A single 0, spread by strides of 0, stands for a missing spatial filter. To be kept until the
// kernels are launched, which read zeros for a missing channel filter, or read none.
Tensor fill_in(Problem& p, const Tensor& features) {
  Tensor zero = ddf::binding::empty({p.combine == ddf::Combine::channel ? 1 : 0}, features);
  if (p.combine == ddf::Combine::channel) {
    torch::stable::fill_(zero, 0);
    p.spatial_filter.data = zero.mutable_data_ptr();
  }
  return zero;
}

struct Cuda {
  static constexpr bool kOnCuda = true;

  static Tensor forward(Problem p, const Tensor& features) {
    const torch::stable::accelerator::DeviceGuard guard(features.get_device_index());
    Tensor output = ddf::binding::empty({p.batch, p.channels, p.out_height, p.out_width}, features);
    p.output = ddf::binding::result_view_of(output);
    const Tensor filled_in = fill_in(p, features);
    check(ddf::cuda::forward(p, stream_of(features)));
    return output;
  }

  static Gradients backward(Problem p, const Tensor& grad_output, const Tensor& features,
                            const MaybeTensor& channel_filter, const MaybeTensor& spatial_filter,
                            const std::vector<bool>& output_mask) {
    const torch::stable::accelerator::DeviceGuard guard(features.get_device_index());
    Gradients gradients = ddf::binding::make_gradients(p, grad_output, features, channel_filter,
                                                       spatial_filter, output_mask);
    const Tensor filled_in = fill_in(p, features);
    // From torch's allocator, which gives the memory to nobody else before the stream is past it.
    const int64_t bytes = ddf::cuda::partial_bytes(p);
    const auto element = static_cast<int64_t>(features.element_size());
    const Tensor partial = ddf::binding::empty({(bytes + element - 1) / element}, features);
    if (bytes > 0) p.partial_sums = partial.mutable_data_ptr();
    check(ddf::cuda::backward(p, stream_of(features)));
    return gradients;
  }

  static void filter_norm(const ddf::FilterNormProblem& p, const Tensor& filters) {
    const torch::stable::accelerator::DeviceGuard guard(filters.get_device_index());
    check(ddf::cuda::filter_norm(p, stream_of(filters)));
  }

  static void interpolation_softmax(const ddf::InterpolationSoftmaxProblem& p,
                                    const Tensor& logits) {
    const torch::stable::accelerator::DeviceGuard guard(logits.get_device_index());
    check(ddf::cuda::interpolation_softmax(p, stream_of(logits)));
  }
};

void check_weight(const char* name, const Tensor& x) {
  ddf::binding::check(x.dim() > 0 && x.size(0) > 0 && x.is_cuda(), [&] {
    return std::string(name) + ": expected at least one output, on a CUDA device, got shape " +
           ddf::binding::shape_of(x) + " on " + ddf::binding::device_of(x);
  });
}

Tensor weight_gain(const Tensor& weight, MaybeTensor after) {
  ddf::binding::check_floating("weight", weight);
  check_weight("weight", weight);
  if (after) {
    ddf::binding::check_same_kind("after", *after, weight);
    check_weight("after", *after);
  }
  const torch::stable::accelerator::DeviceGuard guard(weight.get_device_index());
  const Tensor weights[] = {torch::stable::contiguous(weight),
                            torch::stable::contiguous(after ? *after : weight)};
  ddf::WeightGainProblem p;
  p.dtype = ddf::binding::dtype_of(weight);
  p.layers = after ? 2 : 1;
  for (int i = 0; i < p.layers; ++i) {
    p.weights[i] = weights[i].const_data_ptr();
    p.elements[i] = weights[i].numel();
    p.factors[i] = static_cast<float>(1 / std::sqrt(static_cast<double>(weights[i].size(0))));
  }
  Tensor gain = torch::stable::new_empty(weight, {},
                                         std::make_optional(torch::headeronly::ScalarType::Float));
  p.to = static_cast<float*>(gain.mutable_data_ptr());
  check(ddf::cuda::weight_gain(p, stream_of(weight)));
  return gain;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(ddf_seg, CUDA, m) {
  ddf::binding::Operators<Cuda>::register_with(m);
  ddf::binding::FilterNorm<Cuda>::register_with(m);
  m.impl("weight_gain", TORCH_BOX(&weight_gain));
  ddf::binding::InterpolationSoftmax<Cuda>::register_with(m);
}
