// The forward pass: one unit is a tile of one group of one image, for a run of channels.
#pragma once

#include <initializer_list>

#include "ddf_four_phases.h"
#include "ddf_plan.h"

namespace ddf::DDF_NAMESPACE {

// Elements of one channel of a streamed tile, and some for a vector that runs past the end.
DDF_INLINE int64_t run_elements(const Tile& tile) {
  return round_up(tile.rows.size() * tile.columns.size(), 64) + 64;
}

// Whether a tile is for the loop over four phases: each position has these, and no others.
inline bool has_four_phases(const Problem& p, const Tile& tile) {
  if (p.scale != 2 || p.combine != Combine::spatial) return false;
  const Phase last = phase_of(p, tile, 1, 1);
  return last.tile.rows == tile.rows && last.tile.columns == tile.columns &&
         (phase_rows(p) == 2 || phase_of(p, tile, 2, 0).empty()) &&
         (phase_columns(p) == 2 || phase_of(p, tile, 0, 2).empty());
}

template <typename T, bool kPixelLanes>
struct ForwardBuffers {
  static constexpr int L = kLanes<T>;
  bool walk = false, four_phases = false;
  int64_t block = 0;  // channels
  Patch<T, kPixelLanes> patch;
  T *weights, *filter = nullptr, *output = nullptr;
  int64_t output_elements = 0;  // for one phase

  DDF_SHARED void allocate(Scratch& scratch, const Problem& p, const Tile& tile, const Plan& plan) {
    patch.y =
        make_axis(tile.rows.begin, tile.rows.size(), p.stride_y, p.kernel_y, p.dilation_y, false);
    patch.x = make_axis(tile.columns.begin, tile.columns.size(), p.stride_x, p.kernel_x,
                        p.dilation_x, kPixelLanes);
    patch.y.valid = {0, p.height};
    patch.x.valid = {0, p.width};
    four_phases = has_four_phases(p, tile);
    walk = !four_phases && can_walk(patch, p);
    if (four_phases)
      block = kPhaseBlock * (kPixelLanes ? 1 : L);
    else
      block =
          kPixelLanes ? (walk ? kWalkChannels : kVectors) : (walk ? kWalkVectors : kVectors) * L;
    patch.channels = block;
    patch.allocate(scratch);
    weights = scratch.take<T>(weight_elements<T, kPixelLanes>(p, tile, Order::block));
    if (four_phases) return;
    filter = scratch.take<T>(p.taps() * block);
    output_elements = (round_up(tile.columns.size(), L) * tile.rows.size() + 64) * block;
    if (plan.stream) output_elements += block * run_elements(tile);
    output = scratch.take<T>(output_elements * (kPixelLanes ? p.scale : 1));
  }
};

// Rows of `scale` neighbouring phases, from[phase][channel][row][position], to the tensor's rows.
template <typename T, typename E>
DDF_SHARED void interleave(const T* from, int64_t phase_stride, const Strides& d, const Map<E>& map,
                           const Tile& tile, const int64_t* columns, int64_t scale,
                           int64_t channels, bool stream) {
  constexpr int L = kLanes<T>;
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t row = 0; row < tile.rows.size(); ++row) {
      const T* first = from + c * d.out_vector + row * d.out_row;
      E* to = map.data + c * map.c + (tile.rows.begin + row) * map.y +
              tile.columns.begin * scale * map.x;
      int64_t done = 0;
      const auto pairs = [&](const auto& put) __attribute__((always_inline)) {
        for (; done + L <= columns[1]; done += L) {
          const Vec<T> even = load<T>(first + done), odd = load<T>(first + phase_stride + done);
          put(to + 2 * done, in_turn<T>(even, odd, false));
          put(to + 2 * done + L, in_turn<T>(even, odd, true));
        }
      };
      if (scale == 2 && map.x == 1) {
        if (stream && can_stream<T>(to))
          pairs(stream_vector<T, E>);
        else
          pairs(store<T, E>);
      }
      for (int64_t px = 0; px < scale; ++px)
        for (int64_t i = done; i < columns[px]; ++i)
          store_scalar<T>(to + (i * scale + px) * map.x, first[px * phase_stride + i]);
    }
}

template <typename T, typename E, bool kPixelLanes>
struct ForwardUnit {
  static constexpr int L = kLanes<T>;
  const Problem& p;
  int64_t image, group;
  Tile tile;
  int64_t first, end;  // channels
  ForwardBuffers<T, kPixelLanes> buffers;
  bool stream;
  int64_t used = 0;  // of the weights
  bool direct = false, started = false;

  // Whether the taps of a pixel are neighbours in memory, as the inner loops want them.
  bool weights_in_place() const {
    return !kPixelLanes && has_spatial(p.combine) && std::is_same_v<T, E> &&
           p.spatial_filter.c == 1;
  }

  Weights<T, kPixelLanes> weights_of(const Phase& phase) {
    Weights<T, kPixelLanes> weights(phase.rows(), phase.columns(), p.taps(),
                                    buffers.walk ? Order::walk : Order::block);
    if constexpr (std::is_same_v<T, E>) {
      if (weights_in_place()) {
        const auto map =
            Map<T>::of(p.spatial_filter, image, group * p.taps(), p.scale, phase.py, phase.px);
        weights.data = map.data + phase.tile.rows.begin * map.y + phase.tile.columns.begin * map.x;
        weights.per_row = map.y;
        weights.per_position = map.x;
        return weights;
      }
    }
    weights.data = buffers.weights + used;
    if (has_spatial(p.combine)) used += weights.elements();
    return weights;
  }

  void pack_weights(const Phase& phase) {
    if (!has_spatial(p.combine) || weights_in_place()) return;
    const Range rows = phase.tile.rows, columns = phase.tile.columns;
    weights_of(phase).fill(
        Map<const E>::of(p.spatial_filter, image, group * p.taps(), p.scale, phase.py, phase.px),
        p.kernel_x, Shift{rows.begin, 0, 1, rows}, Shift{columns.begin, 0, 1, columns});
  }

  Block<T, E, kPixelLanes> block_of(const Phase& phase, int64_t c, int64_t channels) {
    const auto& patch = buffers.patch;
    const T* f = filter_of<T, E, kPixelLanes>(p, image, phase.filter, c, channels, buffers.filter);
    const T* x = patch.data + (phase.tile.rows.begin - tile.rows.begin) * patch.per_row() +
                 (phase.tile.columns.begin - tile.columns.begin) * patch.per_column();
    const auto weights = weights_of(phase);
    Block<T, E, kPixelLanes> block{channels,     x,
                                   weights,      f,
                                   p.combine,    strides_of(patch, weights),
                                   buffers.walk, patch.y.per_tap,
                                   p.kernel_y,   p.kernel_x};
    if (direct) {
      const auto map = Map<const E>::of(p.features, image, c);
      block.tile = phase.tile;
      block.height = p.height;
      block.width = p.width;
      block.dilation_x = p.dilation_x;
      block.source = map.data + (phase.tile.rows.begin - p.dilation_y) * map.y +
                     (phase.tile.columns.begin - p.dilation_x) * map.x;
      block.d.x_row = map.y;
      block.d.x_position = kPixelLanes ? L : map.x;
      block.d.x_vector = kPixelLanes ? map.c : L;
      block.d.x_tap_row = p.dilation_y * map.y;
      block.d.x_tap_column = p.dilation_x * map.x;
    }
    return block;
  }

  // Whether the walking loop can read the features where they are: it loads whole vectors, and the
  // columns just outside the tile, also where they belong to the rows before and after.
  bool reads_directly(int64_t c, int64_t channels) const {
    if (!buffers.walk || p.stride_x != 1) return false;
    const auto map = Map<const E>::of(p.features, image, c);
    if ((kPixelLanes ? map.x : map.c) != 1) return false;
    const int64_t top = larger(0, tile.rows.begin - p.dilation_y);
    const int64_t bottom = smaller(p.height, tile.rows.end + p.dilation_y) - 1;
    const int64_t vectors = kPixelLanes ? channels : round_up(channels, L);
    int64_t columns = tile.columns.size();
    if (kPixelLanes) {
      columns = round_up(columns, L);
      // A phase past the scale has a vector that starts at the last column.
      if (!phase_of(p, tile, 0, p.scale).empty())
        columns = larger(columns, tile.columns.size() - 1 + L);
    }
    const int64_t first = top * map.y + (tile.columns.begin - p.dilation_x) * map.x;
    const int64_t last = bottom * map.y +
                         (tile.columns.begin + columns - 1 + p.dilation_x) * map.x +
                         (vectors - 1) * map.c;
    return map.readable(first, last - first + 1);
  }

  void filter(const Phase& phase, int64_t c, int64_t channels) {
    const auto block = block_of(phase, c, channels);
    const auto map = Map<E>::of(p.output, image, c, p.scale, phase.py, phase.px);
    const int64_t rows = phase.rows(), columns = phase.columns();
    if (!kPixelLanes || !stream || map.x != 1 || map.y != columns)
      return filter_to_tensor<T, E, kPixelLanes>(block, map, phase.tile, buffers.output);
    // The tile's rows of a channel are one run of memory.
    E* run = reinterpret_cast<E*>(buffers.output);
    T* rest = buffers.output + block.channels * run_elements(tile);
    const int64_t plane = run_elements(tile);
    filter_to_tensor<T, E, kPixelLanes>(block, Map<E>{run, plane, columns, 1, 0, 0},
                                        {{0, rows}, {0, columns}}, rest);
    const auto next = Map<const E>::of(p.features, image, c + channels);
    for (int64_t k = 0; k < channels; ++k)
      ddf::DDF_NAMESPACE::stream(map.data + k * map.c + phase.tile.rows.begin * map.y,
                                 run + k * plane, rows * columns,
                                 next.data + k * next.c + (tile.rows.begin + 1) * next.y);
  }

  // The phases (py, 0), (py, 1), ... of one row of output pixels.
  void filter_row_of_phases(int64_t py, int64_t c, int64_t channels) {
    int64_t columns[64];
    const Phase leftmost = phase_of(p, tile, py, 0);
    Strides d{};
    for (int64_t px = 0; px < p.scale; ++px) {
      const Phase phase = phase_of(p, tile, py, px);
      columns[px] = phase.columns();
      if (phase.empty()) continue;
      const auto block = block_of(phase, c, channels);
      // All phases with the strides of the first, the widest.
      Block<T, E, kPixelLanes> same = block;
      if (px == 0) d = block.d;
      same.d.out_row = d.out_row;
      same.d.out_vector = d.out_vector;
      filter_to_buffer<T, E, kPixelLanes>(same, buffers.output + px * buffers.output_elements,
                                          false);
    }
    if (!leftmost.empty())
      interleave<T, E>(buffers.output, buffers.output_elements, d,
                       Map<E>::of(p.output, image, c, p.scale, py, 0).unscaled_columns(p.scale),
                       leftmost.tile, columns, p.scale, channels, stream);
  }

  void filter_all_phases(int64_t c, int64_t channels) {
    used = 0;
    const auto weights = weights_of(phase_of(p, tile, 0, 0));
    const bool in_place = weights_in_place();
    auto out = Map<E>::of(p.output, image, c);
    out.data += 2 * (tile.rows.begin * out.y + tile.columns.begin * out.x);
    filter_four_phases<T, E, kPixelLanes>(
        {buffers.patch.data, weights.data, out, strides_of(buffers.patch, weights),
         in_place ? p.spatial_filter.y : 2 * weights.elements(),
         in_place ? p.spatial_filter.x : weights.elements(), tile.rows.size(), tile.columns.size(),
         channels, p.kernel_y, p.kernel_x, stream});
  }

  void run() {
    const bool interleaves = kPixelLanes && p.scale > 1 && p.scale <= 64;
    const auto each_phase = [&](const auto& body, const auto& row_of_phases) {
      used = 0;
      for (int64_t py = 0; py < phase_rows(p); ++py) {
        if (interleaves) row_of_phases(py);
        for (int64_t px = interleaves ? p.scale : 0; px < phase_columns(p); ++px) {
          const Phase phase = phase_of(p, tile, py, px);
          if (!phase.empty()) body(phase);
        }
      }
    };
    each_phase([&](const Phase& phase) { pack_weights(phase); },
               [&](int64_t py) {
                 for (int64_t px = 0; px < p.scale; ++px) {
                   const Phase phase = phase_of(p, tile, py, px);
                   if (!phase.empty()) pack_weights(phase);
                 }
               });
    for (int64_t c = first; c < end; c += buffers.block) {
      const int64_t channels = smaller(buffers.block, end - c);
      direct = reads_directly(c, channels);
      if (!direct) {
        if (!started) buffers.patch.start();
        started = true;
        buffers.patch.fill(Map<const E>::of(p.features, image, c), channels);
      }
      if (buffers.four_phases) {
        filter_all_phases(c, channels);
        continue;
      }
      each_phase([&](const Phase& phase) { filter(phase, c, channels); },
                 [&](int64_t py) { filter_row_of_phases(py, c, channels); });
    }
  }
};

template <typename T, typename E, bool kPixelLanes>
void forward_unit(const Problem& p, const Plan& plan, int64_t unit, void* memory) {
  // Tiles vary fastest: the planes of a chunk of channels are finished one after the other.
  const int64_t tiles = plan.tiles_y * plan.tiles_x, chunk = unit / tiles % plan.chunks;
  const int64_t group = unit / tiles / plan.chunks % p.groups;
  const int64_t image = unit / tiles / plan.chunks / p.groups;
  const int64_t first = group * p.group_channels() + chunk * plan.chunk_channels;
  const int64_t end = smaller((group + 1) * p.group_channels(), first + plan.chunk_channels);
  const Tile tile = tile_at(plan, unit % tiles, p.grid_height(), p.grid_width());
  ForwardUnit<T, E, kPixelLanes> work{p, image, group, tile, first, end, {}, plan.stream};
  Scratch scratch(memory);
  work.buffers.allocate(scratch, p, tile, plan);
  work.run();
  if (plan.stream) end_stream();
}

template <typename T>
Plan plan_forward(const Problem& p, int64_t threads) {
  Plan plan;
  constexpr int L = kLanes<T>;
  const bool across = lanes_are_channels(p, p.features, p.output, L);
  plan.lanes_are_channels = across;
  set_tiles(plan, p, across ? kTilePixelsChannelLanes : kTilePixels,
            !across        ? kTileColumns
            : p.scale == 1 ? kTileColumnsChannelLanes
                           : kTileColumnsUpsampled,
            L);
  plan.stream = !across && p.batch * p.channels * p.out_height * p.out_width *
                                   static_cast<int64_t>(sizeof(T)) >
                               kStreamBytes;
  const int64_t tiles = p.batch * p.groups * plan.tiles_y * plan.tiles_x;
  // Too few tiles for the threads: share the channels out as well, though not so thinly that
  // packing the spatial weights, which every chunk does for itself, shows.
  const int64_t wanted = ceil_div(4 * threads, larger(1, tiles));
  const int64_t channels = larger(1, p.group_channels());
  plan.chunk_channels = larger(32, round_up(ceil_div(channels, wanted), kVectors * L));
  plan.chunks = ceil_div(channels, plan.chunk_channels);
  plan.units = p.channels == 0 ? 0 : tiles * plan.chunks;
  plan.scratch_bytes = largest_scratch(plan, p, [&](Scratch& scratch, const Tile& tile) {
    if (across) {
      ForwardBuffers<T, false>().allocate(scratch, p, tile, plan);
    } else {
      ForwardBuffers<T, true>().allocate(scratch, p, tile, plan);
    }
  });
  return plan;
}

}  // namespace ddf::DDF_NAMESPACE
