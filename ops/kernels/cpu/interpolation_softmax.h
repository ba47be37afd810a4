// Upsampling filters around interpolation: of each fine pixel, what a query has in common with the
// keys around its coarse pixel is added to its logits, and a softmax of that and of a prior to the
// difference between interpolation's weights and the prior's own softmax. One pass over the fine
// map, a vector of its pixels at a time. And the gradient of the logits.
#pragma once

#include <cmath>

#include "depthwise_pointwise.h"
#include "filter_norm.h"

namespace ddf::DDF_NAMESPACE {

inline constexpr int64_t kRunColumns = 128, kRunRows = 8;
// Below this a float's exponential is no normal number: it counts as 0.
inline constexpr float kLeastExponent = -87.0f;

// Of values that are at most 0, or NaN.
template <typename T>
DDF_INLINE Vec<T> exponential(Vec<T> value) {
  if constexpr (std::is_same_v<T, double>) {
    T lanes[kLanes<T>];
    store<T>(lanes, value);
    for (int i = 0; i < kLanes<T>; ++i) lanes[i] = std::exp(lanes[i]);
    return load<T>(lanes);
  } else {
    // 2^n · e^x with |x| <= log(2) / 2; Cephes' polynomial, within an ulp or two. The sum with
    // 1.5 · 2^23 rounds, and has n in its last bits.
    const Mask<T> held = ~reinterpret_cast<Mask<T>>(value < broadcast(kLeastExponent));
    const F32 shifted = value * broadcast(1.44269504f) + broadcast(12582912.0f);
    const F32 whole = shifted - broadcast(12582912.0f);
    const F32 x = value - whole * broadcast(0.693359375f) - whole * broadcast(-2.12194440e-4f);
    F32 y = broadcast(1.9875691500e-4f);
    for (const float coefficient :
         {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
      y = y * x + broadcast(coefficient);
    y = y * x * x + x + broadcast(1.0f);
    const F32 power = from_bits((to_bits(shifted) << 23) + (U32{} + 0x3f800000u));
    return select<T>(held, y * power);
  }
}

template <typename T>
DDF_INLINE Vec<T> greater(Vec<T> a, Vec<T> b) {
  const Mask<T> above = reinterpret_cast<Mask<T>>(a > b);
  return reinterpret_cast<Vec<T>>((above & reinterpret_cast<Mask<T>>(a)) |
                                  (~above & reinterpret_cast<Mask<T>>(b)));
}

// The coarse row or column that fine one i belongs to.
DDF_INLINE int64_t parent_of(const InterpolationSoftmaxProblem& p, int64_t i, int64_t low) {
  return smaller(i / p.scale, low - 1);
}

// What one tile works in.
template <typename T>
struct InterpolationSoftmaxTile {
  Vec<T>* taps;      // of two rows
  Vec<T>* query;     // of two rows
  Vec<T>* upstream;  // the gradient from above
  T* columns;        // the tables of the tile's columns, padded
  T* line;           // a row of a key, and what the tile reads beyond it
  T* key;            // (rows, depth, key_pitch), each value as often as fine pixels read it
  int64_t pitch = 0, key_pitch = 0, key_rows = 0;

  InterpolationSoftmaxTile(Scratch& scratch, const InterpolationSoftmaxProblem& p,
                           const Plan& plan) {
    taps = scratch.take<Vec<T>>(2 * p.taps());
    query = scratch.take<Vec<T>>(2 * p.depth);
    upstream = scratch.take<Vec<T>>(p.taps());
    pitch = round_up(plan.tile_columns, kLanes<T>);
    columns = scratch.take<T>((p.maps + 2) * p.kernel * pitch);
    if (p.depth == 0) return;
    // A step for each tap, of at most the tile's columns, and what a last vector has more.
    const int64_t reach = p.kernel * smaller(p.scale, plan.tile_columns);
    key_pitch = round_up(plan.tile_columns + reach, 2 * kLanes<T>) + 2 * kLanes<T>;
    key_rows = smaller((plan.tile_rows - 1) / p.scale + 2, plan.tile_rows) + p.kernel - 1;
    line = scratch.take<T>(key_pitch);
    key = scratch.take<T>(key_rows * p.depth * key_pitch);
  }
};

// `count` values, each `scale` times; may write a vector more.
template <typename T>
DDF_INLINE void repeat(const T* from, int64_t count, int64_t scale, T* to) {
  if (scale == 2) {
    for (int64_t i = 0; i < count; i += kLanes<T>) {
      const Vec<T> values = load<T>(from + i);
      store<T>(to + 2 * i, in_turn<T>(values, values, false));
      store<T>(to + 2 * i + kLanes<T>, in_turn<T>(values, values, true));
    }
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < scale; ++j) *to++ = from[i];
}

// The keys that a tile meets, spread over the fine columns: what tap ix of fine column x reads
// stands at x - columns.begin + ix * step. Returns the step.
template <typename T, typename E>
int64_t spread_keys(const InterpolationSoftmaxProblem& p, const InterpolationSoftmaxTile<T>& b,
                    const Tile& tile, int64_t image, int64_t group) {
  const int64_t reach = p.kernel / 2, n = tile.columns.size();
  // Fine columns that all have parents of their own follow upon each other; those beyond them share
  // the last one's, and those of a large step many: there each tap has a copy.
  const bool regular = tile.columns.end <= p.low_width * p.scale && p.scale <= n;
  const int64_t step = regular ? p.scale : n;
  const int64_t first = parent_of(p, tile.columns.begin, p.low_width) - reach;
  const int64_t count = parent_of(p, tile.columns.end - 1, p.low_width) + reach + 1 - first;
  const int64_t top = parent_of(p, tile.rows.begin, p.low_height) - reach;
  const int64_t bottom = parent_of(p, tile.rows.end - 1, p.low_height) + reach;
  const Range inside = intersect({first, first + count}, {0, p.low_width});
  for (int64_t y = top; y <= bottom; ++y)
    for (int64_t d = 0; d < p.depth; ++d) {
      T* const to = b.key + ((y - top) * p.depth + d) * b.key_pitch;
      std::memset(to, 0, static_cast<size_t>(b.key_pitch) * sizeof(T));
      if (y < 0 || y >= p.low_height) continue;
      const E* const from = static_cast<const E*>(p.key.data) + image * p.key.b +
                            (group * p.depth + d) * p.key.c + y * p.key.y;
      std::memset(b.line, 0, static_cast<size_t>(b.key_pitch) * sizeof(T));
      for (int64_t x = inside.begin; x < inside.end; ++x)
        b.line[x - first] = load_scalar<T>(from + x * p.key.x);
      if (regular) {
        repeat<T>(b.line, count, p.scale, to);
        continue;
      }
      for (int64_t ix = 0; ix < p.kernel; ++ix)
        for (int64_t x = 0; x < n; ++x)
          to[ix * n + x] =
              b.line[parent_of(p, tile.columns.begin + x, p.low_width) - reach - first + ix];
    }
  return step;
}

// Adds to `taps` of kRows rows, which have one parent, the products of query and key.
template <typename T, int kRows, int kRun>
DDF_INLINE void add_products(const InterpolationSoftmaxProblem& p, const Vec<T>* query,
                             const T* key, int64_t pitch, int64_t step, Vec<T>* taps) {
  for (int64_t iy = 0; iy < p.kernel; ++iy, key += p.depth * pitch)
    in_runs<kRun>(p.kernel, [&](int64_t ix, auto n) {
      Vec<T>* const at = taps + iy * p.kernel + ix;
      Vec<T> sums[kRows][n()];
      for (int r = 0; r < kRows; ++r)
        for (int i = 0; i < n(); ++i) sums[r][i] = at[r * p.taps() + i];
      for (int64_t d = 0; d < p.depth; ++d) {
        Vec<T> values[n()];
        for (int i = 0; i < n(); ++i) values[i] = load<T>(key + d * pitch + (ix + i) * step);
        for (int r = 0; r < kRows; ++r)
          for (int i = 0; i < n(); ++i) sums[r][i] += query[r * p.depth + d] * values[i];
      }
      for (int r = 0; r < kRows; ++r)
        for (int i = 0; i < n(); ++i) at[r * p.taps() + i] = sums[r][i];
    });
}

// Rows y to y + kRows, which have one parent.
template <typename T, typename E, int kRows>
void interpolation_softmax_rows(const InterpolationSoftmaxProblem& p,
                                const InterpolationSoftmaxTile<T>& b, const Tile& tile,
                                int64_t image, int64_t group, int64_t y, int64_t step) {
  const int64_t taps = p.taps(), k = p.kernel;
  const auto at = [&](const View& view, int64_t channel, int64_t row, int64_t x) {
    return static_cast<E*>(view.data) + image * view.b + channel * view.c + row * view.y +
           x * view.x;
  };
  const T* const rows = static_cast<const T*>(p.rows);
  // Table 0 is the prior's logarithm, 1 its softmax; then the weights of each map.
  const auto of_row = [&](int64_t table, int64_t iy, int64_t row) {
    return broadcast(rows[(table * k + iy) * p.height + row]);
  };
  const int64_t parent =
      parent_of(p, y, p.low_height) - parent_of(p, tile.rows.begin, p.low_height);
  for (int64_t x = tile.columns.begin; x < tile.columns.end; x += kLanes<T>) {
    const int n = static_cast<int>(smaller(kLanes<T>, tile.columns.end - x));
    const int64_t column = x - tile.columns.begin;
    const auto of_column = [&](int64_t table, int64_t ix) {
      return load<T>(b.columns + (table * k + ix) * b.pitch + column);
    };
    for (int r = 0; r < kRows; ++r) {
      const E* const from = at(p.logits, group * taps, y + r, x);
      for (int64_t iy = 0, t = 0; iy < k; ++iy) {
        const Vec<T> prior = of_row(0, iy, y + r);
        for (int64_t ix = 0; ix < k; ++ix, ++t)
          b.taps[r * taps + t] =
              load_some<T>(from + t * p.logits.c, p.logits.x, n) + (prior + of_column(0, ix));
      }
      if (p.depth == 0) continue;
      const E* const query = at(p.query, group * p.depth, y + r, x);
      for (int64_t d = 0; d < p.depth; ++d)
        b.query[r * p.depth + d] = load_some<T>(query + d * p.query.c, p.query.x, n);
    }
    if (p.depth > 0) {
      const T* const key = b.key + parent * p.depth * b.key_pitch + column;
      if (k % 5 == 0)
        add_products<T, kRows, 5>(p, b.query, key, b.key_pitch, step, b.taps);
      else
        add_products<T, kRows, 3>(p, b.query, key, b.key_pitch, step, b.taps);
    }
    for (int r = 0; r < kRows; ++r) {
      Vec<T>* const raised = b.taps + r * taps;
      Vec<T> most = raised[0], sum = {};
      for (int64_t t = 1; t < taps; ++t) most = greater<T>(raised[t], most);
      for (int64_t t = 0; t < taps; ++t) {
        raised[t] = exponential<T>(raised[t] - most);
        sum += raised[t];
      }
      const Vec<T> inverse = broadcast(T(1)) / sum;
      if (p.grad_logits.data != nullptr) {
        Vec<T> along = {};
        for (int64_t t = 0; t < taps; ++t) {
          raised[t] *= inverse;
          b.upstream[t] = Vec<T>{};
          for (int64_t m = 0; m < p.maps; ++m)
            b.upstream[t] +=
                load_some<T>(at(p.out, (m * p.groups + group) * taps + t, y + r, x), p.out.x, n);
          along += raised[t] * b.upstream[t];
        }
        E* const to = at(p.grad_logits, group * taps, y + r, x);
        for (int64_t t = 0; t < taps; ++t)
          store_some<T>(to + t * p.grad_logits.c, p.grad_logits.x, n,
                        raised[t] * (b.upstream[t] - along));
      } else {
        for (int64_t iy = 0, t = 0; iy < k; ++iy) {
          const Vec<T> start = of_row(1, iy, y + r);
          for (int64_t ix = 0; ix < k; ++ix, ++t)
            raised[t] = raised[t] * inverse - start * of_column(1, ix);
        }
        for (int64_t m = 0; m < p.maps; ++m) {
          E* const to = at(p.out, (m * p.groups + group) * taps, y + r, x);
          for (int64_t iy = 0, t = 0; iy < k; ++iy) {
            const Vec<T> weight = of_row(2 + m, iy, y + r);
            for (int64_t ix = 0; ix < k; ++ix, ++t)
              store_some<T>(to + t * p.out.c, p.out.x, n,
                            raised[t] + weight * of_column(2 + m, ix));
          }
        }
      }
    }
  }
}

// Columns are cut apart where several fine ones beyond the last parent's own share it.
inline Tile softmax_tile(const InterpolationSoftmaxProblem& p, const Plan& plan, int64_t index) {
  const int64_t own = p.own_columns(), y = index / plan.tiles_x * plan.tile_rows;
  const int64_t whole = ceil_div(own, plan.tile_columns), i = index % plan.tiles_x;
  Tile tile{{y, smaller(y + plan.tile_rows, p.height)}, {}};
  if (i < whole)
    tile.columns = {i * plan.tile_columns, smaller((i + 1) * plan.tile_columns, own)};
  else
    tile.columns = {own + (i - whole) * plan.tile_columns,
                    smaller(own + (i - whole + 1) * plan.tile_columns, p.width)};
  return tile;
}

template <typename T, typename E>
void interpolation_softmax_unit(const InterpolationSoftmaxProblem& p, const Plan& plan,
                                int64_t unit, void* memory) {
  Scratch scratch(memory);
  const InterpolationSoftmaxTile<T> b(scratch, p, plan);
  const int64_t tiles = plan.tiles_y * plan.tiles_x;
  const int64_t group = unit / tiles % p.groups, image = unit / tiles / p.groups;
  const Tile tile = softmax_tile(p, plan, unit % tiles);
  const T* const columns = static_cast<const T*>(p.columns);
  for (int64_t i = 0; i < (p.maps + 2) * p.kernel; ++i)
    for (int64_t x = 0; x < b.pitch; ++x)
      b.columns[i * b.pitch + x] =
          x < tile.columns.size() ? columns[i * p.width + tile.columns.begin + x] : T(0);
  const int64_t step = p.depth > 0 ? spread_keys<T, E>(p, b, tile, image, group) : 0;
  for (int64_t y = tile.rows.begin; y < tile.rows.end;) {
    const bool two = y + 1 < tile.rows.end && p.depth > 0 &&
                     parent_of(p, y, p.low_height) == parent_of(p, y + 1, p.low_height);
    (two ? interpolation_softmax_rows<T, E, 2>
         : interpolation_softmax_rows<T, E, 1>)(p, b, tile, image, group, y, step);
    y += two ? 2 : 1;
  }
}

template <typename T>
Plan plan_interpolation_softmax(const InterpolationSoftmaxProblem& p) {
  Plan plan;
  // Whole parents, where these are not too wide.
  const int64_t most = p.scale <= kRunColumns ? kRunColumns / p.scale * p.scale : kRunColumns;
  plan.tile_columns = smaller(p.width, most);
  plan.tile_rows = smaller(p.height, kRunRows);
  plan.tiles_y = ceil_div(p.height, plan.tile_rows);
  plan.tiles_x = ceil_div(p.own_columns(), plan.tile_columns) +
                 ceil_div(p.width - p.own_columns(), plan.tile_columns);
  plan.units = p.batch * p.groups * plan.tiles_y * plan.tiles_x;
  Scratch scratch(nullptr);
  const InterpolationSoftmaxTile<T> tile(scratch, p, plan);
  plan.scratch_bytes = scratch.used();
  return plan;
}

}  // namespace ddf::DDF_NAMESPACE
