// Compiled once per element type, as kernels.cu is: chooses the kernel of interpolation_softmax or
// of its gradient, and launches it.
#include "plan.cuh"
#include "softmax.cuh"
#include "typed.h"

namespace ddf::cuda {
namespace {

using E = ElementOf<DType::DDF_DTYPE>::type;

struct Choice {
  const char* name;
  void (*kernel)(SoftmaxWork);
};

// Kernels of 3 and 5 are specialised, unless a key's channels are 2^32 bytes apart or more (Line).
Choice choose(const InterpolationSoftmaxProblem& p) {
  const bool gradient = p.grad_logits.data != nullptr;
  const bool near = p.key.c * static_cast<int64_t>(sizeof(E)) <= UINT32_MAX;
  if (near && p.kernel == 3)
    return gradient ? Choice{"softmax_gradient", softmax_gradient<E, 3>}
                    : Choice{"softmax_filter", softmax_filter<E, 3>};
  if (near && p.kernel == 5)
    return gradient ? Choice{"softmax_gradient", softmax_gradient<E, 5>}
                    : Choice{"softmax_filter", softmax_filter<E, 5>};
  return gradient ? Choice{"softmax_gradient_any", softmax_gradient_any<E>}
                  : Choice{"softmax_filter_any", softmax_filter_any<E>};
}

}  // namespace

template <>
cudaError_t Typed<DType::DDF_DTYPE>::interpolation_softmax(const InterpolationSoftmaxProblem& p,
                                                           cudaStream_t stream) {
  const int64_t items = p.groups * p.width;
  SoftmaxWork w;
  w.p = p;
  w.groups_first = is_channels_last(p.logits);
  // A warp wide where the map is: rows below each other share keys.
  w.log_x = least(5, log_up(items));
  cudaLaunchConfig_t config = {};
  config.gridDim =
      dim3(static_cast<unsigned>(ceil_div(items, int64_t{1} << w.log_x)),
           static_cast<unsigned>(least(ceil_div(p.height, w.block_rows()), DDF_GRID_LIMIT)),
           static_cast<unsigned>(least(p.batch, DDF_GRID_LIMIT)));
  config.blockDim = dim3(kThreads);
  config.stream = stream;
  const Choice choice = choose(p);
  note_launch(choice.name);
  return cudaLaunchKernelEx(&config, choice.kernel, w);
}

}  // namespace ddf::cuda
