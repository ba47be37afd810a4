// Upsampling by 2 with kernels of 3 x 3 on contiguous maps: a thread makes the four outputs of a
// pixel, so that it reads its neighbourhood once; transposed, it gathers the pixel's gradient from
// the four outputs of each neighbour. It holds the spatial weights of all of them in registers and
// passes through the channels, whose filters come from shared memory. On the forward pass it loads
// the next channel's values before it multiplies this one's.
#pragma once

#include "columns.cuh"

namespace ddf::cuda {

inline constexpr int kScale = 2, kPhases = 4;

// The filters of a chunk of channels, [phase][channel]; of one phase where all share them.
template <typename E, Combine kCombine>
struct PhaseFilters {
  using T = Sum<E>;
  using Filters = Stage<T, 3>;
  T* data;
  int apart;  // from phase to phase

  __device__ PhaseFilters(const Work& w, const Unit& unit)
      : data(shared_memory<T>()), apart(w.phases == 1 ? 0 : w.chunk_channels * Filters::kPitch) {
    if constexpr (kCombine == Combine::spatial) return;
    __syncthreads();  // the last pass has read its filters
    const int each = (unit.end - unit.first) * Filters::kTaps;
    const auto from = [&](int i) {
      return filter_at<E>(w.p.channel_filter, unit.image, i / each,
                          unit.first + i % each / Filters::kTaps) +
             w.filter_offset[i % Filters::kTaps];
    };
    copy_shared<E>(w.phases * each, from, [&](int i, T value) {
      data[i / each * apart + i % each / Filters::kTaps * Filters::kPitch + i % Filters::kTaps] =
          value;
    });
    __syncthreads();
  }
  __device__ void load(int phase, int channel, T (&to)[Filters::kPitch]) const {
    Filters::template load<kCombine>(data + phase * apart + channel * Filters::kPitch, to);
  }
};

template <typename E, Combine kCombine>
__global__ void __launch_bounds__(kThreads, sizeof(Sum<E>) == 4 ? 4 : 2)
    upsample(const __grid_constant__ Work w) {
  using T = Sum<E>;
  constexpr int kTaps = 9;
  const Problem& p = w.p;
  const Lane lane = lane_of(w.lanes);
  for_each_unit(w, [&](const Unit& unit) {
    const int y = unit.y + lane.y, x = unit.x + lane.x;
    const bool exists = y < p.height && x < p.width;
    Line<E> rows[3];
    bool inside_x[3];
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const int at_y = y + tap_shift(i, 3, 1);
      inside_x[i] = i == 1 || contains(x + tap_shift(i, 3, 1), p.width);
      rows[i] = Line<E>::of(exists && contains(at_y, p.height),
                            at<E>(w.from, unit.image, unit.first, at_y, x), w.from.c);
    }
    const int channels = unit.end - unit.first;
    T next[kTaps];
    const auto load = [&](int c) {
#pragma unroll
      for (int i = 0; i < kTaps; ++i)
        next[i] = load_if(inside_x[i % 3], rows[i / 3].at_once(min(c, channels - 1)) + i % 3 - 1);
    };
    load(lane.channel);
    const int64_t first_tap = unit.group * kTaps;
    T spatial[kPhases][kTaps];
    Line<E> to[kScale];
#pragma unroll
    for (int py = 0; py < kScale; ++py) {
      const int out_y = y * kScale + py;
      to[py] = Line<E>::of(true, at<E>(w.to, unit.image, unit.first, out_y, x * kScale), w.to.c);
#pragma unroll
      for (int px = 0; px < kScale; ++px)
#pragma unroll
        for (int tap = 0; tap < kTaps; ++tap)
          spatial[py * kScale + px][tap] = load_if(
              exists, at<E>(p.spatial_filter, unit.image, first_tap + tap, out_y, x * kScale + px));
    }
    const PhaseFilters<E, kCombine> filters(w, unit);  // all of the above is under way meanwhile
    if (!exists) return;
#pragma unroll 1
    for (int c = lane.channel; c < channels; c += w.lanes.channels()) {
      T values[kTaps];
#pragma unroll
      for (int i = 0; i < kTaps; ++i) values[i] = next[i];
      load(c + w.lanes.channels());
#pragma unroll
      for (int py = 0; py < kScale; ++py) {
        Pack<E, kScale> out;
#pragma unroll
        for (int px = 0; px < kScale; ++px) {
          const int phase = py * kScale + px;
          T weights[PhaseFilters<E, kCombine>::Filters::kPitch], sum = 0;
          filters.load(phase, c, weights);
#pragma unroll
          for (int tap = 0; tap < kTaps; ++tap)
            sum += weigh<kCombine>(weights[tap], spatial[phase][tap]) * values[tap];
          out.of[px] = narrow<E>(sum);
        }
        store_pack(const_cast<E*>(to[py].at(c)), out);
      }
    }
  });
}

template <typename E, Combine kCombine>
__global__ void __launch_bounds__(kThreads, sizeof(Sum<E>) == 4 ? 4 : 2)
    upsample_transposed(const __grid_constant__ Work w) {
  using T = Sum<E>;
  constexpr int kTaps = 9;
  const Problem& p = w.p;
  for_each_unit(w, [&](const Unit& unit) {
    constexpr bool kShort = kCombine != Combine::spatial && sizeof(E) > 2;  // of registers
    const Lane lane = kShort ? lane_anew(w.lanes) : lane_of(w.lanes);
    const PhaseFilters<E, kCombine> filters(w, unit);
    const int y = unit.y + lane.y, x = unit.x + lane.x;
    if (y >= p.height || x >= p.width) return;
    const int64_t last_tap = unit.group * kTaps + kTaps - 1;
    // Of both rows of outputs: neighbours as pairs.
    Line<E> rows[kScale][3];
    unsigned mask_y[3], mask_x[3];
    bool inside_x[3];
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const int at_y = y + tap_shift(i, 3, 1), at_x = x + tap_shift(i, 3, 1);
      inside_x[i] = i == 1 || contains(at_x, p.width);
      const bool inside_y = contains(at_y, p.height);
      mask_x[i] = mask_of(at_x, p.width);
      mask_y[i] = mask_of(at_y, p.height);
#pragma unroll
      for (int py = 0; py < kScale; ++py)
        rows[py][i] = Line<E>::of(
            inside_y, at<E>(w.from, unit.image, unit.first, at_y * kScale + py, x * kScale),
            w.from.c);
    }
    T spatial[kPhases][kTaps];
#pragma unroll
    for (int phase = 0; phase < kPhases; ++phase)
#pragma unroll
      for (int i = 0; i < kTaps; ++i) {
        const int at_y = y + tap_shift(i / 3, 3, 1), at_x = x + tap_shift(i % 3, 3, 1);
        // The output there reads this pixel by the tap that is turned by half a turn, as are the
        // filters in shared memory.
        spatial[phase][i] =
            load_if(contains(at_y, p.height) && contains(at_x, p.width),
                    at<E>(p.spatial_filter, unit.image, last_tap - i,
                          at_y * kScale + phase / kScale, at_x * kScale + phase % kScale));
      }
    const Line<E> to = Line<E>::of(true, at<E>(w.to, unit.image, unit.first, y, x), w.to.c);
#pragma unroll 1
    for (int c = lane.channel; c < unit.end - unit.first; c += w.lanes.channels()) {
      T sum = 0;
#pragma unroll
      for (int py = 0; py < kScale; ++py) {
        Pack<E, kScale> values[kTaps];
#pragma unroll
        for (int i = 0; i < kTaps; ++i)
          values[i] = load_pack_if<kScale>(inside_x[i % 3],
                                           rows[py][i / 3].at_once(c) + (i % 3 - 1) * kScale);
#pragma unroll
        for (int px = 0; px < kScale; ++px) {
          const int phase = py * kScale + px;
          T weights[PhaseFilters<E, kCombine>::Filters::kPitch];
          filters.load(phase, c, weights);
#pragma unroll
          for (int i = 0; i < kTaps; ++i) {
            const T weight = weigh<kCombine>(weights[i], spatial[phase][i]);
            // An output that does not exist adds nothing, however large the weight; a spatial
            // weight alone is 0 there.
            constexpr bool kZero = kCombine == Combine::spatial;
            sum +=
                (kZero || i == kTaps / 2 ? weight : masked(weight, mask_y[i / 3] & mask_x[i % 3])) *
                widen(values[i].of[px]);
          }
        }
      }
      *const_cast<E*>(to.at(c)) = narrow<E>(sum);
    }
  });
}

}  // namespace ddf::cuda
