// The launchers of one element type (kernels.cu, norm.cu, softmax.cu).
#pragma once

#include "launch.h"

namespace ddf::cuda {

// Of the current device.
int64_t multiprocessors();
// For last_kernels() (launch.h).
void note_launch(const char* name);

template <DType>
struct Typed {
  static int64_t partial_bytes(const Problem& p);
  static cudaError_t forward(const Problem& p, cudaStream_t stream);
  static cudaError_t backward(const Problem& p, cudaStream_t stream);
  static cudaError_t filter_norm(const FilterNormProblem& p, cudaStream_t stream);
  static cudaError_t weight_gain(const WeightGainProblem& p, cudaStream_t stream);
  static cudaError_t interpolation_softmax(const InterpolationSoftmaxProblem& p,
                                           cudaStream_t stream);
};

}  // namespace ddf::cuda
