// The launchers of one element type (kernels.cu).
#pragma once

#include "launch.h"

namespace ddf::cuda {

template <DType>
struct Typed {
  static int64_t partial_bytes(const Problem& p);
  static cudaError_t forward(const Problem& p, cudaStream_t stream);
  static cudaError_t backward(const Problem& p, cudaStream_t stream);
};

}  // namespace ddf::cuda
