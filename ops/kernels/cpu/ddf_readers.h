// Which output pixels read a tile of the input, tap by tap, for 3 x 3 kernels of stride 1: the
// backward pass goes by the pixels of the input.
#pragma once

#include "ddf_pack.h"
#include "ddf_taps.h"

namespace ddf::DDF_NAMESPACE {

// Over all tiles, each pair of a tap and an output pixel belongs to one of them: that in which the
// tap of the pixel lies, or where that is outside the image, the one at that edge.
struct Readers {
  int64_t height, width, dilation_y, dilation_x;
  Tile tile;

  Readers(const Problem& p, const Tile& tile_)
      : height(p.height),
        width(p.width),
        dilation_y(p.dilation_y),
        dilation_x(p.dilation_x),
        tile(tile_) {}

  int64_t shift_y(int64_t tap) const { return tap_shift<int64_t>(tap / 3, 3, dilation_y); }
  int64_t shift_x(int64_t tap) const { return tap_shift<int64_t>(tap % 3, 3, dilation_x); }
  bool at_edge() const {
    return tile.rows.begin == 0 || tile.rows.end == height || tile.columns.begin == 0 ||
           tile.columns.end == width;
  }

  // The pixels that go with the tile.
  Tile all(int64_t tap) const {
    return {along(tile.rows, shift_y(tap), height), along(tile.columns, shift_x(tap), width)};
  }

  // Those among them whose tap lies in it.
  Tile inner(int64_t tap) const {
    const int64_t y = shift_y(tap), x = shift_x(tap);
    const Tile pixels = all(tap);
    return {intersect(pixels.rows, {tile.rows.begin - y, tile.rows.end - y}),
            intersect(pixels.columns, {tile.columns.begin - x, tile.columns.end - x})};
  }

  // body(y, x) for the others, whose tap lies outside the image, where X counts as 0.
  template <typename Body>
  void each_outside(int64_t tap, const Body& body) const {
    const Tile pixels = all(tap), in = inner(tap);
    const auto each = [&](Range ys, Range xs) {
      for (int64_t y = ys.begin; y < ys.end; ++y)
        for (int64_t x = xs.begin; x < xs.end; ++x) body(y, x);
    };
    if (in.rows.size() == 0 || in.columns.size() == 0) return each(pixels.rows, pixels.columns);
    each({pixels.rows.begin, in.rows.begin}, pixels.columns);
    each(in.rows, {pixels.columns.begin, in.columns.begin});
    each(in.rows, {in.columns.end, pixels.columns.end});
    each({in.rows.end, pixels.rows.end}, pixels.columns);
  }

  // Whether a spatial weight there is infinite or NaN: 0 times it is NaN.
  template <typename T, typename E>
  bool any_not_finite_outside(const Map<const E>& weights) const {
    T sum = 0;
    for (int64_t tap = 0; tap < kTaps; ++tap)
      each_outside(tap, [&](int64_t y, int64_t x) {
        sum +=
            T(0) * load_scalar<T>(weights.data + tap * weights.c + y * weights.y + x * weights.x);
      });
    return sum != sum;
  }

 private:
  static Range along(Range inputs, int64_t shift, int64_t n) {
    const auto within = [n](int64_t at) { return smaller(larger(at, 0), n); };
    return {inputs.begin == 0 ? 0 : within(inputs.begin - shift),
            inputs.end == n ? n : within(inputs.end - shift)};
  }
};

// The spatial filter's gradient where X counts as 0: 0 or NaN.
template <typename T, typename E>
DDF_SHARED T outside_value(const Problem& p, int64_t image, int64_t group, int64_t tap, int64_t y,
                           int64_t x) {
  const int64_t first = group * p.group_channels();
  const auto g = Map<const E>::of(p.output, image, first);
  const FilterView& view = p.channel_filter;
  const E* f = static_cast<const E*>(view.data) + image * view.b + first * view.c +
               tap / 3 * view.y + tap % 3 * view.x;
  T sum = 0;
  for (int64_t c = 0; c < p.group_channels(); ++c) {
    T product = T(0) * load_scalar<T>(g.data + c * g.c + y * g.y + x * g.x);
    if (p.combine == Combine::multiply) product *= load_scalar<T>(f + c * view.c);
    sum += product;
  }
  return sum;
}

}  // namespace ddf::DDF_NAMESPACE
