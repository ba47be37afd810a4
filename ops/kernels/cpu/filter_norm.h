// FilterNorm of generated filters, and its gradient: one pass over memory, a vector of filters at a
// time, each lane a pixel.
#pragma once

#include <cmath>

#include "tile.h"

namespace ddf::DDF_NAMESPACE {

template <typename T>
DDF_INLINE Vec<T> square_root(Vec<T> value) {
  T lanes[kLanes<T>];
  store<T>(lanes, value);
  for (int i = 0; i < kLanes<T>; ++i) lanes[i] = std::sqrt(lanes[i]);
  return load<T>(lanes);
}

template <typename T>
DDF_INLINE Vec<T> at_least(Vec<T> value, T least) {
  const Mask<T> below = reinterpret_cast<Mask<T>>(value < broadcast(least));  // not a NaN
  return reinterpret_cast<Vec<T>>((below & reinterpret_cast<Mask<T>>(broadcast(least))) |
                                  (~below & reinterpret_cast<Mask<T>>(value)));
}

// The first n of kLanes<T> elements, `stride` apart; 0 beyond.
template <typename T, typename E>
DDF_INLINE Vec<T> load_some(const E* from, int64_t stride, int n) {
  if (stride == 1 && n == kLanes<T>) return load<T>(from);
  T lanes[kLanes<T>] = {};
  for (int i = 0; i < n; ++i) lanes[i] = load_scalar<T>(from + i * stride);
  return load<T>(lanes);
}

template <typename T, typename E>
DDF_INLINE void store_some(E* to, int64_t stride, int n, Vec<T> value) {
  if (stride == 1 && n == kLanes<T>) {
    store<T>(to, value);
    return;
  }
  T lanes[kLanes<T>];
  store<T>(lanes, value);
  for (int i = 0; i < n; ++i) store_scalar<T>(to + i * stride, lanes[i]);
}

// Of the filters of kLanes<T> pixels: their taps without the mean, and the deviation.
template <typename T>
struct Centered {
  Vec<T> deviation;
  Mask<T> varies;  // more than rounding does

  // `taps` holds them, and gets them without the mean. A filter counts from its first tap, so that
  // a constant one is exactly 0.
  DDF_INLINE Centered(Vec<T>* taps, int64_t count) {
    const Vec<T> first = taps[0];
    Vec<T> sum = {};
    for (int64_t t = 0; t < count; ++t) {
      taps[t] -= first;
      sum += taps[t];
    }
    const Vec<T> mean = sum * broadcast(T(1) / static_cast<T>(count));
    Vec<T> squares = {};
    for (int64_t t = 0; t < count; ++t) {
      taps[t] -= mean;
      squares += taps[t] * taps[t];
    }
    const Vec<T> variance = squares * broadcast(T(1) / static_cast<T>(count - 1));
    constexpr auto kLeast = static_cast<T>(FilterNormProblem::kLeastVariance);
    varies = reinterpret_cast<Mask<T>>(variance > broadcast(kLeast));
    deviation = square_root<T>(at_least<T>(variance, kLeast));
  }
};

// A run of one row: unit counts images, filters, rows and runs.
template <typename T, typename E>
void filter_norm_unit(const FilterNormProblem& p, int64_t unit, void* memory) {
  Scratch scratch(memory);
  Vec<T>* const taps = scratch.take<Vec<T>>(p.taps);
  Vec<T>* const upstream = scratch.take<Vec<T>>(p.taps);
  const int64_t begin = unit % p.runs() * p.run, end = smaller(begin + p.run, p.width);
  const int64_t row = unit / p.runs(), y = row % p.height;
  const int64_t filter = row / p.height % p.filters, image = row / p.height / p.filters;
  const auto row_of = [&](const View& view) {
    return static_cast<E*>(view.data) + image * view.b + filter * p.taps * view.c + y * view.y;
  };
  const E* const x_row = row_of(p.x);
  const bool forward = p.grad_output.data == nullptr;
  const E* const upstream_row = forward ? nullptr : row_of(p.grad_output);
  E* const to_row = row_of(p.to);
  const Vec<T> gain = broadcast(static_cast<T>(p.gain));
  const Vec<T> eps = broadcast(static_cast<T>(p.scale == nullptr ? p.eps : p.eps * *p.scale));
  for (int64_t x = begin; x < end; x += kLanes<T>) {
    const int n = static_cast<int>(smaller(kLanes<T>, end - x));
    const auto learned = [&](const void* values, int64_t t) {
      const T* const of_tap = static_cast<const T*>(values) + filter * p.taps + t;
      return p.filters_along_x ? load_some<T>(of_tap + x * p.taps, p.taps, n) : broadcast(*of_tap);
    };
    const E* const from = x_row + x * p.x.x;
    E* const to = to_row + x * p.to.x;
    for (int64_t t = 0; t < p.taps; ++t) taps[t] = load_some<T>(from + t * p.x.c, p.x.x, n);
    const Centered<T> statistics(taps, p.taps);
    const Vec<T> inverse = broadcast(T(1)) / (statistics.deviation + eps);
    if (forward) {
      Vec<T> scale = inverse * gain;
      if (p.deviations != nullptr || p.means != nullptr) {
        for (int64_t t = 0; t < p.taps; ++t) {
          taps[t] *= scale;
          if (p.deviations != nullptr) taps[t] *= learned(p.deviations, t);
          if (p.means != nullptr) taps[t] += learned(p.means, t);
        }
        scale = broadcast(T(1));
      }
      for (int64_t t = 0; t < p.taps; ++t)
        store_some<T>(to + t * p.to.c, p.to.x, n, taps[t] * scale);
    } else {
      // y = c / (d + eps) with c = x - mean and d = sqrt(Σ c² / (taps - 1)).
      const E* const above = upstream_row + x * p.grad_output.x;
      Vec<T> sum = {}, product = {};
      for (int64_t t = 0; t < p.taps; ++t) {
        upstream[t] = load_some<T>(above + t * p.grad_output.c, p.grad_output.x, n) * gain;
        if (p.deviations != nullptr) upstream[t] *= learned(p.deviations, t);
        sum += upstream[t];
        product += upstream[t] * taps[t];
      }
      const Vec<T> mean = sum * broadcast(T(1) / static_cast<T>(p.taps));
      const Vec<T> of_deviation = select<T>(
          statistics.varies, product * inverse * inverse /
                                 (statistics.deviation * broadcast(static_cast<T>(p.taps - 1))));
      for (int64_t t = 0; t < p.taps; ++t)
        store_some<T>(to + t * p.to.c, p.to.x, n,
                      (upstream[t] - mean) * inverse - taps[t] * of_deviation);
    }
  }
}

template <typename T>
int64_t filter_norm_scratch(const FilterNormProblem& p) {
  Scratch scratch(nullptr);
  scratch.take<Vec<T>>(p.taps);
  scratch.take<Vec<T>>(p.taps);
  return scratch.used();
}

}  // namespace ddf::DDF_NAMESPACE
