// The operator's geometry, for the CPU and CUDA alike: which input pixels, which phase of the
// channel filter and which weight belong to an output pixel. All coordinates are of one axis.
#pragma once

#include "problem.h"

namespace ddf {

// Distance of a tap from the centre of its kernel, in pixels of the input.
template <typename I>
DDF_HOST_DEVICE constexpr I tap_shift(I tap, I kernel, I dilation) {
  return (tap - kernel / 2) * dilation;
}

// The position of the base grid that an output pixel belongs to: pixels past the end of
// scale * grid belong to the last one.
template <typename I>
DDF_HOST_DEVICE constexpr I position_of(I out, I scale, I grid) {
  if (scale == 1) return out;
  const I position = out / scale;
  return position < grid ? position : grid - 1;
}

// The output pixels of one position: [first, end).
template <typename I>
DDF_HOST_DEVICE constexpr I first_output(I position, I scale) {
  return position * scale;
}
template <typename I>
DDF_HOST_DEVICE constexpr I end_output(I position, I scale, I grid, I out) {
  const I end = (position + 1) * scale;
  return position == grid - 1 || end > out ? out : end;
}

// The position whose tap at distance `shift` reads pixel `source` of the input, or -1.
template <typename I>
DDF_HOST_DEVICE constexpr I reader_of(I source, I shift, I stride, I grid) {
  const I at = source - shift;
  if (at < 0 || at % stride != 0) return -1;
  return at / stride < grid ? at / stride : -1;
}

// Which channel filter an output pixel has.
template <typename I>
DDF_HOST_DEVICE constexpr I filter_index(I y, I x, I scale) {
  return scale == 1 ? 0 : y % scale * scale + x % scale;
}

template <bool kMultiply, typename T>
DDF_HOST_DEVICE constexpr T combine(T of_channel, T of_pixel) {
  return kMultiply ? of_channel * of_pixel : of_channel + of_pixel;
}

}  // namespace ddf
