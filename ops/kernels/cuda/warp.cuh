// Sums over the threads of a warp, in a fixed order.
#pragma once

#include <cuda_runtime.h>

namespace ddf::cuda {

inline constexpr int kWarp = 32;

// The sum of all threads' values, for each of them.
template <typename T>
__device__ inline T sum_of_warp(T value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

// Adds up kCount values of all threads of a warp. In each step a thread keeps one half of the
// values, and gives the other to a partner that keeps that one: kCount + log2(32) exchanges or so
// instead of five for each value. Every thread ends with the sum of one value.
template <int kCount>
struct WarpSums {
  int value = 0;       // whose sum this thread ends with
  bool first = false;  // whether no thread before it has the same

  __device__ explicit WarpSums(int thread) {
    int left = kCount, size = kCount;  // values that this thread has; and room for them
    bool repeats = false;
    for (int step = kWarp / 2; step > 0; step /= 2) {
      const bool upper = thread & step;
      const int half = (size + 1) / 2;
      if (size == 1) {
        repeats |= upper;
        continue;
      }
      value += upper ? half : 0;
      left = upper ? left - half : min(left, half);
      size = half;
    }
    first = left > 0 && !repeats;
  }

  template <typename T>
  __device__ static T add(T (&values)[kCount], int thread) {
    reduce<kCount, kWarp / 2>(values, thread);
    return values[0];
  }

 private:
  template <int kSize, int kStep, typename T>
  __device__ static void reduce(T (&values)[kCount], int thread) {
    if constexpr (kStep > 0) {
      const bool upper = thread & kStep;
      constexpr int kHalf = (kSize + 1) / 2;
      if constexpr (kSize == 1) {
        values[0] += __shfl_xor_sync(0xffffffffu, values[0], kStep);
      } else {
#pragma unroll
        for (int i = 0; i < kHalf; ++i) {
          const T low = values[i], high = i + kHalf < kSize ? values[i + kHalf] : T(0);
          values[i] =
              (upper ? high : low) + __shfl_xor_sync(0xffffffffu, upper ? low : high, kStep);
        }
      }
      reduce<kHalf, kStep / 2>(values, thread);
    }
  }
};

}  // namespace ddf::cuda
