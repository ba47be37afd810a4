// The inner loop of `ddf_upsample` with scale factor 2 and the spatial filter alone: the four
// phases of a position at once. They read the same X, so that a load of it serves four sums, and a
// load of weights serves several channels.
#pragma once

#include "ddf_filter.h"

namespace ddf::DDF_NAMESPACE {

// Channels, or vectors of channels, that pass together: four sums of each, its X and a weight fit
// in the registers.
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int kPhaseVectors = 4;
#else
inline constexpr int kPhaseVectors = 3;
#endif
// Of a block.
inline constexpr int64_t kPhaseBlock = 12;

// A block of channels of a tile in which the four phases have the same extent. Distances in
// elements.
template <typename T, typename E>
struct FourPhases {
  const T *x, *s;
  Map<E> out;  // from the tile's corner on, all phases
  Strides d;
  int64_t s_below, s_right;  // to the weights of another phase
  int64_t rows, columns, channels;
  int64_t kernel_y, kernel_x;
  bool stream;
};

// The sums of a position, [row of phases][column of phases][vector], to the tensor, whole vectors.
template <typename T, typename E, bool kPixelLanes, int kV>
DDF_INLINE void store_phases(const Vec<T> (&sum)[2][2][kV], E* to, const Map<E>& map, bool stream) {
  constexpr int L = kLanes<T>;
#pragma GCC unroll 4
  for (int v = 0; v < kV; ++v)
#pragma GCC unroll 2
    for (int py = 0; py < 2; ++py) {
      const Vec<T> left = sum[py][0][v], right = sum[py][1][v];
      if constexpr (kPixelLanes) {
        E* const row = to + v * map.c + py * map.y;
        const Vec<T> low = in_turn<T>(left, right, false), high = in_turn<T>(left, right, true);
        if (stream) {
          stream_vector<T>(row, low);
          stream_vector<T>(row + L, high);
        } else {
          store<T>(row, low);
          store<T>(row + L, high);
        }
      } else {
        E* const pixel = to + v * L + py * map.y;
        store<T>(pixel, left);
        store<T>(pixel + map.x, right);
      }
    }
}

// The same, where a position has `lanes` alone, or the last vector has.
template <typename T, typename E, bool kPixelLanes, int kV>
DDF_SHARED void store_some(const Vec<T> (&sum)[2][2][kV], E* to, const Map<E>& map, int64_t lanes) {
  constexpr int L = kLanes<T>;
  for (int v = 0; v < kV; ++v)
    for (int py = 0; py < 2; ++py)
      for (int px = 0; px < 2; ++px) {
        T values[L];
        store<T>(values, sum[py][px][v]);
        E* const at = to + py * map.y + px * map.x;
        if (kPixelLanes)
          copy_out<T>(at + v * map.c, 2 * map.x, values, lanes);
        else
          copy_out<T>(at + v * L, 1, values, v + 1 < kV ? L : lanes);
      }
}

// `count` positions of a row. lanes: of the last position, or of the last vector.
template <typename T, typename E, bool kPixelLanes, int kV>
__attribute__((noinline)) void filter_phases(const FourPhases<T, E>& b, const T* x, const T* s,
                                             E* to, int64_t count, int64_t lanes) {
  constexpr int L = kLanes<T>;
  const Strides& d = b.d;
  const int64_t s_below = b.s_below, s_right = b.s_right, s_tap = d.s_tap;
  const int64_t x_vector = d.x_vector, x_column = d.x_tap_column, kernel_x = b.kernel_x;
  const bool whole = kPixelLanes ? b.out.x == 1 : lanes == L;
  const bool stream = kPixelLanes && b.stream && can_stream<T>(to) && can_stream<T>(to + b.out.c) &&
                      can_stream<T>(to + b.out.y);
  for (int64_t n = count; n > 0; --n) {
    Vec<T> sum[2][2][kV];
#pragma GCC unroll 4
    for (int v = 0; v < kV; ++v)
      sum[0][0][v] = sum[0][1][v] = sum[1][0][v] = sum[1][1][v] = Vec<T>{};
    const T *x_row = x, *s_at = s;
    for (int64_t ty = 0; ty < b.kernel_y; ++ty, x_row += d.x_tap_row) {
      const T* x_at = x_row;
      for (int64_t tx = 0; tx < kernel_x; ++tx) {
        Vec<T> value[kV];
#pragma GCC unroll 4
        for (int v = 0; v < kV; ++v) value[v] = load<T>(x_at + v * x_vector);
#pragma GCC unroll 2
        for (int py = 0; py < 2; ++py)
#pragma GCC unroll 2
          for (int px = 0; px < 2; ++px) {
            const auto weight = operand<T, kPixelLanes>(s_at + py * s_below + px * s_right);
#pragma GCC unroll 4
            for (int v = 0; v < kV; ++v) sum[py][px][v] += weight * value[v];
          }
        x_at += x_column;
        s_at += s_tap;
      }
    }
    if (whole && (!kPixelLanes || n > 1 || lanes == L)) {
      store_phases<T, E, kPixelLanes, kV>(sum, to, b.out, stream);
    } else {
      Vec<T> copy[2][2][kV];  // the sums themselves would not stay in registers
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v)
#pragma GCC unroll 4
        for (int phase = 0; phase < 4; ++phase)
          copy[phase / 2][phase % 2][v] = sum[phase / 2][phase % 2][v];
      store_some<T, E, kPixelLanes, kV>(copy, to, b.out, kPixelLanes && n > 1 ? L : lanes);
    }
    x += d.x_position;
    s += d.s_position;
    to += 2 * (kPixelLanes ? L : 1) * b.out.x;
  }
}

template <typename T, typename E, bool kPixelLanes>
DDF_SHARED void filter_four_phases(const FourPhases<T, E>& b) {
  constexpr int L = kLanes<T>;
  const int64_t positions = kPixelLanes ? ceil_div(b.columns, L) : b.columns;
  const int64_t vectors = kPixelLanes ? b.channels : ceil_div(b.channels, L);
  const int64_t last_lanes =
      kPixelLanes ? b.columns - (positions - 1) * L : b.channels - (vectors - 1) * L;
  // A strip's weights stay in the L1 cache while the block's channels pass by.
  const int64_t weights = 4 * b.kernel_y * b.kernel_x * static_cast<int64_t>(sizeof(T));
  const int64_t strip = larger(1, kStripBytes / (weights * (kPixelLanes ? L : 1)));
  const int64_t out_position = 2 * (kPixelLanes ? L : 1) * b.out.x;
  const int64_t out_vector = kPixelLanes ? b.out.c : L;
  for (int64_t row = 0; row < b.rows; ++row)
    for (int64_t begin = 0; begin < positions; begin += strip) {
      const int64_t count = smaller(strip, positions - begin);
      int64_t v = 0;
      const auto step = [&](auto together) {
        const bool is_last = kPixelLanes ? begin + count == positions : v + together() == vectors;
        filter_phases<T, E, kPixelLanes, together()>(
            b, b.x + row * b.d.x_row + begin * b.d.x_position + v * b.d.x_vector,
            b.s + row * b.d.s_row + begin * b.d.s_position,
            b.out.data + 2 * row * b.out.y + begin * out_position + v * out_vector, count,
            is_last ? last_lanes : L);
        v += together();
      };
      while (vectors - v >= kPhaseVectors) step(std::integral_constant<int, kPhaseVectors>());
      while (vectors - v >= 2) step(std::integral_constant<int, 2>());
      if (v < vectors) step(std::integral_constant<int, 1>());
    }
}

}  // namespace ddf::DDF_NAMESPACE
