// All gradients of `depthwise_pointwise`: tile by tile, a block of channels and a phase at a time.
#pragma once

#include "depthwise_loops.h"

namespace ddf::DDF_NAMESPACE {

inline constexpr int64_t kBlockChannels = 8;                        // of the input
inline constexpr int kOutputRows = DDF_VECTOR_BYTES == 64 ? 9 : 5;  // whose sums fit into registers

template <typename T>
Plan backward_tiles(const DepthwisePointwise& p) {
  constexpr int64_t kMostPixels = 1024;
  const int64_t most_columns = p.depthwise != nullptr ? 256 : 512;
  Plan plan;
  const int64_t parts = ceil_div(p.width, most_columns);
  plan.tile_columns = parts == 1 ? p.width : round_up(ceil_div(p.width, parts), kPixelStep<T>);
  // At least four tiles, for the threads, where there are four rows.
  if (p.depthwise != nullptr)
    plan.tile_rows = larger(1, smaller(kMostPixels / plan.tile_columns, ceil_div(p.height, 4)));
  return plan;
}

template <typename T>
struct DepthwisePointwiseBackward {
  Parameters<T> parameters;
  T* turned;  // the depthwise filters, by half a turn
  Maps<T> x, upstream, between, grad_x;
  T* filtered;  // of some rows of a block's channels
  int64_t filtered_pitch;
  Vec<T>* sums;

  DepthwisePointwiseBackward(Scratch& scratch, const DepthwisePointwise& p, const Plan& plan)
      : parameters(scratch, p),
        turned(scratch.take<T>(p.depthwise_elements())),
        x(scratch, kBlockChannels, plan.tile_rows, plan.tile_columns, p.side / 2),
        upstream(scratch, p.phases * p.outputs, plan.tile_rows, plan.tile_columns, p.side / 2),
        between(scratch, kBlockChannels, plan.tile_rows, plan.tile_columns, p.side / 2),
        grad_x(scratch, kBlockChannels, plan.tile_rows, plan.tile_columns, 0),
        filtered_pitch(round_up(plan.tile_columns, kPixelStep<T>)) {
    filtered = scratch.take<T>(kDepthwiseRows * kBlockChannels * filtered_pitch);
    sums =
        scratch.take<Vec<T>>(larger(p.taps(), p.phases / p.copies() * p.outputs * kBlockChannels));
  }
};

template <typename T>
DDF_INLINE bool all_finite(const T* values, int64_t n) {
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += values[i] * T(0);
  return sum == 0;
}

// One map of the input's gradient, for a filter with infinite or NaN taps: outputs outside the
// image have no part in it, not even as a 0 that such a tap would turn into a NaN.
template <typename T>
void add_inside(const DepthwisePointwise& p, const Tile& tile, const Maps<T>& between,
                const T* turned, int64_t c, const Maps<T>& grad_x, bool add) {
  const int64_t reach = p.side / 2;
  for (int64_t y = 0; y < tile.rows.size(); ++y)
    for (int64_t x = 0; x < tile.columns.size(); ++x) {
      T& sum = grad_x.row(c, y)[x];
      if (!add) sum = 0;
      for (int64_t iy = 0; iy < p.side; ++iy)
        for (int64_t ix = 0; ix < p.side; ++ix) {
          const int64_t row = tile.rows.begin + y + iy - reach;
          const int64_t column = tile.columns.begin + x + ix - reach;
          if (row >= 0 && row < p.height && column >= 0 && column < p.width)
            sum += turned[iy * p.side + ix] * between.row(c, y + iy - reach)[x + ix];
        }
    }
}

// sums[m + n * rows] += Σ rows_[m, x] * others[n, x]
template <typename T>
DDF_INLINE void dot_all(const T* rows, int64_t pitch, int64_t count, const T* others,
                        int64_t others_pitch, int64_t others_count, int64_t columns, Vec<T>* sums) {
  in_runs<2>(others_count, [&](int64_t n, auto some) {
    in_runs<kOutputRows>(count, [&](int64_t m, auto length) {
      dot_rows<T, length(), some()>(rows + m * pitch, pitch, others + n * others_pitch,
                                    others_pitch, columns, sums + n * count + m, count);
    });
  });
}

// to[o * pitch + c] = the sum over the lanes of sums[c * outputs + o].
template <typename T>
DDF_SHARED void write_sums(const Vec<T>* sums, int64_t count, int64_t outputs, T* to,
                           int64_t pitch) {
  constexpr int L = kLanes<T>;
  for (int64_t i = 0, c = 0, o = 0; i < outputs * count; i += L) {
    const Vec<T> totals = sum_each<T>(sums + i, outputs * count - i);
    for (int64_t j = i; j < smaller(i + L, outputs * count); ++j) {
      to[o * pitch + c] = totals[j - i];
      if (++o == outputs) {
        o = 0;
        ++c;
      }
    }
  }
}

// Without a depthwise convolution: a row, whole steps of it where they lie.
template <typename T, typename E>
void input_gradients(const DepthwisePointwise& p, const DepthwisePointwiseBackward<T>& b,
                     int64_t image, const Tile& tile, T* grad_pointwise) {
  const int64_t columns = tile.columns.size(), outputs = p.phases * p.outputs;
  const int64_t whole = is_in_place<T, E>(p.x) && is_in_place<T, E>(p.grad_x)
                            ? columns / kPixelStep<T> * kPixelStep<T>
                            : 0;
  constexpr T zeros[kBlockChannels] = {};
  for (int64_t first = 0; first < p.channels; first += kBlockChannels) {
    const int64_t count = smaller(kBlockChannels, p.channels - first);
    for (int64_t i = 0; i < outputs * count; ++i) b.sums[i] = Vec<T>{};
    const auto part = [&](int64_t begin, int64_t end, const T* x, int64_t x_pitch, T* grad_x,
                          int64_t grad_pitch) {
      const T* const upstream = b.upstream.row(0, 0) + begin;
      multiply<T>(b.parameters.pointwise + first, 1, p.channels, count, outputs, upstream,
                  b.upstream.size(), grad_x, grad_pitch, end - begin, zeros);
      dot_all<T>(upstream, b.upstream.size(), outputs, x, x_pitch, count, end - begin, b.sums);
    };
    if constexpr (std::is_same_v<T, E>)
      part(0, whole, first_pixel<E>(p.x, image, tile) + first * p.x.c, p.x.c,
           first_pixel<E>(p.grad_x, image, tile) + first * p.grad_x.c, p.grad_x.c);
    if (whole < columns) {
      const Tile rest{tile.rows, {tile.columns.begin + whole, tile.columns.end}};
      b.x.template fill<E>(p.x, image, first, count, rest, p.height, p.width);
      part(whole, columns, b.x.row(0, 0), b.x.size(), b.grad_x.row(0, 0), b.grad_x.size());
      for (int64_t c = 0; c < count; ++c)
        b.grad_x.template write<E>(p.grad_x, image, first + c, c, rest);
    }
    write_sums<T>(b.sums, count, outputs, grad_pointwise + first, p.channels);
  }
}

// Gradients of the input's tile, and sums over the tile of those of the parameters, into
// p.partial_sums[unit]: depthwise, then pointwise.
template <typename T, typename E>
void depthwise_pointwise_backward_unit(const DepthwisePointwise& p, const Plan& plan, int64_t unit,
                                       void* memory) {
  Scratch scratch(memory);
  DepthwisePointwiseBackward<T> b(scratch, p, plan);
  const int64_t tiles = plan.tiles_y * plan.tiles_x, image = unit / tiles;
  const Tile tile = tile_at(plan, unit % tiles, p.height, p.width);
  const int64_t rows = tile.rows.size(), columns = tile.columns.size();
  const int64_t reach = p.side / 2, taps = p.taps();
  T* const grad_depthwise = static_cast<T*>(p.partial_sums) + unit * p.parameter_elements();
  T* const grad_pointwise = grad_depthwise + p.depthwise_elements();
  constexpr T zeros[kBlockChannels] = {};
  b.parameters.template fill<E>(p);
  for (int64_t i = 0; i < p.depthwise_elements(); i += taps)
    for (int64_t t = 0; t < taps; ++t) b.turned[i + t] = b.parameters.depthwise[i + taps - 1 - t];
  for (int64_t phase = 0; phase < p.phases; ++phase)
    b.upstream.template fill<E>(phase_view<E>(p, phase), image, 0, p.outputs, tile, p.height,
                                p.width, phase * p.outputs);
  if (p.depthwise == nullptr) return input_gradients<T, E>(p, b, image, tile, grad_pointwise);
  for (int64_t first = 0; first < p.channels; first += kBlockChannels) {
    const int64_t count = smaller(kBlockChannels, p.channels - first);
    b.x.template fill<E>(p.x, image, first, count, tile, p.height, p.width);
    for (int64_t phase = 0; phase < p.phases; ++phase) {
      const T* const pointwise = b.parameters.pointwise + phase * p.outputs * p.channels + first;
      const auto weights = [&](const T* all, int64_t c) {
        return all + (phase * p.channels + first + c) * taps;
      };
      // The gradient between the two convolutions, on the tile and around it.
      for (int64_t y = -reach; y < rows + reach; ++y)
        multiply<T>(pointwise, 1, p.channels, count, p.outputs,
                    b.upstream.row(phase * p.outputs, y), b.upstream.size(), b.between.row(0, y),
                    b.between.size(), b.between.columns, zeros);
      // 0 already, unless a filter is infinite or NaN.
      for (int64_t y = -reach; y < rows + reach; ++y)
        b.between.clear_outside(count, y, tile, p.height, p.width);
      Vec<T>* const sums = b.sums;
      for (int64_t c = 0; c < count; ++c) {
        if (all_finite(weights(b.turned, c), taps))
          depthwise<T>(b.between.map(c), b.between.pitch, weights(b.turned, c), p.side, rows,
                       columns, b.grad_x.row(c, 0), b.grad_x.pitch, phase > 0);
        else
          add_inside(p, tile, b.between, weights(b.turned, c), c, b.grad_x, phase > 0);
        for (int64_t t = 0; t < taps; ++t) sums[t] = Vec<T>{};
        dot_taps<T>(b.x.map(c), b.x.pitch, b.between.row(c, 0) + reach, b.between.pitch, rows,
                    columns, p.side, sums);
        T* const to = grad_depthwise + (phase * p.channels + first + c) * taps;
        for (int64_t t = 0; t < taps; ++t) to[t] = sum_lanes<T>(sums[t]);
      }
      for (int64_t i = 0; i < p.outputs * count; ++i) sums[i] = Vec<T>{};
      for (int64_t y = 0; y < rows; y += kDepthwiseRows) {
        const int64_t n = smaller(kDepthwiseRows, rows - y);
        for (int64_t c = 0; c < count; ++c)
          depthwise<T>(b.x.map(c) + y * b.x.pitch, b.x.pitch, weights(b.parameters.depthwise, c),
                       p.side, n, columns, b.filtered + kDepthwiseRows * c * b.filtered_pitch,
                       b.filtered_pitch, false);
        for (int64_t r = 0; r < n; ++r)
          dot_all<T>(b.upstream.row(phase * p.outputs, y + r) + reach, b.upstream.size(), p.outputs,
                     b.filtered + r * b.filtered_pitch, kDepthwiseRows * b.filtered_pitch, count,
                     columns, sums);
      }
      write_sums<T>(sums, count, p.outputs, grad_pointwise + phase * p.outputs * p.channels + first,
                    p.channels);
    }
    for (int64_t c = 0; c < count; ++c)
      b.grad_x.template write<E>(p.grad_x, image, first + c, c, tile);
  }
}

// Adds up the tiles' sums of one parameter, in their order.
template <typename T, typename E>
void reduce_parameter(const DepthwisePointwise& p, const Plan& plan, int64_t index) {
  T sum = 0;
  for (int64_t unit = 0; unit < plan.units; ++unit)
    sum += static_cast<const T*>(p.partial_sums)[unit * p.parameter_elements() + index];
  const int64_t depthwise = p.depthwise_elements();
  store_scalar<T>(index < depthwise ? static_cast<E*>(p.grad_depthwise) + index
                                    : static_cast<E*>(p.grad_pointwise) + (index - depthwise),
                  sum);
}

}  // namespace ddf::DDF_NAMESPACE
