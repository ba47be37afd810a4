// The gradients of both filters over one tile of one group of one image.
#pragma once

#include "ddf_filter.h"
#include "ddf_plan.h"

namespace ddf::DDF_NAMESPACE {

template <typename T, bool kPixelLanes>
struct FilterGradientBuffers {
  static constexpr int L = kLanes<T>;
  static constexpr int64_t kBlock = kPixelLanes ? kVectors : kVectors * L;  // channels
  // grad_weights has a vector where weights has kWidth lanes.
  static constexpr int64_t kSpread = kPixelLanes ? 1 : L;
  Patch<T, kPixelLanes> features, gradient;
  T *weights, *grad_weights, *filter, *grad_filter;

  // `channels` of the features at a time. Without `own_gradient` the gradient comes from elsewhere.
  DDF_SHARED void allocate(Scratch& scratch, const Problem& p, const Tile& tile,
                           int64_t channels = kBlock, bool own_gradient = true) {
    features.channels = channels;
    gradient.channels = kBlock;
    features.y =
        make_axis(tile.rows.begin, tile.rows.size(), p.stride_y, p.kernel_y, p.dilation_y, false);
    features.x = make_axis(tile.columns.begin, tile.columns.size(), p.stride_x, p.kernel_x,
                           p.dilation_x, kPixelLanes);
    features.y.valid = {0, p.height};
    features.x.valid = {0, p.width};
    features.allocate(scratch);
    gradient.y = make_axis(tile.rows.begin, tile.rows.size(), 1, 1, 1, false);
    gradient.x = make_axis(tile.columns.begin, tile.columns.size(), 1, 1, 1, kPixelLanes);
    if (own_gradient) gradient.allocate(scratch);
    const int64_t elements = weight_elements<T, kPixelLanes>(p, tile, Order::sweep);
    weights = scratch.take<T>(elements);
    grad_weights = scratch.take<T>(elements * kSpread);
    filter = scratch.take<T>(p.taps() * kVectors * L);
    grad_filter = scratch.take<T>(p.taps() * kVectors * L);
  }
};

// grad_filter[tap][vector][lane] and grad_s, laid out as the weights, of one block of channels.
template <typename T, bool kPixelLanes, Combine kCombine>
__attribute__((noinline)) void filter_gradients(int64_t vectors, const T* x, const T* g,
                                                const Strides& d, const Strides& dg,
                                                const Weights<T, kPixelLanes>& weights, const T* f,
                                                T* grad_s, T* grad_f, int64_t kernel_y,
                                                int64_t kernel_x) {
  constexpr int L = kLanes<T>;
  constexpr int64_t kSpread = FilterGradientBuffers<T, kPixelLanes>::kSpread;
  const int64_t positions = weights.positions();
  for (int64_t row = 0; row < weights.rows; row += weights.group) {
    const int64_t rows = smaller(weights.group, weights.rows - row);
    const T* s = weights.row(row);
    T* gs = grad_s + (s - weights.data) * kSpread;
    T* gf = grad_f;
    const T* ft = f;
    for (int64_t ty = 0; ty < kernel_y; ++ty)
      for (int64_t tx = 0; tx < kernel_x; ++tx) {
        const T* x_tap = x + row * d.x_row + ty * d.x_tap_row + tx * d.x_tap_column;
        with_vectors(vectors, [&](auto n) __attribute__((always_inline)) {
          sweep<T, kPixelLanes, kCombine, n()>(x_tap, g + row * dg.x_row, s, ft, gs, gf, d,
                                               dg.x_row, dg.x_position, dg.x_vector, rows,
                                               positions);
        });
        s += weights.per_tap;
        gs += weights.per_tap * kSpread;
        gf += kVectors * L;
        ft += d.f_tap;
      }
  }
}

// One value of the channel filter's gradient over the pixels of one phase of a tile, straight from
// the formula.
template <typename T, typename E>
T grad_filter_value(const Problem& p, const Phase& phase, int64_t image, int64_t group, int64_t c,
                    int64_t tap) {
  const auto x = Map<const E>::of(p.features, image, c);
  const auto g = Map<const E>::of(p.output, image, c, p.scale, phase.py, phase.px);
  const auto s = Map<const E>::of(p.spatial_filter, image, group * p.taps() + tap, p.scale,
                                  phase.py, phase.px);
  const int64_t shift_y = tap_shift(tap / p.kernel_x, p.kernel_y, p.dilation_y);
  const int64_t shift_x = tap_shift(tap % p.kernel_x, p.kernel_x, p.dilation_x);
  T sum = 0;
  for (int64_t row = phase.tile.rows.begin; row < phase.tile.rows.end; ++row)
    for (int64_t column = phase.tile.columns.begin; column < phase.tile.columns.end; ++column) {
      const int64_t y = row * p.stride_y + shift_y, at = column * p.stride_x + shift_x;
      const bool inside = y >= 0 && y < p.height && at >= 0 && at < p.width;
      const T value = inside ? load_scalar<T>(x.data + y * x.y + at * x.x) : T(0);
      const T product = value * load_scalar<T>(g.data + row * g.y + column * g.x);
      sum += p.combine == Combine::multiply
                 ? product * load_scalar<T>(s.data + row * s.y + column * s.x)
                 : product;
    }
  return sum;
}

template <typename T, typename E, bool kPixelLanes>
struct FilterGradients {
  static constexpr int L = kLanes<T>;
  const Problem& p;
  int64_t image, group;
  Tile tile;
  T* partial;  // [phase][channel][tap], null if the channel filter's gradient is not wanted
  FilterGradientBuffers<T, kPixelLanes> buffers;
  int64_t used = 0;

  Weights<T, kPixelLanes> weights_of(const Phase& phase) {
    Weights<T, kPixelLanes> weights(phase.rows(), phase.columns(), p.taps(), Order::sweep);
    weights.data = buffers.weights + used;
    if (has_spatial(p.combine)) used += weights.elements();
    return weights;
  }
  T* gradient_of(const T* weights) {
    return buffers.grad_weights + (weights - buffers.weights) * buffers.kSpread;
  }

  void run() {
    begin();
    auto& gradient = buffers.gradient;
    gradient.y.valid = gradient.x.valid = {};
    const int64_t first = group * p.group_channels(), end = first + p.group_channels();
    for (int64_t c = first; c < end; c += buffers.kBlock) {
      const int64_t channels = smaller(buffers.kBlock, end - c);
      buffers.features.fill(Map<const E>::of(p.features, image, c), channels);
      used = 0;
      for_each_phase(p, tile, [&](const Phase& phase) {
        gradient.restrict_to(phase.tile.rows, phase.tile.columns);
        gradient.fill(Map<const E>::of(p.output, image, c, p.scale, phase.py, phase.px), channels);
        add_block(phase, c, channels, buffers.features.data, gradient.data, gradient);
      });
    }
    finish();
  }

  DDF_SHARED void begin() {
    const int64_t first = group * p.group_channels();
    buffers.features.start();
    for (int64_t phase = 0; partial != nullptr && phase < p.phases(); ++phase)
      std::memset(partial + (phase * p.channels + first) * p.taps(), 0,
                  static_cast<size_t>(p.group_channels() * p.taps()) * sizeof(T));
    for_each_phase(p, tile, [&](const Phase& phase) {
      if (!has_spatial(p.combine)) return;
      const Range rows = phase.tile.rows, columns = phase.tile.columns;
      weights_of(phase).fill(
          Map<const E>::of(p.spatial_filter, image, group * p.taps(), p.scale, phase.py, phase.px),
          p.kernel_x, Shift{rows.begin, 0, 1, rows}, Shift{columns.begin, 0, 1, columns});
    });
    std::memset(buffers.grad_weights, 0, static_cast<size_t>(used * buffers.kSpread) * sizeof(T));
  }

  DDF_SHARED void finish() {
    used = 0;
    if (p.grad_spatial.data != nullptr)
      for_each_phase(p, tile, [&](const Phase& phase) { write_spatial(phase); });
  }

  // At most kBlock channels from c on. `x` and `g` hold the features and the gradient at the tile's
  // first position, as `layout` says for the gradient.
  DDF_SHARED void add_block(const Phase& phase, int64_t c, int64_t channels, const T* x, const T* g,
                            const Patch<T, kPixelLanes>& layout) {
    const auto weights = weights_of(phase);
    const T* f = filter_of<T, E, kPixelLanes>(p, image, phase.filter, c, channels, buffers.filter);
    std::memset(buffers.grad_filter, 0, static_cast<size_t>(p.taps() * kVectors * L) * sizeof(T));
    const Strides d = strides_of(buffers.features, weights), dg = strides_of(layout, weights);
    const int64_t row = phase.tile.rows.begin - tile.rows.begin;
    const int64_t column = phase.tile.columns.begin - tile.columns.begin;
    const auto add_gradients = with_combine(
        p.combine, [](auto combine) { return &filter_gradients<T, kPixelLanes, combine()>; });
    add_gradients(kPixelLanes ? channels : ceil_div(channels, L),
                  x + row * d.x_row + column * buffers.features.per_column(),
                  g + row * dg.x_row + column * layout.per_column(), d, dg, weights, f,
                  gradient_of(weights.data), buffers.grad_filter, p.kernel_y, p.kernel_x);
    if (partial == nullptr) return;
    T* sums = partial + ((p.phases() == 1 ? 0 : phase.filter) * p.channels + c) * p.taps();
    for (int64_t k = 0; k < channels; ++k)
      for (int64_t tap = 0; tap < p.taps(); ++tap) {
        const T* lanes = buffers.grad_filter + tap * kVectors * L;
        T sum = kPixelLanes ? sum_lanes<T>(load<T>(lanes + k * L)) : lanes[k];
        // Lanes past the end of a row add a 0 times whatever X holds there: NaN if that is
        // infinite, though the formula may have no such term.
        if (sum != sum) sum = grad_filter_value<T, E>(p, phase, image, group, c + k, tap);
        sums[k * p.taps() + tap] += sum;
      }
  }

  void write_spatial(const Phase& phase) {
    const auto weights = weights_of(phase);
    const Map<E> map =
        Map<E>::of(p.grad_spatial, image, group * p.taps(), p.scale, phase.py, phase.px);
    for (int64_t row = 0; row < weights.rows; ++row)
      for (int64_t tap = 0; tap < p.taps(); ++tap) {
        const T* from = gradient_of(weights.row(row) + tap * weights.per_tap);
        E* to = map.data + tap * map.c + (phase.tile.rows.begin + row) * map.y +
                phase.tile.columns.begin * map.x;
        if constexpr (kPixelLanes) {
          copy_out<T>(to, map.x, from, weights.columns);
        } else {
          for (int64_t column = 0; column < weights.columns; ++column)
            store_scalar<T>(to + column * map.x, sum_lanes<T>(load<T>(from + column * L)));
        }
      }
  }
};

}  // namespace ddf::DDF_NAMESPACE
