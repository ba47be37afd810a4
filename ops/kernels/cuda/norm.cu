// Compiled once per element type, as kernels.cu is: chooses the kernel of filter_norm, of its
// gradient or of weight_gain, and launches it.
#include "gain.cuh"
#include "norm.cuh"
#include "typed.h"

namespace ddf::cuda {
namespace {

using E = ElementOf<DType::DDF_DTYPE>::type;
using Chosen = Choice<NormWork>;

template <int kKernel>
Chosen of_size(const FilterNormProblem& p) {
  const bool is_learned = p.deviations != nullptr;
  if (p.grad_output.data != nullptr)
    return {"norm_gradient",
            is_learned ? norm_gradient<E, kKernel, true> : norm_gradient<E, kKernel, false>};
  return {"norm_filter",
          is_learned ? norm_filter<E, kKernel, true> : norm_filter<E, kKernel, false>};
}

// Kernels of 9 and 25 taps are specialised, unless taps are 2^32 bytes apart or more (Line), or
// have means and no deviations.
Chosen choose(const FilterNormProblem& p) {
  bool special = p.means == nullptr || p.deviations != nullptr;
  for (const View* view : {&p.x, &p.to, &p.grad_output})
    special = special && view->c * static_cast<int64_t>(sizeof(E)) <= UINT32_MAX;
  if (special && p.taps == 9) return of_size<3>(p);
  if (special && p.taps == 25) return of_size<5>(p);
  if (p.grad_output.data != nullptr) return {"norm_gradient_any", norm_gradient_any<E>};
  return {"norm_filter_any", norm_filter_any<E>};
}

}  // namespace

template <>
cudaError_t Typed<DType::DDF_DTYPE>::filter_norm(const FilterNormProblem& p, cudaStream_t stream) {
  return choose(p).launch({p, {p, p.filters, p.x}}, stream);
}

template <>
cudaError_t Typed<DType::DDF_DTYPE>::weight_gain(const WeightGainProblem& p, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(1);
  config.blockDim = dim3(kGainThreads);
  config.dynamicSmemBytes = 2 * kGainWarps * sizeof(Sum<E>);
  config.stream = stream;
  note_launch("weight_gain");
  return cudaLaunchKernelEx(&config, cuda::weight_gain<E>, GainWork{p});
}

}  // namespace ddf::cuda
