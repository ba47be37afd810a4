// The backward pass: one unit is a tile of one group of one image. It yields the gradient of the
// spatial filter and of the features for the tile, and the tile's share of the channel filter's.
#pragma once

#include "forward.h"

namespace ddf::DDF_NAMESPACE {

template <typename T, bool kPixelLanes>
struct BackwardBuffers {
  static constexpr int kBlock = ForwardBuffers<T, kPixelLanes>::kBlock;
  static constexpr int L = kLanes<T>;
  Patch<T, kPixelLanes> features, gradient;
  T *weights, *grad_weights, *filter, *grad_filter, *output;

  static int64_t weight_elements(const Problem& p, int64_t rows, int64_t columns) {
    const int64_t n = phase_count(p.scale);
    return n * n * rows * round_up(columns, L) * p.taps();
  }

  // For the gradients of the filters.
  void allocate_filters(Scratch& scratch, const Problem& p, const Tile& tile, const Plan& plan) {
    features.channels = gradient.channels = kBlock;
    features.y =
        make_axis(tile.rows.begin, tile.rows.size(), p.stride_y, p.kernel_y, p.dilation_y, false);
    features.x = make_axis(tile.columns.begin, tile.columns.size(), p.stride_x, p.kernel_x,
                           p.dilation_x, kPixelLanes);
    features.y.valid = {0, p.height};
    features.x.valid = {0, p.width};
    features.allocate(scratch);
    gradient.y = make_axis(tile.rows.begin, tile.rows.size(), 1, 1, 1, false);
    gradient.x = make_axis(tile.columns.begin, tile.columns.size(), 1, 1, 1, kPixelLanes);
    gradient.allocate(scratch);
    const int64_t elements = weight_elements(p, plan.tile_rows, plan.tile_columns);
    weights = scratch.take<T>(elements);
    grad_weights = scratch.take<T>(kPixelLanes ? elements : elements * L);
    filter = scratch.take<T>(p.taps() * kVectors * L);
    grad_filter = scratch.take<T>(p.taps() * kVectors * L);
  }

  // For the gradient of the features; `tile` is one of the input.
  void allocate_features(Scratch& scratch, const Problem& p, const Tile& tile) {
    gradient.channels = kBlock;
    gradient.y = make_axis(tile.rows.begin, tile.rows.size(), 1, p.kernel_y, p.dilation_y, false);
    gradient.x = make_axis(tile.columns.begin, tile.columns.size(), 1, p.kernel_x, p.dilation_x,
                           kPixelLanes);
    gradient.y.stuffed = p.stride_y;
    gradient.x.stuffed = p.stride_x;
    gradient.allocate(scratch);
    weights = scratch.take<T>(weight_elements(p, tile.rows.size(), tile.columns.size()));
    filter = scratch.take<T>(p.taps() * kVectors * L);
    output = scratch.take<T>(round_up(tile.columns.size(), L) * tile.rows.size() * kBlock);
  }
};

DDF_INLINE Tile input_tile(const Problem& p, const Tile& tile) {
  return {{tile.rows.begin * p.stride_y, smaller(tile.rows.end * p.stride_y, p.height)},
          {tile.columns.begin * p.stride_x, smaller(tile.columns.end * p.stride_x, p.width)}};
}

template <typename T, bool kPixelLanes, bool kMultiply>
inline void filter_gradients(int64_t vectors, const T* x, const T* g, const Strides& d,
                             const Strides& dg, const T* s, const T* f, T* grad_s, T* grad_f,
                             int64_t rows, int64_t columns, int64_t positions, int64_t kernel_y,
                             int64_t kernel_x) {
  constexpr int L = kLanes<T>;
  const bool masked = kPixelLanes && columns % L != 0;
  const Mask<T> last_lanes = first_lanes<T>(columns % L);
  const int64_t taps = kernel_y * kernel_x, gs_row = taps * positions * L;
  // A few rows at a time, which stay in the L1 cache while the taps pass by.
  const int64_t step = larger(1, 16 / larger(1, positions));
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t n = smaller(step, rows - row);
    for (int64_t tap = 0; tap < taps; ++tap) {
      const T* xt =
          x + row * d.x_row + tap / kernel_x * d.x_tap_row + tap % kernel_x * d.x_tap_column;
      const T* gt = g + row * dg.x_row;
      const T* st = s + row * d.s_row + tap * d.s_tap;
      T* gst = grad_s + row * gs_row + tap * positions * L;
      T* gft = grad_f + tap * kVectors * L;
      const T* ft = f + tap * d.f_tap;
      switch (vectors) {
#define DDF_CASE(V)                                                                                \
  gradient_tap<T, kPixelLanes, kMultiply, V>(xt, gt, dg.x_row, dg.x_position, dg.x_vector, st, ft, \
                                             gst, gs_row, gft, d, n, positions, last_lanes,        \
                                             masked)
        case 1:
          DDF_CASE(1);
          break;
        case 2:
          DDF_CASE(2);
          break;
        case 3:
          DDF_CASE(3);
          break;
        default:
          DDF_CASE(4);
          break;
#undef DDF_CASE
      }
    }
  }
}

template <typename T, typename E, bool kPixelLanes, bool kMultiply>
void backward_filters(const Problem& p, const Plan& plan, int64_t image, int64_t group,
                      int64_t tile_index, void* memory) {
  constexpr int L = kLanes<T>;
  using Buffers = BackwardBuffers<T, kPixelLanes>;
  const Tile tile = tile_at(plan, tile_index, p.grid_height(), p.grid_width());
  const int64_t taps = p.taps(), first = group * p.group_channels();
  const int64_t end = first + p.group_channels();
  Scratch scratch(memory);
  Buffers buffers;
  buffers.allocate_filters(scratch, p, tile, plan);
  buffers.features.start();

  // [image][tile][phase][channel][tap]
  T* partial = static_cast<T*>(p.partial_sums);
  if (partial != nullptr) {
    partial += (image * plan.tiles_y * plan.tiles_x + tile_index) * p.phases() * p.channels * taps;
    for (int64_t phase = 0; phase < p.phases(); ++phase)
      std::memset(partial + (phase * p.channels + first) * taps, 0,
                  static_cast<size_t>((end - first) * taps) * sizeof(T));
  }

  int64_t used = 0;
  const auto weights_of = [&](const Phase& phase) {
    Weights<T, kPixelLanes> weights;
    weights.rows = phase.rows();
    weights.columns = phase.columns();
    weights.taps = taps;
    weights.tap_major = true;
    weights.data = buffers.weights + used;
    used += weights.elements();
    return weights;
  };
  const auto gradient_of = [&](const Weights<T, kPixelLanes>& weights) {
    return buffers.grad_weights + (weights.data - buffers.weights) * (kPixelLanes ? 1 : L);
  };
  for_each_phase(p, tile, [&](const Phase& phase) {
    const Range rows = phase.tile.rows, columns = phase.tile.columns;
    weights_of(phase).fill(
        Map<const E>::of(p.spatial_filter, image, group * taps, p.scale, phase.py, phase.px),
        p.kernel_x, Shift{rows.begin, 0, 1, rows}, Shift{columns.begin, 0, 1, columns});
  });
  std::memset(buffers.grad_weights, 0,
              static_cast<size_t>(used) * sizeof(T) * static_cast<size_t>(kPixelLanes ? 1 : L));

  for (int64_t c = first; c < end; c += Buffers::kBlock) {
    const int64_t channels = smaller(Buffers::kBlock, end - c);
    const int64_t vectors = kPixelLanes ? channels : ceil_div(channels, L);
    buffers.features.fill(Map<const E>::of(p.features, image, c), channels);
    used = 0;
    for_each_phase(p, tile, [&](const Phase& phase) {
      const auto weights = weights_of(phase);
      auto& gradient = buffers.gradient;
      gradient.restrict_to(phase.tile.rows, phase.tile.columns);
      gradient.fill(Map<const E>::of(p.output, image, c, p.scale, phase.py, phase.px), channels);
      const T* f =
          filter_of<T, E, kPixelLanes>(p, image, phase.filter, c, channels, buffers.filter);
      std::memset(buffers.grad_filter, 0, static_cast<size_t>(taps * kVectors * L) * sizeof(T));
      const Strides d = strides_of<T, kPixelLanes>(buffers.features, weights, taps);
      const Strides dg = strides_of<T, kPixelLanes>(gradient, weights, taps);
      const int64_t row = phase.tile.rows.begin - tile.rows.begin;
      const int64_t column = phase.tile.columns.begin - tile.columns.begin;
      const T* x = buffers.features.data + row * d.x_row + column * buffers.features.per_column();
      const T* g = gradient.data + row * dg.x_row + column * gradient.per_column();
      filter_gradients<T, kPixelLanes, kMultiply>(
          vectors, x, g, d, dg, weights.data, f, gradient_of(weights), buffers.grad_filter,
          weights.rows, weights.columns, weights.positions(), p.kernel_y, p.kernel_x);
      if (partial == nullptr) return;
      const int64_t filter = p.phases() == 1 ? 0 : phase.filter;
      T* sums = partial + (filter * p.channels + c) * taps;
      for (int64_t k = 0; k < channels; ++k)
        for (int64_t tap = 0; tap < taps; ++tap) {
          const T* lanes = buffers.grad_filter + tap * kVectors * L;
          sums[k * taps + tap] += kPixelLanes ? sum_lanes<T>(load<T>(lanes + k * L)) : lanes[k];
        }
    });
  }

  if (p.grad_spatial.data == nullptr) return;
  used = 0;
  for_each_phase(p, tile, [&](const Phase& phase) {
    const auto weights = weights_of(phase);
    const T* from = gradient_of(weights);
    const Map<E> map = Map<E>::of(p.grad_spatial, image, group * taps, p.scale, phase.py, phase.px);
    const int64_t positions = weights.positions();
    for (int64_t row = 0; row < phase.rows(); ++row)
      for (int64_t tap = 0; tap < taps; ++tap, from += positions * L) {
        E* to = map.data + tap * map.c + (phase.tile.rows.begin + row) * map.y +
                phase.tile.columns.begin * map.x;
        if constexpr (kPixelLanes) {
          copy_out<T>(to, map.x, from, phase.columns());
        } else {
          for (int64_t column = 0; column < positions; ++column)
            store_scalar<T>(to + column * map.x, sum_lanes<T>(load<T>(from + column * L)));
        }
      }
  });
}

// Whether any of n values is infinite or NaN: then 0 * F is not 0, and the zeros that stand for
// outputs outside the image would show in the gradient.
template <typename T>
DDF_INLINE bool any_not_finite(const T* values, int64_t n) {
  T sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += values[i] * T(0);
  return sum != 0 || sum != sum;
}

// One value of the features' gradient, straight from the formula.
template <typename T, typename E>
T grad_feature(const Problem& p, int64_t image, int64_t group, int64_t c, int64_t y, int64_t x) {
  T sum = 0;
  const int64_t taps = p.taps(), n = phase_count(p.scale);
  for (int64_t py = 0; py < n; ++py)
    for (int64_t px = 0; px < n; ++px) {
      const Range rows = positions_of_phase(py, p.scale, p.grid_height(), p.out_height);
      const Range columns = positions_of_phase(px, p.scale, p.grid_width(), p.out_width);
      const auto g = Map<const E>::of(p.output, image, c, p.scale, py, px);
      const auto s = Map<const E>::of(p.spatial_filter, image, group * taps, p.scale, py, px);
      const int64_t phase = py % p.scale * p.scale + px % p.scale;
      const E* f = static_cast<const E*>(p.channel_filter.data) + image * p.channel_filter.b +
                   phase * p.channel_filter.p + c * p.channel_filter.c;
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t ty = tap / p.kernel_x, tx = tap % p.kernel_x;
        int64_t row = y - (ty - p.kernel_y / 2) * p.dilation_y;
        int64_t column = x - (tx - p.kernel_x / 2) * p.dilation_x;
        if (row < 0 || column < 0 || row % p.stride_y != 0 || column % p.stride_x != 0) continue;
        row /= p.stride_y;
        column /= p.stride_x;
        if (row < rows.begin || row >= rows.end || column < columns.begin || column >= columns.end)
          continue;
        const T filter = load_scalar<T>(f + ty * p.channel_filter.y + tx * p.channel_filter.x);
        const T weight = load_scalar<T>(s.data + tap * s.c + row * s.y + column * s.x);
        sum += (p.multiply ? filter * weight : filter + weight) *
               load_scalar<T>(g.data + row * g.y + column * g.x);
      }
    }
  return sum;
}

// The features' gradient is the forward pass over the output's gradient with the taps reversed,
// each weighted by the spatial filter of the pixel it comes from.
template <typename T, typename E, bool kPixelLanes, bool kMultiply>
void backward_features(const Problem& p, const Plan& plan, int64_t image, int64_t group,
                       int64_t tile_index, void* memory) {
  constexpr int L = kLanes<T>;
  using Buffers = BackwardBuffers<T, kPixelLanes>;
  const Tile tile = input_tile(p, tile_at(plan, tile_index, p.grid_height(), p.grid_width()));
  const int64_t taps = p.taps(), first = group * p.group_channels();
  const int64_t end = first + p.group_channels();
  const int64_t reach_y = p.kernel_y / 2 * p.dilation_y, reach_x = p.kernel_x / 2 * p.dilation_x;
  Scratch scratch(memory);
  Buffers buffers;
  buffers.allocate_features(scratch, p, tile);
  auto& gradient = buffers.gradient;

  // Every phase with an output pixel that reads this tile.
  const auto each_phase = [&](const auto& body) {
    int64_t used = 0;
    const int64_t n = phase_count(p.scale);
    for (int64_t py = 0; py < n; ++py)
      for (int64_t px = 0; px < n; ++px) {
        const Range rows = positions_of_phase(py, p.scale, p.grid_height(), p.out_height);
        const Range columns = positions_of_phase(px, p.scale, p.grid_width(), p.out_width);
        const Tile reach{{tile.rows.begin - reach_y, tile.rows.end + reach_y},
                         {tile.columns.begin - reach_x, tile.columns.end + reach_x}};
        if (intersect({rows.begin * p.stride_y, (rows.end - 1) * p.stride_y + 1}, reach.rows)
                    .size() == 0 ||
            intersect({columns.begin * p.stride_x, (columns.end - 1) * p.stride_x + 1},
                      reach.columns)
                    .size() == 0)
          continue;
        gradient.restrict_to(rows, columns);
        Weights<T, kPixelLanes> weights;
        weights.rows = tile.rows.size();
        weights.columns = tile.columns.size();
        weights.taps = taps;
        weights.data = buffers.weights + used;
        used += weights.elements();
        body(py, px, weights);
      }
  };
  each_phase([&](int64_t py, int64_t px, Weights<T, kPixelLanes> weights) {
    weights.fill(Map<const E>::of(p.spatial_filter, image, group * taps, p.scale, py, px),
                 p.kernel_x,
                 Shift{tile.rows.begin + reach_y, -p.dilation_y, p.stride_y, gradient.y.valid},
                 Shift{tile.columns.begin + reach_x, -p.dilation_x, p.stride_x, gradient.x.valid});
  });
  for (int64_t c = first; c < end; c += Buffers::kBlock) {
    const int64_t channels = smaller(Buffers::kBlock, end - c);
    bool add = false, finite = true;
    const Map<E> map = Map<E>::of(p.grad_features, image, c);
    Strides d{};
    each_phase([&](int64_t py, int64_t px, const Weights<T, kPixelLanes>& weights) {
      gradient.fill(Map<const E>::of(p.output, image, c, p.scale, py, px), channels);
      const T* f = filter_of<T, E, kPixelLanes>(p, image, py % p.scale * p.scale + px % p.scale, c,
                                                channels, buffers.filter);
      finite =
          finite && !any_not_finite(f, (kPixelLanes ? channels : round_up(channels, L)) * taps);
      d = strides_of<T, kPixelLanes>(gradient, weights, taps);
      // A tap that reads to the right in the forward pass is read from the left here.
      const T* x =
          gradient.data + (p.kernel_y - 1) * d.x_tap_row + (p.kernel_x - 1) * d.x_tap_column;
      d.x_tap_row = -d.x_tap_row;
      d.x_tap_column = -d.x_tap_column;
      if (p.scale == 1) {
        filter_into<T, E, kPixelLanes, kMultiply>(map, tile, channels, x, weights, f, d, p,
                                                  buffers.output);
      } else {
        filter<T, T, kPixelLanes, kMultiply>(channels, x, weights.data, f, buffers.output, d,
                                             weights.rows, weights.positions(), p.kernel_y,
                                             p.kernel_x, add);
      }
      add = true;
    });
    if (add && finite) {
      if (p.scale != 1)
        unpack<T, kPixelLanes>(buffers.output, d, map, tile.rows, tile.columns, channels);
      continue;
    }
    for (int64_t k = 0; k < channels; ++k)
      for (int64_t y = tile.rows.begin; y < tile.rows.end; ++y)
        for (int64_t x = tile.columns.begin; x < tile.columns.end; ++x)
          store_scalar<T>(map.data + k * map.c + y * map.y + x * map.x,
                          grad_feature<T, E>(p, image, group, c + k, y, x));
  }
}

template <typename T, typename E, bool kPixelLanes, bool kMultiply>
void backward_unit(const Problem& p, const Plan& plan, int64_t unit, void* memory) {
  const int64_t tiles = plan.tiles_y * plan.tiles_x;
  const int64_t tile = unit % tiles, group = unit / tiles % p.groups;
  const int64_t image = unit / tiles / p.groups;
  if (p.partial_sums != nullptr || p.grad_spatial.data != nullptr)
    backward_filters<T, E, kPixelLanes, kMultiply>(p, plan, image, group, tile, memory);
  if (p.grad_features.data != nullptr)
    backward_features<T, E, kPixelLanes, kMultiply>(p, plan, image, group, tile, memory);
}

template <typename T>
Plan plan_backward(const Problem& p) {
  Plan plan;
  constexpr int L = kLanes<T>;
  plan.lanes_are_channels = lanes_are_channels(p, p.features, p.output, L);
  // The sums over a tile's pixels depend on the tiles, so these must not depend on the number of
  // threads: enough of them for a few threads, but 64 per image at most.
  const int64_t columns = plan.lanes_are_channels ? kTileColumnsChannelLanes : kTileColumns;
  for (int64_t pixels = kTilePixels / 2;; pixels /= 2) {
    set_tiles(plan, p, pixels, columns, L);
    if (p.batch * p.groups * plan.tiles_y * plan.tiles_x >= 16 || plan.tile_rows <= 4) break;
  }
  plan.chunk_channels = larger(1, p.group_channels());
  plan.units = p.batch * p.groups * plan.tiles_y * plan.tiles_x;
  if (p.grad_channel.data != nullptr)
    plan.partial_bytes = p.batch * plan.tiles_y * plan.tiles_x * p.phases() * p.channels *
                         p.taps() * static_cast<int64_t>(sizeof(T));
  const Tile largest{{0, plan.tile_rows}, {0, plan.tile_columns}};
  const auto size = [&](auto buffers) {
    Scratch filters(nullptr), features(nullptr);
    buffers.allocate_filters(filters, p, largest, plan);
    buffers.allocate_features(features, p, input_tile(p, largest));
    plan.scratch_bytes = larger(filters.used(), features.used());
  };
  if (plan.lanes_are_channels) {
    size(BackwardBuffers<T, false>());
  } else {
    size(BackwardBuffers<T, true>());
  }
  return plan;
}

template <typename T, typename E>
void reduce_channel(const Problem& p, const Plan& plan, int64_t index) {
  const int64_t image = index / p.channels, c = index % p.channels, taps = p.taps();
  const int64_t tiles = plan.tiles_y * plan.tiles_x, phases = p.phases();
  const T* partial = static_cast<const T*>(p.partial_sums);
  const FilterView& view = p.grad_channel;
  for (int64_t phase = 0; phase < phases; ++phase)
    for (int64_t tap = 0; tap < taps; ++tap) {
      T sum = 0;
      for (int64_t tile = 0; tile < tiles; ++tile)
        sum += partial[(((image * tiles + tile) * phases + phase) * p.channels + c) * taps + tap];
      E* to = static_cast<E*>(view.data) + image * view.b + phase * view.p + c * view.c +
              tap / p.kernel_x * view.y + tap % p.kernel_x * view.x;
      store_scalar<T>(to, sum);
    }
}

}  // namespace ddf::DDF_NAMESPACE
