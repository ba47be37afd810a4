// Kernels whose threads have a group of a pixel each: how a block shares these out, and the launch.
#pragma once

#include <cuda_runtime.h>

#include "plan.cuh"
#include "typed.h"
#include "work.cuh"

namespace ddf::cuda {

// A block has kThreads items, rows of 2^log_x of them.
struct Items {
  int64_t batch = 0, groups = 0, height = 0, width = 0;
  int log_x = 0;
  // Neighbouring items are neighbouring groups (channels_last), else neighbouring pixels.
  bool groups_first = false;

  Items() = default;
  // Of what has batch, height and width.
  template <typename AnyProblem>
  Items(const AnyProblem& p, int64_t groups_, const View& view)
      : batch(p.batch),
        groups(groups_),
        height(p.height),
        width(p.width),
        // A warp wide where the map is: rows below each other share what they read.
        log_x(least(5, log_up(groups_ * p.width))),
        groups_first(is_channels_last(view)) {}

  DDF_HOST_DEVICE int block_rows() const { return kThreads >> log_x; }
};

// A group of a pixel.
struct Item {
  int64_t image;
  int group, y, x;
};

template <typename Body>
__device__ inline void for_each_item(const Items& items, const Body& body) {
  const int thread = static_cast<int>(threadIdx.x), rows = items.block_rows();
  const int groups = static_cast<int>(items.groups), width = static_cast<int>(items.width);
  const int i = static_cast<int>(blockIdx.x) << items.log_x | (thread & ((1 << items.log_x) - 1));
  if (i >= groups * width) return;
  Item item;
  item.group = items.groups_first ? i % groups : i / width;
  item.x = items.groups_first ? i / groups : i % width;
  const int first = static_cast<int>(blockIdx.y) * rows + (thread >> items.log_x);
  for (item.image = blockIdx.z; item.image < items.batch; item.image += gridDim.z)
    for (item.y = first; item.y < items.height; item.y += static_cast<int>(gridDim.y) * rows)
      body(item);
}

// What an item has in a tensor of `each` channels a group.
template <typename E>
__device__ inline E* of_item(const View& view, const Item& item, int64_t each) {
  return const_cast<E*>(at<E>(view, item.image, item.group * each, item.y, item.x));
}

// The kernel of a call; AnyWork has `items`.
template <typename AnyWork>
struct Choice {
  const char* name;
  void (*kernel)(AnyWork);

  cudaError_t launch(const AnyWork& w, cudaStream_t stream) const {
    const Items& items = w.items;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(
        static_cast<unsigned>(ceil_div(items.groups * items.width, int64_t{1} << items.log_x)),
        static_cast<unsigned>(least(ceil_div(items.height, items.block_rows()), DDF_GRID_LIMIT)),
        static_cast<unsigned>(least(items.batch, DDF_GRID_LIMIT)));
    config.blockDim = dim3(kThreads);
    config.stream = stream;
    note_launch(name);
    return cudaLaunchKernelEx(&config, kernel, w);
  }
};

}  // namespace ddf::cuda
