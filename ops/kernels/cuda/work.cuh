// What every kernel gets: the problem, how it is cut into blocks, and how a block shares it out.
#pragma once

#include <cuda_runtime.h>

#include "../formula.h"
#include "element.cuh"
#include "line.cuh"

namespace ddf::cuda {

inline constexpr int kThreads = 128;  // of a block, at most
inline constexpr int kMostTaps = 25;  // of the kernels that are specialised

// For architectures from 10.0 on, ptxas moves more loads up than registers allow, and spills what
// outer loops need. There, some kernels leave it less to move.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
inline constexpr bool kBlackwell = true;
#else
inline constexpr bool kBlackwell = false;
#endif

// Blocks that a multiprocessor's registers must hold, for __launch_bounds__, given the values that
// a thread holds throughout a loop. Left to itself ptxas spills a few registers to fit more blocks.
constexpr int least_blocks(int values, size_t bytes_each) {
  const int registers = values * static_cast<int>(bytes_each) / 4;
  return registers <= 45 ? 4 : registers <= 60 ? 3 : 2;
}

// A block's threads: a tile of pixels by a number of channels, all powers of two.
struct Lanes {
  int log_x = 0, log_y = 0, log_channels = 0;
  // Neighbouring threads are neighbouring channels (channels_last), else neighbouring pixels.
  bool channels_first = false;

  DDF_HOST_DEVICE int x() const { return 1 << log_x; }
  DDF_HOST_DEVICE int y() const { return 1 << log_y; }
  DDF_HOST_DEVICE int channels() const { return 1 << log_channels; }
  DDF_HOST_DEVICE int pixels() const { return 1 << (log_x + log_y); }
  DDF_HOST_DEVICE int threads() const { return 1 << (log_x + log_y + log_channels); }
};

struct Lane {
  int x, y, channel;
};

__device__ inline Lane lane_of(const Lanes& lanes, int thread) {
  const int inner = lanes.channels_first ? lanes.log_channels : 0;
  const int pixel = thread >> inner;
  return {pixel & (lanes.x() - 1), pixel >> lanes.log_x & (lanes.y() - 1),
          (lanes.channels_first ? thread : thread >> (lanes.log_x + lanes.log_y)) &
              (lanes.channels() - 1)};
}
__device__ inline Lane lane_of(const Lanes& lanes) {
  return lane_of(lanes, static_cast<int>(threadIdx.x));
}
// The same for use in each pass of a loop, through which no registers should hold it.
__device__ inline Lane lane_anew(const Lanes& lanes) {
  int thread = static_cast<int>(threadIdx.x);
#if defined(__CUDA_ARCH__)
  if constexpr (kBlackwell) asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
#endif
  return lane_of(lanes, thread);
}

// One launch. Blocks are numbered by group and chunk of its channels (x), tile (y), image (z):
// those that run at a time share a tile, and with it the spatial weights in the L2 cache.
struct Work {
  Problem p;
  // What a filter reads and writes: the features and the output, or (transposed, stride and scale
  // 1) the output's gradient and the features'. Transposed, the kernel is turned by half a turn and
  // each tap has the spatial weight of the pixel it reads.
  View from, to;
  bool transposed = false;
  Lanes lanes;
  int tile_height = 1, tile_width = 1, tiles_y = 1, tiles_x = 1;  // in pixels
  int groups_x = 1;     // of pixels a dilation apart that a thread has at once, in a row
  int tile_phases = 1;  // tiles that lie in one place, each with the pixels of one phase
  int chunk_channels = 1, chunks = 1;  // of a group
  int phases = 1;                      // of the channel filter
  int shared_bytes = 0;
  // Of the specialised kernels, in elements: a tap of `from`, from the centre; its spatial weight,
  // from tap 0 of the pixel in hand; its channel filter, from tap 0 of the filter.
  int tap_offset[kMostTaps] = {};
  int64_t spatial_offset[kMostTaps] = {};
  int64_t filter_offset[kMostTaps] = {};

  // Sums of the spatial filter's gradient over each chunk of channels, where there are several,
  // each laid out as the gradient is.
  void* spatial_sums = nullptr;
  int64_t tile_reducers = 0;  // blocks of the second stage that add up tiles

  DDF_HOST_DEVICE int tiles() const { return tiles_y * tiles_x * tile_phases; }
  // Elements of the spatial filter's gradient, which has no gaps.
  DDF_HOST_DEVICE int64_t spatial_gradients() const {
    return p.batch * p.groups * p.taps() * p.out_height * p.out_width;
  }
  // Over which the channel filter's gradient of one phase is summed up; where the phases share a
  // filter, those of all phases.
  DDF_HOST_DEVICE int64_t channel_parts() const {
    return phases == 1 ? tiles() : int64_t{tiles_y} * tiles_x;
  }
};

// What one pass of a block computes.
struct Unit {
  int image, group;
  int first, end;  // channels
  int chunk;
  int y, x;  // of the tile
  int tile, phase;
};

// Passes, one after another, whose number no limit of the grid's y and z bounds.
template <typename Body>
__device__ inline void for_each_unit(const Work& w, const Body& body) {
  const int group_channels = static_cast<int>(w.p.group_channels());
  const int slice = static_cast<int>(blockIdx.x), tiles = w.tiles();
  Unit unit;
  unit.group = slice / w.chunks;
  unit.chunk = slice % w.chunks;
  unit.first = unit.group * group_channels + unit.chunk * w.chunk_channels;
  unit.end = min(unit.first + w.chunk_channels, (unit.group + 1) * group_channels);
  for (unit.image = blockIdx.z; unit.image < w.p.batch; unit.image += gridDim.z)
    for (unit.tile = blockIdx.y; unit.tile < tiles; unit.tile += gridDim.y) {
      unit.phase = unit.tile % w.tile_phases;
      unit.y = unit.tile / w.tile_phases / w.tiles_x * w.tile_height;
      unit.x = unit.tile / w.tile_phases % w.tiles_x * w.tile_width;
      body(unit);
    }
}

template <typename T>
__device__ inline T* shared_memory() {
#if defined(DDF_DYNAMIC_SHARED_MEMORY)
  return static_cast<T*>(DDF_DYNAMIC_SHARED_MEMORY);  // tests/test_ops/cuda_emulation
#else
  extern __shared__ __align__(16) unsigned char ddf_shared_memory[];
  return reinterpret_cast<T*>(ddf_shared_memory);
#endif
}

template <typename E>
__device__ inline const E* at(const View& view, int64_t image, int64_t channel, int64_t y,
                              int64_t x) {
  return static_cast<const E*>(view.data) + image * view.b + channel * view.c + y * view.y +
         x * view.x;
}

// Zeros where there is no filter: all strides are 0 then.
template <typename E>
__device__ inline const E* filter_at(const FilterView& view, int64_t image, int64_t phase,
                                     int64_t channel) {
  const void* const data = view.data == nullptr ? kZeros : view.data;
  return static_cast<const E*>(data) + image * view.b + phase * view.p + channel * view.c;
}

// A value of the spatial filter's gradient, or its share of this chunk of channels.
template <typename E>
__device__ inline void store_spatial(const Work& w, const Unit& unit, int tap, int y, int x,
                                     Sum<E> sum) {
  const View& to = w.p.grad_spatial;
  const E* const here = at<E>(to, unit.image, unit.group * w.p.taps() + tap, y, x);
  if (w.chunks == 1) {
    *const_cast<E*>(here) = narrow<E>(sum);
  } else {
    static_cast<Sum<E>*>(w.spatial_sums)[unit.chunk * w.spatial_gradients() +
                                         (here - static_cast<const E*>(to.data))] = sum;
  }
}

// Where the neighbourhood of an output pixel lies.
struct Centre {
  int y, x;
};

__device__ inline Centre centre_of(const Problem& p, int y, int x) {
  const int scale = static_cast<int>(p.scale);
  return {position_of(y, scale, static_cast<int>(p.grid_height())) * static_cast<int>(p.stride_y),
          position_of(x, scale, static_cast<int>(p.grid_width())) * static_cast<int>(p.stride_x)};
}

__device__ inline int phase_at(const Work& w, int y, int x) {
  return w.phases == 1 ? 0 : filter_index(y, x, static_cast<int>(w.p.scale));
}

__device__ inline bool contains(int i, int64_t size) {
  return static_cast<unsigned>(i) < static_cast<unsigned>(size);
}

// The weight of a tap; where the spatial filter is not alone, of both.
template <Combine kCombine, typename T>
__device__ inline T weigh(T of_channel, T of_pixel) {
  if constexpr (kCombine == Combine::spatial) return of_pixel;
  return combine<kCombine == Combine::multiply>(of_channel, of_pixel);
}

// store(i, value) for the values at from(i), i < count, that the block's threads share out. Each
// has several loads under way at a time.
template <typename E, typename From, typename Store>
__device__ inline void copy_shared(int count, const From& from, const Store& store) {
  constexpr int kEach = 8;
  const int threads = static_cast<int>(blockDim.x);
#pragma unroll 1
  for (int first = static_cast<int>(threadIdx.x); first < count; first += kEach * threads) {
    E values[kEach];
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int i = first + j * threads;
      values[j] = load_pack_if<1>(i < count, from(i)).of[0];
    }
#pragma unroll
    for (int j = 0; j < kEach; ++j)
      if (first + j * threads < count) store(first + j * threads, widen(values[j]));
  }
}

// Channel filters in shared memory: [channel][phase][tap], each filter padded to an odd number of
// 16-byte words, so that neither 128-bit nor scalar loads of neighbouring filters share a bank.
template <typename T, int kKernel>
struct Stage {
  static constexpr int kTaps = kKernel * kKernel;
  static constexpr int kWord = 16 / static_cast<int>(sizeof(T));
  static constexpr int kPitch = ((kTaps + kWord - 1) / kWord | 1) * kWord;
  static constexpr int kBytes = kPitch * static_cast<int>(sizeof(T));

  template <typename E>
  __device__ static void fill(T* filters, const Work& w, int image, int first, int end, int phase) {
    const FilterView& f = w.p.channel_filter;
    if (w.phases == 1) phase = 0;
    copy_shared<E>((end - first) * kTaps,
                   [&](int i) {
                     return filter_at<E>(f, image, phase, first + i / kTaps) +
                            w.filter_offset[i % kTaps];
                   },
                   [&](int i, T value) { filters[i / kTaps * kPitch + i % kTaps] = value; });
  }

  // Zeros where the spatial filter is alone, and nothing in shared memory.
  template <Combine kCombine = Combine::multiply>
  __device__ static void load(const T* filter, T (&to)[kPitch]) {
#pragma unroll
    for (int i = 0; i < kPitch; i += kWord) {
      if constexpr (kCombine == Combine::spatial) {
        for (int j = 0; j < kWord; ++j) to[i + j] = 0;
        continue;
      }
      const Pack<T, kWord> word = load_pack<kWord>(filter + i);
#pragma unroll
      for (int j = 0; j < kWord; ++j) to[i + j] = word.of[j];
    }
  }
};

}  // namespace ddf::cuda
