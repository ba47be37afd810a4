// The backward pass: one unit is a tile of one group of one image. It yields the gradients of the
// spatial filter and of the features for the tile, and the tile's share of the channel filter's.
#pragma once

#include "ddf_backward_features.h"
#include "ddf_backward_filters.h"
#include "ddf_backward_joint.h"

namespace ddf::DDF_NAMESPACE {

// The part of the input whose gradient goes with a tile of the base grid.
DDF_INLINE Tile input_tile(const Problem& p, const Tile& tile) {
  return {{tile.rows.begin * p.stride_y, smaller(tile.rows.end * p.stride_y, p.height)},
          {tile.columns.begin * p.stride_x, smaller(tile.columns.end * p.stride_x, p.width)}};
}

// Whether one copy of the output's gradient, with what the features' gradient reaches around a
// tile, serves both parts: they share the grid, and what lies past the end of a row does no harm
// (it is 0, or is multiplied by a spatial weight of 0).
inline bool shares_gradient(const Problem& p, const Plan& plan) {
  return p.scale == 1 && p.stride_y == 1 && p.stride_x == 1 && p.grad_features.data != nullptr &&
         (p.combine == Combine::multiply || p.combine == Combine::spatial ||
          (plan.tiles_x == 1 && p.dilation_x * (p.kernel_x - 1) < plan.tile_columns));
}

template <typename T, bool kPixelLanes>
struct BackwardBuffers {
  FilterGradientBuffers<T, kPixelLanes> filters;
  FeatureGradientBuffers<T, kPixelLanes> features;

  void allocate(Scratch& scratch, const Problem& p, const Plan& plan, const Tile& tile) {
    if (shares_gradient(p, plan)) {
      features.allocate(scratch, p, tile);
      filters.allocate(scratch, p, tile, features.block, false);
      return;
    }
    Scratch other = scratch;  // one part after the other, in the same memory
    filters.allocate(scratch, p, tile);
    features.allocate(other, p, input_tile(p, tile));
    if (other.used() > scratch.used()) scratch = other;
  }
};

// Both parts, a block of channels at a time.
template <typename T, typename E, bool kPixelLanes>
DDF_INLINE void run_together(FilterGradients<T, E, kPixelLanes>& filters,
                             FeatureGradient<T, E, kPixelLanes>& features) {
  const Problem& p = filters.p;
  constexpr int64_t kBlock = FilterGradientBuffers<T, kPixelLanes>::kBlock;
  features.begin();
  filters.begin();
  auto& gradient = features.buffers.gradient;
  auto& x = filters.buffers.features;
  const Phase phase = phase_of(p, filters.tile, 0, 0);
  const int64_t center =
      p.kernel_y / 2 * gradient.per_tap_row() + p.kernel_x / 2 * gradient.per_tap_column();
  const int64_t first = filters.group * p.group_channels(), end = first + p.group_channels();
  for (int64_t c = first; c < end; c += features.buffers.block) {
    const int64_t channels = smaller(features.buffers.block, end - c);
    gradient.fill(Map<const E>::of(p.output, filters.image, c), channels);
    x.fill(Map<const E>::of(p.features, filters.image, c), channels);
    for (int64_t k = 0; k < channels; k += kBlock) {
      filters.used = 0;
      const int64_t vectors = kPixelLanes ? k : k / kLanes<T>;
      filters.add_block(phase, c + k, smaller(kBlock, channels - k),
                        x.data + vectors * x.per_vector(),
                        gradient.data + center + vectors * gradient.per_vector(), gradient);
    }
    features.run_block(c, channels, true);
  }
  filters.finish();
}

template <typename T, typename E, bool kPixelLanes>
void backward_unit(const Problem& p, const Plan& plan, int64_t unit, void* memory) {
  const int64_t tiles = plan.tiles_y * plan.tiles_x, index = unit % tiles;
  const int64_t group = unit / tiles % p.groups, image = unit / tiles / p.groups;
  const Tile tile = tile_at(plan, index, p.grid_height(), p.grid_width());
  T* partial = static_cast<T*>(p.partial_sums);
  if (partial != nullptr) partial += (image * tiles + index) * p.phases() * p.channels * p.taps();
  if constexpr (kWalks<T>) {
    if (runs_jointly<T>(p)) {
      // The last one fetches itself.
      const int64_t next = smaller(index + 1, tiles - 1);
      JointGradients<T, E, kPixelLanes> joint{p,
                                              image,
                                              group,
                                              tile,
                                              tile_at(plan, next, p.height, p.width),
                                              Readers(p, tile),
                                              plan.stream,
                                              partial,
                                              {}};
      Scratch scratch(memory);
      joint.buffers.allocate(scratch, p, tile);
      joint.run();
      if (plan.stream) end_stream();
      return;
    }
  }
  FilterGradients<T, E, kPixelLanes> filters{p, image, group, tile, partial, {}};
  FeatureGradient<T, E, kPixelLanes> features{p, image, group, input_tile(p, tile), {}};
  BackwardBuffers<T, kPixelLanes> buffers;
  Scratch scratch(memory);
  buffers.allocate(scratch, p, plan, tile);
  filters.buffers = buffers.filters;
  features.buffers = buffers.features;
  const bool wants_filters = partial != nullptr || p.grad_spatial.data != nullptr;
  if (wants_filters && shares_gradient(p, plan)) {
    run_together(filters, features);
  } else {
    if (wants_filters) filters.run();
    if (p.grad_features.data != nullptr) features.run();
  }
}

template <typename T>
Plan plan_backward(const Problem& p) {
  Plan plan;
  constexpr int L = kLanes<T>;
  const bool across = lanes_are_channels(p, p.features, p.output, L);
  plan.lanes_are_channels = across;
  // The sums over a tile's pixels depend on the tiles, so these must not depend on the number of
  // threads.
  int64_t pixels = !across        ? kBackwardTilePixels
                   : p.scale == 1 ? kBackwardTilePixelsChannelLanes
                                  : kBackwardTilePixelsUpsampled;
  do {
    set_tiles(plan, p, pixels, across ? kBackwardTileColumnsChannelLanes : kTileColumns, L);
    pixels /= 2;
  } while (p.batch * p.groups * plan.tiles_y * plan.tiles_x < kEnoughTiles && plan.tile_rows > 4);
  plan.chunk_channels = larger(1, p.group_channels());
  plan.units = p.batch * p.groups * plan.tiles_y * plan.tiles_x;
  if (p.grad_channel.data != nullptr)
    plan.partial_bytes = p.batch * plan.tiles_y * plan.tiles_x * p.phases() * p.channels *
                         p.taps() * static_cast<int64_t>(sizeof(T));
  const bool jointly = runs_jointly<T>(p);
  plan.stream =
      jointly && p.grad_features.data != nullptr &&
      p.batch * p.channels * p.height * p.width * static_cast<int64_t>(sizeof(T)) >= kStreamBytes;
  plan.scratch_bytes = largest_scratch(plan, p, [&](Scratch& scratch, const Tile& tile) {
    if (jointly && across) {
      JointBuffers<T, false>().allocate(scratch, p, tile);
    } else if (jointly) {
      JointBuffers<T, true>().allocate(scratch, p, tile);
    } else if (across) {
      BackwardBuffers<T, false>().allocate(scratch, p, plan, tile);
    } else {
      BackwardBuffers<T, true>().allocate(scratch, p, plan, tile);
    }
  });
  return plan;
}

// The channel filter's gradient of channels [begin, end), counted through all images: the sums over
// the tiles.
template <typename T, typename E>
void reduce_channel(const Problem& p, const Plan& plan, int64_t begin, int64_t end) {
  constexpr int L = kLanes<T>;
  const int64_t taps = p.taps(), tiles = plan.tiles_y * plan.tiles_x, phases = p.phases();
  const T* partial = static_cast<const T*>(p.partial_sums);
  const FilterView& view = p.grad_channel;
  const bool dense = view.c == taps && view.y == p.kernel_x && view.x == 1;
  for (int64_t channels; begin < end; begin += channels) {
    const int64_t image = begin / p.channels, c = begin % p.channels;
    channels = smaller(end - begin, p.channels - c);
    for (int64_t phase = 0; phase < phases; ++phase) {
      // Over tiles `step` elements apart, [channel][tap].
      const int64_t step = phases * p.channels * taps, n = channels * taps;
      const T* from = partial + ((image * tiles * phases + phase) * p.channels + c) * taps;
      E* to = static_cast<E*>(view.data) + image * view.b + phase * view.p + c * view.c;
      int64_t i = 0;
      for (; dense && i + L <= n; i += L) {
        Vec<T> sum{};
        for (int64_t tile = 0; tile < tiles; ++tile) sum += load<T>(from + tile * step + i);
        store<T>(to + i, sum);
      }
      for (; i < n; ++i) {
        const int64_t tap = i % taps;
        T sum = 0;
        for (int64_t tile = 0; tile < tiles; ++tile) sum += from[tile * step + i];
        store_scalar<T>(
            to + i / taps * view.c + tap / p.kernel_x * view.y + tap % p.kernel_x * view.x, sum);
      }
    }
  }
}

}  // namespace ddf::DDF_NAMESPACE
