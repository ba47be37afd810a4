// Neighbouring threads as neighbouring pixels of a row, each with some pixels of a column: maps of
// any width, layout and alignment. A thread reads the neighbourhoods of its pixels, channel after
// channel.
#pragma once

#include "work.cuh"

namespace ddf::cuda {

// The output pixels of a thread. Where rows of the features are read for several of them (kShared)
// they lie a vertical dilation apart. With a scale, all belong to the unit's phase.
template <int kPixels, bool kShared>
struct Column {
  int y, x;    // of the first
  int apart;   // in rows of the output
  int pixels;  // that there are

  __device__ Column(const Work& w, const Unit& unit, const Lane& lane) {
    const int scale = static_cast<int>(w.p.scale);
    const int step = kShared ? static_cast<int>(w.p.dilation_y) : 1;
    const int line = unit.y + lane.y;
    y = (line / step * step * kPixels + line % step) * scale + unit.phase / scale;
    x = (unit.x + lane.x) * scale + unit.phase % scale;
    apart = step * scale;
    const int height = static_cast<int>(w.p.out_height);
    pixels = y < height && x < w.p.out_width ? min(kPixels, (height - y + apart - 1) / apart) : 0;
  }
  __device__ bool has(int pixel) const { return pixel < pixels; }
};

// All ones where contains(i, size), else 0: by arithmetic. The compiler must not know that it is
// one of both: it would make a condition of it, and that anew for each use.
__device__ inline unsigned mask_of(int i, int64_t size) {
  const unsigned index = static_cast<unsigned>(i), last = static_cast<unsigned>(size) - 1;
  unsigned mask = ~static_cast<unsigned>(static_cast<int>(index | (last - index)) >> 31);
#if defined(__CUDA_ARCH__)
  asm("mov.b32 %0, %0;" : "+r"(mask));
#endif
  return mask;
}

// Their neighbourhoods in a map. kShared: neighbouring pixels lie side by side in memory, stride
// and horizontal dilation are 1, and no output pixel lies beyond scale times the map.
template <typename E, int kKernel, int kPixels, bool kShared, bool kMasks = false>
struct Window {
  using T = Sum<E>;
  static constexpr int kReach = kKernel / 2;
  static constexpr int kRows = kShared ? kPixels + kKernel - 1 : kPixels * kKernel;

  Line<E> rows[kRows];  // at the centre's column, channel by channel
  bool inside_y[kRows], inside_x[kKernel];
  unsigned mask_y[kMasks ? kRows : 1], mask_x[kMasks ? kKernel : 1];  // the same, if kMasks
  int64_t column[kShared ? 1 : kKernel];  // from the centre's, in elements

  // Of a thread without pixels, any will do.
  __device__ Window(const Work& w, const View& map, int image, int channel,
                    const Column<kPixels, kShared>& column_of) {
    const Problem& p = w.p;
    const int y = column_of.pixels > 0 ? column_of.y : 0,
              x = column_of.pixels > 0 ? column_of.x : 0;
    const int scale = static_cast<int>(p.scale);
    const int centre_y = centre_of(p, y, x).y, centre_x = centre_of(p, y, x).x;
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const int dy =
          tap_shift(kShared ? row : row % kKernel, kKernel, static_cast<int>(p.dilation_y));
      const int at_y = (kShared ? centre_y : centre_of(p, y + row / kKernel * scale, x).y) + dy;
      inside_y[row] = row == kReach || contains(at_y, p.height);  // a centre is
      if constexpr (kMasks) mask_y[row] = mask_of(at_y, p.height);
      rows[row] = Line<E>::of(inside_y[row], at<E>(map, image, channel, at_y, centre_x), map.c);
    }
#pragma unroll
    for (int ix = 0; ix < kKernel; ++ix) {
      const int dx = tap_shift(ix, kKernel, static_cast<int>(p.dilation_x));
      inside_x[ix] = ix == kReach || contains(centre_x + dx, p.width);
      if constexpr (kMasks) mask_x[ix] = mask_of(centre_x + dx, p.width);
      if constexpr (!kShared) column[ix] = dx * map.x;
    }
  }

  __device__ static constexpr int row_of(int pixel, int tap) {
    return (kShared ? pixel : pixel * kKernel) + tap / kKernel;
  }
  __device__ bool inside(int pixel, int tap) const {
    return inside_y[row_of(pixel, tap)] && inside_x[tap % kKernel];
  }

  // The channel that lies `index` after the one it was made for: elements, or the type of sums.
  template <typename V>
  __device__ void load(V (&values)[kRows][kKernel], int index) const {
    const auto value = [](bool there, const E* p) {
      const E element = load_pack_if<1>(there, p).of[0];
      if constexpr (std::is_same_v<V, E>)
        return element;
      else
        return widen(element);
    };
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const E* const centre = rows[row].at(index);
#pragma unroll
      for (int ix = 0; ix < kKernel; ++ix)
        if constexpr (kShared) {
          values[row][ix] = value(inside_x[ix], centre + ix - kReach);
        } else {
          values[row][ix] = value(inside_y[row] && inside_x[ix], centre + column[ix]);
        }
    }
  }
};

// A value where `mask` is all ones, 0 where it is 0: an instruction for 32 bits, and no predicate.
__device__ inline float masked(float value, unsigned mask) {
  return __uint_as_float(__float_as_uint(value) & mask);
}
__device__ inline double masked(double value, unsigned mask) {
  return __longlong_as_double(__double_as_longlong(value) & static_cast<int>(mask));
}

}  // namespace ddf::cuda
