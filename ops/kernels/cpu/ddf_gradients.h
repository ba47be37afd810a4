// The inner loop of the backward pass for 3 x 3 kernels of stride 1: all gradients in one pass,
// which makes the product of X and the output's gradient once and loads each weight once.
//
// It visits pixels q of the input: with X(q), and the output's gradient at the pixels p = q - tap
// that read q, it has all terms of the features' gradient at q. Of the filters' gradients it has
// those of the pairs (tap, p), each of which belongs to one q.
#pragma once

#include "ddf_taps.h"

namespace ddf::DDF_NAMESPACE {

// One filter stays in registers along a strip, and so do the sums of its gradient: where lanes are
// pixels that of the channel, where lanes are channels that of the pixel. The other one passes by
// in memory, with its gradient.
// Rows of steps, each a vector of X. Distances in elements; the passing filter and its gradient
// have kTaps vectors a step.
template <typename T>
struct GradientStrip {
  int64_t x_row, x_step, x_ahead;  // ahead: what is fetched
  int64_t g_row, g_step, g_tap_row, g_tap_column;
  int64_t passing_row;
  int64_t out_row, out_step;
  int64_t fetched_row, fetched_step;  // in bytes
  int64_t kept[kTaps];                // where the taps of the kept filter are
  Mask<T> tail;                       // lanes of a row's last step
  bool stream;                        // to memory, past the caches
};

// `g` is where tap (0, 0) reads, `fetched` what will be needed later. The last vector goes to
// `last`. What is there is added to: grad_passing, and grad_kept, which has vectors for pixel lanes
// and kTapSums sums for channel lanes.
template <typename T, bool kPixelLanes, Combine kCombine>
__attribute__((noinline)) void gradient_strip(const T* x, const T* g, const T* kept, T* grad_kept,
                                              const T* passing, T* grad_passing, T* out, T* last,
                                              const char* fetched, const GradientStrip<T>& strip,
                                              int64_t rows, int64_t steps) {
  constexpr int L = kLanes<T>;
  constexpr bool kKept = kPixelLanes ? has_channel(kCombine) : has_spatial(kCombine);
  constexpr bool kPassing = kPixelLanes ? has_spatial(kCombine) : has_channel(kCombine);
  constexpr bool kMultiply = kCombine == Combine::multiply;
  if constexpr (!kPixelLanes) rows = 1;  // the vectors of a pixel
  Vec<T> weight[kTaps]{}, sum_kept[kTaps]{};
  if constexpr (kKept) {
#pragma GCC unroll 9
    for (int t = 0; t < kTaps; ++t) {
      weight[t] = broadcast<T>(kept[strip.kept[t]]);
      if constexpr (kPixelLanes) sum_kept[t] = load<T>(grad_kept + t * L);
    }
  }
  const int64_t column = -strip.g_tap_column;
  for (int64_t row = 0; row < rows; ++row) {
    const T* xp = x + row * strip.x_row;
    const T* g0 = g + row * strip.g_row;
    const T* gp[3] = {g0, g0 - strip.g_tap_row, g0 - 2 * strip.g_tap_row};
    const T* w = passing + row * strip.passing_row;
    T* grad_w = grad_passing + row * strip.passing_row;
    T* to = out + row * strip.out_row;
    const char* line = fetched + row * strip.fetched_row;
    for (int64_t n = steps; n > 0; --n) {
      __builtin_prefetch(xp + strip.x_ahead, 0, 2);
      __builtin_prefetch(line, 0, 2);
      Vec<T> value = load<T>(xp), sum{};
      if (n == 1) {
        value = select<T>(strip.tail, value);
        if (row == rows - 1) to = last;
      }
#pragma GCC unroll 3
      for (int ty = 0; ty < 3; ++ty) {
#pragma GCC unroll 3
        for (int tx = 0; tx < 3; ++tx) {
          const int t = 3 * ty + tx;
          const Vec<T> gradient = load<T>(gp[ty] + tx * column);
          const Vec<T> product = value * gradient;
          Vec<T> other{};
          if constexpr (kPassing) {
            other = load<T>(w + t * L);
            store<T>(grad_w + t * L,
                     load<T>(grad_w + t * L) + (kMultiply ? product * weight[t] : product));
          }
          if constexpr (kKept) sum_kept[t] += kMultiply ? product * other : product;
          sum += gradient * (kMultiply           ? weight[t] * other
                             : kKept && kPassing ? weight[t] + other
                             : kKept             ? weight[t]
                                                 : other);
        }
        gp[ty] += strip.g_step;
      }
      if (strip.stream) {
        stream_vector<T, T>(to, sum);
      } else {
        store<T>(to, sum);
      }
      xp += strip.x_step;
      to += strip.out_step;
      line += strip.fetched_step;
      w += kTaps * L;
      grad_w += kTaps * L;
    }
  }
  if constexpr (kKept) {
    if constexpr (kPixelLanes) {
#pragma GCC unroll 9
      for (int t = 0; t < kTaps; ++t) store<T>(grad_kept + t * L, sum_kept[t]);
    } else {
      add_tap_sums<T>(grad_kept, sum_kept);
    }
  }
}

}  // namespace ddf::DDF_NAMESPACE
