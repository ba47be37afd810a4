// Compiled once per element type, each time for one DDF_DTYPE of DDF_DTYPES (problem.h): chooses
// the kernel of a call and launches it.
#include "filter_channels.cuh"
#include "filter_columns.cuh"
#include "filter_rows.cuh"
#include "grad_channels.cuh"
#include "grad_columns.cuh"
#include "plan.cuh"
#include "plan_grad.cuh"
#include "reduce.cuh"
#include "stride.cuh"
#include "typed.h"
#include "upsample.cuh"

namespace ddf::cuda {
namespace {

using E = ElementOf<DType::DDF_DTYPE>::type;
using T = Sum<E>;
constexpr int kElementBytes = sizeof(E), kSumBytes = sizeof(T);

using Kernel = void (*)(Work);

cudaError_t launch(const char* name, Kernel kernel, const Work& w, cudaStream_t stream, dim3 grid,
                   int threads) {
  if (w.shared_bytes > kMostShared) return cudaErrorInvalidValue;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(w.shared_bytes);
  config.stream = stream;
  note_launch(name);
  return cudaLaunchKernelEx(&config, kernel, w);
}

cudaError_t launch(const char* name, Kernel kernel, const Work& w, cudaStream_t stream) {
  const int64_t tiles = int64_t{w.tiles_y} * w.tiles_x * w.tile_phases;
  if (tiles > INT32_MAX) return cudaErrorInvalidValue;
  const dim3 grid(static_cast<unsigned>(w.p.groups * w.chunks),
                  static_cast<unsigned>(least(tiles, DDF_GRID_LIMIT)),
                  static_cast<unsigned>(least(w.p.batch, DDF_GRID_LIMIT)));
  return launch(name, kernel, w, stream, grid, w.lanes.threads());
}

// Else filters are added; one that is missing is 0.
bool multiplies(const Problem& p) { return p.combine == Combine::multiply; }

bool aligned(const View& view, int64_t n, bool last) {
  return is_aligned(view, n, kElementBytes, last);
}

// Calls body with the kernel size as a constant (0: any).
template <typename Body>
auto for_size(const Problem& p, const Body& body) {
  switch (special_kernel(p, kElementBytes)) {
    case 3:
      return body(std::integral_constant<int, 3>{});
    case 5:
      return body(std::integral_constant<int, 5>{});
    default:
      return body(std::integral_constant<int, 0>{});
  }
}

// The work of a kernel that fits, and the kernel; none at first.
struct Choice {
  const char* name = nullptr;
  Kernel kernel = nullptr;
  Work work;
};

// Vectors of a row, as long as they fit.
template <int kKernel, Combine kCombine, bool kTransposed, int kPixels>
void choose_rows(Choice& choice, const Work& w, int64_t enough) {
  if constexpr (kPixels > 1) {
    if (w.p.width % kPixels == 0 && aligned(w.from, kPixels, false) &&
        aligned(w.to, kPixels, false) &&
        (kTransposed || aligned(w.p.spatial_filter, kPixels, false))) {
      choice = {"filter_rows", filter_rows<E, kKernel, kCombine, kTransposed, kPixels>,
                plan_filter_rows(w, kPixels, Stage<T, kKernel>::kBytes, enough)};
    } else if constexpr (sizeof(E) == 2) {
      choose_rows<kKernel, kCombine, kTransposed, kPixels / 2>(choice, w, enough);
    }
  }
}

// Specialised kernels of the forward pass, or transposed of the features' gradient.
template <int kKernel, Combine kCombine, bool kTransposed>
Choice choose_filter(const Work& w, int64_t enough) {
  using Filters = Stage<T, kKernel>;
  const Problem& p = w.p;
  const bool dense = p.stride_y == 1 && p.stride_x == 1;
  const bool whole = p.out_height == p.scale * p.height && p.out_width == p.scale * p.width;
  const bool undilated = p.dilation_y == 1 && p.dilation_x == 1;
  Choice choice;
  if (kKernel == 3 && kTransposed && p.stride_y == kStride && p.stride_x == kStride && undilated)
    return {"stride_transposed", stride_transposed<E, kCombine>,
            plan_filter_pixels(w, {p.out_height, p.out_width}, Stage<T, 3>::kBytes, enough)};
  if (is_channels_last(w.from) && is_channels_last(w.to)) {
    constexpr int n = kChannelPack<E>, pixels = kRowPixels<E, kKernel>;
    const int64_t tap_bytes = kKernel * kKernel * kSumBytes * (kTransposed ? p.scale * p.scale : 1);
    if (dense && whole && p.group_channels() % n == 0 && aligned(w.from, n, true) &&
        aligned(w.to, n, true) && p.width >= pixels * p.dilation_x && tap_bytes * n <= kMostShared)
      choice = {"filter_channels", filter_channels<E, kKernel, kCombine, kTransposed>,
                plan_filter_channels(w, n, pixels, tap_bytes, enough)};
    return choice;
  }
  const bool along_x = w.from.x == 1 && dense && p.dilation_x == 1;
  if (along_x && p.scale == 1)
    choose_rows<kKernel, kCombine, kTransposed, kPixelPack<E, kKernel>>(choice, w, enough);
  if constexpr (kKernel == 3) {
    const View& wide = kTransposed ? w.from : w.to;
    if (along_x && p.scale == kScale && whole && undilated && aligned(wide, kScale, false))
      choice = {kTransposed ? "upsample_transposed" : "upsample",
                kTransposed ? upsample_transposed<E, kCombine> : upsample<E, kCombine>,
                plan_filter_pixels(w, {p.height, p.width}, Filters::kBytes, enough)};
  }
  if (choice.kernel != nullptr || (kTransposed && (!dense || p.scale != 1))) return choice;
  const bool shared = along_x && p.out_height <= p.scale * p.height;
  return {"filter_columns",
          shared ? filter_columns<E, kKernel, kCombine, kTransposed, true>
                 : filter_columns<E, kKernel, kCombine, kTransposed, false>,
          plan_filter_columns(
              w, shared ? kFilterColumn<E, kKernel, true> : kFilterColumn<E, kKernel, false>,
              shared, Filters::kBytes, enough)};
}

template <int kKernel, bool kTransposed>
Choice choose_filter(const Work& w) {
  const int64_t enough = kBlocksEach * multiprocessors();
  if (w.p.combine == Combine::spatial) {
    Choice choice = choose_filter<kKernel, Combine::spatial, kTransposed>(w, enough);
    choice.work.shared_bytes = 0;
    return choice;
  }
  return multiplies(w.p) ? choose_filter<kKernel, Combine::multiply, kTransposed>(w, enough)
                         : choose_filter<kKernel, Combine::add, kTransposed>(w, enough);
}

template <bool kTransposed>
cudaError_t filter(const Problem& p, const View& from, const View& to, cudaStream_t stream) {
  return for_size(p, [&](auto kernel) {
    const Work w = start(p, from, to, kTransposed, kernel());
    if constexpr (kernel() != 0) {
      const Choice choice = choose_filter<kernel(), kTransposed>(w);
      if (choice.kernel != nullptr) return launch(choice.name, choice.kernel, choice.work, stream);
    }
    if constexpr (kTransposed)
      return launch("grad_features_any",
                    multiplies(p) ? grad_features_any<E, true> : grad_features_any<E, false>,
                    plan_any(w, {p.height, p.width}), stream);
    else
      return launch("filter_any", multiplies(p) ? filter_any<E, true> : filter_any<E, false>,
                    plan_any(w, {p.out_height, p.out_width}), stream);
  });
}

// The kernel for both filters' gradients, if there is one.
template <int kKernel, bool kMultiply>
Choice choose_gradients(const Work& w) {
  constexpr int filter_bytes = Stage<T, kKernel>::kBytes, taps = kKernel * kKernel;
  const Problem& p = w.p;
  const bool dense = p.stride_y == 1 && p.stride_x == 1 && p.dilation_x == 1;
  Choice choice;
  if (is_channels_last(p.features) && is_channels_last(p.output)) {
    constexpr int most = kGradChannels<E, kKernel>, least = most > 1 ? most / 2 : most;
    if constexpr (most > 0) {
      const bool fewer = p.group_channels() <= kWarp * least, shared = dense && p.scale == 1;
      const int n = fewer ? least : most;
      if (p.group_channels() > 0 && p.group_channels() % n == 0 && aligned(p.features, n, true) &&
          aligned(p.output, n, true))
        choice = {"grad_channels",
                  shared ? (fewer ? grad_channels<E, kKernel, kMultiply, true, least>
                                  : grad_channels<E, kKernel, kMultiply, true, most>)
                         : (fewer ? grad_channels<E, kKernel, kMultiply, false, least>
                                  : grad_channels<E, kKernel, kMultiply, false, most>),
                  plan_grad_channels(w, n, taps, filter_bytes, kSumBytes)};
    }
    return choice;
  }
  const bool shared = dense && p.features.x == 1 && p.out_height <= p.scale * p.height;
  return {
      "grad_columns",
      shared ? grad_columns<E, kKernel, kMultiply, true>
             : grad_columns<E, kKernel, kMultiply, false>,
      plan_grad_columns(w, shared ? kGradColumn<E, kKernel, true> : kGradColumn<E, kKernel, false>,
                        shared, taps, kMultiply ? filter_bytes : 0, kSumBytes)};
}

Choice choose_gradients(const Problem& p) {
  return for_size(p, [&](auto kernel) {
    if constexpr (kernel() != 0) {
      const Work w = start(p, p.features, p.output, false, kernel());
      return multiplies(p) ? choose_gradients<kernel(), true>(w)
                           : choose_gradients<kernel(), false>(w);
    }
    return Choice{};
  });
}

// The second stage, of the channel filter's gradient, of the spatial filter's, or of both.
cudaError_t reduce(Work w, bool tiles, bool chunks, cudaStream_t stream) {
  const Problem& p = w.p;
  constexpr int64_t most = 1 << 20;  // beyond, a block has several turns
  if (tiles)
    w.tile_reducers =
        least(reduce_blocks(p.batch * w.phases * p.channels * p.taps(), w.channel_parts()), most);
  const int64_t others = chunks ? reduce_blocks(w.spatial_gradients(), w.chunks) : 0;
  const int64_t blocks = w.tile_reducers + least(others, most);
  if (blocks == 0) return cudaSuccess;
  w.shared_bytes = kReducers * kSumBytes;
  return launch("reduce_sums", reduce_sums<E>, w, stream, dim3(static_cast<unsigned>(blocks)),
                kReducers);
}

// Both together.
cudaError_t gradients(Choice choice, cudaStream_t stream) {
  Work& w = choice.work;
  const Problem& p = w.p;
  const bool of_channel = p.grad_channel.data != nullptr && p.channels > 0;
  const bool of_spatial = p.grad_spatial.data != nullptr;
  if (w.chunks > 1 && of_spatial)
    w.spatial_sums =
        static_cast<char*>(p.partial_sums) + (of_channel ? channel_sums_bytes(w, kSumBytes) : 0);
  const cudaError_t error = launch(choice.name, choice.kernel, w, stream);
  return error == cudaSuccess ? reduce(w, of_channel, w.spatial_sums != nullptr, stream) : error;
}

Work plan_any_channel(const Problem& p) {
  return plan_grad_channel_any(start(p, p.features, p.output, false, 0), kSumBytes);
}

cudaError_t gradients_any(const Problem& p, cudaStream_t stream) {
  cudaError_t error = cudaSuccess;
  if (p.grad_spatial.data != nullptr)
    error = launch(
        "grad_spatial_any", multiplies(p) ? grad_spatial_any<E, true> : grad_spatial_any<E, false>,
        plan_grad_spatial_any(start(p, p.features, p.output, false, 0), kSumBytes), stream);
  if (error != cudaSuccess || p.grad_channel.data == nullptr || p.channels == 0) return error;
  const Work w = plan_any_channel(p);
  error = launch("grad_channel_any",
                 multiplies(p) ? grad_channel_any<E, true> : grad_channel_any<E, false>, w, stream);
  return error == cudaSuccess ? reduce(w, true, false, stream) : error;
}

}  // namespace

template <>
int64_t Typed<DType::DDF_DTYPE>::partial_bytes(const Problem& p) {
  const bool of_channel = p.grad_channel.data != nullptr;
  const Choice choice = choose_gradients(p);
  if (choice.kernel == nullptr)
    return of_channel ? channel_sums_bytes(plan_any_channel(p), kSumBytes) : 0;
  return (of_channel ? channel_sums_bytes(choice.work, kSumBytes) : 0) +
         (p.grad_spatial.data != nullptr ? spatial_sums_bytes(choice.work, kSumBytes) : 0);
}

template <>
cudaError_t Typed<DType::DDF_DTYPE>::forward(const Problem& p, cudaStream_t stream) {
  return filter<false>(p, p.features, p.output, stream);
}

template <>
cudaError_t Typed<DType::DDF_DTYPE>::backward(const Problem& p, cudaStream_t stream) {
  cudaError_t error = cudaSuccess;
  if (p.grad_features.data != nullptr && p.channels > 0)
    error = filter<true>(p, p.output, p.grad_features, stream);
  if (error != cudaSuccess || (p.grad_spatial.data == nullptr && p.grad_channel.data == nullptr))
    return error;
  const Choice choice = choose_gradients(p);
  return choice.kernel != nullptr ? gradients(choice, stream) : gradients_any(p, stream);
}

}  // namespace ddf::cuda
