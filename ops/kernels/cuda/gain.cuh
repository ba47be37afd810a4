// The gain of weights (WeightGainProblem): a single block, so that a layer launches one kernel. The
// weights of a layer are few beside its maps.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "element.cuh"
#include "warp.cuh"
#include "work.cuh"

namespace ddf::cuda {

inline constexpr int kGainThreads = 1024;
inline constexpr int kGainWarps = kGainThreads / kWarp;

struct GainWork {
  WeightGainProblem p;
};

// Every thread's part of the sum of squares.
template <typename E>
__device__ inline Sum<E> squares_of(const E* from, int64_t count) {
  using T = Sum<E>;
  constexpr int kPack = 16 / static_cast<int>(sizeof(E));
  const bool aligned = reinterpret_cast<uintptr_t>(from) % 16 == 0;
  const int64_t packs = aligned ? count / kPack : 0;
  T sum = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < packs; i += kGainThreads) {
    const Pack<E, kPack> pack = load_pack<kPack>(from + i * kPack);
#pragma unroll
    for (int j = 0; j < kPack; ++j) sum += widen(pack.of[j]) * widen(pack.of[j]);
  }
  for (int64_t i = packs * kPack + threadIdx.x; i < count; i += kGainThreads)
    sum += widen(from[i]) * widen(from[i]);
  return sum;
}

template <typename E>
__global__ void __launch_bounds__(kGainThreads) weight_gain(const __grid_constant__ GainWork w) {
  using T = Sum<E>;
  constexpr float kLeast = 1e-12f;
  const int thread = static_cast<int>(threadIdx.x);
  T* const shared = shared_memory<T>();
  float product = 1;
  for (int layer = 0; layer < w.p.layers; ++layer) {
    T sum = squares_of(static_cast<const E*>(w.p.weights[layer]), w.p.elements[layer]);
    sum = sum_of_warp(sum);
    if (thread % kWarp == 0) shared[layer * kGainWarps + thread / kWarp] = sum;
    __syncthreads();
    if (thread > 0) continue;
    sum = 0;
    for (int i = 0; i < kGainWarps; ++i) sum += shared[layer * kGainWarps + i];
    const float gain = static_cast<float>(std::sqrt(sum)) * w.p.factors[layer];
    product *= gain < kLeast ? kLeast : gain > 1 ? 1 : gain;  // a NaN stays one
  }
  if (thread == 0) *w.p.to = product;
}

}  // namespace ddf::cuda
