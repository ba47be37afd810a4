// What the kernels' launchers use of CUDA's runtime, for a C++ compiler: found instead of CUDA's
// own header because this folder comes first among the include paths.
#pragma once

#include <cstddef>

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719,
};

// The device, whose multiprocessors decide into how many blocks a call is cut.
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16 };
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);

using cudaStream_t = struct EmulatedStream*;
