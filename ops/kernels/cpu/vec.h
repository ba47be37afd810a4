// Vectors in GCC's and clang's vector extension: one source for every instruction set.
// DDF_VECTOR_BYTES is the width of a register of the instruction set this is compiled for.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "../problem.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#ifndef DDF_VECTOR_BYTES
#define DDF_VECTOR_BYTES 16
#endif
#ifndef DDF_NAMESPACE
#define DDF_NAMESPACE baseline
#endif

#define DDF_INLINE inline __attribute__((always_inline))
// Compiled once for all callers: what is called once for many pixels costs the compiler more time
// than it saves.
#if defined(__clang__)
#define DDF_SHARED __attribute__((noinline))
#else
#define DDF_SHARED __attribute__((noinline, noclone))
#endif

namespace ddf::DDF_NAMESPACE {

struct bfloat16 {
  uint16_t bits;
};
struct float16 {
  uint16_t bits;
};

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
  using type = float16;
};
template <>
struct ElementOf<DType::bfloat16> {
  using type = bfloat16;
};
// What sums of them are in.
template <typename E>
using Sum = std::conditional_t<std::is_same_v<E, double>, double, float>;

template <typename T>
struct VectorOf {
  typedef T type __attribute__((vector_size(DDF_VECTOR_BYTES)));
  // As it lies in memory: any address.
  typedef T unaligned __attribute__((vector_size(DDF_VECTOR_BYTES), aligned(sizeof(T)), may_alias));
  typedef std::conditional_t<sizeof(T) == 8, int64_t, int32_t> integer;
  typedef integer mask __attribute__((vector_size(DDF_VECTOR_BYTES)));
};
template <typename T>
using Vec = typename VectorOf<T>::type;
template <typename T>
using Mask = typename VectorOf<T>::mask;
template <typename T>
inline constexpr int kLanes = DDF_VECTOR_BYTES / static_cast<int>(sizeof(T));

constexpr int kWords = DDF_VECTOR_BYTES / 4;
typedef uint32_t U32 __attribute__((vector_size(DDF_VECTOR_BYTES)));
typedef int32_t I32 __attribute__((vector_size(DDF_VECTOR_BYTES)));
typedef float F32 __attribute__((vector_size(DDF_VECTOR_BYTES)));
typedef uint16_t U16 __attribute__((vector_size(DDF_VECTOR_BYTES / 2)));
typedef uint16_t U16Unaligned
    __attribute__((vector_size(DDF_VECTOR_BYTES / 2), aligned(2), may_alias));

template <typename T>
DDF_INLINE Vec<T> broadcast(T value) {
  return value - Vec<T>{};
}

DDF_INLINE F32 from_bits(U32 bits) { return reinterpret_cast<F32>(bits); }
DDF_INLINE U32 to_bits(F32 value) { return reinterpret_cast<U32>(value); }

// Bit by bit, for machines without a conversion instruction; exact, subnormals and NaN included.
DDF_INLINE F32 half_bits_to_float(U32 half) {
  const U32 sign = (half & 0x8000u) << 16;
  const U32 rest = (half & 0x7fffu) << 13;
  // 2^112 makes up for the difference of the exponents' biases and normalises subnormals.
  const F32 scaled = from_bits(rest) * from_bits(U32{} + 0x77800000u);
  const U32 special = (rest & (0x7c00u << 13)) | 0x7f800000u | (rest & 0x7fffffu);
  const U32 is_special = reinterpret_cast<U32>(rest >= (0x7c00u << 13));
  return from_bits(sign | (is_special & special) | (~is_special & to_bits(scaled)));
}

DDF_INLINE U32 float_to_half_bits(F32 value) {
  const U32 bits = to_bits(value);
  const U32 sign = (bits >> 16) & 0x8000u;
  const U32 magnitude = bits & 0x7fffffffu;
  // Subnormal halves: adding 0.5 lets the adder round to the last bit of a half.
  const U32 small = to_bits(from_bits(magnitude) + from_bits(U32{} + 0x3f000000u)) - 0x3f000000u;
  const U32 normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const U32 infinite = U32{} + 0x7c00u;
  const U32 nan = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  const U32 is_small = reinterpret_cast<U32>(magnitude < 0x38800000u);
  const U32 is_infinite = reinterpret_cast<U32>(magnitude >= 0x477ff000u);
  const U32 is_nan = reinterpret_cast<U32>(magnitude > 0x7f800000u);
  U32 half = (is_small & small) | (~is_small & normal);
  half = (is_infinite & infinite) | (~is_infinite & half);
  half = (is_nan & nan) | (~is_nan & half);
  return sign | half;
}

// load<T>(p): one vector of T from storage of any element type; store is its inverse, rounding to
// nearest even.
template <typename T, typename E>
DDF_INLINE Vec<T> load(const E* p) {
  if constexpr (std::is_same_v<T, E>) {
    return *reinterpret_cast<const typename VectorOf<T>::unaligned*>(p);
  } else {
    static_assert(std::is_same_v<T, float>);
    if constexpr (std::is_same_v<E, bfloat16>) {
      const U16 raw = *reinterpret_cast<const U16Unaligned*>(p);
      return from_bits(__builtin_convertvector(raw, U32) << 16);
    } else {
#if defined(__AVX512F__) && DDF_VECTOR_BYTES == 64
      return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__F16C__) && DDF_VECTOR_BYTES == 32
      return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
      const U16 raw = *reinterpret_cast<const U16Unaligned*>(p);
      return half_bits_to_float(__builtin_convertvector(raw, U32));
#endif
    }
  }
}

template <typename T, typename E>
DDF_INLINE void store(E* p, Vec<T> value) {
  if constexpr (std::is_same_v<T, E>) {
    *reinterpret_cast<typename VectorOf<T>::unaligned*>(p) = value;
  } else {
    U32 rounded;
    if constexpr (std::is_same_v<E, bfloat16>) {
      const U32 bits = to_bits(value);
      // Rounding would carry a NaN's mantissa into the exponent, or the sign.
      const U32 nan = reinterpret_cast<U32>(value != value);
      rounded = (bits + ((0x7fffu + ((bits >> 16) & 1u)) & ~nan) + (nan & ~bits & 0x400000u)) >> 16;
#if defined(__AVX2__) && DDF_VECTOR_BYTES == 32
      const __m256i words = reinterpret_cast<__m256i>(rounded);
      _mm_storeu_si128(
          reinterpret_cast<__m128i*>(p),
          _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
      return;
#endif
    } else {
#if defined(__AVX512F__) && DDF_VECTOR_BYTES == 64
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(value, 0));
      return;
#elif defined(__F16C__) && DDF_VECTOR_BYTES == 32
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(value, 0));
      return;
#else
      rounded = float_to_half_bits(value);
#endif
    }
    *reinterpret_cast<U16Unaligned*>(p) = __builtin_convertvector(rounded, U16);
  }
}

template <typename T, typename E>
DDF_INLINE T load_scalar(const E* p) {
  if constexpr (std::is_same_v<T, E>) {
    return *p;
  } else if constexpr (std::is_same_v<E, bfloat16>) {
    const uint32_t bits = static_cast<uint32_t>(p->bits) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  } else {
#if defined(__F16C__)
    return _cvtsh_ss(p->bits);
#else
    return half_bits_to_float(U32{p->bits})[0];
#endif
  }
}

template <typename T, typename E>
DDF_INLINE void store_scalar(E* p, T value) {
  if constexpr (std::is_same_v<T, E>) {
    *p = value;
  } else {
    E rounded[kWords];
    store<T>(rounded, broadcast(value));
    *p = rounded[0];
  }
}

// memcpy that leaves the caches alone where the instruction set can, for outputs that no cache
// holds. Each line written is paired with one of `ahead` that is fetched: memory then does both at
// once.
template <typename E>
DDF_SHARED void stream(E* to, const E* from, int64_t n, const E* ahead) {
  const char* fetched = reinterpret_cast<const char*>(ahead);
#if defined(__SSE2__)
  char* out = reinterpret_cast<char*>(to);
  const char* in = reinterpret_cast<const char*>(from);
  int64_t bytes = n * static_cast<int64_t>(sizeof(E));
  const int64_t head = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(out) & 63);
  if (bytes >= head + 64) {
    std::memcpy(out, in, static_cast<size_t>(head));
    out += head;
    in += head;
    bytes -= head;
    for (; bytes >= 64; bytes -= 64, out += 64, in += 64) {
      __builtin_prefetch(fetched, 0, 2);
      fetched += 64;
#if defined(__AVX512F__)
      _mm512_stream_si512(reinterpret_cast<__m512i*>(out), _mm512_loadu_si512(in));
#elif defined(__AVX__)
      for (int i = 0; i < 64; i += 32)
        _mm256_stream_si256(reinterpret_cast<__m256i*>(out + i),
                            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + i)));
#else
      for (int i = 0; i < 64; i += 16)
        _mm_stream_si128(reinterpret_cast<__m128i*>(out + i),
                         _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i)));
#endif
    }
  }
  std::memcpy(out, in, static_cast<size_t>(bytes));
#else
  std::memcpy(to, from, static_cast<size_t>(n) * sizeof(E));
  (void)fetched;
#endif
}

// store() past the caches, where can_stream() says so.
template <typename T, typename E>
DDF_INLINE bool can_stream(const E* to) {
#if defined(__SSE2__)
  return std::is_same_v<T, E> && reinterpret_cast<uintptr_t>(to) % DDF_VECTOR_BYTES == 0;
#else
  (void)to;
  return false;
#endif
}

template <typename T, typename E>
DDF_INLINE void stream_vector(E* to, Vec<T> value) {
#if defined(__SSE2__)
  if constexpr (std::is_same_v<T, E>) {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), reinterpret_cast<__m512i>(value));
#elif defined(__AVX__)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(value));
#else
    _mm_stream_si128(reinterpret_cast<__m128i*>(to), reinterpret_cast<__m128i>(value));
#endif
    return;
  }
#endif
  store<T>(to, value);
}

// Streamed stores are not ordered with others: called before another thread may look.
DDF_INLINE void end_stream() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// Lane i is all ones if i < n.
template <typename T>
DDF_INLINE Mask<T> first_lanes(int64_t n) {
  Mask<T> lane;
  for (int i = 0; i < kLanes<T>; ++i) lane[i] = i;
  return lane < static_cast<typename VectorOf<T>::integer>(n) - Mask<T>{};
}

template <typename T>
DDF_INLINE Vec<T> select(Mask<T> mask, Vec<T> value) {
  return reinterpret_cast<Vec<T>>(mask & reinterpret_cast<Mask<T>>(value));
}

// Every second element of 2 * kLanes<T>, from kFirst on, and the inverse: two vectors, one element
// of each in turn.
#if defined(__clang__)
// clang has no __builtin_shuffle, and GCC has this one from 12 on.
template <typename T, int kFirst, size_t... kIndex>
DDF_INLINE Vec<T> every_second(Vec<T> low, Vec<T> high, std::index_sequence<kIndex...>) {
  return __builtin_shufflevector(low, high, (2 * kIndex + kFirst)...);
}

template <typename T, int kFirst = 0>
DDF_INLINE Vec<T> every_second(Vec<T> low, Vec<T> high) {
  return every_second<T, kFirst>(low, high, std::make_index_sequence<kLanes<T>>());
}

template <typename T, size_t kFirst, size_t... kIndex>
DDF_INLINE Vec<T> in_turn(Vec<T> even, Vec<T> odd, std::index_sequence<kIndex...>) {
  return __builtin_shufflevector(even, odd, (kFirst + kIndex / 2 + kIndex % 2 * kLanes<T>)...);
}

template <typename T>
DDF_INLINE Vec<T> in_turn(Vec<T> even, Vec<T> odd, bool upper) {
  const auto indices = std::make_index_sequence<kLanes<T>>();
  return upper ? in_turn<T, kLanes<T> / 2>(even, odd, indices) : in_turn<T, 0>(even, odd, indices);
}
#else
template <typename T, int kFirst = 0>
DDF_INLINE Vec<T> every_second(Vec<T> low, Vec<T> high) {
  Mask<T> index;
  for (int i = 0; i < kLanes<T>; ++i) index[i] = 2 * i + kFirst;
  return __builtin_shuffle(low, high, index);
}

template <typename T>
DDF_INLINE Vec<T> in_turn(Vec<T> even, Vec<T> odd, bool upper) {
  Mask<T> index;
  for (int i = 0; i < kLanes<T>; ++i)
    index[i] = (upper ? kLanes<T> / 2 : 0) + i / 2 + (i % 2) * kLanes<T>;
  return __builtin_shuffle(even, odd, index);
}
#endif

// The sum over the lanes of each of n vectors, of the first kLanes<T>; 0 for the rest.
template <typename T>
DDF_INLINE Vec<T> sum_each(const Vec<T>* values, int64_t n) {
  constexpr int L = kLanes<T>;
  Vec<T> level[L]{};
#pragma GCC unroll 16
  for (int i = 0; i < L; ++i)
    if (i < n) level[i] = values[i];
#pragma GCC unroll 4
  for (int count = L / 2; count > 0; count /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i)
      level[i] = every_second<T, 0>(level[2 * i], level[2 * i + 1]) +
                 every_second<T, 1>(level[2 * i], level[2 * i + 1]);
  return level[0];
}

// Always in the same order: halves, quarters, ...
template <typename T>
DDF_INLINE T sum_lanes(Vec<T> value) {
  T lanes[kLanes<T>];
  store<T>(lanes, value);
  for (int width = kLanes<T> / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

}  // namespace ddf::DDF_NAMESPACE
