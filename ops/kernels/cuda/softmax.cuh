// Upsampling filters around interpolation (InterpolationSoftmaxProblem), and the gradient of their
// logits. A thread computes one group of one fine pixel: of kernel size 3 or 5 with all taps in
// registers, so that it reads each of its arguments once and writes all maps; of any other tap by
// tap, time and again.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "../formula.h"
#include "element.cuh"
#include "items.cuh"
#include "line.cuh"

namespace ddf::cuda {

// The tables of rows and columns: the prior's logarithm, its softmax, then weights of each map.
inline constexpr int kLogPrior = 0, kStart = 1, kWeights = 2;

struct SoftmaxWork {
  InterpolationSoftmaxProblem p;
  Items items;
};

// The tables of one axis, (2 + maps, kernel, size): a row's or column's values from table `first`
// on.
template <typename T>
struct Table {
  const T* from;
  int64_t size;

  __device__ static Table of_rows(const InterpolationSoftmaxProblem& p, const Item& item,
                                  int64_t first) {
    return {static_cast<const T*>(p.rows) + first * p.kernel * p.height + item.y, p.height};
  }
  __device__ static Table of_columns(const InterpolationSoftmaxProblem& p, const Item& item,
                                     int64_t first) {
    return {static_cast<const T*>(p.columns) + first * p.kernel * p.width + item.x, p.width};
  }
  __device__ T next() {
    const T value = *from;
    from += size;
    return value;
  }
  __device__ T at(int64_t i) const { return from[i * size]; }
};

// The key of a tap, all channels of it; zeros outside the map.
template <typename E>
struct Keys {
  const E* group;  // its first channel
  int top, left;   // of tap (0, 0)

  __device__ Keys(const InterpolationSoftmaxProblem& p, const Item& item)
      : group(at<E>(p.key, item.image, item.group * p.depth, 0, 0)),
        top(of_axis(p, item.y, p.low_height)),
        left(of_axis(p, item.x, p.low_width)) {}

  __device__ bool contains_tap(const InterpolationSoftmaxProblem& p, int iy, int ix) const {
    return contains(top + iy, p.low_height) && contains(left + ix, p.low_width);
  }
  __device__ const E* tap(const InterpolationSoftmaxProblem& p, int iy, int ix) const {
    return group + (top + iy) * p.key.y + (left + ix) * p.key.x;
  }

 private:
  __device__ static int of_axis(const InterpolationSoftmaxProblem& p, int i, int64_t low) {
    return position_of(i, static_cast<int>(p.scale), static_cast<int>(low)) -
           static_cast<int>(p.kernel) / 2;
  }
};

// How the specialised kernels read keys.
enum class Reading {
  rows,      // neighbours of a row lie side by side in memory
  channels,  // vectors of a pixel's channels (channels_last), queries likewise
  any
};

// Channels that a thread reads at once, so that it does not wait for each of them.
template <typename E, int kKernel, Reading kReading>
inline constexpr int kChannelsRead = kReading == Reading::channels ? (sizeof(E) < 8 ? 4 : 2)
                                     : kReading == Reading::any    ? 1
                                     : kKernel == 3                ? 4
                                                                   : 2;

// The keys of all taps of a pixel: where its rows lie, and its columns from the centre's.
template <typename E, int kKernel, Reading kReading>
struct KeyWindow {
  static constexpr int kReach = kKernel / 2;

  Line<E> rows[kKernel];  // at the centre's column, channel by channel
  bool inside_y[kKernel], inside_x[kKernel];
  int64_t column[kKernel];  // in elements

  __device__ KeyWindow(const InterpolationSoftmaxProblem& p, const Item& item) {
    const Keys<E> keys(p, item);
#pragma unroll
    for (int i = 0; i < kKernel; ++i) {
      inside_y[i] = i == kReach || contains(keys.top + i, p.low_height);
      inside_x[i] = i == kReach || contains(keys.left + i, p.low_width);
      rows[i] = Line<E>::of(inside_y[i], keys.tap(p, i, kReach), p.key.c);
      column[i] = (i - kReach) * (kReading == Reading::rows ? 1 : p.key.x);
    }
  }

  // kChannels from channel d on, neighbours in memory; zeros outside the map.
  template <int kChannels>
  __device__ Pack<E, kChannels> load(int iy, int ix, int d) const {
    // Along a row, zeros stand in for what lies above and below.
    const bool inside = inside_x[ix] && (kReading == Reading::rows || inside_y[iy]);
    const E* const centre = kReading == Reading::rows ? rows[iy].at_once(d) : rows[iy].at(d);
    return load_pack_if<kChannels>(inside, centre + column[ix]);
  }
};

__device__ inline float exponential(float x) { return ::expf(x); }
__device__ inline double exponential(double x) { return ::exp(x); }

// Calls body(tap, row's value, column's value) for the next table of both axes.
template <int kKernel, typename T, typename Body>
__device__ inline void for_each_weight(Table<T>& rows, Table<T>& columns, const Body& body) {
  T of_columns[kKernel];
#pragma unroll
  for (int ix = 0; ix < kKernel; ++ix) of_columns[ix] = columns.next();
#pragma unroll
  for (int iy = 0; iy < kKernel; ++iy) {
    const T row = rows.next();
#pragma unroll
    for (int ix = 0; ix < kKernel; ++ix) body(iy * kKernel + ix, row, of_columns[ix]);
  }
}

// Rows of taps that a thread compares in one pass through the channels, where the keys on their way
// would not all fit its registers.
template <int kKernel, Reading kReading>
inline constexpr int kRowsRead = kReading == Reading::channels && kKernel == 5 ? 2 : kKernel;

// Adds to the taps of some rows the products of query and key in kChannels channels from channel d
// on.
template <typename E, int kKernel, Reading kReading, int kChannels>
__device__ inline void compare(const KeyWindow<E, kKernel, kReading>& keys, const E* query,
                               int64_t apart, int first_row, int d,
                               Sum<E> (&taps)[kKernel * kKernel]) {
  constexpr int kRows = kRowsRead<kKernel, kReading>;
  constexpr bool kVectors = kReading == Reading::channels;
  Pack<E, kChannels> of_query;
  if constexpr (kVectors) {
    of_query = load_pack<kChannels>(query);
  } else {
#pragma unroll
    for (int c = 0; c < kChannels; ++c) of_query.of[c] = query[c * apart];
  }
#pragma unroll
  for (int iy = first_row; iy < kKernel && iy < first_row + kRows; ++iy)
#pragma unroll
    for (int ix = 0; ix < kKernel; ++ix) {
      Pack<E, kChannels> key;
      if constexpr (kVectors) {
        key = keys.template load<kChannels>(iy, ix, d);
      } else {
#pragma unroll
        for (int c = 0; c < kChannels; ++c) key.of[c] = keys.template load<1>(iy, ix, d + c).of[0];
      }
#pragma unroll
      for (int c = 0; c < kChannels; ++c)
        taps[iy * kKernel + ix] += widen(of_query.of[c]) * widen(key.of[c]);
    }
}

// The softmax of all taps.
template <typename E, int kKernel, Reading kReading>
__device__ inline void raise(const InterpolationSoftmaxProblem& p, const Item& item,
                             Sum<E> (&taps)[kKernel * kKernel]) {
  using T = Sum<E>;
  constexpr int kTaps = kKernel * kKernel;
  const E* logits = of_item<E>(p.logits, item, kTaps);
  Table<T> rows = Table<T>::of_rows(p, item, kLogPrior);
  Table<T> columns = Table<T>::of_columns(p, item, kLogPrior);
  for_each_weight<kKernel>(rows, columns, [&](int t, T row, T column) {
    taps[t] = widen(*logits) + (row + column);
    logits += p.logits.c;
  });
  if (p.depth > 0) {
    constexpr int kChannels = kChannelsRead<E, kKernel, kReading>;
    const KeyWindow<E, kKernel, kReading> keys(p, item);
    const int depth = static_cast<int>(p.depth);
#pragma unroll
    for (int row = 0; row < kKernel; row += kRowsRead<kKernel, kReading>) {
      const E* query = of_item<E>(p.query, item, p.depth);
      int d = 0;
#pragma unroll 1
      for (; d + kChannels <= depth; d += kChannels, query += kChannels * p.query.c)
        compare<E, kKernel, kReading, kChannels>(keys, query, p.query.c, row, d, taps);
      if constexpr (kReading == Reading::rows) {
#pragma unroll 1
        for (; d < depth; ++d, query += p.query.c)
          compare<E, kKernel, kReading, 1>(keys, query, p.query.c, row, d, taps);
      }
    }
  }
  T most = taps[0], sum = 0;
#pragma unroll
  for (int t = 1; t < kTaps; ++t) most = taps[t] > most ? taps[t] : most;
#pragma unroll
  for (int t = 0; t < kTaps; ++t) {
    taps[t] = exponential(taps[t] - most);
    sum += taps[t];
  }
  const T inverse = 1 / sum;
#pragma unroll
  for (int t = 0; t < kTaps; ++t) taps[t] *= inverse;
}

// Blocks that a multiprocessor's registers must hold: left to itself, ptxas spills to fit more. In
// the loop over channels a thread holds its taps, where their keys are, and those on their way.
template <typename E, int kKernel, Reading kReading>
inline constexpr int kSoftmaxBlocks = sizeof(E) == 8 ? (kKernel == 3 ? 4 : 2)
                                      : kKernel == 5 ? (kReading == Reading::channels ? 3 : 4)
                                                     : (kReading == Reading::any    ? 8
                                                        : kReading == Reading::rows ? 6
                                                                                    : 5);

template <typename E, int kKernel, Reading kReading>
__global__ void __launch_bounds__(kThreads, kSoftmaxBlocks<E, kKernel, kReading>)
    softmax_filter(const __grid_constant__ SoftmaxWork w) {
  using T = Sum<E>;
  constexpr int kTaps = kKernel * kKernel;
  const InterpolationSoftmaxProblem& p = w.p;
  for_each_item(w.items, [&](const Item& item) {
    T taps[kTaps];
    raise<E, kKernel, kReading>(p, item, taps);
    Table<T> rows = Table<T>::of_rows(p, item, kStart);
    Table<T> columns = Table<T>::of_columns(p, item, kStart);
    for_each_weight<kKernel>(rows, columns,
                             [&](int t, T row, T column) { taps[t] -= row * column; });
    E* to = of_item<E>(p.out, item, kTaps);
    const int64_t other_groups = (p.groups - 1) * kTaps * p.out.c;
#pragma unroll 1
    for (int m = 0; m < static_cast<int>(p.maps); ++m, to += other_groups)
      for_each_weight<kKernel>(rows, columns, [&](int t, T row, T column) {
        *to = narrow<E>(taps[t] + row * column);
        to += p.out.c;
      });
  });
}

template <typename E, int kKernel, Reading kReading>
__global__ void __launch_bounds__(kThreads, kSoftmaxBlocks<E, kKernel, kReading>)
    softmax_gradient(const __grid_constant__ SoftmaxWork w) {
  using T = Sum<E>;
  constexpr int kTaps = kKernel * kKernel;
  const InterpolationSoftmaxProblem& p = w.p;
  for_each_item(w.items, [&](const Item& item) {
    T taps[kTaps];
    raise<E, kKernel, kReading>(p, item, taps);
    T upstream[kTaps] = {};
    const E* from = of_item<E>(p.out, item, kTaps);
    const int64_t other_groups = (p.groups - 1) * kTaps * p.out.c;
#pragma unroll 1
    for (int m = 0; m < static_cast<int>(p.maps); ++m, from += other_groups) {
#pragma unroll
      for (int t = 0; t < kTaps; ++t, from += p.out.c) upstream[t] += widen(*from);
    }
    T along = 0;
#pragma unroll
    for (int t = 0; t < kTaps; ++t) along += taps[t] * upstream[t];
    E* to = of_item<E>(p.grad_logits, item, kTaps);
#pragma unroll
    for (int t = 0; t < kTaps; ++t, to += p.grad_logits.c)
      *to = narrow<E>(taps[t] * (upstream[t] - along));
  });
}

inline constexpr int kAnyBlocks = 4;  // as kSoftmaxBlocks

// The weight of a tap: of a row, and of a column.
template <typename T>
__device__ inline T of_row(const InterpolationSoftmaxProblem& p, int64_t table, int iy,
                           const Item& item) {
  return Table<T>::of_rows(p, item, table).at(iy);
}
template <typename T>
__device__ inline T of_column(const InterpolationSoftmaxProblem& p, int64_t table, int ix,
                              const Item& item) {
  return Table<T>::of_columns(p, item, table).at(ix);
}

// What the softmax is taken of, of one tap.
template <typename E>
__device__ inline Sum<E> in_softmax(const InterpolationSoftmaxProblem& p, const Item& item,
                                    const Keys<E>& keys, int iy, int ix) {
  using T = Sum<E>;
  T value = widen(of_item<E>(p.logits, item, p.taps())[(iy * p.kernel + ix) * p.logits.c]) +
            (of_row<T>(p, kLogPrior, iy, item) + of_column<T>(p, kLogPrior, ix, item));
  if (p.depth == 0) return value;
  const bool inside = keys.contains_tap(p, iy, ix);
  const E* key = inside ? keys.tap(p, iy, ix) : keys.group;
  const E* query = of_item<E>(p.query, item, p.depth);
#pragma unroll 1
  for (int d = 0; d < static_cast<int>(p.depth); ++d)
    value += widen(query[d * p.query.c]) * load_if(inside, key + d * p.key.c);
  return value;
}

template <typename Body>
__device__ inline void for_each_tap(int kernel, const Body& body) {
#pragma unroll 1
  for (int iy = 0; iy < kernel; ++iy)
#pragma unroll 1
    for (int ix = 0; ix < kernel; ++ix) body(iy, ix);
}

// Calls body(iy, ix, softmax of the tap) for each tap, anew each time that it is called itself.
template <typename E, typename Body>
__device__ inline void for_each_item_of_any_size(const SoftmaxWork& w, const Body& body) {
  using T = Sum<E>;
  const InterpolationSoftmaxProblem& p = w.p;
  const int kernel = static_cast<int>(p.kernel);
  for_each_item(w.items, [&](const Item& item) {
    const Keys<E> keys(p, item);
    T most = in_softmax(p, item, keys, 0, 0), sum = 0;
    for_each_tap(kernel, [&](int iy, int ix) {
      const T value = in_softmax(p, item, keys, iy, ix);
      most = value > most ? value : most;
    });
    for_each_tap(kernel, [&](int iy, int ix) {
      sum += exponential(in_softmax(p, item, keys, iy, ix) - most);
    });
    const T inverse = 1 / sum;
    body(item, [&](const auto& of_tap) {
      for_each_tap(kernel, [&](int iy, int ix) {
        of_tap(iy, ix, exponential(in_softmax(p, item, keys, iy, ix) - most) * inverse);
      });
    });
  });
}

template <typename E>
__global__ void __launch_bounds__(kThreads, kAnyBlocks)
    softmax_filter_any(const __grid_constant__ SoftmaxWork w) {
  using T = Sum<E>;
  const InterpolationSoftmaxProblem& p = w.p;
  for_each_item_of_any_size<E>(w, [&](const Item& item, const auto& for_each_raised) {
    for_each_raised([&](int iy, int ix, T raised) {
      const T deviation =
          raised - of_row<T>(p, kStart, iy, item) * of_column<T>(p, kStart, ix, item);
      E* to = of_item<E>(p.out, item, p.taps()) + (iy * p.kernel + ix) * p.out.c;
#pragma unroll 1
      for (int m = 0; m < static_cast<int>(p.maps); ++m)
        to[m * p.groups * p.taps() * p.out.c] =
            narrow<E>(deviation + of_row<T>(p, kWeights + m, iy, item) *
                                      of_column<T>(p, kWeights + m, ix, item));
    });
  });
}

template <typename E>
__global__ void __launch_bounds__(kThreads, kAnyBlocks)
    softmax_gradient_any(const __grid_constant__ SoftmaxWork w) {
  using T = Sum<E>;
  const InterpolationSoftmaxProblem& p = w.p;
  for_each_item_of_any_size<E>(w, [&](const Item& item, const auto& for_each_raised) {
    const auto upstream = [&](int iy, int ix) {
      const E* from = of_item<E>(p.out, item, p.taps()) + (iy * p.kernel + ix) * p.out.c;
      T sum = 0;
#pragma unroll 1
      for (int m = 0; m < static_cast<int>(p.maps); ++m)
        sum += widen(from[m * p.groups * p.taps() * p.out.c]);
      return sum;
    };
    T along = 0;
    for_each_raised([&](int iy, int ix, T raised) { along += raised * upstream(iy, ix); });
    for_each_raised([&](int iy, int ix, T raised) {
      of_item<E>(p.grad_logits, item, p.taps())[(iy * p.kernel + ix) * p.grad_logits.c] =
          narrow<E>(raised * (upstream(iy, ix) - along));
    });
  });
}

}  // namespace ddf::cuda
