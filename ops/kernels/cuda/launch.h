// What the binding calls. Nothing here synchronises or allocates, so calls can be captured in a
// CUDA graph; results depend on sizes and strides alone, neither on the device nor on chance.
#pragma once

#include <cuda_runtime_api.h>

#include "../problem.h"

namespace ddf::cuda {

// Bytes that Problem::partial_sums needs for backward(), 0 if grad_channel is not asked for.
int64_t partial_bytes(const Problem& p);

// Launch on `stream` of the current device. cudaErrorInvalidValue if a dimension does not fit 31
// bits (the tensors' elements may be more).
cudaError_t forward(const Problem& p, cudaStream_t stream);
cudaError_t backward(const Problem& p, cudaStream_t stream);

}  // namespace ddf::cuda
