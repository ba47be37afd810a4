// Element types, the type their sums have, and vectors of them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <type_traits>

#include "../problem.h"

namespace ddf::cuda {

template <DType>
struct ElementOf;
template <>
struct ElementOf<DType::float64> {
  using type = double;
};
template <>
struct ElementOf<DType::float32> {
  using type = float;
};
template <>
struct ElementOf<DType::float16> {
  using type = __half;
};
template <>
struct ElementOf<DType::bfloat16> {
  using type = __nv_bfloat16;
};

template <typename E>
using Sum = std::conditional_t<std::is_same_v<E, double>, double, float>;

__device__ inline float widen(float value) { return value; }
__device__ inline double widen(double value) { return value; }
__device__ inline float widen(__half value) { return __half2float(value); }
__device__ inline float widen(__nv_bfloat16 value) { return __bfloat162float(value); }

template <typename E>
__device__ inline E narrow(Sum<E> value) {
  if constexpr (std::is_same_v<E, __half>) {
    return __float2half_rn(value);
  } else if constexpr (std::is_same_v<E, __nv_bfloat16>) {
    return __float2bfloat16_rn(value);
  } else {
    return value;
  }
}

// N elements that one instruction loads or stores.
template <typename E, int N>
struct alignas(sizeof(E) * N) Pack {
  E of[N];
};

template <int N, typename E>
__device__ inline Pack<E, N> load_pack(const E* p) {
  return *reinterpret_cast<const Pack<E, N>*>(p);
}

template <int N, typename E>
__device__ inline void store_pack(E* p, const Pack<E, N>& values) {
  *reinterpret_cast<Pack<E, N>*>(p) = values;
}

// Elements of a 128-bit load, fewer where a thread would hold more than `most` weights for them.
constexpr int pack_of(int element_bytes, int taps, int most) {
  int n = 16 / element_bytes;
  while (n * taps > most) n /= 2;
  return n;
}
template <typename E, int kKernel>
inline constexpr int kPixelPack = pack_of(sizeof(E), kKernel* kKernel, sizeof(E) == 4 ? 100 : 72);
template <typename E, int kKernel>
inline constexpr int kChannelPack = pack_of(sizeof(E), kKernel* kKernel, 72);

}  // namespace ddf::cuda
