// The CPU's kernels: how a call is cut into units, and the table of one instruction set.
#pragma once

#include "../problem.h"

namespace ddf {

// How a call is cut into units. A unit is computed by one thread, start to end; which thread and
// when changes nothing, so results do not depend on the number of threads.
struct Plan {
  bool lanes_are_channels = false;  // vectors run along channels (channels_last), else along a row
  int64_t tile_rows = 1, tile_columns = 1, tiles_y = 1, tiles_x = 1;
  int64_t chunk_channels = 1,
          chunks = 1;  // of a group's channels; ddf's backward pass has one chunk
  int64_t images = 1;  // of a unit
  int64_t units = 0;
  bool stream = false;        // the output is too large for the caches
  int64_t scratch_bytes = 0;  // per thread
  int64_t partial_bytes = 0;  // of Problem::partial_sums
};

// The kernels of one instruction set and element type.
struct Kernels {
  const char* capability;
  Plan (*plan_forward)(const Problem&, int64_t threads);
  void (*forward)(const Problem&, const Plan&, int64_t unit, void* scratch);
  Plan (*plan_backward)(const Problem&);
  void (*backward)(const Problem&, const Plan&, int64_t unit, void* scratch);
  // Adds up the partial sums of some channels, counted through all images, in the order of the
  // tiles.
  void (*reduce_channel)(const Problem&, const Plan&, int64_t begin, int64_t end);
  int64_t (*filter_norm_scratch_bytes)(const FilterNormProblem&);  // per thread
  void (*filter_norm)(const FilterNormProblem&, int64_t unit, void* scratch);
  Plan (*plan_interpolation_softmax)(const InterpolationSoftmaxProblem&);
  // One tile of one group, of the logits' gradient where the problem has room for it.
  void (*interpolation_softmax)(const InterpolationSoftmaxProblem&, const Plan&, int64_t unit,
                                void* scratch);
  Plan (*plan_depthwise_pointwise)(const DepthwisePointwise&);
  // A tile of an image; of the gradients, where the problem has room for any of them, a tile of the
  // plan's number of images and of a chunk of channels.
  void (*depthwise_pointwise)(const DepthwisePointwise&, const Plan&, int64_t unit, void* scratch);
  // Adds up the partial sums of some parameters' gradients, in the order of the tiles.
  void (*reduce_parameters)(const DepthwisePointwise&, const Plan&, int64_t begin, int64_t end);
};

using KernelsOf = const Kernels& (*)(DType);

// The kernels of the best instruction set this machine has, or of the one that the environment
// variable DDF_SEG_CPU_CAPABILITY (default, avx2, avx512) asks for. Null with `error` set if the
// variable names one that is unknown, not compiled in or not supported by the machine. `narrow`:
// for maps of half a vector or less, see is_narrow().
KernelsOf select_kernels(bool narrow, const char** error);

// Whether the rows of a contiguous map fill at most half a vector of 512 bits: shorter vectors
// compute it in half the time, unless DDF_SEG_CPU_CAPABILITY forbids them.
bool is_narrow(const Problem& p);

}  // namespace ddf
