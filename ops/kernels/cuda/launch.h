// What the binding calls. Nothing here synchronises or allocates, so calls can be captured in a
// CUDA graph; results depend on sizes, strides and alignment alone, neither on the device nor on
// chance.
#pragma once

#include <cuda_runtime_api.h>

#include "../problem.h"

namespace ddf::cuda {

// Bytes that Problem::partial_sums needs for backward().
int64_t partial_bytes(const Problem& p);

// Launch on `stream` of the current device. cudaErrorInvalidValue if a dimension does not fit 31
// bits (the tensors' elements may be more).
cudaError_t forward(const Problem& p, cudaStream_t stream);
cudaError_t backward(const Problem& p, cudaStream_t stream);
// The normalised filters, or their gradient where the problem has one from above.
cudaError_t filter_norm(const FilterNormProblem& p, cudaStream_t stream);
cudaError_t weight_gain(const WeightGainProblem& p, cudaStream_t stream);
// The filters, or the logits' gradient where the problem has room for it.
cudaError_t interpolation_softmax(const InterpolationSoftmaxProblem& p, cudaStream_t stream);

// How many kernels this process has launched; and the name of one of the last 64, counted from 0.
uint64_t launches();
const char* launched(uint64_t number);

}  // namespace ddf::cuda
