// Chooses the launchers of the tensors' element type.
#include "launch.h"

#include <atomic>
#include <cstdlib>

#include "typed.h"

namespace ddf::cuda {
namespace {

template <typename Body>
auto for_dtype(DType dtype, const Body& body) {
  switch (dtype) {
#define DDF_CASE(name, scalar_type) \
  case DType::name:                 \
    return body(Typed<DType::name>{});
    DDF_DTYPES(DDF_CASE)
#undef DDF_CASE
  }
  std::abort();  // the binding knows no other
}

// Every coordinate of one axis, and every index into the taps, is an int in the kernels.
bool fits(const Problem& p) {
  constexpr int64_t limit = INT32_MAX;
  const int64_t reach_y = p.kernel_y * p.dilation_y, reach_x = p.kernel_x * p.dilation_x;
  const int64_t numbers[] = {p.batch,
                             p.channels,
                             p.taps(),
                             p.scale * p.scale,
                             (p.height + 1) * p.scale + reach_y,
                             (p.width + 1) * p.scale + reach_x,
                             (p.out_height + 1) * p.stride_y + reach_y,
                             (p.out_width + 1) * p.stride_x + reach_x};
  for (const int64_t number : numbers)
    if (number > limit) return false;
  return true;
}

// Of kernels whose threads have a group of a pixel each (items.cuh).
template <size_t kCount>
bool fits(const int64_t (&numbers)[kCount], int64_t height, int64_t groups, int64_t width) {
  constexpr int64_t limit = INT32_MAX, grid = 1 << 24;  // rows of a grid, at most
  for (const int64_t number : numbers)
    if (number > limit) return false;
  return height + grid <= limit && groups <= limit && width <= limit &&
         groups * width + grid <= limit;
}

bool fits(const InterpolationSoftmaxProblem& p) {
  return fits({p.batch, p.maps, p.depth, p.taps(), (p.low_height + 1) * p.scale + p.kernel,
               (p.low_width + 1) * p.scale + p.kernel},
              p.height, p.groups, p.width);
}

bool fits(const FilterNormProblem& p) {
  return fits({p.batch, p.taps}, p.height, p.filters, p.width);
}

constexpr uint64_t kNoted = 64;
std::atomic<const char*> noted[kNoted];
std::atomic<uint64_t> count{0};

template <typename AnyProblem>
bool empty(const AnyProblem& p) {
  return p.batch == 0 || p.height == 0 || p.width == 0;
}
bool empty(const Problem& p) { return p.batch == 0 || p.out_height == 0 || p.out_width == 0; }

}  // namespace

int64_t multiprocessors() {
  int device = 0, multiprocessors = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device) !=
          cudaSuccess)
    return 128;
  return multiprocessors;
}

void note_launch(const char* name) { noted[count++ % kNoted] = name; }
uint64_t launches() { return count; }
const char* launched(uint64_t number) { return noted[number % kNoted]; }

int64_t partial_bytes(const Problem& p) {
  if (empty(p) || !fits(p)) return 0;
  return for_dtype(p.dtype, [&](auto typed) { return typed.partial_bytes(p); });
}

cudaError_t forward(const Problem& p, cudaStream_t stream) {
  if (empty(p) || p.channels == 0) return cudaSuccess;
  if (!fits(p)) return cudaErrorInvalidValue;
  return for_dtype(p.dtype, [&](auto typed) { return typed.forward(p, stream); });
}

cudaError_t backward(const Problem& p, cudaStream_t stream) {
  if (empty(p)) return cudaSuccess;
  if (!fits(p)) return cudaErrorInvalidValue;
  return for_dtype(p.dtype, [&](auto typed) { return typed.backward(p, stream); });
}

cudaError_t filter_norm(const FilterNormProblem& p, cudaStream_t stream) {
  if (empty(p) || p.filters == 0) return cudaSuccess;
  if (!fits(p)) return cudaErrorInvalidValue;
  return for_dtype(p.dtype, [&](auto typed) { return typed.filter_norm(p, stream); });
}

cudaError_t weight_gain(const WeightGainProblem& p, cudaStream_t stream) {
  return for_dtype(p.dtype, [&](auto typed) { return typed.weight_gain(p, stream); });
}

cudaError_t interpolation_softmax(const InterpolationSoftmaxProblem& p, cudaStream_t stream) {
  if (empty(p)) return cudaSuccess;
  if (!fits(p)) return cudaErrorInvalidValue;
  return for_dtype(p.dtype, [&](auto typed) { return typed.interpolation_softmax(p, stream); });
}

}  // namespace ddf::cuda
