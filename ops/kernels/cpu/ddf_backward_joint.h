// All gradients of a tile in one pass, for 3 x 3 kernels of stride 1. The tile is one of the input:
// of the spatial filter's gradient, it has the pairs of a tap and a pixel p whose tap lies in it.
#pragma once

#include "ddf_backward_features.h"
#include "ddf_backward_filters.h"
#include "ddf_joint_buffers.h"
#include "ddf_readers.h"

namespace ddf::DDF_NAMESPACE {

template <typename T, typename E, bool kPixelLanes>
struct JointGradients {
  static constexpr int L = kLanes<T>;
  using Buffers = JointBuffers<T, kPixelLanes>;
  const Problem& p;
  int64_t image, group;
  Tile tile, next_tile;
  Readers readers;
  bool stream;  // the features' gradient is too large for the caches
  T* partial;   // [channel][tap], null if the channel filter's gradient is not wanted
  Buffers buffers;
  // Whether terms of pixels outside the image, where X counts as 0, may be NaN.
  bool at_edge = false, weights_unsure = false, unsure = false;
  bool started = false;  // the features' buffer

  int64_t rows() const { return tile.rows.size(); }
  int64_t columns() const { return tile.columns.size(); }
  int64_t positions() const { return kPixelLanes ? ceil_div(columns(), L) : columns(); }
  int64_t first_channel() const { return group * p.group_channels(); }
  static int64_t vectors(int64_t channels) {
    return kPixelLanes ? channels : ceil_div(channels, L);
  }

  void run() {
    begin();
    const int64_t first = first_channel(), end = first + p.group_channels();
    for (int64_t c = first; c < end; c += buffers.block)
      run_block(c, smaller(buffers.block, end - c), c + buffers.block < end);
    if (p.grad_spatial.data != nullptr) write_spatial();
  }

  void begin() {
    buffers.gradient.start();
    at_edge = readers.at_edge();
    if (has_spatial(p.combine)) {
      const auto map = Map<const E>::of(p.spatial_filter, image, group * kTaps);
      std::memset(buffers.grad_weights, 0,
                  static_cast<size_t>(rows() * positions() * Buffers::kPerPosition) * sizeof(T));
      if constexpr (kPixelLanes) {
        Weights<T, true> weights(rows(), columns(), kTaps, Order::block);
        weights.data = buffers.weights;
        weights.fill(map, 3, Shift{tile.rows.begin + p.dilation_y, -p.dilation_y, 1, {0, p.height}},
                     Shift{tile.columns.begin + p.dilation_x, -p.dilation_x, 1, {0, p.width}});
      }
      weights_unsure = at_edge && readers.any_not_finite_outside<T>(map);
    }
  }

  void run_block(int64_t c, int64_t channels, bool goes_on) {
    auto& gradient = buffers.gradient;
    gradient.fill(Map<const E>::of(p.output, image, c), channels);
    const T* filter = channel_filter(c, channels);
    const int64_t filter_elements = kTaps * (kPixelLanes ? channels : vectors(channels) * L);
    const bool finite = !has_channel(p.combine) || !any_not_finite(filter, filter_elements);
    const int64_t filled = kPixelLanes ? gradient.plane() * channels : gradient.elements();
    const bool block_unsure =
        at_edge && (weights_unsure || !finite || any_not_finite(gradient.data, filled));
    unsure = unsure || block_unsure;
    if (has_channel(p.combine))
      std::memset(buffers.grad_filter, 0,
                  static_cast<size_t>(filter_elements * (kPixelLanes ? L : 1)) * sizeof(T));

    const Map<E> map = Map<E>::of(p.grad_features, image, c);
    const Place<const T> x = features_at(c, channels);
    const Place<T> out = output_at(map, channels);
    GradientStrip<T> strip;
    strip.x_row = x.row;
    strip.out_row = out.row;
    strip.g_row = gradient.per_row();
    strip.g_tap_row = gradient.per_tap_row();
    strip.g_tap_column = gradient.per_tap_column();
    strip.passing_row = positions() * kTaps * L;
    strip.stream = stream && out.in_tensor && (out.row | out.position | out.vector) % L == 0 &&
                   can_stream<T>(out.data);
    const T* g = gradient.data + 2 * (gradient.per_tap_row() + gradient.per_tap_column());
    // The next block of the output's gradient, of this tile or the next.
    const auto later = Map<const E>::of(p.output, image, goes_on ? c + channels : first_channel());
    const Tile& at = goes_on ? tile : next_tile;
    const E* fetched = later.data + at.rows.begin * later.y + at.columns.begin * later.x;
    strip.fetched_row = later.y * static_cast<int64_t>(sizeof(E));
    strip.fetched_step = L * (kPixelLanes ? later.x : later.c) * static_cast<int64_t>(sizeof(E));
    if constexpr (kPixelLanes) {
      pass_channels(x, g, filter, out, fetched, later, strip, channels);
    } else {
      pass_pixels(x, g, filter, out, fetched, later, strip, channels);
    }
    if (p.grad_features.data != nullptr) {
      if (!finite) {
        write_features_by_formula(map, c, channels);
      } else if (out.is_run) {
        if constexpr (std::is_same_v<T, E>) stream_runs(out, map, c, channels, goes_on);
      } else if (!out.in_tensor) {
        Strides d{};
        d.out_row = out.row;
        d.out_vector = out.vector;
        unpack<T, kPixelLanes>(buffers.output, d, map, tile, 0, channels);
      }
    }
    if (partial != nullptr) add_channel(c, channels, block_unsure);
  }

  auto gradient_pass() const {
    return with_combine(p.combine,
                        [](auto combine) { return &gradient_strip<T, kPixelLanes, combine()>; });
  }

  // Pixel lanes: a strip of a few rows or a part of one, channel after channel.
  void pass_channels(const Place<const T>& x, const T* g, const T* filter, const Place<T>& out,
                     const E* fetched, const Map<const E>& later, GradientStrip<T> strip,
                     int64_t channels) {
    const int64_t all = positions(), excess = all * L - columns();
    const int64_t high = larger(1, kJointSteps / all), wide = smaller(all, kJointSteps);
    for (int t = 0; t < kTaps; ++t) strip.kept[t] = t;
    strip.x_step = strip.g_step = strip.out_step = L;
    strip.x_ahead = wide < all ? wide * L : high * strip.x_row;
    T exact[L];
    const auto pass = gradient_pass();
    for (int64_t row = 0; row < rows(); row += high)
      for (int64_t begin = 0; begin < all; begin += wide) {
        const int64_t n = smaller(high, rows() - row), steps = smaller(wide, all - begin);
        const bool at_end = begin + steps == all;
        // Where the last row ends within a vector, what lies past it is another tile's.
        const bool ends = at_end && row + n == rows() && excess > 0;
        strip.tail = first_lanes<T>(at_end ? L - excess : L);
        const int64_t at = (row * all + begin) * kTaps * L;
        for (int64_t k = 0; k < channels; ++k) {
          T* to = out.data + k * out.vector + row * out.row + begin * L;
          T* last = to + (n - 1) * out.row + (steps - 1) * L;
          pass(x.data + k * x.vector + row * x.row + begin * L,
               g + k * buffers.gradient.per_vector() + row * strip.g_row + begin * L,
               filter + k * kTaps, buffers.grad_filter + k * kTaps * L, buffers.weights + at,
               buffers.grad_weights + at, to, ends ? exact : last,
               reinterpret_cast<const char*>(fetched + k * later.c + row * later.y +
                                             begin * L * later.x),
               strip, n, steps);
          for (int64_t i = 0; ends && i < L - excess; ++i) last[i] = exact[i];
        }
      }
  }

  // Channel lanes: pixel after pixel.
  void pass_pixels(const Place<const T>& x, const T* g, const T* filter, const Place<T>& out,
                   const E* fetched, const Map<const E>& later, GradientStrip<T> strip,
                   int64_t channels) {
    const auto s = Map<const E>::of(p.spatial_filter, image, group * kTaps);
    const auto& gradient = buffers.gradient;
    const int64_t n = vectors(channels);
    strip.x_step = x.vector;
    strip.out_step = out.vector;
    strip.g_step = gradient.per_vector();
    strip.x_ahead = 4 * x.position;
    strip.tail = first_lanes<T>(L);
    GradientStrip<T> at_border = strip;
    const auto pass = gradient_pass();
    for (int t = 0; t < kTaps; ++t) {
      strip.kept[t] = t * s.c - readers.shift_y(t) * s.y - readers.shift_x(t) * s.x;
      at_border.kept[t] = t;
    }
    for (int64_t row = 0; row < rows(); ++row)
      for (int64_t column = 0; column < columns(); ++column) {
        const int64_t y = tile.rows.begin + row, at = tile.columns.begin + column;
        const GradientStrip<T>* here = &at_border;
        T weights[kTaps];
        const T* kept = weights;
        if (has_spatial(p.combine)) {
          const E* from = s.data + y * s.y + at * s.x;
          const bool inside = y >= p.dilation_y && y + p.dilation_y < p.height &&
                              at >= p.dilation_x && at + p.dilation_x < p.width;
          if constexpr (std::is_same_v<T, E>) {
            if (inside) {
              kept = from;
              here = &strip;
            }
          }
          if (kept == weights) weights_of_pixel(weights, s, y, at);
        }
        T* to = out.data + row * out.row + column * out.position;
        pass(x.data + row * x.row + column * x.position,
             g + row * strip.g_row + column * gradient.per_position(), kept,
             buffers.grad_weights + (row * columns() + column) * Buffers::kPerPosition, filter,
             buffers.grad_filter, to, to + (n - 1) * out.vector,
             reinterpret_cast<const char*>(fetched + row * later.y + column * later.x), *here, 1,
             n);
      }
  }

  // The spatial weights, by tap, with which the pixels around one of the input read it.
  DDF_SHARED void weights_of_pixel(T* to, const Map<const E>& s, int64_t y, int64_t x) const {
    for (int64_t t = 0; t < kTaps; ++t) {
      const int64_t at_y = y - readers.shift_y(t), at_x = x - readers.shift_x(t);
      const bool inside = at_y >= 0 && at_y < p.height && at_x >= 0 && at_x < p.width;
      to[t] = inside ? load_scalar<T>(s.data + t * s.c + at_y * s.y + at_x * s.x) : T(0);
    }
  }

  // The channel filter of a block: for pixel lanes [channel][tap], for channel lanes
  // [vector][tap][lane].
  const T* channel_filter(int64_t c, int64_t channels) {
    if constexpr (!kPixelLanes && std::is_same_v<T, E>) {
      const FilterView& f = p.channel_filter;
      if (has_channel(p.combine) && f.x == 1 && f.y == 3 && f.c == kTaps && channels % L == 0) {
        const T* from = static_cast<const T*>(f.data) + image * f.b + c * f.c;
        for (int64_t k = 0; k < channels; k += L)
          taps_to_lanes<T>(buffers.filter + k * kTaps, from + k * kTaps);
        return buffers.filter;
      }
    }
    return filter_of<T, E, kPixelLanes>(p, image, 0, c, channels, buffers.filter);
  }

  // X of a block: in the tensor, or packed.
  Place<const T> features_at(int64_t c, int64_t channels) {
    const auto map = Map<const E>::of(p.features, image, c);
    if constexpr (std::is_same_v<T, E>) {
      const int64_t at = tile.rows.begin * map.y + tile.columns.begin * map.x;
      const int64_t span =
          (channels - 1) * map.c + (rows() - 1) * map.y + (positions() - 1) * L + L;
      if (kPixelLanes ? map.x == 1 && map.readable(at, span) : map.c == 1 && channels % L == 0)
        return {map.data + at, map.y, kPixelLanes ? L : map.x, kPixelLanes ? map.c : L, true};
    }
    auto& patch = buffers.features;
    if (!started) patch.start();
    started = true;
    patch.fill(map, channels);
    return {patch.data, patch.per_row(), patch.per_position(), patch.per_vector()};
  }

  // Where the features' gradient goes: to the tensor, or to a buffer, as [vector][row][position].
  //
  // What a vector writes past the end of its row is the beginning of the next row, if the tile is
  // as wide as the image; this thread writes that afterwards. Rows that no vector can stream, since
  // they are not aligned, go to a buffer first, as they follow in the tensor.
  Place<T> output_at(const Map<E>& map, int64_t channels) const {
    if constexpr (std::is_same_v<T, E>) {
      const int64_t excess = positions() * L - columns();
      if (map.data != nullptr &&
          (kPixelLanes ? map.x == 1 && (excess == 0 || (map.y == columns() && excess <= columns()))
                       : map.c == 1 && channels % L == 0)) {
        if (kPixelLanes && stream && map.y == columns() && map.y % L != 0)
          return {buffers.output, columns(), L, round_up(rows() * columns(), L) + L, false, true};
        return {map.data + tile.rows.begin * map.y + tile.columns.begin * map.x, map.y,
                kPixelLanes ? L : map.x, kPixelLanes ? map.c : L, true};
      }
    }
    const int64_t row = positions() * L;
    return {buffers.output, row, L, rows() * row};
  }

  // The rows of a channel are one run of memory. Meanwhile X of the next block is fetched.
  void stream_runs(const Place<T>& out, const Map<E>& map, int64_t c, int64_t channels,
                   bool goes_on) const {
    const auto x = Map<const E>::of(p.features, image, goes_on ? c + channels : c);
    for (int64_t k = 0; k < channels; ++k)
      ddf::DDF_NAMESPACE::stream(map.data + k * map.c + tile.rows.begin * map.y,
                                 out.data + k * out.vector, rows() * columns(),
                                 x.data + k * x.c + tile.rows.begin * x.y);
  }

  // Where the channel filter is not finite: the zeros around the image times it are NaN.
  DDF_SHARED void write_features_by_formula(const Map<E>& map, int64_t c, int64_t channels) const {
    for (int64_t k = 0; k < channels; ++k)
      for (int64_t y = tile.rows.begin; y < tile.rows.end; ++y)
        for (int64_t x = tile.columns.begin; x < tile.columns.end; ++x)
          store_scalar<T>(map.data + k * map.c + y * map.y + x * map.x,
                          grad_feature_value<T, E>(p, image, group, c + k, y, x));
  }

  // The tile's share of the channel filter's gradient.
  void add_channel(int64_t c, int64_t channels, bool block_unsure) {
    T* to = partial + c * kTaps;
    const T* from = buffers.grad_filter;
    if constexpr (kPixelLanes) {
      for (int64_t k = 0; k < channels; ++k, from += kTaps * L, to += kTaps) {
        Vec<T> of_taps[kTaps];
#pragma GCC unroll 9
        for (int t = 0; t < kTaps; ++t) of_taps[t] = load<T>(from + t * L);
        T sums[kTapSums<T>]{};
        add_tap_sums<T>(sums, of_taps);
        std::memcpy(to, sums, kTaps * sizeof(T));
      }
    } else {
      int64_t k = 0;
      for (; k + L <= channels; k += L) lanes_to_taps<T>(to + k * kTaps, from + k * kTaps);
      for (; k < channels; ++k)
        for (int t = 0; t < kTaps; ++t) to[k * kTaps + t] = from[(k / L * kTaps + t) * L + k % L];
    }
    to = partial + c * kTaps;
    if (!block_unsure && !any_not_finite(to, channels * kTaps)) return;
    for (int64_t i = 0; i < channels * kTaps; ++i) {
      // Lanes past the end of a row add a 0 times whatever lies there.
      if (!block_unsure && to[i] == to[i]) continue;
      Phase phase;
      phase.tile = readers.all(i % kTaps);
      to[i] = grad_filter_value<T, E>(p, phase, image, group, c + i / kTaps, i % kTaps);
    }
  }

  void write_spatial() {
    const auto map = Map<E>::of(p.grad_spatial, image, group * kTaps);
    for (int64_t tap = 0; tap < kTaps; ++tap) {
      E* const plane = map.data + tap * map.c;
      if (at_edge)
        readers.each_outside(tap, [&](int64_t y, int64_t x) {
          store_scalar<T>(plane + y * map.y + x * map.x,
                          unsure ? outside_value<T, E>(p, image, group, tap, y, x) : T(0));
        });
      const Tile in = readers.inner(tap);
      const int64_t first = in.columns.begin + readers.shift_x(tap) - tile.columns.begin;
      for (int64_t y = in.rows.begin; y < in.rows.end; ++y) {
        const int64_t row = y + readers.shift_y(tap) - tile.rows.begin, n = in.columns.size();
        E* to = plane + y * map.y + in.columns.begin * map.x;
        const T* from = buffers.grad_weights + row * positions() * Buffers::kPerPosition;
        if constexpr (kPixelLanes) {
          for (int64_t i = 0; i < n;) {
            const int64_t at = first + i, count = smaller(L - at % L, n - i);
            copy_out<T>(to + i * map.x, map.x, from + (at / L * kTaps + tap) * L + at % L, count);
            i += count;
          }
        } else {
          for (int64_t i = 0; i < n; ++i)
            store_scalar<T>(to + i * map.x, from[(first + i) * Buffers::kPerPosition + tap]);
        }
      }
    }
  }
};

}  // namespace ddf::DDF_NAMESPACE
