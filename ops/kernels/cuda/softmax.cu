// Compiled once per element type, as kernels.cu is: chooses the kernel of interpolation_softmax or
// of its gradient, and launches it.
#include "softmax.cuh"
#include "typed.h"

namespace ddf::cuda {
namespace {

using E = ElementOf<DType::DDF_DTYPE>::type;

using Chosen = Choice<SoftmaxWork>;

template <int kKernel, Reading kReading>
Chosen specialised(bool gradient) {
  return gradient ? Chosen{"softmax_gradient", softmax_gradient<E, kKernel, kReading>}
                  : Chosen{"softmax_filter", softmax_filter<E, kKernel, kReading>};
}

template <int kKernel>
Chosen choose(const InterpolationSoftmaxProblem& p, bool gradient) {
  constexpr int n = kChannelsRead<E, kKernel, Reading::channels>;
  const auto whole = [](const View& view) { return is_aligned(view, n, sizeof(E), true); };
  if (p.depth == 0 || p.key.x == 1) return specialised<kKernel, Reading::rows>(gradient);
  return p.depth % n == 0 && whole(p.query) && whole(p.key)
             ? specialised<kKernel, Reading::channels>(gradient)
             : specialised<kKernel, Reading::any>(gradient);
}

// Kernels of 3 and 5 are specialised, unless a key's channels are 2^32 bytes apart or more (Line).
Chosen choose(const InterpolationSoftmaxProblem& p) {
  const bool gradient = p.grad_logits.data != nullptr;
  const bool near = p.key.c * static_cast<int64_t>(sizeof(E)) <= UINT32_MAX;
  if (near && p.kernel == 3) return choose<3>(p, gradient);
  if (near && p.kernel == 5) return choose<5>(p, gradient);
  return gradient ? Chosen{"softmax_gradient_any", softmax_gradient_any<E>}
                  : Chosen{"softmax_filter_any", softmax_filter_any<E>};
}

}  // namespace

template <>
cudaError_t Typed<DType::DDF_DTYPE>::interpolation_softmax(const InterpolationSoftmaxProblem& p,
                                                           cudaStream_t stream) {
  return choose(p).launch({p, {p, p.groups, p.logits}}, stream);
}

}  // namespace ddf::cuda
