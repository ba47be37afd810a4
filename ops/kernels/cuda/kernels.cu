// Compiled once per element type, each time for one DDF_DTYPE of DDF_DTYPES (problem.h).
#include "filter_any.cuh"
#include "filter_channels.cuh"
#include "filter_pixels.cuh"
#include "grad_channel.cuh"
#include "grad_spatial.cuh"
#include "plan.cuh"
#include "typed.h"

namespace ddf::cuda {
namespace {

using E = ElementOf<DType::DDF_DTYPE>::type;
using T = Sum<E>;
constexpr int kElementBytes = sizeof(E), kSumBytes = sizeof(T);

using Kernel = void (*)(Work);

cudaError_t launch(Kernel kernel, const Work& w, cudaStream_t stream, dim3 grid, int threads) {
  if (w.shared_bytes > kMostShared) return cudaErrorInvalidValue;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(w.shared_bytes);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, w);
}

cudaError_t launch(Kernel kernel, const Work& w, cudaStream_t stream) {
  const int64_t tiles = int64_t{w.tiles_y} * w.tiles_x;
  if (tiles > INT32_MAX) return cudaErrorInvalidValue;
  const dim3 grid(static_cast<unsigned>(w.p.groups * w.chunks),
                  static_cast<unsigned>(least(tiles, DDF_GRID_LIMIT)),
                  static_cast<unsigned>(least(w.p.batch, DDF_GRID_LIMIT)));
  return launch(kernel, w, stream, grid, w.lanes.threads());
}

// Calls body with the kernel size (0: any) and the way of combining as constants.
template <typename Body>
auto for_kernel(int kernel, bool multiply, const Body& body) {
  const auto with_size = [&](auto combine) {
    switch (kernel) {
      case 3:
        return body(std::integral_constant<int, 3>{}, combine);
      case 5:
        return body(std::integral_constant<int, 5>{}, combine);
      default:
        return body(std::integral_constant<int, 0>{}, combine);
    }
  };
  return multiply ? with_size(std::true_type{}) : with_size(std::false_type{});
}

// Forward, or transposed the features' gradient of an operator with stride and scale 1.
cudaError_t filter(const Work& w, cudaStream_t stream) {
  const Problem& p = w.p;
  const Size out{p.out_height, p.out_width};
  return for_kernel(special_kernel(p, w.from), p.multiply, [&](auto kernel, auto multiply) {
    if constexpr (kernel() != 0) {
      using Filters = Stage<T, kernel()>;
      const auto aligned = [](const View& view, int n, bool last) {
        return is_aligned(view, n, kElementBytes, last);
      };
      if (is_channels_last(w.from) && is_channels_last(w.to)) {
        constexpr int n = kChannelPack<E, kernel()>;
        if (p.group_channels() % n == 0 && aligned(w.from, n, true) && aligned(w.to, n, true))
          return launch(filter_channel_vectors<E, kernel(), multiply()>, plan_filter_channels(w, n),
                        stream);
      } else if (int64_t{w.phases} * Filters::kBytes <= kMostStagedBytes) {
        constexpr int n = kPixelPack<E, kernel()>;
        if (p.scale == 1 && p.stride_y == 1 && p.stride_x == 1 && p.dilation_x == 1 &&
            p.width % n == 0 && aligned(w.from, n, false) && aligned(w.to, n, false) &&
            (w.transposed || aligned(p.spatial_filter, n, false)))
          return launch(filter_pixel_vectors<E, kernel(), multiply()>,
                        plan_filter_pixels(w, n, Filters::kBytes), stream);
        return launch(filter_pixel<E, kernel(), multiply()>,
                      plan_filter_pixels(w, 1, Filters::kBytes), stream);
      }
    }
    if (w.transposed)
      return launch(grad_features_any<E, multiply()>, plan_any(w, {p.height, p.width}), stream);
    return launch(filter_any<E, multiply()>, plan_any(w, out), stream);
  });
}

Work plan_channel(const Problem& p) {
  return for_kernel(special_kernel(p, p.features), p.multiply, [&](auto kernel, auto) {
    return plan_grad_channel(start(p, p.features, p.output, false), kSumBytes, kTapsEach<kernel()>,
                             kChannelsShared<E, kernel()>);
  });
}

cudaError_t grad_features(const Problem& p, cudaStream_t stream) {
  const Work w = start(p, p.output, p.grad_features, true);
  if (p.scale == 1 && p.stride_y == 1 && p.stride_x == 1) return filter(w, stream);
  return (p.multiply
              ? launch(grad_features_any<E, true>, plan_any(w, {p.height, p.width}), stream)
              : launch(grad_features_any<E, false>, plan_any(w, {p.height, p.width}), stream));
}

cudaError_t grad_of_spatial(const Problem& p, cudaStream_t stream) {
  return for_kernel(special_kernel(p, p.features), p.multiply, [&](auto kernel, auto multiply) {
    constexpr bool staged = kernel() != 0 && multiply();
    constexpr int filter_bytes = staged ? Stage < T, kernel() != 0 ? kernel() : 1 > ::kBytes : 0;
    if (staged && p.phases() * filter_bytes > kMostStagedBytes)
      return launch(
          grad_spatial<E, 0, multiply()>,
          plan_grad_spatial(start(p, p.features, p.output, false), kSumBytes, 0, kTapsEach<0>),
          stream);
    return launch(grad_spatial<E, kernel(), multiply()>,
                  plan_grad_spatial(start(p, p.features, p.output, false), kSumBytes, filter_bytes,
                                    kTapsEach<kernel()>),
                  stream);
  });
}

cudaError_t grad_of_channel(const Problem& p, cudaStream_t stream) {
  const Work w = plan_channel(p);
  const cudaError_t error =
      for_kernel(special_kernel(p, p.features), p.multiply, [&](auto kernel, auto multiply) {
        return launch(grad_channel_tiles<E, kernel(), multiply()>, w, stream);
      });
  if (error != cudaSuccess) return error;
  Work reduce = w;
  reduce.shared_bytes = 0;
  const int64_t taps = p.batch * w.phases * p.channels * p.taps();
  const dim3 grid(static_cast<unsigned>(least(ceil_div(taps, kThreads), 1 << 20)));
  return launch(reduce_channel_tiles<E>, reduce, stream, grid, kThreads);
}

}  // namespace

template <>
int64_t Typed<DType::DDF_DTYPE>::partial_bytes(const Problem& p) {
  return partial_sums_bytes(plan_channel(p), kSumBytes);
}

template <>
cudaError_t Typed<DType::DDF_DTYPE>::forward(const Problem& p, cudaStream_t stream) {
  return filter(start(p, p.features, p.output, false), stream);
}

template <>
cudaError_t Typed<DType::DDF_DTYPE>::backward(const Problem& p, cudaStream_t stream) {
  cudaError_t error = cudaSuccess;
  if (p.grad_features.data != nullptr && p.channels > 0) error = grad_features(p, stream);
  if (error == cudaSuccess && p.grad_spatial.data != nullptr) error = grad_of_spatial(p, stream);
  if (error == cudaSuccess && p.partial_sums != nullptr && p.channels > 0)
    error = grad_of_channel(p, stream);
  return error;
}

}  // namespace ddf::cuda
