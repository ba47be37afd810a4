// The operator's launchers on the emulated device: as a library for ctypes, and (DDF_DRIVER) as a
// program that AddressSanitizer watches, with every tensor in an allocation of exactly its size.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "cuda/typed.h"
#include "cuda_runtime.h"

// Element types that this program does without: tests compile no more than they need.
#define DDF_LEFT_OUT(dtype)                                                                  \
  template <>                                                                                \
  int64_t Typed<DType::dtype>::partial_bytes(const Problem&) {                               \
    return 0;                                                                                \
  }                                                                                          \
  template <>                                                                                \
  cudaError_t Typed<DType::dtype>::forward(const Problem&, cudaStream_t) {                   \
    return cudaErrorInvalidValue;                                                            \
  }                                                                                          \
  template <>                                                                                \
  cudaError_t Typed<DType::dtype>::backward(const Problem&, cudaStream_t) {                  \
    return cudaErrorInvalidValue;                                                            \
  }                                                                                          \
  template <>                                                                                \
  cudaError_t Typed<DType::dtype>::filter_norm(const FilterNormProblem&, cudaStream_t) {     \
    return cudaErrorInvalidValue;                                                            \
  }                                                                                          \
  template <>                                                                                \
  cudaError_t Typed<DType::dtype>::weight_gain(const WeightGainProblem&, cudaStream_t) {     \
    return cudaErrorInvalidValue;                                                            \
  }                                                                                          \
  template <>                                                                                \
  cudaError_t Typed<DType::dtype>::interpolation_softmax(const InterpolationSoftmaxProblem&, \
                                                         cudaStream_t) {                     \
    return cudaErrorInvalidValue;                                                            \
  }

namespace ddf::cuda {
#if !defined(DDF_WITH_float64)
DDF_LEFT_OUT(float64)
#endif
#if !defined(DDF_WITH_float32)
DDF_LEFT_OUT(float32)
#endif
#if !defined(DDF_WITH_float16)
DDF_LEFT_OUT(float16)
#endif
#if !defined(DDF_WITH_bfloat16)
DDF_LEFT_OUT(bfloat16)
#endif
}  // namespace ddf::cuda

namespace {

using ddf::DType;
using ddf::Problem;

// In this order: dtype, how filters are combined, the sizes, then the strides of all tensors.
struct Reader {
  const int64_t* next;
  int64_t operator()() { return *next++; }
  void operator()(double& value) { std::memcpy(&value, next++, sizeof value); }
  void operator()(ddf::View& view) {
    for (int64_t* stride : {&view.b, &view.c, &view.y, &view.x}) *stride = *next++;
  }
  void operator()(ddf::FilterView& view) {
    for (int64_t* stride : {&view.b, &view.p, &view.c, &view.y, &view.x}) *stride = *next++;
  }
};

Problem problem_of(const int64_t* numbers, void* const* tensors) {
  Reader read{numbers};
  Problem p;
  p.dtype = static_cast<DType>(read());
  p.combine = static_cast<ddf::Combine>(read());
  for (int64_t* size :
       {&p.batch, &p.channels, &p.groups, &p.height, &p.width, &p.out_height, &p.out_width,
        &p.kernel_y, &p.kernel_x, &p.dilation_y, &p.dilation_x, &p.stride_y, &p.stride_x, &p.scale})
    *size = read();
  read(p.features);
  read(p.channel_filter);
  read(p.spatial_filter);
  read(p.output);
  read(p.grad_features);
  read(p.grad_channel);
  read(p.grad_spatial);
  p.features.data = tensors[0];
  p.channel_filter.data = tensors[1];
  p.spatial_filter.data = tensors[2];
  p.output.data = tensors[3];
  p.grad_features.data = tensors[4];
  p.grad_channel.data = tensors[5];
  p.grad_spatial.data = tensors[6];
  return p;
}

// In this order: dtype, the sizes, then the strides of all tensors but the tables.
ddf::InterpolationSoftmaxProblem softmax_of(const int64_t* numbers, void* const* tensors) {
  Reader read{numbers};
  ddf::InterpolationSoftmaxProblem p;
  p.dtype = static_cast<DType>(read());
  for (int64_t* size : {&p.batch, &p.maps, &p.groups, &p.kernel, &p.depth, &p.scale, &p.height,
                        &p.width, &p.low_height, &p.low_width})
    *size = read();
  for (ddf::View* view : {&p.logits, &p.query, &p.key, &p.out, &p.grad_logits}) read(*view);
  p.logits.data = tensors[0];
  p.query.data = tensors[1];
  p.key.data = tensors[2];
  p.rows = tensors[3];
  p.columns = tensors[4];
  p.out.data = tensors[5];
  p.grad_logits.data = tensors[6];
  return p;
}

// In this order: dtype, the sizes, gain and eps bit by bit, then the strides of the first three
// tensors.
ddf::FilterNormProblem norm_of(const int64_t* numbers, void* const* tensors) {
  Reader read{numbers};
  ddf::FilterNormProblem p;
  p.dtype = static_cast<DType>(read());
  for (int64_t* size : {&p.batch, &p.filters, &p.taps, &p.height, &p.width}) *size = read();
  read(p.gain);
  read(p.eps);
  for (ddf::View* view : {&p.x, &p.grad_output, &p.to}) read(*view);
  p.x.data = tensors[0];
  p.grad_output.data = tensors[1];
  p.to.data = tensors[2];
  p.scale = static_cast<const float*>(tensors[3]);
  p.deviations = tensors[4];
  p.means = tensors[5];
  return p;
}

// In this order: dtype, how many weights there are, elements and outputs of both.
ddf::WeightGainProblem gain_of(const int64_t* numbers, void* const* tensors) {
  Reader read{numbers};
  ddf::WeightGainProblem p;
  p.dtype = static_cast<DType>(read());
  p.layers = static_cast<int>(read());
  for (int i = 0; i < 2; ++i) {
    p.weights[i] = tensors[i];
    p.elements[i] = read();
    p.factors[i] = static_cast<float>(1 / std::sqrt(static_cast<double>(read())));
  }
  p.to = static_cast<float*>(tensors[2]);
  return p;
}

int run(Problem p, bool backward) {
  if (!backward) return ddf::cuda::forward(p, nullptr);
  const int64_t bytes = ddf::cuda::partial_bytes(p);
  std::unique_ptr<char[]> partial;
  if (bytes > 0 && !emulation::options.dry) {
    partial.reset(new char[static_cast<size_t>(bytes)]);
    std::memset(partial.get(), 0xff, static_cast<size_t>(bytes));
  }
  static char placeholder;
  if (bytes > 0) p.partial_sums = partial ? partial.get() : &placeholder;
  return ddf::cuda::backward(p, nullptr);
}

}  // namespace

extern "C" {

void emulation_options(unsigned seed, int64_t grid_limit, int64_t dropped_barrier, bool dry,
                       int multiprocessors) {
  emulation::options.seed = seed;
  emulation::options.grid_limit = grid_limit;
  emulation::options.dropped_barrier = dropped_barrier;
  emulation::options.dry = dry;
  emulation::options.multiprocessors = multiprocessors;
}

int64_t emulation_barriers() {
  const int64_t passed = emulation::barriers;
  emulation::barriers = 0;
  return passed;
}

// Symbols of the kernels launched since the last call, one a line.
const char* emulation_launched() {
  static std::string names;
  names.swap(emulation::launched);
  emulation::launched.clear();
  return names.c_str();
}

// 0: the forward pass, 1: the backward pass; 2: interpolation_softmax, or its gradient where there
// is a tensor for it; 3: filter_norm, or its gradient where there is one from above; 4:
// weight_gain.
int emulation_run(const int64_t* numbers, void* const* tensors, int operation) {
  if (operation == 2)
    return ddf::cuda::interpolation_softmax(softmax_of(numbers, tensors), nullptr);
  if (operation == 3) return ddf::cuda::filter_norm(norm_of(numbers, tensors), nullptr);
  if (operation == 4) return ddf::cuda::weight_gain(gain_of(numbers, tensors), nullptr);
  return run(problem_of(numbers, tensors), operation == 1);
}
}

#if defined(DDF_DRIVER)

// stdin: per call the operation, `missing shared bytes`, how many numbers, the numbers, then for
// each tensor its bytes and how many of them are missing.
int main() {
  int64_t operation = 0, missing = 0, count = 0;
  while (std::scanf("%ld %ld %ld", &operation, &missing, &count) == 3) {
    std::vector<int64_t> numbers(static_cast<size_t>(count));
    for (int64_t& number : numbers)
      if (std::scanf("%ld", &number) != 1) return 2;
    std::vector<std::unique_ptr<char[]>> tensors;
    std::vector<void*> pointers;
    for (int i = 0; i < 7; ++i) {
      int64_t bytes = 0, short_by = 0;
      if (std::scanf("%ld %ld", &bytes, &short_by) != 2) return 2;
      const auto size = static_cast<size_t>(bytes - short_by);
      tensors.emplace_back(bytes > 0 ? new char[size]() : nullptr);
      pointers.push_back(tensors.back().get());
    }
    emulation::options.missing_shared = missing;
    if (const int error =
            emulation_run(numbers.data(), pointers.data(), static_cast<int>(operation))) {
      std::fprintf(stderr, "cudaError %d\n", error);
      return 2;
    }
  }
  return 0;
}

#endif
