// Numbers by tap of 3 x 3 kernels: sums over lanes, and vectors turned between taps and channels.
#pragma once

#include "ddf_micro.h"

namespace ddf::DDF_NAMESPACE {

inline constexpr int kTaps = 9;

// Vectors that hold a number for each tap, in elements.
template <typename T>
inline constexpr int kTapSums = (kTaps + kLanes<T> - 1) / kLanes<T> * kLanes<T>;

// Adds to `sums` the sum over the lanes of each of kTaps vectors.
template <typename T>
DDF_INLINE void add_tap_sums(T* sums, const Vec<T>* of_taps) {
  constexpr int L = kLanes<T>;
#pragma GCC unroll 4
  for (int first = 0; first < kTaps; first += L)
    store<T>(sums + first, load<T>(sums + first) + sum_each<T>(of_taps + first, kTaps - first));
}

// kLanes vectors of as many rows, transposed.
template <typename T>
DDF_INLINE void transpose(Vec<T>* rows) {
  constexpr int L = kLanes<T>;
  Vec<T> to[L];
  // Each round takes a bit of the column, from the lowest on, to where its group of rows stands.
#pragma GCC unroll 4
  for (int groups = 1; groups < L; groups *= 2) {
#pragma GCC unroll 16
    for (int i = 0; i < L / 2; ++i) {
      const int size = L / groups, group = i / (size / 2), at = i % (size / 2);
      const Vec<T> first = rows[group * size + 2 * at], second = rows[group * size + 2 * at + 1];
      to[group * (size / 2) + at] = every_second<T, 0>(first, second);
      to[(groups + group) * (size / 2) + at] = every_second<T, 1>(first, second);
    }
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) rows[i] = to[i];
  }
}

// A filter of kLanes channels, [channel][tap], to [tap][lane].
template <typename T>
DDF_SHARED void taps_to_lanes(T* to, const T* from) {
  constexpr int L = kLanes<T>;
  int tap = 0;
  if constexpr (L <= kTaps) {
    for (; tap + L <= kTaps; tap += L) {
      Vec<T> rows[L];
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) rows[i] = load<T>(from + i * kTaps + tap);
      transpose<T>(rows);
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) store<T>(to + (tap + i) * L, rows[i]);
    }
  } else {
    T last[L]{};  // a whole vector from the last row on would run past the end
    for (int i = 0; i < kTaps; ++i) last[i] = from[(L - 1) * kTaps + i];
    Vec<T> rows[L];
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) rows[i] = load<T>(i < L - 1 ? from + i * kTaps : last);
    transpose<T>(rows);
#pragma GCC unroll 16
    for (; tap < kTaps; ++tap) store<T>(to + tap * L, rows[tap]);
  }
  for (; tap < kTaps; ++tap)
    for (int i = 0; i < L; ++i) to[tap * L + i] = from[i * kTaps + tap];
}

// The inverse.
template <typename T>
DDF_SHARED void lanes_to_taps(T* to, const T* from) {
  constexpr int L = kLanes<T>;
  int tap = 0;
  if constexpr (L <= kTaps) {
    for (; tap + L <= kTaps; tap += L) {
      Vec<T> rows[L];
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) rows[i] = load<T>(from + (tap + i) * L);
      transpose<T>(rows);
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) store<T>(to + i * kTaps + tap, rows[i]);
    }
  } else {
    Vec<T> rows[L]{};
#pragma GCC unroll 16
    for (int i = 0; i < kTaps; ++i) rows[i] = load<T>(from + i * L);
    transpose<T>(rows);
    // What each writes too much is written by the next.
#pragma GCC unroll 16
    for (int i = 0; i < L - 1; ++i) store<T>(to + i * kTaps, rows[i]);
    T last[L];
    store<T>(last, rows[L - 1]);
    for (; tap < kTaps; ++tap) to[(L - 1) * kTaps + tap] = last[tap];
  }
  for (; tap < kTaps; ++tap)
    for (int i = 0; i < L; ++i) to[i * kTaps + tap] = from[tap * L + i];
}

}  // namespace ddf::DDF_NAMESPACE
