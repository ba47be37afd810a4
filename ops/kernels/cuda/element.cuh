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

// Zeros where `there` does not hold; p is then not read. A load under a condition, not a branch:
// the words start as zeros, whole words, of which elements of 16 bits need half as many.
template <int N, typename E>
__device__ inline Pack<E, N> load_pack_if(bool there, const E* p) {
  constexpr int kBytes = sizeof(E) * N;
  struct alignas(kBytes) Words {
    std::conditional_t<kBytes % 4 == 0, uint32_t, uint16_t> of[kBytes % 4 == 0 ? kBytes / 4 : 1];
  } words = {};
  if (there) words = *reinterpret_cast<const Words*>(p);
  return reinterpret_cast<const Pack<E, N>&>(words);
}

template <typename E>
__device__ inline Sum<E> load_if(bool there, const E* p) {
  return widen(load_pack_if<1>(there, p).of[0]);
}

template <int N, typename E>
__device__ inline void store_pack(E* p, const Pack<E, N>& values) {
  *reinterpret_cast<Pack<E, N>*>(p) = values;
}

// Pixels of a row in a vector, as many as leave a thread's weights in registers.
template <typename E, int kKernel>
inline constexpr int kPixelPack = sizeof(E) == 8   ? (kKernel == 3 ? 2 : 1)
                                  : sizeof(E) == 4 ? 4
                                                   : (kKernel == 3 ? 8 : 2);

}  // namespace ddf::cuda
