// The gradients of 1x1 convolutions without depthwise ones, and how the backward pass is cut into
// units, with what each of them works in.
#pragma once

#include "depthwise_loops.h"

namespace ddf::DDF_NAMESPACE {

// Of the output's gradient, for all images of a unit: they stay in an L2 cache.
inline constexpr int64_t kUpstreamElements = 16 << 10;
// And for as many pixels as are taken at a time, in an L1 cache: 512 for nine outputs.
inline constexpr int64_t kUpstreamAtOnce = 9 << 9;

// Where maps are small, a unit takes several images: the sums over the lanes of a vector, once a
// block of channels, would take as long as the products. Units for the threads are then left by
// cutting the channels.
template <typename T>
void share_images(const DepthwisePointwise& p, Plan& plan) {
  constexpr int64_t kLargeMap = 256, kLeastUnits = 16;
  const int64_t elements = p.phases * p.outputs * Maps<T>::pitch_of(plan.tile_columns);
  const int64_t most = plan.tile_columns < kLargeMap ? larger(1, kUpstreamElements / elements) : 1;
  const int64_t groups = larger(1, ceil_div(p.batch, most));
  plan.images = larger(1, ceil_div(p.batch, groups));
  const int64_t tiles = groups * p.height * ceil_div(p.width, plan.tile_columns);
  const int64_t blocks = ceil_div(p.channels, kBlockChannels);
  const int64_t chunks = smaller(ceil_div(kLeastUnits, tiles), blocks);
  plan.chunk_channels = ceil_div(blocks, chunks) * kBlockChannels;
  plan.chunks = ceil_div(p.channels, plan.chunk_channels);
}

template <typename T>
Plan backward_tiles(const DepthwisePointwise& p) {
  constexpr int64_t kMostPixels = 1024;
  const int64_t most_columns = p.depthwise != nullptr ? 256 : 512;
  Plan plan;
  const int64_t parts = ceil_div(p.width, most_columns);
  plan.tile_columns = parts == 1 ? p.width : round_up(ceil_div(p.width, parts), kPixelStep<T>);
  if (p.depthwise == nullptr) {
    share_images<T>(p, plan);
  } else {
    // At least four tiles, for the threads, where there are four rows.
    plan.tile_rows = larger(1, smaller(kMostPixels / plan.tile_columns, ceil_div(p.height, 4)));
  }
  return plan;
}

template <typename T>
struct DepthwisePointwiseBackward {
  Parameters<T> parameters;
  T* turned;  // the depthwise filters, by half a turn
  Maps<T> x, upstream, between, grad_x;
  T* filtered;  // of some rows of a block's channels
  int64_t filtered_pitch;
  T* weights;  // of the 1x1 convolutions, of a block: (outputs, kBlockChannels)
  Vec<T>* sums;

  DepthwisePointwiseBackward(Scratch& scratch, const DepthwisePointwise& p, const Plan& plan)
      : parameters(scratch, p),
        turned(scratch.take<T>(p.depthwise_elements())),
        x(scratch, kBlockChannels, plan.tile_rows, plan.tile_columns, p.side / 2),
        upstream(scratch, plan.images * p.phases * p.outputs, plan.tile_rows, plan.tile_columns,
                 p.side / 2),
        between(scratch, kBlockChannels, plan.tile_rows, plan.tile_columns, p.side / 2),
        grad_x(scratch, kBlockChannels, plan.tile_rows, plan.tile_columns, 0),
        filtered_pitch(round_up(plan.tile_columns, kPixelStep<T>)) {
    filtered = scratch.take<T>(kDepthwiseRows * kBlockChannels * filtered_pitch);
    const int64_t outputs = p.phases / p.copies() * p.outputs;
    weights = scratch.take<T>(outputs * kBlockChannels);
    sums = scratch.take<Vec<T>>(larger(p.taps(), outputs * kBlockChannels));
  }
};

// Some channels of one image's row.
template <typename T>
struct ChannelRows {
  const T* x;
  int64_t x_pitch;
  T* grad_x;  // null: not wanted
  int64_t grad_pitch;
  int64_t count, columns;
  Ends ends;
};

// The gradients of such rows, of both factors for some pixels at a time.
template <typename T>
DDF_SHARED void row_gradients(const DepthwisePointwiseBackward<T>& b, const T* upstream,
                              int64_t outputs, const ChannelRows<T>& rows, bool of_weights) {
  constexpr T zeros[kBlockChannels] = {};
  const int64_t parts = ceil_div(rows.columns * outputs, kUpstreamAtOnce);
  const int64_t step = round_up(ceil_div(rows.columns, parts), kPixelStep<T>);
  for (int64_t begin = 0; begin < rows.columns; begin += step) {
    const int64_t n = smaller(step, rows.columns - begin);
    if (rows.grad_x != nullptr)
      multiply<T>(b.weights, 1, kBlockChannels, rows.count, outputs, upstream + begin,
                  b.upstream.size(), rows.grad_x + begin, rows.grad_pitch, n, zeros, rows.ends);
    if (of_weights)
      dot_all<T>(upstream + begin, b.upstream.size(), outputs, rows.x + begin, rows.x_pitch,
                 rows.count, n, b.sums, rows.ends);
  }
}

// Of some images' tile and some channels. Rows of at least a step are read and written where they
// lie.
template <typename T, typename E>
void pointwise_gradients(const DepthwisePointwise& p, const DepthwisePointwiseBackward<T>& b,
                         Range images, const Tile& tile, Range channels, T* grad_pointwise) {
  const bool of_x = p.grad_x.data != nullptr, of_weights = p.grad_pointwise != nullptr;
  const int64_t columns = tile.columns.size(), outputs = p.phases * p.outputs;
  const bool in_place = columns >= kPixelStep<T> && (!of_weights || is_in_place<T, E>(p.x)) &&
                        (!of_x || is_in_place<T, E>(p.grad_x));
  for (int64_t first = channels.begin; first < channels.end; first += kBlockChannels) {
    const int64_t count = smaller(kBlockChannels, channels.end - first);
    for (int64_t o = 0; o < outputs; ++o)
      for (int64_t c = 0; c < count; ++c)
        b.weights[o * kBlockChannels + c] = b.parameters.pointwise[o * p.channels + first + c];
    for (int64_t i = 0; i < outputs * kBlockChannels; ++i) b.sums[i] = Vec<T>{};
    for (int64_t image = images.begin; image < images.end; ++image) {
      const T* const upstream = b.upstream.row((image - images.begin) * outputs, 0);
      if (in_place) {
        if constexpr (std::is_same_v<T, E>) {
          const T* const x =
              of_weights ? first_pixel<E>(p.x, image, tile) + first * p.x.c : nullptr;
          T* const grad_x =
              of_x ? first_pixel<E>(p.grad_x, image, tile) + first * p.grad_x.c : nullptr;
          row_gradients<T>(b, upstream, outputs,
                           {x, p.x.c, grad_x, p.grad_x.c, count, columns, Ends::at}, of_weights);
        }
        continue;
      }
      if (of_weights) b.x.template fill<E>(p.x, image, first, count, tile, p.height, p.width);
      row_gradients<T>(b, upstream, outputs,
                       {b.x.row(0, 0), b.x.size(), of_x ? b.grad_x.row(0, 0) : nullptr,
                        b.grad_x.size(), count, columns, Ends::past},
                       of_weights);
      if (of_x)
        for (int64_t c = 0; c < count; ++c)
          b.grad_x.template write<E>(p.grad_x, image, first + c, c, tile);
    }
    if (of_weights) write_sums<T>(b.sums, count, outputs, grad_pointwise + first, p.channels);
  }
}

}  // namespace ddf::DDF_NAMESPACE
