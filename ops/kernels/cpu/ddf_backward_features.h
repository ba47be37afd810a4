// The features' gradient over one tile of the input: the forward pass over the output's gradient,
// with the taps reversed, each weighted by the spatial filter of the pixel that it comes from.
#pragma once

#include "ddf_filter.h"
#include "ddf_plan.h"

namespace ddf::DDF_NAMESPACE {

template <typename T, bool kPixelLanes>
struct FeatureGradientBuffers {
  static constexpr int L = kLanes<T>;
  bool walk = false;
  int64_t block = 0;  // channels
  Patch<T, kPixelLanes> gradient;
  T *weights, *filter, *output;

  DDF_SHARED void allocate(Scratch& scratch, const Problem& p, const Tile& tile) {
    gradient.y = make_axis(tile.rows.begin, tile.rows.size(), 1, p.kernel_y, p.dilation_y, false);
    gradient.x = make_axis(tile.columns.begin, tile.columns.size(), 1, p.kernel_x, p.dilation_x,
                           kPixelLanes);
    gradient.y.stuffed = p.stride_y;
    gradient.x.stuffed = p.stride_x;
    walk = can_walk(gradient, p);
    block = kPixelLanes ? (walk ? kWalkChannels : kVectors) : (walk ? kWalkVectors : kVectors) * L;
    gradient.channels = block;
    gradient.allocate(scratch);
    const Weights<T, kPixelLanes> of_phase(tile.rows.size(), tile.columns.size(), p.taps(),
                                           Order::block);
    const int64_t phases = p.combine == Combine::channel ? 0 : phase_rows(p) * phase_columns(p);
    weights = scratch.take<T>(phases * of_phase.elements());
    filter = scratch.take<T>(p.taps() * block);
    output = scratch.take<T>((round_up(tile.columns.size(), L) * tile.rows.size() + 64) * block);
  }
};

// Whether any of n values is infinite or NaN: then 0 * F is not 0, and the zeros that stand for
// outputs outside the image would show in the gradient.
template <typename T>
DDF_SHARED bool any_not_finite(const T* values, int64_t n) {
  constexpr int L = kLanes<T>;
  Vec<T> sums{}, more[3]{};
  T sum = 0;
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L) {
    sums += load<T>(values + i) * T(0);
    for (int k = 0; k < 3; ++k) more[k] += load<T>(values + i + (k + 1) * L) * T(0);
  }
  for (; i + L <= n; i += L) sums += load<T>(values + i) * T(0);
  sums += more[0] + more[1] + more[2];
  for (; i < n; ++i) sum += values[i] * T(0);
  sum += sum_lanes<T>(sums);
  return sum != sum;
}

// One value of the features' gradient, straight from the formula.
template <typename T, typename E>
T grad_feature_value(const Problem& p, int64_t image, int64_t group, int64_t c, int64_t y,
                     int64_t x) {
  T sum = 0;
  const int64_t taps = p.taps();
  const FilterView& view = p.channel_filter;
  for (int64_t py = 0; py < phase_rows(p); ++py)
    for (int64_t px = 0; px < phase_columns(p); ++px) {
      const Range rows = positions_of_phase(py, p.scale, p.grid_height(), p.out_height);
      const Range columns = positions_of_phase(px, p.scale, p.grid_width(), p.out_width);
      const auto g = Map<const E>::of(p.output, image, c, p.scale, py, px);
      const auto s = Map<const E>::of(p.spatial_filter, image, group * taps, p.scale, py, px);
      const E* f = static_cast<const E*>(view.data) + image * view.b +
                   filter_index(py, px, p.scale) * view.p + c * view.c;
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t ty = tap / p.kernel_x, tx = tap % p.kernel_x;
        int64_t row = y - tap_shift(ty, p.kernel_y, p.dilation_y);
        int64_t column = x - tap_shift(tx, p.kernel_x, p.dilation_x);
        if (row < 0 || column < 0 || row % p.stride_y != 0 || column % p.stride_x != 0) continue;
        row /= p.stride_y;
        column /= p.stride_x;
        if (!rows.contains(row) || !columns.contains(column)) continue;
        T filter = 0, weight = 0;
        if (has_channel(p.combine)) filter = load_scalar<T>(f + ty * view.y + tx * view.x);
        if (has_spatial(p.combine))
          weight = load_scalar<T>(s.data + tap * s.c + row * s.y + column * s.x);
        const T both =
            with_combine(p.combine, [&](auto combine) { return weigh<combine()>(filter, weight); });
        sum += both * load_scalar<T>(g.data + row * g.y + column * g.x);
      }
    }
  return sum;
}

template <typename T, typename E, bool kPixelLanes>
struct FeatureGradient {
  static constexpr int L = kLanes<T>;
  const Problem& p;
  int64_t image, group;
  Tile tile;  // of the input
  FeatureGradientBuffers<T, kPixelLanes> buffers;

  // body(py, px, weights) for every phase with an output pixel that reads this tile.
  template <typename Body>
  DDF_INLINE void each_phase(const Body& body) {
    int64_t used = 0;
    for (int64_t py = 0; py < phase_rows(p); ++py)
      for (int64_t px = 0; px < phase_columns(p); ++px) {
        const Range rows = positions_of_phase(py, p.scale, p.grid_height(), p.out_height);
        const Range columns = positions_of_phase(px, p.scale, p.grid_width(), p.out_width);
        if (!reaches(rows, tile.rows, p.stride_y, p.kernel_y, p.dilation_y) ||
            !reaches(columns, tile.columns, p.stride_x, p.kernel_x, p.dilation_x))
          continue;
        buffers.gradient.restrict_to(rows, columns);
        Weights<T, kPixelLanes> weights(tile.rows.size(), tile.columns.size(), p.taps(),
                                        buffers.walk ? Order::walk : Order::block);
        weights.reversed = true;
        weights.data = buffers.weights + used;
        if (has_spatial(p.combine)) used += weights.elements();
        body(py, px, weights);
      }
  }

  static bool reaches(Range outputs, Range inputs, int64_t stride, int64_t kernel,
                      int64_t dilation) {
    const int64_t reach = kernel / 2 * dilation;
    return outputs.size() > 0 && intersect({outputs.begin * stride, (outputs.end - 1) * stride + 1},
                                           {inputs.begin - reach, inputs.end + reach})
                                         .size() > 0;
  }

  void run() {
    begin();
    const int64_t first = group * p.group_channels(), end = first + p.group_channels();
    for (int64_t c = first; c < end; c += buffers.block)
      run_block(c, smaller(buffers.block, end - c), false);
  }

  DDF_SHARED void begin() {
    const int64_t reach_y = p.kernel_y / 2 * p.dilation_y, reach_x = p.kernel_x / 2 * p.dilation_x;
    auto& gradient = buffers.gradient;
    gradient.y.valid = gradient.x.valid = {};
    each_phase([&](int64_t py, int64_t px, Weights<T, kPixelLanes> weights) {
      if (!has_spatial(p.combine)) return;
      weights.fill(
          Map<const E>::of(p.spatial_filter, image, group * p.taps(), p.scale, py, px), p.kernel_x,
          Shift{tile.rows.begin + reach_y, -p.dilation_y, p.stride_y, gradient.y.valid},
          Shift{tile.columns.begin + reach_x, -p.dilation_x, p.stride_x, gradient.x.valid});
    });
  }

  // `filled`: buffers.gradient already holds these channels (one phase only).
  DDF_SHARED void run_block(int64_t c, int64_t channels, bool filled) {
    const Map<E> map = Map<E>::of(p.grad_features, image, c);
    const int64_t padded = kPixelLanes ? channels : round_up(channels, L);
    bool add = false, finite = true;
    Strides d{};
    each_phase([&](int64_t py, int64_t px, const Weights<T, kPixelLanes>& weights) {
      const auto& gradient = buffers.gradient;
      if (!filled)
        buffers.gradient.fill(Map<const E>::of(p.output, image, c, p.scale, py, px), channels);
      const T* f = filter_of<T, E, kPixelLanes>(p, image, filter_index(py, px, p.scale), c,
                                                channels, buffers.filter);
      if (has_channel(p.combine)) finite = finite && !any_not_finite(f, padded * p.taps());
      d = strides_of(gradient, weights);
      const Block<T, E, kPixelLanes> block{
          channels,     gradient.data,      weights,    f,         p.combine, d,
          buffers.walk, gradient.y.per_tap, p.kernel_y, p.kernel_x};
      if (p.scale == 1) {
        filter_to_tensor<T, E, kPixelLanes>(block, map, tile, buffers.output);
      } else {
        filter_to_buffer<T, E, kPixelLanes>(block, buffers.output, add);
      }
      add = true;
    });
    if (!add || !finite) {
      for (int64_t k = 0; k < channels; ++k)
        for (int64_t y = tile.rows.begin; y < tile.rows.end; ++y)
          for (int64_t x = tile.columns.begin; x < tile.columns.end; ++x)
            store_scalar<T>(map.data + k * map.c + y * map.y + x * map.x,
                            grad_feature_value<T, E>(p, image, group, c + k, y, x));
    } else if (p.scale != 1) {
      unpack<T, kPixelLanes>(buffers.output, d, map, tile, 0, channels);
    }
  }
};

}  // namespace ddf::DDF_NAMESPACE
