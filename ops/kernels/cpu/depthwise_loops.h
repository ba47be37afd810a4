// The inner loops of `depthwise_pointwise`.
#pragma once

#include "depthwise_maps.h"

namespace ddf::DDF_NAMESPACE {

// body(std::integral_constant<int, n>) for an n of 1 to kMost.
template <int kMost, typename Body>
DDF_INLINE void with_count(int64_t n, const Body& body) {
  if constexpr (kMost > 1) {
    if (n < kMost) return with_count<kMost - 1>(n, body);
  }
  body(std::integral_constant<int, kMost>{});
}

// body(first, n) over all of `count`, in as few runs of at most kMost as there can be, all about as
// long: the last one alone would keep its registers half empty.
template <int kMost, typename Body>
DDF_INLINE void in_runs(int64_t count, const Body& body) {
  const int64_t runs = ceil_div(count, kMost);
  for (int64_t i = 0, first = 0; i < runs; ++i) {
    const int64_t n = (count - first) / (runs - i);
    with_count<kMost>(n,
                      [&](auto constant) __attribute__((always_inline)) { body(first, constant); });
    first += n;
  }
}

// Rows that a depthwise convolution takes at a time: they share most of what they read, and their
// sums fit into the registers beside the nine weights.
inline constexpr int kDepthwiseRows = 4;

// out[row * out_pitch + x] (+)= Σ weights[iy, ix] * in[(row + iy) * pitch + x + ix] for kRows rows
// and each whole vector of x that begins in the columns.
template <typename T, int kRows>
DDF_INLINE void depthwise_3x3(const T* in, int64_t pitch, const T* weights, int64_t columns, T* out,
                              int64_t out_pitch, bool add) {
  Vec<T> held[9];
  for (int t = 0; t < 9; ++t) held[t] = broadcast(weights[t]);
  for (int64_t x = 0; x < columns; x += kLanes<T>) {
    Vec<T> sums[kRows];
    for (int r = 0; r < kRows; ++r) sums[r] = add ? load<T>(out + r * out_pitch + x) : Vec<T>{};
#pragma GCC unroll 6
    for (int y = 0; y < kRows + 2; ++y)
#pragma GCC unroll 3
      for (int ix = 0; ix < 3; ++ix) {
        const Vec<T> value = load<T>(in + y * pitch + x + ix);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r)
          if (y >= r && y < r + 3) sums[r] += held[(y - r) * 3 + ix] * value;
      }
    for (int r = 0; r < kRows; ++r) store<T>(out + r * out_pitch + x, sums[r]);
  }
}

// The same of any side.
template <typename T, int kRows>
DDF_INLINE void depthwise_any(const T* in, int64_t pitch, const T* weights, int64_t side,
                              int64_t columns, T* out, int64_t out_pitch, bool add) {
  for (int64_t x = 0; x < columns; x += kLanes<T>) {
    Vec<T> sums[kRows];
    for (int r = 0; r < kRows; ++r) sums[r] = add ? load<T>(out + r * out_pitch + x) : Vec<T>{};
    for (int64_t iy = 0; iy < side; ++iy)
      for (int64_t ix = 0; ix < side; ++ix) {
        const Vec<T> weight = broadcast(weights[iy * side + ix]);
        for (int r = 0; r < kRows; ++r) sums[r] += weight * load<T>(in + (r + iy) * pitch + x + ix);
      }
    for (int r = 0; r < kRows; ++r) store<T>(out + r * out_pitch + x, sums[r]);
  }
}

// And for `rows` rows.
template <typename T>
void depthwise(const T* in, int64_t pitch, const T* weights, int64_t side, int64_t rows,
               int64_t columns, T* out, int64_t out_pitch, bool add) {
  in_runs<kDepthwiseRows>(rows, [&](int64_t y, auto n) __attribute__((always_inline)) {
    if (side == 3) {
      depthwise_3x3<T, n()>(in + y * pitch, pitch, weights, columns, out + y * out_pitch, out_pitch,
                            add);
    } else {
      depthwise_any<T, n()>(in + y * pitch, pitch, weights, side, columns, out + y * out_pitch,
                            out_pitch, add);
    }
  });
}

// Rows whose sums fit into the registers, of kPair vectors each.
inline constexpr int kSumRows = DDF_VECTOR_BYTES == 64 ? 12 : 6;

// Rows of a matrix product, kVectors vectors of columns:
//   out[m, x] = (start[m], or without it out[m, x]) + Σ left[m, k] * right[k, x].
template <typename T, int kRows, int kVectors>
DDF_INLINE void multiply_panel(const T* left, int64_t left_row, int64_t left_step, int64_t depth,
                               const T* right, int64_t right_pitch, T* out, int64_t out_pitch,
                               const T* start) {
  Vec<T> sums[kRows][kVectors];
  for (int m = 0; m < kRows; ++m)
    for (int j = 0; j < kVectors; ++j)
      sums[m][j] =
          start != nullptr ? broadcast(start[m]) : load<T>(out + m * out_pitch + j * kLanes<T>);
  for (int64_t k = 0; k < depth; ++k) {
    Vec<T> values[kVectors];
    for (int j = 0; j < kVectors; ++j) values[j] = load<T>(right + k * right_pitch + j * kLanes<T>);
    for (int m = 0; m < kRows; ++m) {
      const Vec<T> weight = broadcast(left[m * left_row + k * left_step]);
      for (int j = 0; j < kVectors; ++j) sums[m][j] += weight * values[j];
    }
  }
  for (int m = 0; m < kRows; ++m)
    for (int j = 0; j < kVectors; ++j) store<T>(out + m * out_pitch + j * kLanes<T>, sums[m][j]);
}

// What the last vectors of a row do where it is not a whole number of them: go past its end, which
// takes buffers with room; or begin earlier, so that they end with it.
enum class Ends { past, at };

// Elements of the right matrix that stay in an L1 cache while all rows are computed.
inline constexpr int64_t kRightElements = 4 << 10;

// And all of `rows` rows.
template <typename T>
DDF_SHARED void multiply(const T* left, int64_t left_row, int64_t left_step, int64_t rows,
                         int64_t depth, const T* right, int64_t right_pitch, T* out,
                         int64_t out_pitch, int64_t columns, const T* start,
                         Ends ends = Ends::past) {
  const int64_t block = larger(1, kRightElements / (depth * kPixelStep<T>)) * kPixelStep<T>;
  for (int64_t begin = 0; begin < columns; begin += block) {
    const int64_t end = smaller(columns, begin + block);
    in_runs<kSumRows>(rows, [&](int64_t m, auto n) __attribute__((always_inline)) {
      const auto panel = [&](int64_t x, auto vectors) __attribute__((always_inline)) {
        multiply_panel<T, n(), vectors()>(left + m * left_row, left_row, left_step, depth,
                                          right + x, right_pitch, out + m * out_pitch + x,
                                          out_pitch, start != nullptr ? start + m : nullptr);
      };
      int64_t x = begin;
      for (; x + kPixelStep<T> <= end; x += kPixelStep<T>)
        panel(x, std::integral_constant<int, kPair>{});
      const bool one = end - x <= kLanes<T>;
      if (x == end) return;
      if (ends == Ends::at) x = end - (one ? kLanes<T> : kPixelStep<T>);
      if (one) {
        panel(x, std::integral_constant<int, 1>{});
      } else {
        panel(x, std::integral_constant<int, kPair>{});
      }
    });
  }
}

// body(x, take) for each vector of a row, where take(from) loads it. In the last vector, what does
// not belong to the columns, or has been taken before, counts as 0: in both factors of a product,
// or an infinite one makes it a NaN.
template <typename T, typename Body>
DDF_INLINE void each_vector(int64_t columns, const Body& body, Ends ends = Ends::past) {
  int64_t x = 0;
  for (; x + kLanes<T> <= columns; x += kLanes<T>)
    body(x, [](const T* from) __attribute__((always_inline)) { return load<T>(from); });
  if (x == columns) return;
  const int64_t left = columns - x;
  const Mask<T> inside =
      ends == Ends::past ? first_lanes<T>(left) : ~first_lanes<T>(kLanes<T> - left);
  body(ends == Ends::past ? x : columns - kLanes<T>,
       [&](const T* from)
           __attribute__((always_inline)) { return select<T>(inside, load<T>(from)); });
}

// sums[m * sums_row + n * sums_other] += Σ rows[m, x] * others[n, x] over the columns.
template <typename T, int kRows, int kOthers>
DDF_INLINE void dot_rows(const T* rows, int64_t pitch, const T* others, int64_t others_pitch,
                         int64_t columns, Vec<T>* sums, int64_t sums_row, int64_t sums_other,
                         Ends ends = Ends::past) {
  Vec<T> held[kRows][kOthers];
  for (int m = 0; m < kRows; ++m)
    for (int n = 0; n < kOthers; ++n) held[m][n] = sums[m * sums_row + n * sums_other];
  each_vector<T>(
      columns,
      [&](int64_t x, const auto& take) __attribute__((always_inline)) {
        Vec<T> values[kOthers];
        for (int n = 0; n < kOthers; ++n) values[n] = take(others + n * others_pitch + x);
        for (int m = 0; m < kRows; ++m) {
          const Vec<T> row = take(rows + m * pitch + x);
          for (int n = 0; n < kOthers; ++n) held[m][n] += row * values[n];
        }
      },
      ends);
  for (int m = 0; m < kRows; ++m)
    for (int n = 0; n < kOthers; ++n) sums[m * sums_row + n * sums_other] = held[m][n];
}

inline constexpr int64_t kBlockChannels = 8;                        // of the input
inline constexpr int kOutputRows = DDF_VECTOR_BYTES == 64 ? 9 : 5;  // whose sums fit into registers

// sums[o * kBlockChannels + c] += Σ upstream[o, x] * maps[c, x], for `count` channels.
template <typename T>
DDF_SHARED void dot_all(const T* upstream, int64_t pitch, int64_t outputs, const T* maps,
                        int64_t maps_pitch, int64_t count, int64_t columns, Vec<T>* sums,
                        Ends ends = Ends::past) {
  in_runs<2>(count, [&](int64_t c, auto some) {
    in_runs<kOutputRows>(outputs, [&](int64_t o, auto length) {
      dot_rows<T, length(), some()>(upstream + o * pitch, pitch, maps + c * maps_pitch, maps_pitch,
                                    columns, sums + o * kBlockChannels + c, kBlockChannels, 1,
                                    ends);
    });
  });
}

// to[o * pitch + c] = the sum over the lanes of sums[o * kBlockChannels + c].
template <typename T>
DDF_SHARED void write_sums(const Vec<T>* sums, int64_t count, int64_t outputs, T* to,
                           int64_t pitch) {
  constexpr int64_t L = kLanes<T>, kRun = L < kBlockChannels ? L : kBlockChannels;
  for (int64_t i = 0; i < outputs * kBlockChannels; i += L) {
    T totals[L];
    store<T>(totals, sum_each<T>(sums + i, outputs * kBlockChannels - i));
    for (int64_t j = 0; j < L && i + j < outputs * kBlockChannels; j += kRun) {
      const int64_t c = (i + j) % kBlockChannels;
      T* const line = to + (i + j) / kBlockChannels * pitch + c;
      if (count == kBlockChannels) {
        std::memcpy(line, totals + j, kRun * sizeof(T));
      } else {
        for (int64_t k = 0; k < kRun && c + k < count; ++k) line[k] = totals[j + k];
      }
    }
  }
}

// sums[iy, ix] += Σ in[(row + iy) * pitch + x + ix] * grad[row][x], over two rows or one.
template <typename T, int kRows>
DDF_INLINE void dot_taps_3x3(const T* in, int64_t pitch, const T* grad, int64_t grad_pitch,
                             int64_t columns, Vec<T>* sums) {
  Vec<T> held[9];
  for (int t = 0; t < 9; ++t) held[t] = sums[t];
  each_vector<T>(columns, [&](int64_t x, const auto& take) __attribute__((always_inline)) {
    Vec<T> upstream[kRows];
    for (int r = 0; r < kRows; ++r) upstream[r] = take(grad + r * grad_pitch + x);
    for (int y = 0; y < 2 + kRows; ++y)
      for (int ix = 0; ix < 3; ++ix) {
        const Vec<T> value = take(in + y * pitch + x + ix);
        for (int r = 0; r < kRows; ++r)
          if (y - r >= 0 && y - r < 3) held[(y - r) * 3 + ix] += value * upstream[r];
      }
  });
  for (int t = 0; t < 9; ++t) sums[t] = held[t];
}

// The same for any side, and all rows of a tile.
template <typename T>
void dot_taps(const T* in, int64_t pitch, const T* grad, int64_t grad_pitch, int64_t rows,
              int64_t columns, int64_t side, Vec<T>* sums) {
  if (side == 3) {
    int64_t y = 0;
    for (; y + 2 <= rows; y += 2)
      dot_taps_3x3<T, 2>(in + y * pitch, pitch, grad + y * grad_pitch, grad_pitch, columns, sums);
    if (y < rows)
      dot_taps_3x3<T, 1>(in + y * pitch, pitch, grad + y * grad_pitch, grad_pitch, columns, sums);
    return;
  }
  for (int64_t y = 0; y < rows; ++y)
    for (int64_t iy = 0; iy < side; ++iy)
      in_runs<4>(side, [&](int64_t ix, auto n) {
        dot_rows<T, n(), 1>(in + (y + iy) * pitch + ix, 1, grad + y * grad_pitch, 0, columns,
                            sums + iy * side + ix, 1, 0);
      });
}

}  // namespace ddf::DDF_NAMESPACE
