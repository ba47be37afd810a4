// What a kernel needs to know about one call: raw pointers, sizes, strides. No torch, no Python.
#pragma once

#include <cstdint>

// Always inline: a copy that one instruction set's translation unit emits must not be the one that
// the linker keeps for all.
#if defined(__CUDACC__)
#define DDF_HOST_DEVICE __host__ __device__
#else
#define DDF_HOST_DEVICE __attribute__((always_inline))
#endif

namespace ddf {

// The element types, and what torch calls them: checks, dispatch, the build and the reports take
// them from here.
#define DDF_DTYPES(X) \
  X(float64, Double)  \
  X(float32, Float)   \
  X(float16, Half)    \
  X(bfloat16, BFloat16)

#define DDF_ENUMERATOR(name, scalar_type) name,
enum class DType { DDF_DTYPES(DDF_ENUMERATOR) };
#undef DDF_ENUMERATOR

// What an output pixel's weights are: of both filters, or of the one that a call has.
enum class Combine { multiply, add, spatial, channel };

// A (B, C, H, W) tensor. Strides count elements and may be anything that torch allows.
struct View {
  void* data = nullptr;
  int64_t b = 0, c = 0, y = 0, x = 0;
  // Largest element offset inside the tensor: what lies below it is memory of the same storage,
  // so a vector load may run past the end of a row as long as it stays within.
  int64_t last = 0;
};

// A (B, r*r, C, kh, kw) channel filter; `p` is the stride of the phase, 0 if shared by the phases.
struct FilterView {
  void* data = nullptr;
  int64_t b = 0, p = 0, c = 0, y = 0, x = 0;
};

// `ddf` (scale 1) and `ddf_upsample` (stride 1) are one operator. Position (i, j) of the base grid
// reads the neighbourhood of input pixel (i * stride_y, j * stride_x) and yields the output pixels
// (i * scale + py, j * scale + px). The phases py, px run over [0, scale), and in the last row and
// column of the base grid on to the end of the output.
struct Problem {
  DType dtype = DType::float32;
  Combine combine = Combine::multiply;
  int64_t batch = 0, channels = 0, groups = 1;
  int64_t height = 0, width = 0;          // of the input
  int64_t out_height = 0, out_width = 0;  // of the output
  int64_t kernel_y = 1, kernel_x = 1, dilation_y = 1, dilation_x = 1;
  int64_t stride_y = 1, stride_x = 1, scale = 1;

  View features;
  // One of the two may be missing, as `combine` says; `groups` is 1 without a spatial filter.
  FilterView channel_filter;
  View spatial_filter;
  View output;  // of the forward pass; its gradient in the backward pass

  // Backward only; null data where no gradient is asked for.
  View grad_features;
  FilterView grad_channel;
  View grad_spatial;
  // Sums of grad_channel over one tile each, in the accumulation type, added up by a second stage.
  void* partial_sums = nullptr;

  DDF_HOST_DEVICE int64_t taps() const { return kernel_y * kernel_x; }
  DDF_HOST_DEVICE int64_t group_channels() const { return channels / groups; }
  DDF_HOST_DEVICE int64_t grid_height() const { return scale == 1 ? out_height : height; }
  DDF_HOST_DEVICE int64_t grid_width() const { return scale == 1 ? out_width : width; }
  // A filter may be spread over the phases by a stride of 0; its gradient never is.
  DDF_HOST_DEVICE int64_t phases() const {
    return channel_filter.p == 0 && grad_channel.p == 0 ? 1 : scale * scale;
  }
};

// FilterNorm of (B, filters * taps, H, W), or its gradient.
struct FilterNormProblem {
  // Below this a variance is rounding noise: ddf_seg/ops/filter_norm.py.
  static constexpr double kLeastVariance = 1e-24;

  DType dtype = DType::float32;
  int64_t batch = 0, filters = 0, taps = 2, height = 0, width = 0;
  double gain = 1, eps = 0;
  const float* scale = nullptr;  // of eps; 1 without it
  // Learned, of each filter's taps: (filters * taps), contiguous, in the type of the sums; null: 1
  // and 0.
  const void *deviations = nullptr, *means = nullptr;
  View x;
  View grad_output;  // of the gradient only
  View to;           // the output, or the gradient of x

  // Of the CPU: pixels of a row that a unit has, and whether they are filters of an image.
  int64_t run = 1;
  bool filters_along_x = false;

  DDF_HOST_DEVICE int64_t runs() const { return (width + run - 1) / run; }
  DDF_HOST_DEVICE int64_t units() const { return batch * filters * height * runs(); }
};

// Deviation that the weights of a layer give to independent inputs of deviation 1, at most 1: their
// norm over the root of the number of outputs. With a second layer after it, the product.
struct WeightGainProblem {
  DType dtype = DType::float32;
  int layers = 1;
  const void* weights[2] = {};  // contiguous, of one layer or two
  int64_t elements[2] = {};
  float factors[2] = {};  // 1 / sqrt(outputs)
  float* to = nullptr;
};

// Of one input (B, C, H, W), for each phase, a depthwise convolution of odd side and stride 1 with
// zeros around, and a 1x1 convolution of that to `outputs` maps; or the gradients. Without
// depthwise filters, the 1x1 convolution is of the input itself, and `side` is 1. The phases' maps
// lie side by side, (B, phases * outputs, H, W), or where the scale is r > 1 and there are r * r
// phases, pixel by pixel on a finer map, (B, outputs, r * H, r * W).
struct DepthwisePointwise {
  DType dtype = DType::float32;
  int64_t batch = 0, channels = 0, height = 0, width = 0, phases = 1, outputs = 1, side = 1;
  int64_t scale = 1;
  View x;
  // (phases, channels, side, side), contiguous as the next two; null: none
  const void* depthwise = nullptr;
  const void* pointwise = nullptr;  // (phases, outputs, channels)
  const void* bias = nullptr;       // (phases * outputs)
  View out;                         // of the forward pass; its gradient in the backward pass

  // Backward only; null data: not wanted.
  View grad_x;
  void *grad_depthwise = nullptr, *grad_pointwise = nullptr;
  void* partial_sums = nullptr;  // of both, of each tile, in the accumulation type

  DDF_HOST_DEVICE bool has_parameter_gradients() const {
    return grad_depthwise != nullptr || grad_pointwise != nullptr;
  }
  DDF_HOST_DEVICE bool is_backward() const {
    return grad_x.data != nullptr || has_parameter_gradients();
  }
  DDF_HOST_DEVICE int64_t taps() const { return side * side; }
  // Maps of each channel that the 1x1 convolutions take.
  DDF_HOST_DEVICE int64_t copies() const { return depthwise != nullptr ? phases : 1; }
  DDF_HOST_DEVICE int64_t depthwise_elements() const {
    return depthwise != nullptr ? phases * channels * taps() : 0;
  }
  DDF_HOST_DEVICE int64_t pointwise_elements() const { return phases * outputs * channels; }
  DDF_HOST_DEVICE int64_t parameter_elements() const {
    return depthwise_elements() + pointwise_elements();
  }
};

// Filters of kernel² taps, (B, maps * groups * taps, H, W), from logits (B, groups * taps, H, W),
// and where depth > 0 the products of a query (B, groups * depth, H, W) with the keys
// (B, groups * depth, low_height, low_width) around each pixel's parent; or the logits' gradient.
struct InterpolationSoftmaxProblem {
  DType dtype = DType::float32;
  int64_t batch = 0, maps = 1, groups = 1, kernel = 1, depth = 0, scale = 1;
  int64_t height = 0, width = 0, low_height = 0, low_width = 0;
  View logits, query, key;
  View out;  // of the forward pass; its gradient in the backward pass
  // (2 + maps, kernel, height) and (2 + maps, kernel, width), contiguous, in the type of the sums:
  // logarithm of the prior, its softmax, weights of each map.
  const void *rows = nullptr, *columns = nullptr;
  View grad_logits;  // backward only

  DDF_HOST_DEVICE int64_t taps() const { return kernel * kernel; }
  // Those that do not share the last parent with others beyond its step.
  DDF_HOST_DEVICE int64_t own_columns() const {
    return depth > 0 && width > low_width * scale ? low_width * scale : width;
  }
};

}  // namespace ddf
