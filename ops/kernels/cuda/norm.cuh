// FilterNorm (FilterNormProblem) and its gradient. A thread has one filter of one pixel: of 9 or 25
// taps with all of them in registers, so that it reads each of its arguments once; of any other
// number tap by tap, several times.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "element.cuh"
#include "items.cuh"
#include "line.cuh"

namespace ddf::cuda {

struct NormWork {
  FilterNormProblem p;
  Items items;
};

// Square roots and reciprocals of numbers far from subnormal ones, within 2^-22, without the branch
// that exact ones have.
__device__ inline float square_root(float x) {
#if defined(__CUDA_ARCH__)
  asm("sqrt.approx.ftz.f32 %0, %0;" : "+f"(x));
  return x;
#else
  return std::sqrt(x);
#endif
}
__device__ inline double square_root(double x) { return ::sqrt(x); }
__device__ inline float reciprocal(float x) {
#if defined(__CUDA_ARCH__)
  asm("rcp.approx.ftz.f32 %0, %0;" : "+f"(x));
  return x;
#else
  return 1 / x;
#endif
}
__device__ inline double reciprocal(double x) { return 1 / x; }

// Of one filter, from the sum of its taps' squares once they have no mean.
template <typename T>
struct Deviation {
  T value;
  T inverse;    // 1 / (value + eps), with the problem's eps
  bool varies;  // more than rounding does

  __device__ Deviation(const FilterNormProblem& p, T eps, T squares) {
    constexpr auto kLeast = static_cast<T>(FilterNormProblem::kLeastVariance);
    const T variance = squares * (T(1) / static_cast<T>(p.taps - 1));
    varies = variance > kLeast;
    value = square_root(variance < kLeast ? kLeast : variance);  // a NaN stays one
    inverse = reciprocal(value + eps);
  }

  // Of the deviation, for each tap without its mean; `along`: these times the gradient from above.
  __device__ T gradient(T along, T degrees) const {
    // A condition around the whole is a branch there; elsewhere it spares instructions.
    if constexpr (kBlackwell) along = varies ? along : T(0);
    return kBlackwell || varies ? along * inverse * inverse * reciprocal(value * degrees) : T(0);
  }
};

template <typename T>
__device__ inline T eps_of(const FilterNormProblem& p) {
  const T eps = static_cast<T>(p.eps);
  return p.scale == nullptr ? eps : eps * *p.scale;
}

// The first of a filter's learned values, if there are any.
template <typename T>
__device__ inline const T* learned(const FilterNormProblem& p, const void* values, int group) {
  return values == nullptr ? nullptr : static_cast<const T*>(values) + group * p.taps;
}

// All taps of an item.
template <typename E, int kTaps>
__device__ inline void load_taps(const View& view, const Item& item, Sum<E> (&to)[kTaps]) {
  const auto line = Line<E>::of(true, of_item<E>(view, item, kTaps), view.c);
#pragma unroll
  for (int t = 0; t < kTaps; ++t) to[t] = widen(*line.at(t));
}

template <typename E>
__device__ inline void store(const Line<E>& to, int tap, Sum<E> value) {
  *const_cast<E*>(to.at(tap)) = narrow<E>(value);
}

template <typename T, int kTaps>
__device__ inline T sum_of(const T (&values)[kTaps]) {
  T sum = values[0];
#pragma unroll
  for (int t = 1; t < kTaps; ++t) sum += values[t];
  return sum;
}

// Takes the mean from the taps; the sum of their squares then. They count from the first, so that
// equal ones become exactly 0: a GPU multiplies and subtracts without rounding in between.
template <typename T, int kTaps>
__device__ inline T centre(T (&taps)[kTaps]) {
  const T first = taps[0];
#pragma unroll
  for (int t = 0; t < kTaps; ++t) taps[t] -= first;
  const T mean = sum_of(taps) * (T(1) / kTaps);
  T squares = 0;
#pragma unroll
  for (int t = 0; t < kTaps; ++t) {
    taps[t] -= mean;
    squares += taps[t] * taps[t];
  }
  return squares;
}

// Blocks that a multiprocessor's registers must hold, see kSoftmaxBlocks.
template <typename E, int kKernel>
inline constexpr int kNormBlocks = sizeof(E) == 8 ? (kKernel == 3 ? 4 : 2) : (kKernel == 3 ? 8 : 4);

// `kLearned`: with deviations, and perhaps means.
template <typename E, int kKernel, bool kLearned>
__global__ void __launch_bounds__(kThreads, kNormBlocks<E, kKernel>)
    norm_filter(const __grid_constant__ NormWork w) {
  using T = Sum<E>;
  constexpr int kTaps = kKernel * kKernel;
  const FilterNormProblem& p = w.p;
  const T gain = static_cast<T>(p.gain), eps = eps_of<T>(p);
  for_each_item(w.items, [&](const Item& item) {
    T taps[kTaps];
    load_taps<E>(p.x, item, taps);
    const Deviation<T> deviation(p, eps, centre(taps));
    const T factor = gain * deviation.inverse;
    const auto to = Line<E>::of(true, of_item<E>(p.to, item, kTaps), p.to.c);
    const T* const deviations = learned<T>(p, p.deviations, item.group);
    const auto means = Line<T>::of(p.means != nullptr, learned<T>(p, p.means, item.group), 1);
#pragma unroll
    for (int t = 0; t < kTaps; ++t) {
      T value = taps[t] * factor;
      if constexpr (kLearned) value = value * deviations[t] + *means.at(t);
      store(to, t, value);
    }
  });
}

// y = γ c / (d + eps) with c = x - mean and d = sqrt(Σ c² / (taps - 1)).
template <typename E, int kKernel, bool kLearned>
__global__ void __launch_bounds__(kThreads, kNormBlocks<E, kKernel>)
    norm_gradient(const __grid_constant__ NormWork w) {
  using T = Sum<E>;
  constexpr int kTaps = kKernel * kKernel;
  const FilterNormProblem& p = w.p;
  const T gain = static_cast<T>(p.gain), eps = eps_of<T>(p);
  for_each_item(w.items, [&](const Item& item) {
    T taps[kTaps], upstream[kTaps];
    load_taps<E>(p.x, item, taps);
    load_taps<E>(p.grad_output, item, upstream);
    const T* const deviations = learned<T>(p, p.deviations, item.group);
    const Deviation<T> deviation(p, eps, centre(taps));
#pragma unroll
    for (int t = 0; t < kTaps; ++t) {
      upstream[t] *= gain;
      if constexpr (kLearned) upstream[t] *= deviations[t];
    }
    centre(upstream);
    T along = 0;
#pragma unroll
    for (int t = 0; t < kTaps; ++t) along += upstream[t] * taps[t];
    const T of_deviation = deviation.gradient(along, T(kTaps - 1));
    const auto to = Line<E>::of(true, of_item<E>(p.to, item, kTaps), p.to.c);
#pragma unroll
    for (int t = 0; t < kTaps; ++t)
      store(to, t, upstream[t] * deviation.inverse - taps[t] * of_deviation);
  });
}

inline constexpr int kNormAnyBlocks = 4;  // as kNormBlocks

template <typename E>
__device__ inline Sum<E> tap_of(const View& view, const E* filter, int tap) {
  return widen(filter[tap * view.c]);
}

// The taps of an item without their mean, read anew each time.
template <typename E>
struct AnyTaps {
  using T = Sum<E>;
  const FilterNormProblem& p;
  const E* filter;
  int count;
  T first, mean = 0;

  __device__ AnyTaps(const FilterNormProblem& p_, const Item& item)
      : p(p_),
        filter(of_item<E>(p_.x, item, p_.taps)),
        count(static_cast<int>(p_.taps)),
        first(widen(*filter)) {
    T sum = 0;
    for_each([&](int, T tap) { sum += tap; });
    mean = sum * (T(1) / static_cast<T>(count));
  }

  // Calls body(t, tap).
  template <typename Body>
  __device__ void for_each(const Body& body) const {
#pragma unroll 1
    for (int t = 0; t < count; ++t) body(t, tap_of(p.x, filter, t) - first - mean);
  }

  __device__ T squares() const {
    T sum = 0;
    for_each([&](int, T tap) { sum += tap * tap; });
    return sum;
  }
};

template <typename E>
__global__ void __launch_bounds__(kThreads, kNormAnyBlocks)
    norm_filter_any(const __grid_constant__ NormWork w) {
  using T = Sum<E>;
  const FilterNormProblem& p = w.p;
  const T gain = static_cast<T>(p.gain), eps = eps_of<T>(p);
  for_each_item(w.items, [&](const Item& item) {
    const AnyTaps<E> taps(p, item);
    const T factor = gain * Deviation<T>(p, eps, taps.squares()).inverse;
    const T* const deviations = learned<T>(p, p.deviations, item.group);
    const T* const means = learned<T>(p, p.means, item.group);
    E* const to = of_item<E>(p.to, item, p.taps);
    taps.for_each([&](int t, T tap) {
      T value = tap * factor;
      if (deviations != nullptr) value *= deviations[t];
      if (means != nullptr) value += means[t];
      to[t * p.to.c] = narrow<E>(value);
    });
  });
}

template <typename E>
__global__ void __launch_bounds__(kThreads, kNormAnyBlocks)
    norm_gradient_any(const __grid_constant__ NormWork w) {
  using T = Sum<E>;
  const FilterNormProblem& p = w.p;
  const T gain = static_cast<T>(p.gain), eps = eps_of<T>(p);
  for_each_item(w.items, [&](const Item& item) {
    const AnyTaps<E> taps(p, item);
    const Deviation<T> deviation(p, eps, taps.squares());
    const T* const deviations = learned<T>(p, p.deviations, item.group);
    const E* const above = of_item<E>(p.grad_output, item, p.taps);
    const auto scaled = [&](int t) {
      const T value = tap_of(p.grad_output, above, t) * gain;
      return deviations == nullptr ? value : value * deviations[t];
    };
    const T first = scaled(0);  // see centre()
    const auto upstream = [&](int t) { return scaled(t) - first; };
    T sum = 0, along = 0;
    taps.for_each([&](int t, T tap) {
      sum += upstream(t);
      along += upstream(t) * tap;
    });
    const T mean = sum * (T(1) / static_cast<T>(p.taps));
    const T of_deviation = deviation.gradient(along, static_cast<T>(p.taps - 1));
    E* const to = of_item<E>(p.to, item, p.taps);
    taps.for_each([&](int t, T tap) {
      to[t * p.to.c] = narrow<E>((upstream(t) - mean) * deviation.inverse - tap * of_deviation);
    });
  });
}

}  // namespace ddf::cuda
