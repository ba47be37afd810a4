// The inner loops. Written once for both directions of the vectors: where lanes are pixels, the
// spatial filter is a vector and the channel filter a number to broadcast; where lanes are
// channels it is the other way round.
#pragma once

#include "../formula.h"
#include "vec.h"

namespace ddf::DDF_NAMESPACE {

// Registers: kPositions * kVectors sums, plus one row and one column of operands.
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int kPositions = 4;
#else
inline constexpr int kPositions = 2;
#endif
inline constexpr int kVectors = 4;  // channels, or vectors of channels, that share spatial weights

template <typename T, bool kVector>
DDF_INLINE Vec<T> operand(const T* p) {
  if constexpr (kVector)
    return load<T>(p);
  else
    return broadcast<T>(*p);
}

// Which filters there are.
DDF_INLINE constexpr bool has_channel(Combine combine) { return combine != Combine::spatial; }
DDF_INLINE constexpr bool has_spatial(Combine combine) { return combine != Combine::channel; }

// body(the same as a constant): what it returns. The inner loops are compiled for each, and chosen
// here; all other code asks while it runs.
template <typename Body>
DDF_INLINE auto with_combine(Combine combine, const Body& body) {
  switch (combine) {
    case Combine::multiply:
      return body(std::integral_constant<Combine, Combine::multiply>());
    case Combine::add:
      return body(std::integral_constant<Combine, Combine::add>());
    case Combine::spatial:
      return body(std::integral_constant<Combine, Combine::spatial>());
    default:
      return body(std::integral_constant<Combine, Combine::channel>());
  }
}

template <typename T, bool kPixelLanes, Combine kCombine>
DDF_INLINE Vec<T> channel_operand(const T* f) {
  if constexpr (has_channel(kCombine)) return operand<T, !kPixelLanes>(f);
  (void)f;
  return Vec<T>{};
}
template <typename T, bool kPixelLanes, Combine kCombine>
DDF_INLINE Vec<T> spatial_operand(const T* s) {
  if constexpr (has_spatial(kCombine)) return operand<T, kPixelLanes>(s);
  (void)s;
  return Vec<T>{};
}

// The weight of a tap.
template <Combine kCombine, typename V>
DDF_INLINE V weigh(V of_channel, V of_pixel) {
  if constexpr (kCombine == Combine::spatial) return of_pixel;
  if constexpr (kCombine == Combine::channel) return of_channel;
  return combine<kCombine == Combine::multiply>(of_channel, of_pixel);
}

// body(the number of vectors of a block as a constant), likewise.
template <typename Body>
DDF_INLINE auto with_vectors(int64_t vectors, const Body& body) {
  switch (vectors) {
    case 1:
      return body(std::integral_constant<int, 1>());
    case 2:
      return body(std::integral_constant<int, 2>());
    case 3:
      return body(std::integral_constant<int, 3>());
    default:
      static_assert(kVectors == 4);
      return body(std::integral_constant<int, 4>());
  }
}

// Keeps the compiler from computing the addresses of all taps ahead: they do not fit in registers.
template <typename P>
DDF_INLINE void hide(P& pointer) {
  asm("" : "+r"(pointer));
}

// Positions of a sweep of the filters' gradients: what it reads stays in the L1 cache.
inline constexpr int64_t kSweep = 64;

// Strides of the operands of one call, in elements. "Vector" is one of kVectors.
struct Strides {
  int64_t x_row, x_position, x_vector, x_tap_row, x_tap_column;
  int64_t s_row, s_position, s_tap;
  int64_t f_vector, f_tap;
  int64_t out_row, out_position, out_vector;
};

// out = sum over taps of (F o S) * X, for kP positions and kV vectors.
template <typename T, typename O, bool kPixelLanes, Combine kCombine, int kP, int kV>
DDF_INLINE void filter_block(const T* x, const T* s, const T* f, O* out, const Strides& d,
                             int64_t kernel_y, int64_t kernel_x, bool accumulate) {
  Vec<T> sum[kP][kV];
  for (int p = 0; p < kP; ++p)
    for (int v = 0; v < kV; ++v)
      sum[p][v] = accumulate ? load<T>(out + p * d.out_position + v * d.out_vector) : Vec<T>{};
  for (int64_t ty = 0; ty < kernel_y; ++ty) {
    const T* x_tap = x + ty * d.x_tap_row;
    for (int64_t tx = 0; tx < kernel_x; ++tx) {
      const T* xp[kP];
      Vec<T> weight[kP];
#pragma GCC unroll 4
      for (int p = 0; p < kP; ++p) {
        xp[p] = x_tap + p * d.x_position;
        hide(xp[p]);
        weight[p] = spatial_operand<T, kPixelLanes, kCombine>(s + p * d.s_position);
      }
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v) {
        const Vec<T> filter = channel_operand<T, kPixelLanes, kCombine>(f + v * d.f_vector);
#pragma GCC unroll 4
        for (int p = 0; p < kP; ++p) {
          const Vec<T> product = weigh<kCombine>(filter, weight[p]);
          sum[p][v] += product * load<T>(xp[p] + v * d.x_vector);
        }
      }
      x_tap += d.x_tap_column;
      s += d.s_tap;
      f += d.f_tap;
    }
  }
  for (int p = 0; p < kP; ++p)
    for (int v = 0; v < kV; ++v) store<T>(out + p * d.out_position + v * d.out_vector, sum[p][v]);
}

template <typename T, typename O, bool kPixelLanes, Combine kCombine, int kV>
__attribute__((noinline)) void filter_rows(const T* x, const T* s, const T* f, O* out, Strides d,
                                           int64_t rows, int64_t positions, int64_t kernel_y,
                                           int64_t kernel_x, bool accumulate) {
  if (positions == 1) {  // narrow maps: pair rows instead
    positions = rows;
    rows = 1;
    d.x_position = d.x_row;
    d.s_position = d.s_row;
    d.out_position = d.out_row;
  }
  for (int64_t row = 0; row < rows; ++row) {
    const T* x_row = x + row * d.x_row;
    const T* s_row = s + row * d.s_row;
    O* out_row = out + row * d.out_row;
    int64_t p = 0;
    for (; p + kPositions <= positions; p += kPositions)
      filter_block<T, O, kPixelLanes, kCombine, kPositions, kV>(
          x_row + p * d.x_position, s_row + p * d.s_position, f, out_row + p * d.out_position, d,
          kernel_y, kernel_x, accumulate);
    for (; p < positions; ++p)
      filter_block<T, O, kPixelLanes, kCombine, 1, kV>(
          x_row + p * d.x_position, s_row + p * d.s_position, f, out_row + p * d.out_position, d,
          kernel_y, kernel_x, accumulate);
  }
}

// The gradients of both filters, from X and the output's gradient, for one tap, kV vectors and a
// sweep over `rows` rows: grad_s += sum over vectors of X * gO o F, grad_f += sum over positions of
// X * gO o S. Both gradients of the filters are stored in order, position after position. A filter
// that is missing has none.
template <typename T, bool kPixelLanes, Combine kCombine, int kV>
DDF_INLINE void sweep(const T* x, const T* g, const T* s, const T* f, T* grad_s, T* grad_f,
                      const Strides& d, int64_t g_row, int64_t g_position, int64_t g_vector,
                      int64_t rows, int64_t positions) {
  constexpr int L = kLanes<T>, kWidth = kPixelLanes ? L : 1;
  Vec<T> filter[kV], sum_f[kV];
#pragma GCC unroll 4
  for (int v = 0; v < kV; ++v) {
    filter[v] = channel_operand<T, kPixelLanes, kCombine>(f + v * d.f_vector);
    if constexpr (has_channel(kCombine)) sum_f[v] = load<T>(grad_f + v * L);
  }
  int64_t x_position = d.x_position;
  if (positions == 1 || d.x_row == positions * x_position) {  // one long row
    if (positions == 1) {
      x_position = d.x_row;
      g_position = g_row;
    }
    positions *= rows;
    rows = 1;
  }
  for (int64_t row = 0; row < rows; ++row) {
    const T* xp = x + row * d.x_row;
    const T* gp = g + row * g_row;
    for (int64_t p = 0; p < positions; ++p) {
      const Vec<T> weight = spatial_operand<T, kPixelLanes, kCombine>(s);
      Vec<T> sum_s{};
      if constexpr (has_spatial(kCombine)) sum_s = load<T>(grad_s);
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v) {
        const Vec<T> product = load<T>(xp + v * d.x_vector) * load<T>(gp + v * g_vector);
        constexpr bool kMultiply = kCombine == Combine::multiply;
        if constexpr (has_spatial(kCombine)) sum_s += kMultiply ? product * filter[v] : product;
        if constexpr (has_channel(kCombine)) sum_f[v] += kMultiply ? product * weight : product;
      }
      if constexpr (has_spatial(kCombine)) store<T>(grad_s, sum_s);
      xp += x_position;
      gp += g_position;
      s += kWidth;
      grad_s += L;
      hide(xp);
      hide(gp);
    }
  }
  if constexpr (has_channel(kCombine)) {
#pragma GCC unroll 4
    for (int v = 0; v < kV; ++v) store<T>(grad_f + v * L, sum_f[v]);
  }
}

}  // namespace ddf::DDF_NAMESPACE
