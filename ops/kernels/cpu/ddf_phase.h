// The geometry of `ddf` and `ddf_upsample`: axes of packed buffers, and the phases of a tile.
#pragma once

#include "../formula.h"
#include "tile.h"

namespace ddf::DDF_NAMESPACE {

// Positions of the base grid, along one axis, that have an output pixel of phase p.
DDF_INLINE Range positions_of_phase(int64_t phase, int64_t scale, int64_t grid, int64_t out) {
  if (phase < scale) return {0, smaller(grid, ceil_div(larger(out - phase, 0), scale))};
  // Phases past the scale belong to the last position alone (an output longer than scale * grid).
  return (grid - 1) * scale + phase < out ? Range{grid - 1, grid} : Range{};
}

// Phases along an axis: none lies at or past the end of the output.
DDF_INLINE int64_t phase_count(int64_t scale, int64_t out) {
  return scale == 1 ? 1 : smaller(2 * scale - 1, out);
}
DDF_INLINE int64_t phase_rows(const Problem& p) { return phase_count(p.scale, p.out_height); }
DDF_INLINE int64_t phase_columns(const Problem& p) { return phase_count(p.scale, p.out_width); }

// Along one axis of a packed buffer, position i and tap t lie at index i * per_position +
// t * per_tap. Where the taps of neighbouring positions coincide the buffer holds each source
// coordinate once; else each tap has a run of its own.
struct Axis {
  int64_t count = 0;
  int64_t positions = 0;
  int64_t per_position = 1, per_tap = 1;
  int64_t origin = 0;    // source coordinate of index 0
  int64_t stride = 1;    // source coordinates between indices of one run
  int64_t run = 0;       // indices of one run
  int64_t run_step = 0;  // source coordinates between the origins of two runs
  // The source is a map of every `stuffed`-th coordinate (the output of a strided operator, seen
  // from its input); the coordinates between hold 0.
  int64_t stuffed = 1;
  Range valid;  // of the source's own coordinates

  bool shared() const { return run == count; }  // each source coordinate is there once

  // The source's own coordinate at `index`, or -1 where the source is 0.
  DDF_INLINE int64_t source(int64_t index) const {
    const int64_t tap = index / run;
    int64_t at = origin + tap * run_step + (index - tap * run) * stride;
    if (stuffed != 1) {
      if (at < 0 || at % stuffed != 0) return -1;
      at /= stuffed;
    }
    return valid.contains(at) ? at : -1;
  }
};

// `dense`: index must grow by 1 per position (vectors along this axis).
DDF_SHARED inline Axis make_axis(int64_t start, int64_t size, int64_t stride, int64_t taps,
                                 int64_t dilation, bool dense) {
  Axis axis;
  axis.positions = size;
  axis.origin = start * stride + tap_shift<int64_t>(0, taps, dilation);
  const int64_t shared = (size - 1) * stride + (taps - 1) * dilation + 1;
  if ((stride == 1 || !dense) && shared <= taps * size) {
    axis.count = axis.run = shared;
    axis.per_position = stride;
    axis.per_tap = dilation;
  } else {
    axis.count = taps * size;
    axis.per_tap = axis.run = size;
    axis.stride = stride;
    axis.run_step = dilation;
  }
  return axis;
}

// Where the spatial weights of a position and a tap come from, along one axis.
struct Shift {
  int64_t first = 0;  // source coordinate of position 0 and tap 0
  int64_t per_tap = 0;
  int64_t stuffed = 1;  // as in Axis
  Range valid;

  DDF_INLINE int64_t source(int64_t position, int64_t tap) const {
    int64_t at = first + position + tap * per_tap;
    if (stuffed != 1) {
      if (at < 0 || at % stuffed != 0) return -1;
      at /= stuffed;
    }
    return valid.contains(at) ? at : -1;
  }
};

// The positions of a tile that one phase covers.
struct Phase {
  int64_t py = 0, px = 0;  // offset of the output pixel
  int64_t filter = 0;      // which channel filter
  Tile tile;

  int64_t rows() const { return tile.rows.size(); }
  int64_t columns() const { return tile.columns.size(); }
  bool empty() const { return rows() == 0 || columns() == 0; }
};

inline Phase phase_of(const Problem& p, const Tile& tile, int64_t py, int64_t px) {
  Phase phase;
  phase.py = py;
  phase.px = px;
  phase.filter = filter_index(py, px, p.scale);
  phase.tile.rows =
      intersect(tile.rows, positions_of_phase(py, p.scale, p.grid_height(), p.out_height));
  phase.tile.columns =
      intersect(tile.columns, positions_of_phase(px, p.scale, p.grid_width(), p.out_width));
  return phase;
}

template <typename Body>
DDF_INLINE void for_each_phase(const Problem& p, const Tile& tile, const Body& body) {
  for (int64_t py = 0; py < phase_rows(p); ++py)
    for (int64_t px = 0; px < phase_columns(p); ++px) {
      const Phase phase = phase_of(p, tile, py, px);
      if (!phase.empty()) body(phase);
    }
}

}  // namespace ddf::DDF_NAMESPACE
