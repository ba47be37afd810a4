// The forward pass: one unit is a tile of one group of one image, for a run of channels.
#pragma once

#include "micro.h"
#include "pack.h"

namespace ddf::DDF_NAMESPACE {

// Pixels of the output that a tile holds, about: its spatial weights stay in the L2 cache while
// the channels pass by.
#ifndef TP
#define TP 2048
#define TPC 512
#define TCC 32
#endif
inline constexpr int64_t kTilePixels = TP;
inline constexpr int64_t kTileColumns = 384;
inline constexpr int64_t kTilePixelsChannelLanes = TPC;
inline constexpr int64_t kTileColumnsChannelLanes = TCC;

DDF_INLINE bool lanes_are_channels(const Problem& p, const View& a, const View& b, int lanes) {
  return a.c == 1 && b.c == 1 && a.x != 1 && p.group_channels() >= lanes;
}

inline void set_tiles(Plan& plan, const Problem& p, int64_t pixels, int64_t columns,
                      int64_t lanes) {
  const int64_t height = p.grid_height(), width = p.grid_width(), area = p.scale * p.scale;
  const int64_t parts = ceil_div(width, columns);
  plan.tile_columns = parts == 1 ? width : round_up(ceil_div(width, parts), lanes);
  const int64_t rows = larger(1, pixels / area / larger(1, plan.tile_columns));
  plan.tile_rows = ceil_div(height, larger(1, ceil_div(height, rows)));
  plan.tiles_y = ceil_div(height, plan.tile_rows);
  plan.tiles_x = ceil_div(width, plan.tile_columns);
}

template <typename T, bool kPixelLanes>
struct ForwardBuffers {
  static constexpr int kBlock = kPixelLanes ? kVectors : kVectors * kLanes<T>;  // channels
  Patch<T, kPixelLanes> patch;
  T* weights;
  T* filter;
  T* output;

  void allocate(Scratch& scratch, const Problem& p, const Tile& tile, const Plan& plan) {
    patch.channels = kBlock;
    patch.y =
        make_axis(tile.rows.begin, tile.rows.size(), p.stride_y, p.kernel_y, p.dilation_y, false);
    patch.x = make_axis(tile.columns.begin, tile.columns.size(), p.stride_x, p.kernel_x,
                        p.dilation_x, kPixelLanes);
    patch.y.valid = {0, p.height};
    patch.x.valid = {0, p.width};
    patch.allocate(scratch);
    // Room for every phase of a whole tile, those past the scale covering one row or column.
    int64_t elements = 0;
    const int64_t n = phase_count(p.scale);
    for (int64_t py = 0; py < n; ++py)
      for (int64_t px = 0; px < n; ++px) {
        Weights<T, kPixelLanes> phase;
        phase.rows = py < p.scale ? plan.tile_rows : 1;
        phase.columns = px < p.scale ? plan.tile_columns : 1;
        phase.taps = p.taps();
        elements += phase.elements();
      }
    weights = scratch.take<T>(elements);
    filter = scratch.take<T>(p.taps() * kVectors * kLanes<T>);
    output = scratch.take<T>(round_up(tile.columns.size(), kLanes<T>) * tile.rows.size() * kBlock);
  }
};

// Writes a buffer of filter_rows to the pixels of one phase.
template <typename T, bool kPixelLanes, typename E>
DDF_INLINE void unpack(const T* from, const Strides& d, const Map<E>& map, Range rows,
                       Range columns, int64_t channels) {
  if constexpr (kPixelLanes) {
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t row = 0; row < rows.size(); ++row)
        copy_out<T>(map.data + c * map.c + (rows.begin + row) * map.y + columns.begin * map.x,
                    map.x, from + c * d.out_vector + row * d.out_row, columns.size());
  } else {
    for (int64_t row = 0; row < rows.size(); ++row)
      for (int64_t column = 0; column < columns.size(); ++column)
        copy_out<T>(map.data + (rows.begin + row) * map.y + (columns.begin + column) * map.x, map.c,
                    from + row * d.out_row + column * d.out_position, channels);
  }
}

template <typename T, bool kPixelLanes>
DDF_INLINE Strides strides_of(const Patch<T, kPixelLanes>& patch,
                              const Weights<T, kPixelLanes>& weights, int64_t taps) {
  constexpr int L = kLanes<T>;
  Strides d;
  d.x_row = patch.per_row();
  d.x_position = patch.per_position();
  d.x_vector = patch.per_vector();
  d.x_tap_row = patch.per_tap_row();
  d.x_tap_column = patch.per_tap_column();
  d.s_row = weights.per_row();
  d.s_position = weights.per_position();
  d.s_tap = weights.per_tap();
  d.f_vector = kPixelLanes ? taps : taps * L;
  d.f_tap = kPixelLanes ? 1 : L;
  d.out_position = kPixelLanes ? L : kVectors * L;
  d.out_row = weights.positions() * d.out_position;
  d.out_vector = kPixelLanes ? weights.rows * d.out_row : L;
  return d;
}

template <typename T, typename O, bool kPixelLanes, bool kMultiply, int kTaps>
DDF_INLINE void filter_vectors(int64_t vectors, const T* x, const T* s, const T* f, O* out,
                               const Strides& d, int64_t rows, int64_t positions, int64_t ky,
                               int64_t kx, bool add) {
  const auto run = [&](auto n) __attribute__((always_inline)) {
    filter_rows<T, O, kPixelLanes, kMultiply, n(), kTaps>(x, s, f, out, d, rows, positions, ky, kx,
                                                          add);
  };
  switch (vectors) {
    case 1:
      return run(std::integral_constant<int, 1>());
    case 2:
      return run(std::integral_constant<int, 2>());
    case 3:
      return run(std::integral_constant<int, 3>());
    default:
      return run(std::integral_constant<int, 4>());
  }
}

template <typename T, typename O, bool kPixelLanes, bool kMultiply>
DDF_INLINE void filter(int64_t channels, const T* x, const T* s, const T* f, O* out,
                       const Strides& d, int64_t rows, int64_t positions, int64_t ky, int64_t kx,
                       bool add) {
  const int64_t vectors = kPixelLanes ? channels : ceil_div(channels, kLanes<T>);
  if (sizeof(T) == 4 && ky == 3 && kx == 3)
    filter_vectors<T, O, kPixelLanes, kMultiply, sizeof(T) == 4 ? 3 : 0>(
        vectors, x, s, f, out, d, rows, positions, ky, kx, add);
  else
    filter_vectors<T, O, kPixelLanes, kMultiply, 0>(vectors, x, s, f, out, d, rows, positions, ky,
                                                    kx, add);
}

// Filters one phase of a tile straight into the tensor as far as whole vectors fit, and by way of
// `buffer` otherwise.
template <typename T, typename E, bool kPixelLanes, bool kMultiply>
DDF_INLINE void filter_into(const Map<E>& map, const Tile& tile, int64_t channels, const T* x,
                            const Weights<T, kPixelLanes>& weights, const T* f, Strides d,
                            const Problem& p, T* buffer) {
  constexpr int L = kLanes<T>;
  const int64_t columns = weights.columns, positions = weights.positions();
  int64_t direct = 0;  // rows
  if (kPixelLanes && map.x == 1) {
    const int64_t excess = positions * L - columns;
    // What a vector writes past the end of its row is the beginning of the next row, which this
    // thread writes afterwards.
    if (excess == 0)
      direct = weights.rows;
    else if (map.y == columns)
      direct = larger(0, weights.rows - ceil_div(excess, columns));
  } else if (!kPixelLanes && map.c == 1 && channels % L == 0) {
    direct = weights.rows;
  }
  if (direct > 0) {
    Strides to = d;
    to.out_row = map.y;
    to.out_position = kPixelLanes ? L : map.x;
    to.out_vector = kPixelLanes ? map.c : L;
    E* out = map.data + tile.rows.begin * map.y + tile.columns.begin * map.x;
    filter<T, E, kPixelLanes, kMultiply>(channels, x, weights.data, f, out, to, direct, positions,
                                         p.kernel_y, p.kernel_x, false);
  }
  const int64_t rest = weights.rows - direct;
  if (rest == 0) return;
  if (kPixelLanes) d.out_vector = rest * d.out_row;
  filter<T, T, kPixelLanes, kMultiply>(channels, x + direct * d.x_row,
                                       weights.data + direct * d.s_row, f, buffer, d, rest,
                                       positions, p.kernel_y, p.kernel_x, false);
  unpack<T, kPixelLanes>(buffer, d, map, {tile.rows.begin + direct, tile.rows.end}, tile.columns,
                         channels);
}

// The channel filter of a block of channels: in place where the tensor already is as the inner
// loops want it, else packed into `buffer`.
template <typename T, typename E, bool kPixelLanes>
DDF_INLINE const T* filter_of(const Problem& p, int64_t image, int64_t phase, int64_t first,
                              int64_t channels, T* buffer) {
  const FilterView& f = p.channel_filter;
  if constexpr (kPixelLanes && std::is_same_v<T, E>) {
    if (f.x == 1 && f.y == p.kernel_x && f.c == p.taps())
      return static_cast<const T*>(f.data) + image * f.b + phase * f.p + first * f.c;
  }
  pack_filter<T, kPixelLanes, E>(buffer, f, image, phase, first, channels, p.kernel_y, p.kernel_x);
  return buffer;
}

template <typename T, typename E, bool kPixelLanes, bool kMultiply>
void forward_unit(const Problem& p, const Plan& plan, int64_t unit, void* memory) {
  using Buffers = ForwardBuffers<T, kPixelLanes>;
  const int64_t chunk = unit % plan.chunks;
  const int64_t tile_index = unit / plan.chunks % (plan.tiles_y * plan.tiles_x);
  const int64_t group_image = unit / plan.chunks / (plan.tiles_y * plan.tiles_x);
  const int64_t image = group_image / p.groups, group = group_image % p.groups;
  const int64_t taps = p.taps();
  const int64_t first = group * p.group_channels() + chunk * plan.chunk_channels;
  const int64_t end = smaller((group + 1) * p.group_channels(), first + plan.chunk_channels);

  const Tile tile = tile_at(plan, tile_index, p.grid_height(), p.grid_width());
  Scratch scratch(memory);
  Buffers buffers;
  buffers.allocate(scratch, p, tile, plan);
  auto& patch = buffers.patch;
  patch.start();

  int64_t used = 0;
  const auto weights_of = [&](const Phase& phase) {
    Weights<T, kPixelLanes> weights;
    weights.rows = phase.rows();
    weights.columns = phase.columns();
    weights.taps = taps;
    weights.data = buffers.weights + used;
    used += weights.elements();
    return weights;
  };
  for_each_phase(p, tile, [&](const Phase& phase) {
    const Range rows = phase.tile.rows, columns = phase.tile.columns;
    weights_of(phase).fill(
        Map<const E>::of(p.spatial_filter, image, group * taps, p.scale, phase.py, phase.px),
        p.kernel_x, Shift{rows.begin, 0, 1, rows}, Shift{columns.begin, 0, 1, columns});
  });

  for (int64_t c = first; c < end; c += Buffers::kBlock) {
    const int64_t channels = smaller(Buffers::kBlock, end - c);
    patch.fill(Map<const E>::of(p.features, image, c), channels);
    used = 0;
    for_each_phase(p, tile, [&](const Phase& phase) {
      const auto weights = weights_of(phase);
      const T* f =
          filter_of<T, E, kPixelLanes>(p, image, phase.filter, c, channels, buffers.filter);
      const T* x = patch.data + (phase.tile.rows.begin - tile.rows.begin) * patch.per_row() +
                   (phase.tile.columns.begin - tile.columns.begin) * patch.per_column();
      filter_into<T, E, kPixelLanes, kMultiply>(
          Map<E>::of(p.output, image, c, p.scale, phase.py, phase.px), phase.tile, channels, x,
          weights, f, strides_of<T, kPixelLanes>(patch, weights, taps), p, buffers.output);
    });
  }
}

template <typename T>
Plan plan_forward(const Problem& p, int64_t threads) {
  Plan plan;
  constexpr int L = kLanes<T>;
  plan.lanes_are_channels = lanes_are_channels(p, p.features, p.output, L);
  set_tiles(plan, p, plan.lanes_are_channels ? kTilePixelsChannelLanes : kTilePixels,
            plan.lanes_are_channels ? kTileColumnsChannelLanes : kTileColumns, L);
  const int64_t tiles = p.batch * p.groups * plan.tiles_y * plan.tiles_x;
  // Too few tiles for the threads: share the channels out as well. 16 blocks keep the cost of the
  // spatial weights, which every chunk packs for itself, small.
  const int64_t block = plan.lanes_are_channels ? kVectors * L : kVectors;
  const int64_t wanted = ceil_div(4 * threads, larger(1, tiles));
  const int64_t least = plan.lanes_are_channels ? block : 8 * block;
  const int64_t channels = larger(1, p.group_channels());
  plan.chunk_channels = larger(least, round_up(ceil_div(channels, wanted), block));
  plan.chunks = ceil_div(channels, plan.chunk_channels);
  plan.units = p.channels == 0 ? 0 : tiles * plan.chunks;
  Scratch scratch(nullptr);
  const Tile largest{{0, plan.tile_rows}, {0, plan.tile_columns}};
  if (plan.lanes_are_channels) {
    ForwardBuffers<T, false>().allocate(scratch, p, largest, plan);
  } else {
    ForwardBuffers<T, true>().allocate(scratch, p, largest, plan);
  }
  plan.scratch_bytes = scratch.used();
  return plan;
}

}  // namespace ddf::DDF_NAMESPACE
