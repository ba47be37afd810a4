// The gradients of `depthwise_pointwise` that are wanted: tile by tile, a block of channels and a
// phase at a time.
#pragma once

#include "pointwise_backward.h"

namespace ddf::DDF_NAMESPACE {

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

// The gradient between the two convolutions, of a block of channels, on the tile and around it.
template <typename T>
void gradient_between(const DepthwisePointwise& p, const DepthwisePointwiseBackward<T>& b,
                      int64_t phase, int64_t first, int64_t count, const Tile& tile) {
  constexpr T zeros[kBlockChannels] = {};
  const int64_t reach = p.side / 2, rows = tile.rows.size();
  for (int64_t y = -reach; y < rows + reach; ++y)
    multiply<T>(b.parameters.pointwise + phase * p.outputs * p.channels + first, 1, p.channels,
                count, p.outputs, b.upstream.row(phase * p.outputs, y), b.upstream.size(),
                b.between.row(0, y), b.between.size(), b.between.columns, zeros);
  // 0 already, unless a filter is infinite or NaN.
  for (int64_t y = -reach; y < rows + reach; ++y)
    b.between.clear_outside(count, y, tile, p.height, p.width);
}

// Of one channel and phase, the input's gradient.
template <typename T>
void add_to_input(const DepthwisePointwise& p, const DepthwisePointwiseBackward<T>& b,
                  int64_t phase, int64_t channel, int64_t c, const Tile& tile) {
  const T* const turned = b.turned + (phase * p.channels + channel) * p.taps();
  if (all_finite(turned, p.taps()))
    depthwise<T>(b.between.map(c), b.between.pitch, turned, p.side, tile.rows.size(),
                 tile.columns.size(), b.grad_x.row(c, 0), b.grad_x.pitch, phase > 0);
  else
    add_inside(p, tile, b.between, turned, c, b.grad_x, phase > 0);
}

// And the depthwise filter's.
template <typename T>
void taps_gradient(const DepthwisePointwise& p, const DepthwisePointwiseBackward<T>& b, int64_t c,
                   const Tile& tile, T* to) {
  Vec<T>* const sums = b.sums;
  for (int64_t t = 0; t < p.taps(); ++t) sums[t] = Vec<T>{};
  dot_taps<T>(b.x.map(c), b.x.pitch, b.between.row(c, 0) + p.side / 2, b.between.pitch,
              tile.rows.size(), tile.columns.size(), p.side, sums);
  for (int64_t t = 0; t < p.taps(); ++t) to[t] = sum_lanes<T>(sums[t]);
}

// That of the 1x1 convolution, of a block of channels and a phase.
template <typename T>
void pointwise_gradient(const DepthwisePointwise& p, const DepthwisePointwiseBackward<T>& b,
                        int64_t phase, int64_t first, int64_t count, const Tile& tile, T* to) {
  const int64_t rows = tile.rows.size(), columns = tile.columns.size();
  for (int64_t i = 0; i < p.outputs * kBlockChannels; ++i) b.sums[i] = Vec<T>{};
  for (int64_t y = 0; y < rows; y += kDepthwiseRows) {
    const int64_t n = smaller(kDepthwiseRows, rows - y);
    for (int64_t c = 0; c < count; ++c)
      depthwise<T>(b.x.map(c) + y * b.x.pitch, b.x.pitch,
                   b.parameters.depthwise + (phase * p.channels + first + c) * p.taps(), p.side, n,
                   columns, b.filtered + kDepthwiseRows * c * b.filtered_pitch, b.filtered_pitch,
                   false);
    for (int64_t r = 0; r < n; ++r)
      dot_all<T>(b.upstream.row(phase * p.outputs, y + r) + p.side / 2, b.upstream.size(),
                 p.outputs, b.filtered + r * b.filtered_pitch, kDepthwiseRows * b.filtered_pitch,
                 count, columns, b.sums);
  }
  write_sums<T>(b.sums, count, p.outputs, to + phase * p.outputs * p.channels + first, p.channels);
}

// Those gradients that are wanted, of a tile's blocks of channels.
template <typename T, typename E>
void all_gradients(const DepthwisePointwise& p, const DepthwisePointwiseBackward<T>& b,
                   int64_t image, const Tile& tile, T* grad_depthwise, T* grad_pointwise) {
  const bool of_x = p.grad_x.data != nullptr, of_depthwise = p.grad_depthwise != nullptr;
  const bool of_pointwise = p.grad_pointwise != nullptr;
  for (int64_t i = 0; i < p.depthwise_elements(); i += p.taps())
    for (int64_t t = 0; t < p.taps(); ++t)
      b.turned[i + t] = b.parameters.depthwise[i + p.taps() - 1 - t];
  for (int64_t first = 0; first < p.channels; first += kBlockChannels) {
    const int64_t count = smaller(kBlockChannels, p.channels - first);
    if (of_depthwise || of_pointwise)
      b.x.template fill<E>(p.x, image, first, count, tile, p.height, p.width);
    for (int64_t phase = 0; phase < p.phases; ++phase) {
      if (of_x || of_depthwise) gradient_between<T>(p, b, phase, first, count, tile);
      for (int64_t c = 0; c < count; ++c) {
        if (of_x) add_to_input<T>(p, b, phase, first + c, c, tile);
        if (of_depthwise)
          taps_gradient<T>(p, b, c, tile,
                           grad_depthwise + (phase * p.channels + first + c) * p.taps());
      }
      if (of_pointwise) pointwise_gradient<T>(p, b, phase, first, count, tile, grad_pointwise);
    }
    if (of_x)
      for (int64_t c = 0; c < count; ++c)
        b.grad_x.template write<E>(p.grad_x, image, first + c, c, tile);
  }
}

// Gradients of the input in a tile of the unit's images, and sums over it of those of the
// parameters, into their place in p.partial_sums: depthwise, then pointwise.
template <typename T, typename E>
void depthwise_pointwise_backward_unit(const DepthwisePointwise& p, const Plan& plan, int64_t unit,
                                       void* memory) {
  Scratch scratch(memory);
  DepthwisePointwiseBackward<T> b(scratch, p, plan);
  const int64_t tiles = plan.tiles_y * plan.tiles_x, at = unit / plan.chunks;
  const int64_t first = at / tiles * plan.images;
  const Range images{first, smaller(first + plan.images, p.batch)};
  const Tile tile = tile_at(plan, at % tiles, p.height, p.width);
  T* const sums = static_cast<T*>(p.partial_sums);
  T* const grad_depthwise = sums != nullptr ? sums + at * p.parameter_elements() : nullptr;
  T* const grad_pointwise = sums != nullptr ? grad_depthwise + p.depthwise_elements() : nullptr;
  b.parameters.template fill<E>(p);
  const int64_t outputs = p.phases * p.outputs;
  for (int64_t image = images.begin; image < images.end; ++image)
    for (int64_t phase = 0; phase < p.phases; ++phase)
      b.upstream.template fill<E>(phase_view<E>(p, phase), image, 0, p.outputs, tile, p.height,
                                  p.width, (image - images.begin) * outputs + phase * p.outputs);
  if (p.depthwise == nullptr) {
    const int64_t channel = unit % plan.chunks * plan.chunk_channels;
    const Range channels{channel, smaller(channel + plan.chunk_channels, p.channels)};
    pointwise_gradients<T, E>(p, b, images, tile, channels, grad_pointwise);
  } else {
    all_gradients<T, E>(p, b, images.begin, tile, grad_depthwise, grad_pointwise);
  }
}

// Adds up the partial sums of the parameters in the range, counted from `from` on, in their order.
template <typename T, typename E>
DDF_INLINE void add_partial_sums(const DepthwisePointwise& p, const Plan& plan, Range range,
                                 int64_t from, void* to) {
  if (to == nullptr) return;
  const int64_t count = plan.units / plan.chunks, pitch = p.parameter_elements();
  const auto* const sums = static_cast<const T*>(p.partial_sums);
  E* const gradient = static_cast<E*>(to);
  int64_t i = range.begin;
  for (; i + kLanes<T> <= range.end; i += kLanes<T>) {
    Vec<T> sum{};
    for (int64_t k = 0; k < count; ++k) sum += load<T>(sums + k * pitch + i);
    store<T>(gradient + i - from, sum);
  }
  for (; i < range.end; ++i) {
    T sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += sums[k * pitch + i];
    store_scalar<T>(gradient + i - from, sum);
  }
}

template <typename T, typename E>
void reduce_parameters(const DepthwisePointwise& p, const Plan& plan, int64_t begin, int64_t end) {
  const int64_t depthwise = p.depthwise_elements();
  add_partial_sums<T, E>(p, plan, intersect({begin, end}, {0, depthwise}), 0, p.grad_depthwise);
  add_partial_sums<T, E>(p, plan, intersect({begin, end}, {depthwise, end}), depthwise,
                         p.grad_pointwise);
}

}  // namespace ddf::DDF_NAMESPACE
