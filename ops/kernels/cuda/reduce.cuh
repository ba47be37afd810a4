// The second stage of the filters' gradients: sums that blocks left in memory are added up, in an
// order that depends on their number alone.
#pragma once

#include "work.cuh"

namespace ddf::cuda {

inline constexpr int kReducers = 256;  // threads of a block
inline constexpr int kPartsEach = 8;   // that a thread adds up, unless more threads cannot share
inline constexpr int kMostSharers = 32;

// Threads that share the parts of one sum: few parts make one thread a sum, many leave each thread
// few loads in a row. The others of a block have neighbouring sums, a sector of memory at least.
DDF_HOST_DEVICE inline int sharers_of(int64_t parts) {
  int sharers = 1;
  while (sharers < kMostSharers && sharers * kPartsEach < parts) sharers *= 2;
  return sharers;
}
// Blocks for `count` sums.
DDF_HOST_DEVICE inline int64_t reduce_blocks(int64_t count, int64_t parts) {
  const int64_t sums = kReducers / sharers_of(parts);
  return (count + sums - 1) / sums;
}

// `count` sums over `parts` values each, whose first lies at values_of(i) and the next `apart` on:
// calls store(i, sum) for each of them. By every blocks-th block.
template <typename T, typename ValuesOf, typename Store>
__device__ inline void reduce_parts(int64_t block, int64_t blocks, int64_t count, int64_t parts,
                                    int64_t apart, const ValuesOf& values_of, const Store& store) {
  T* const shared = shared_memory<T>();
  const int sharers = sharers_of(parts), sums = kReducers / sharers;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread & (sums - 1), sharer = thread / sums;
  for (int64_t first = block * sums; first < count; first += blocks * sums) {
    const int64_t i = first + lane;
    T sum = 0;
    if (i < count) {
      const T* const values = values_of(i);
#pragma unroll 8
      for (int64_t part = sharer; part < parts; part += sharers) sum += values[part * apart];
    }
    if (sharers > 1) {
      __syncthreads();  // the sums before these have been read
      shared[thread] = sum;
      __syncthreads();
    }
    if (sharer > 0 || i >= count) continue;
    for (int j = 1; j < sharers; ++j) sum += shared[j * sums + lane];
    store(i, sum);
  }
}

// Of the channel filter: over the tiles, whose sums are [image][tile][phase][channel][tap].
template <typename E>
__device__ inline void reduce_tiles(const Work& w, int64_t block, int64_t blocks) {
  using T = Sum<E>;
  const Problem& p = w.p;
  const int taps = static_cast<int>(p.kernel_y * p.kernel_x);
  const int64_t per_phase = p.channels * taps, per_image = w.phases * per_phase;
  const int64_t parts = w.channel_parts();
  reduce_parts<T>(
      block, blocks, p.batch * per_image, parts, per_image,
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

// Of the spatial filter: over chunks of a group's channels, each laid out as the gradient is.
template <typename E>
__device__ inline void reduce_chunks(const Work& w, int64_t block, int64_t blocks) {
  using T = Sum<E>;
  const int64_t count = w.spatial_gradients();
  reduce_parts<T>(
      block, blocks, count, w.chunks, count,
      [&](int64_t i) { return static_cast<const T*>(w.spatial_sums) + i; },
      [&](int64_t i, T sum) { static_cast<E*>(w.p.grad_spatial.data)[i] = narrow<E>(sum); });
}

// Both in one launch: the first blocks have tiles, the others chunks.
template <typename E>
__global__ void __launch_bounds__(kReducers) reduce_sums(const __grid_constant__ Work w) {
  const int64_t block = blockIdx.x, of_tiles = w.tile_reducers;
  if (block < of_tiles)
    reduce_tiles<E>(w, block, of_tiles);
  else
    reduce_chunks<E>(w, block - of_tiles, gridDim.x - of_tiles);
}

}  // namespace ddf::cuda
