// CUDA's C++ for a C++ compiler: blocks run one after another, the threads of a block as fibers in
// an order that is shuffled anew at every barrier and exchange (emulation.cpp).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include "cuda_runtime_api.h"

#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// Of the fiber that runs.
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }

inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
inline long long __double_as_longlong(double x) {
  long long bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline double __longlong_as_double(long long bits) {
  double x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

void __syncthreads();

namespace emulation {
// Bits that another thread of the warp gives as this one gives `bits`.
uint64_t exchange(uint64_t bits, unsigned from_lane);
}  // namespace emulation

// All threads of a warp take part.
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
  if (mask != 0xffffffffu) std::abort();
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = emulation::exchange(bits, threadIdx.x % 32 ^ static_cast<unsigned>(lanes));
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

namespace emulation {

struct Options {
  unsigned seed = 0;
  int64_t grid_limit = 65535;    // of a grid's y and z
  int64_t dropped_barrier = -1;  // this barrier of every thread does nothing
  int64_t missing_shared = 0;    // bytes that a block's shared memory is too small by
  int multiprocessors = 108;
  bool dry = false;  // check a launch, do not run it
};
extern Options options;
extern int64_t barriers;  // that the threads of the blocks since the last reset passed, at most

extern std::string launched;  // the kernels' symbols, one a line

void* shared_memory();
cudaError_t launch(const cudaLaunchConfig_t& config, const void* address,
                   const std::function<void()>& kernel);

}  // namespace emulation

#define DDF_DYNAMIC_SHARED_MEMORY ::emulation::shared_memory()
#define DDF_GRID_LIMIT ::emulation::options.grid_limit

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               const Arguments&... arguments) {
  return emulation::launch(*config, reinterpret_cast<const void*>(kernel),
                           [&] { kernel(arguments...); });
}
