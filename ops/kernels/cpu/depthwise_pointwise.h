// Depthwise convolutions, each followed by a 1x1 convolution, of the same input: the forward pass
// and all gradients. Tile by tile and a block of channels at a time, so that what stands between
// the two convolutions, `phases` times as large as the input, never leaves the caches.
#pragma once

#include "tile.h"

namespace ddf::DDF_NAMESPACE {

inline constexpr int kPair = 2;               // vectors of pixels that a loop takes at a time
inline constexpr int64_t kBlockChannels = 8;  // of the input
inline constexpr int64_t kMostTileColumns = 256, kTileElements = 1024;

template <typename T>
inline constexpr int64_t kPixelStep = kPair * kLanes<T>;

inline Plan tile_plan(const DepthwisePointwise& p, int64_t step) {
  Plan plan;
  const int64_t parts = ceil_div(p.width, kMostTileColumns);
  plan.tile_columns = parts == 1 ? p.width : round_up(ceil_div(p.width, parts), step);
  // At least four tiles, for the threads, where there are four rows.
  plan.tile_rows = larger(1, smaller(kTileElements / plan.tile_columns, ceil_div(p.height, 4)));
  plan.tiles_y = ceil_div(p.height, plan.tile_rows);
  plan.tiles_x = ceil_div(p.width, plan.tile_columns);
  plan.units = p.batch * plan.tiles_y * plan.tiles_x;
  return plan;
}

// Maps of one tile with `reach` more rows and columns on each side; rows padded for whole steps.
template <typename T>
struct Maps {
  int64_t rows = 0, columns = 0, pitch = 0, reach = 0;
  T* data = nullptr;

  Maps(Scratch& scratch, int64_t count, const Plan& plan, int64_t reach_) : reach(reach_) {
    rows = plan.tile_rows + 2 * reach;
    columns = plan.tile_columns + 2 * reach;
    pitch = round_up(columns, kPixelStep<T>) + kPixelStep<T>;
    // The tile's own rows start at whole vectors.
    const int64_t ahead = round_up(reach, kLanes<T>) - reach;
    data = scratch.take<T>(ahead + count * size() + kPixelStep<T>);
    if (data != nullptr) data += ahead;
  }
  int64_t size() const { return rows * pitch; }
  T* map(int64_t i) const { return data + i * size(); }
  // Row y of the tile; -reach is the first.
  T* row(int64_t i, int64_t y) const { return map(i) + (y + reach) * pitch; }

  // Sets to 0 what lies outside the image in row y of `count` maps.
  void clear_outside(int64_t count, int64_t y, const Tile& tile, int64_t height,
                     int64_t width) const {
    const int64_t at = tile.rows.begin + y, left = tile.columns.begin - reach;
    const int64_t before = at < 0 || at >= height ? columns : larger(0, -left);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t j = 0; j < before; ++j) row(i, y)[j] = 0;
      for (int64_t j = width - left; j < columns; ++j) row(i, y)[j] = 0;
    }
  }

  // Copies `count` channels from `first` on; what lies outside the image, and the padding, is 0.
  template <typename E>
  void fill(const View& view, int64_t image, int64_t first, int64_t count, const Tile& tile,
            int64_t height, int64_t width) const {
    const Range inside =
        intersect({tile.columns.begin - reach, tile.columns.end + reach}, Range{0, width});
    const int64_t before = inside.begin - (tile.columns.begin - reach);
    for (int64_t c = 0; c < count; ++c)
      for (int64_t i = 0; i < rows; ++i) {
        T* const to = map(c) + i * pitch;
        const int64_t y = tile.rows.begin - reach + i;
        if (y < 0 || y >= height || y >= tile.rows.end + reach) {
          std::memset(to, 0, static_cast<size_t>(pitch) * sizeof(T));
          continue;
        }
        const E* const from = static_cast<const E*>(view.data) + image * view.b +
                              (first + c) * view.c + y * view.y + inside.begin * view.x;
        const int64_t n = inside.size(), whole = view.x == 1 ? n / kLanes<T> * kLanes<T> : 0;
        for (int64_t j = 0; j < before; ++j) to[j] = 0;
        for (int64_t j = 0; j < whole; j += kLanes<T>) store<T>(to + before + j, load<T>(from + j));
        for (int64_t j = whole; j < n; ++j) to[before + j] = load_scalar<T>(from + j * view.x);
        for (int64_t j = before + n; j < pitch; ++j) to[j] = 0;
      }
  }

  // Adds a number to each of the tile's pixels and writes them out.
  template <typename E>
  void write(const View& view, int64_t image, int64_t channel, int64_t i, const Tile& tile,
             T added) const {
    for (int64_t y = 0; y < tile.rows.size(); ++y) {
      const T* const from = row(i, y) + reach;
      E* const to = static_cast<E*>(view.data) + image * view.b + channel * view.c +
                    (tile.rows.begin + y) * view.y + tile.columns.begin * view.x;
      const int64_t n = tile.columns.size(), whole = view.x == 1 ? n / kLanes<T> * kLanes<T> : 0;
      for (int64_t j = 0; j < whole; j += kLanes<T>)
        store<T>(to + j, load<T>(from + j) + broadcast(added));
      for (int64_t j = whole; j < n; ++j) store_scalar<T>(to + j * view.x, from[j] + added);
    }
  }
};

// Of kPhases phases and kRows rows:
//   out[phase][row][x] (+)= Σ weights[phase][iy, ix] * in[(row + iy) * pitch + x + ix],
// in whole steps. Phases share what they read, rows most of it.
template <typename T, int kPhases, int kRows, int kSide>
DDF_INLINE void depthwise_rows(const T* in, int64_t pitch, const T* weights, int64_t phase,
                               int64_t side, T* out, int64_t out_phase, int64_t out_pitch,
                               int64_t columns, bool add) {
  if constexpr (kSide != 0) side = kSide;
  for (int64_t x = 0; x < columns; x += kPixelStep<T>) {
    Vec<T> sums[kPhases][kRows][kPair];
    const auto place = [&](int i, int r) { return out + i * out_phase + r * out_pitch + x; };
    for (int i = 0; i < kPhases; ++i)
      for (int r = 0; r < kRows; ++r)
        for (int j = 0; j < kPair; ++j)
          sums[i][r][j] = add ? load<T>(place(i, r) + j * kLanes<T>) : Vec<T>{};
    for (int64_t y = 0; y < side + kRows - 1; ++y)
      for (int64_t ix = 0; ix < side; ++ix) {
        Vec<T> values[kPair];
        for (int j = 0; j < kPair; ++j)
          values[j] = load<T>(in + y * pitch + x + ix + j * kLanes<T>);
        for (int r = 0; r < kRows; ++r) {
          const int64_t iy = y - r;
          if (iy < 0 || iy >= side) continue;
          for (int i = 0; i < kPhases; ++i) {
            const Vec<T> weight = broadcast(weights[i * phase + iy * side + ix]);
            for (int j = 0; j < kPair; ++j) sums[i][r][j] += weight * values[j];
          }
        }
      }
    for (int i = 0; i < kPhases; ++i)
      for (int r = 0; r < kRows; ++r)
        for (int j = 0; j < kPair; ++j) store<T>(place(i, r) + j * kLanes<T>, sums[i][r][j]);
  }
}

template <typename T, int kPhases, int kRows>
void depthwise(const T* in, int64_t pitch, const T* weights, int64_t phase, int64_t side, T* out,
               int64_t out_phase, int64_t out_pitch, int64_t columns, bool add) {
  if (side == 3) {
    depthwise_rows<T, kPhases, kRows, 3>(in, pitch, weights, phase, side, out, out_phase, out_pitch,
                                         columns, add);
  } else {
    depthwise_rows<T, kPhases, kRows, 0>(in, pitch, weights, phase, side, out, out_phase, out_pitch,
                                         columns, add);
  }
}

// Matrix products, kRows rows of the left factor at a time.
template <typename T, int kRows>
DDF_INLINE void multiply_rows(const T* left, int64_t row, int64_t step, int64_t depth,
                              const T* right, int64_t right_pitch, T* out, int64_t out_pitch,
                              int64_t columns, bool add) {
  for (int64_t x = 0; x < columns; x += kPixelStep<T>) {
    Vec<T> sums[kRows][kPair];
    for (int m = 0; m < kRows; ++m)
      for (int i = 0; i < kPair; ++i)
        sums[m][i] = add ? load<T>(out + m * out_pitch + x + i * kLanes<T>) : Vec<T>{};
    for (int64_t k = 0; k < depth; ++k) {
      Vec<T> values[kPair];
      for (int i = 0; i < kPair; ++i)
        values[i] = load<T>(right + k * right_pitch + x + i * kLanes<T>);
      for (int m = 0; m < kRows; ++m) {
        const Vec<T> weight = broadcast(left[m * row + k * step]);
        for (int i = 0; i < kPair; ++i) sums[m][i] += weight * values[i];
      }
    }
    for (int m = 0; m < kRows; ++m)
      for (int i = 0; i < kPair; ++i) store<T>(out + m * out_pitch + x + i * kLanes<T>, sums[m][i]);
  }
}

// Runs body for all of `count`, as many at a time as there are registers for, then fewer.
template <int kMost, typename Body>
DDF_INLINE void in_runs(int64_t count, const Body& body) {
  int64_t m = 0;
  for (; m + kMost <= count; m += kMost) body(m, std::integral_constant<int, kMost>{});
  if constexpr (kMost > 4)
    for (; m + 4 <= count; m += 4) body(m, std::integral_constant<int, 4>{});
  if constexpr (kMost > 1)
    for (; m < count; ++m) body(m, std::integral_constant<int, 1>{});
}
// Rows whose sums fit into the registers: of a filter's outputs, and of a block's channels.
inline constexpr int kOutputRows = DDF_VECTOR_BYTES == 64 ? 9 : 5;
inline constexpr int kChannelRows = DDF_VECTOR_BYTES == 64 ? kBlockChannels : 4;

// out[m, x] (+)= Σ left[m, k] * right[k, x], for whole steps of x.
template <typename T, int kRows>
void multiply(const T* left, int64_t row, int64_t step, int64_t rows, int64_t depth, const T* right,
              int64_t right_pitch, T* out, int64_t out_pitch, int64_t columns, bool add) {
  in_runs<kRows>(rows, [&](int64_t m, auto n) {
    multiply_rows<T, n()>(left + m * row, row, step, depth, right, right_pitch, out + m * out_pitch,
                          out_pitch, columns, add);
  });
}

// body(x, take) for each vector of a row, where take(from) loads it. In the last vector, what
// stands from `columns` on counts as 0: in both factors of a product, or an infinite one makes it a
// NaN.
template <typename T, typename Body>
DDF_INLINE void each_vector(int64_t columns, const Body& body) {
  int64_t x = 0;
  for (; x + kLanes<T> <= columns; x += kLanes<T>)
    body(x, [](const T* from) __attribute__((always_inline)) { return load<T>(from); });
  if (x == columns) return;
  const Mask<T> inside = first_lanes<T>(columns - x);
  body(x, [&](const T* from)
              __attribute__((always_inline)) { return select<T>(inside, load<T>(from)); });
}

// sums[m, n] += Σ rows[m, x] * others[n, x] over the columns.
template <typename T, int kRows, int kOthers>
DDF_INLINE void dot_rows(const T* rows, int64_t pitch, const T* others, int64_t others_pitch,
                         int64_t columns, Vec<T>* sums, int64_t sums_pitch) {
  Vec<T> held[kRows][kOthers];
  for (int m = 0; m < kRows; ++m)
    for (int n = 0; n < kOthers; ++n) held[m][n] = sums[m + n * sums_pitch];
  each_vector<T>(columns, [&](int64_t x, const auto& take) __attribute__((always_inline)) {
    Vec<T> values[kOthers];
    for (int n = 0; n < kOthers; ++n) values[n] = take(others + n * others_pitch + x);
    for (int m = 0; m < kRows; ++m) {
      const Vec<T> row = take(rows + m * pitch + x);
      for (int n = 0; n < kOthers; ++n) held[m][n] += row * values[n];
    }
  });
  for (int m = 0; m < kRows; ++m)
    for (int n = 0; n < kOthers; ++n) sums[m + n * sums_pitch] = held[m][n];
}

// sums[iy, ix] += Σ in[(row + iy) * pitch + x + ix] * grad[row][x], over two rows or one.
template <typename T, int kRows>
DDF_INLINE void dot_taps_3x3(const T* in, int64_t pitch, const T* grad, int64_t grad_pitch,
                             int64_t columns, Vec<T>* sums) {
  Vec<T> held[9];
  for (int t = 0; t < 9; ++t) held[t] = sums[t];
  each_vector<T>(columns, [&](int64_t x, const auto& take) __attribute__((always_inline)) {
    Vec<T> upstream[kRows];
    for (int r = 0; r < kRows; ++r) upstream[r] = take(grad + r * grad_pitch + x);
    for (int y = 0; y < 2 + kRows; ++y)
      for (int ix = 0; ix < 3; ++ix) {
        const Vec<T> value = take(in + y * pitch + x + ix);
        for (int r = 0; r < kRows; ++r)
          if (y - r >= 0 && y - r < 3) held[(y - r) * 3 + ix] += value * upstream[r];
      }
  });
  for (int t = 0; t < 9; ++t) sums[t] = held[t];
}

// The same for any side, and all rows of a tile.
template <typename T>
void dot_taps(const T* in, int64_t pitch, const T* grad, int64_t grad_pitch, int64_t rows,
              int64_t columns, int64_t side, Vec<T>* sums) {
  if (side == 3) {
    int64_t y = 0;
    for (; y + 2 <= rows; y += 2)
      dot_taps_3x3<T, 2>(in + y * pitch, pitch, grad + y * grad_pitch, grad_pitch, columns, sums);
    if (y < rows)
      dot_taps_3x3<T, 1>(in + y * pitch, pitch, grad + y * grad_pitch, grad_pitch, columns, sums);
    return;
  }
  for (int64_t y = 0; y < rows; ++y)
    for (int64_t iy = 0; iy < side; ++iy)
      in_runs<4>(side, [&](int64_t ix, auto n) {
        dot_rows<T, n(), 1>(in + (y + iy) * pitch + ix, 1, grad + y * grad_pitch, 0, columns,
                            sums + iy * side + ix, 0);
      });
}

// The parameters in the type of the sums: depthwise[phase, channel, tap] and
// pointwise[phase, output, channel].
template <typename T>
struct Parameters {
  T *depthwise, *pointwise;

  Parameters(Scratch& scratch, const DepthwisePointwise& p) {
    depthwise = scratch.take<T>(p.depthwise_elements());
    pointwise = scratch.take<T>(p.pointwise_elements());
  }

  template <typename E>
  void fill(const DepthwisePointwise& p) const {
    for (int64_t i = 0; i < p.depthwise_elements(); ++i)
      depthwise[i] = load_scalar<T>(static_cast<const E*>(p.depthwise) + i);
    for (int64_t i = 0; i < p.pointwise_elements(); ++i)
      pointwise[i] = load_scalar<T>(static_cast<const E*>(p.pointwise) + i);
  }
};

template <typename T>
struct DepthwisePointwiseForward {
  Parameters<T> parameters;
  Maps<T> x, out;
  T* between;  // of two phases and two rows of a block's channels
  int64_t between_pitch;

  DepthwisePointwiseForward(Scratch& scratch, const DepthwisePointwise& p, const Plan& plan)
      : parameters(scratch, p),
        x(scratch, kBlockChannels, plan, p.side / 2),
        out(scratch, p.phases * p.outputs, plan, 0),
        between_pitch(round_up(plan.tile_columns, kPixelStep<T>)) {
    between = scratch.take<T>(4 * kBlockChannels * between_pitch);
  }
};

template <typename T, typename E>
void depthwise_pointwise_unit(const DepthwisePointwise& p, const Plan& plan, int64_t unit,
                              void* memory) {
  Scratch scratch(memory);
  const DepthwisePointwiseForward<T> b(scratch, p, plan);
  const int64_t tiles = plan.tiles_y * plan.tiles_x, image = unit / tiles;
  const Tile tile = tile_at(plan, unit % tiles, p.height, p.width);
  const int64_t rows = tile.rows.size(), columns = tile.columns.size();
  b.parameters.template fill<E>(p);
  for (int64_t first = 0; first < p.channels; first += kBlockChannels) {
    const int64_t count = smaller(kBlockChannels, p.channels - first);
    b.x.template fill<E>(p.x, image, first, count, tile, p.height, p.width);
    const int64_t of_phase = p.channels * p.taps(), of_map = 2 * b.between_pitch;
    in_runs<2>(p.phases, [&](int64_t phase, auto phases) {
      in_runs<2>(rows, [&](int64_t y, auto rows_at_once) {
        for (int64_t c = 0; c < count; ++c)
          depthwise<T, phases(), rows_at_once()>(
              b.x.map(c) + y * b.x.pitch, b.x.pitch,
              b.parameters.depthwise + phase * of_phase + (first + c) * p.taps(), of_phase, p.side,
              b.between + c * of_map, kBlockChannels * of_map, b.between_pitch, columns, false);
        for (int64_t i = 0; i < phases(); ++i)
          for (int64_t r = 0; r < rows_at_once(); ++r)
            multiply<T, kOutputRows>(
                b.parameters.pointwise + (phase + i) * p.outputs * p.channels + first, p.channels,
                int64_t{1}, p.outputs, count,
                b.between + i * kBlockChannels * of_map + r * b.between_pitch, of_map,
                b.out.row((phase + i) * p.outputs, y + r), b.out.size(), columns, first > 0);
      });
    });
  }
  for (int64_t i = 0; i < p.phases * p.outputs; ++i)
    b.out.template write<E>(p.out, image, i, i, tile,
                            load_scalar<T>(static_cast<const E*>(p.bias) + i));
}

template <typename T>
struct DepthwisePointwiseBackward {
  Parameters<T> parameters;
  T* turned;  // the depthwise filters, by half a turn
  Maps<T> x, upstream, between, grad_x;
  T* filtered;  // of two rows of a block's channels
  int64_t filtered_pitch;
  Vec<T>* sums;

  DepthwisePointwiseBackward(Scratch& scratch, const DepthwisePointwise& p, const Plan& plan)
      : parameters(scratch, p),
        turned(scratch.take<T>(p.depthwise_elements())),
        x(scratch, kBlockChannels, plan, p.side / 2),
        upstream(scratch, p.phases * p.outputs, plan, p.side / 2),
        between(scratch, kBlockChannels, plan, p.side / 2),
        grad_x(scratch, kBlockChannels, plan, 0),
        filtered_pitch(round_up(plan.tile_columns, kPixelStep<T>)) {
    filtered = scratch.take<T>(2 * kBlockChannels * filtered_pitch);
    sums = scratch.take<Vec<T>>(larger(p.taps(), p.outputs * kBlockChannels));
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

// Gradients of the input's tile, and sums over the tile of those of the parameters, into
// p.partial_sums[unit]: depthwise, then pointwise.
template <typename T, typename E>
void depthwise_pointwise_backward_unit(const DepthwisePointwise& p, const Plan& plan, int64_t unit,
                                       void* memory) {
  Scratch scratch(memory);
  const DepthwisePointwiseBackward<T> b(scratch, p, plan);
  const int64_t tiles = plan.tiles_y * plan.tiles_x, image = unit / tiles;
  const Tile tile = tile_at(plan, unit % tiles, p.height, p.width);
  const int64_t rows = tile.rows.size(), columns = tile.columns.size();
  const int64_t reach = p.side / 2, taps = p.taps();
  T* const grad_depthwise = static_cast<T*>(p.partial_sums) + unit * p.parameter_elements();
  T* const grad_pointwise = grad_depthwise + p.depthwise_elements();
  b.parameters.template fill<E>(p);
  for (int64_t i = 0; i < p.depthwise_elements(); i += taps)
    for (int64_t t = 0; t < taps; ++t) b.turned[i + t] = b.parameters.depthwise[i + taps - 1 - t];
  b.upstream.template fill<E>(p.out, image, 0, p.phases * p.outputs, tile, p.height, p.width);
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
        multiply<T, kChannelRows>(pointwise, int64_t{1}, p.channels, count, p.outputs,
                                  b.upstream.row(phase * p.outputs, y), b.upstream.size(),
                                  b.between.row(0, y), b.between.size(), b.between.columns, false);
      // 0 already, unless a filter is infinite or NaN.
      for (int64_t y = -reach; y < rows + reach; ++y)
        b.between.clear_outside(count, y, tile, p.height, p.width);
      Vec<T>* const sums = b.sums;
      for (int64_t c = 0; c < count; ++c) {
        if (all_finite(weights(b.turned, c), taps))
          in_runs<2>(rows, [&](int64_t y, auto rows_at_once) {
            depthwise<T, 1, rows_at_once()>(b.between.map(c) + y * b.between.pitch, b.between.pitch,
                                            weights(b.turned, c), 0, p.side, b.grad_x.row(c, y), 0,
                                            b.grad_x.pitch, columns, phase > 0);
          });
        else
          add_inside(p, tile, b.between, weights(b.turned, c), c, b.grad_x, phase > 0);
        for (int64_t t = 0; t < taps; ++t) sums[t] = Vec<T>{};
        dot_taps<T>(b.x.map(c), b.x.pitch, b.between.row(c, 0) + reach, b.between.pitch, rows,
                    columns, p.side, sums);
        T* const to = grad_depthwise + (phase * p.channels + first + c) * taps;
        for (int64_t t = 0; t < taps; ++t) to[t] = sum_lanes<T>(sums[t]);
      }
      for (int64_t i = 0; i < p.outputs * count; ++i) sums[i] = Vec<T>{};
      in_runs<2>(rows, [&](int64_t y, auto rows_at_once) {
        for (int64_t c = 0; c < count; ++c)
          depthwise<T, 1, rows_at_once()>(
              b.x.map(c) + y * b.x.pitch, b.x.pitch, weights(b.parameters.depthwise, c), 0, p.side,
              b.filtered + 2 * c * b.filtered_pitch, 0, b.filtered_pitch, columns, false);
        for (int64_t r = 0; r < rows_at_once(); ++r)
          in_runs<2>(count, [&](int64_t c, auto channels) {
            in_runs<kOutputRows>(p.outputs, [&](int64_t o, auto n) {
              dot_rows<T, n(), channels()>(
                  b.upstream.row(phase * p.outputs + o, y + r) + reach, b.upstream.size(),
                  b.filtered + (2 * c + r) * b.filtered_pitch, 2 * b.filtered_pitch, columns,
                  sums + c * p.outputs + o, p.outputs);
            });
          });
      });
      for (int64_t c = 0; c < count; ++c)
        for (int64_t o = 0; o < p.outputs; ++o)
          grad_pointwise[(phase * p.outputs + o) * p.channels + first + c] =
              sum_lanes<T>(sums[c * p.outputs + o]);
    }
    for (int64_t c = 0; c < count; ++c)
      b.grad_x.template write<E>(p.grad_x, image, first + c, c, tile, T(0));
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

template <typename T>
Plan plan_depthwise_pointwise(const DepthwisePointwise& p) {
  Plan plan = tile_plan(p, kPixelStep<T>);
  Scratch scratch(nullptr);
  if (p.grad_x.data == nullptr) {
    const DepthwisePointwiseForward<T> buffers(scratch, p, plan);
  } else {
    const DepthwisePointwiseBackward<T> buffers(scratch, p, plan);
    plan.partial_bytes = plan.units * p.parameter_elements() * static_cast<int64_t>(sizeof(T));
  }
  plan.scratch_bytes = scratch.used();
  return plan;
}

}  // namespace ddf::DDF_NAMESPACE
