// The second stage of the filters' gradients: sums that blocks left in memory are added up, in an
// order that depends on their number alone.
#pragma once

#include "work.cuh"

namespace ddf::cuda {

inline constexpr int kSumsEach = 32;                     // that a block makes
inline constexpr int kPartLanes = kThreads / kSumsEach;  // threads that share the parts of one

// `count` sums over `parts` values each: calls store(i, sum) for each of them. Value i of a part
// lies at parts_of(i), that of the next part `apart` on.
template <typename T, typename PartsOf, typename Store>
__device__ inline void reduce_parts(int64_t count, int64_t parts, int64_t apart,
                                    const PartsOf& parts_of, const Store& store) {
  T* const shared = shared_memory<T>();
  const int lane = static_cast<int>(threadIdx.x) % kSumsEach;
  const int part_lane = static_cast<int>(threadIdx.x) / kSumsEach;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kSumsEach;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * kSumsEach; first < count; first += step) {
    const int64_t i = first + lane;
    T sum = 0;
    if (i < count) {
      const T* const values = parts_of(i);
#pragma unroll 8
      for (int64_t part = part_lane; part < parts; part += kPartLanes) sum += values[part * apart];
    }
    __syncthreads();  // the sums before these have been read
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (part_lane > 0 || i >= count) continue;
    for (int j = 1; j < kPartLanes; ++j) sum += shared[j * kSumsEach + lane];
    store(i, sum);
  }
}

// Of the channel filter: over the tiles, whose sums are [image][tile][phase][channel][tap].
template <typename E>
__global__ void __launch_bounds__(kThreads) reduce_tiles(const __grid_constant__ Work w) {
  using T = Sum<E>;
  const Problem& p = w.p;
  const int taps = static_cast<int>(p.kernel_y * p.kernel_x);
  const int64_t per_phase = p.channels * taps, per_image = w.phases * per_phase;
  const int64_t parts = w.channel_parts();
  reduce_parts<T>(
      p.batch * per_image, parts, per_image,
      [&](int64_t i) {
        return static_cast<const T*>(p.partial_sums) + i / per_image * parts * per_image +
               i % per_image;
      },
      [&](int64_t i, T sum) {
        const int64_t filter = i % per_image;
        const int tap = static_cast<int>(filter % taps), kernel_x = static_cast<int>(p.kernel_x);
        const FilterView& to = p.grad_channel;
        const_cast<E*>(filter_at<E>(
            to, i / per_image, filter / per_phase,
            filter % per_phase / taps))[tap / kernel_x * to.y + tap % kernel_x * to.x] =
            narrow<E>(sum);
      });
}

// Of the spatial filter: over chunks of a group's channels, [chunk][image][group and tap][y][x].
template <typename E>
__global__ void __launch_bounds__(kThreads) reduce_chunks(const __grid_constant__ Work w) {
  using T = Sum<E>;
  const Problem& p = w.p;
  const int64_t map = p.out_height * p.out_width, maps = p.groups * p.taps();
  reduce_parts<T>(
      p.batch * maps * map, w.chunks, p.batch * maps * map,
      [&](int64_t i) { return static_cast<const T*>(w.spatial_sums) + i; },
      [&](int64_t i, T sum) {
        *const_cast<E*>(at<E>(p.grad_spatial, i / (maps * map), i / map % maps,
                              i % map / p.out_width, i % p.out_width)) = narrow<E>(sum);
      });
}

}  // namespace ddf::cuda
