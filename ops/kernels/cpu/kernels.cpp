// Compiled once per instruction set, each time into its own namespace (DDF_NAMESPACE).
#include <cstdlib>

#include "ddf_backward.h"
#include "ddf_forward.h"
#include "depthwise_pointwise.h"
#include "filter_norm.h"
#include "interpolation_softmax.h"

namespace ddf::DDF_NAMESPACE {
namespace {

// Calls body with the accumulation type and the element type of the tensors.
template <typename Body>
auto for_dtype(DType dtype, const Body& body) {
  switch (dtype) {
#define DDF_CASE(name, scalar_type)                  \
  case DType::name: {                                \
    using E = typename ElementOf<DType::name>::type; \
    return body(Sum<E>{}, E{});                      \
  }
    DDF_DTYPES(DDF_CASE)
#undef DDF_CASE
  }
  std::abort();  // the binding knows no other
}

void run_forward(const Problem& p, const Plan& plan, int64_t unit, void* scratch) {
  for_dtype(p.dtype, [&](auto sum, auto element) {
    using T = decltype(sum);
    using E = decltype(element);
    if (plan.lanes_are_channels) {
      (p.multiply ? forward_unit<T, E, false, true>
                  : forward_unit<T, E, false, false>)(p, plan, unit, scratch);
    } else {
      (p.multiply ? forward_unit<T, E, true, true> : forward_unit<T, E, true, false>)(p, plan, unit,
                                                                                      scratch);
    }
  });
}

void run_backward(const Problem& p, const Plan& plan, int64_t unit, void* scratch) {
  for_dtype(p.dtype, [&](auto sum, auto element) {
    using T = decltype(sum);
    using E = decltype(element);
    if (plan.lanes_are_channels) {
      (p.multiply ? backward_unit<T, E, false, true>
                  : backward_unit<T, E, false, false>)(p, plan, unit, scratch);
    } else {
      (p.multiply ? backward_unit<T, E, true, true>
                  : backward_unit<T, E, true, false>)(p, plan, unit, scratch);
    }
  });
}

void run_reduce(const Problem& p, const Plan& plan, int64_t index) {
  for_dtype(p.dtype, [&](auto sum, auto element) {
    reduce_channel<decltype(sum), decltype(element)>(p, plan, index);
  });
}

Plan make_forward_plan(const Problem& p, int64_t threads) {
  return for_dtype(p.dtype,
                   [&](auto sum, auto) { return plan_forward<decltype(sum)>(p, threads); });
}

Plan make_backward_plan(const Problem& p) {
  return for_dtype(p.dtype, [&](auto sum, auto) { return plan_backward<decltype(sum)>(p); });
}

int64_t filter_norm_scratch_bytes(const FilterNormProblem& p) {
  return for_dtype(p.dtype, [&](auto sum, auto) { return filter_norm_scratch<decltype(sum)>(p); });
}

void run_filter_norm(const FilterNormProblem& p, int64_t unit, void* scratch) {
  for_dtype(p.dtype, [&](auto sum, auto element) {
    using T = decltype(sum);
    using E = decltype(element);
    (p.grad_output.data != nullptr ? filter_norm_unit<T, E, true>
                                   : filter_norm_unit<T, E, false>)(p, unit, scratch);
  });
}

Plan make_interpolation_softmax_plan(const InterpolationSoftmaxProblem& p) {
  return for_dtype(p.dtype,
                   [&](auto sum, auto) { return plan_interpolation_softmax<decltype(sum)>(p); });
}

void run_interpolation_softmax(const InterpolationSoftmaxProblem& p, const Plan& plan, int64_t unit,
                               void* scratch) {
  for_dtype(p.dtype, [&](auto sum, auto element) {
    using T = decltype(sum);
    using E = decltype(element);
    (p.grad_logits.data != nullptr
         ? interpolation_softmax_unit<T, E, true>
         : interpolation_softmax_unit<T, E, false>)(p, plan, unit, scratch);
  });
}

Plan make_depthwise_pointwise_plan(const DepthwisePointwise& p) {
  return for_dtype(p.dtype,
                   [&](auto sum, auto) { return plan_depthwise_pointwise<decltype(sum)>(p); });
}

void run_depthwise_pointwise(const DepthwisePointwise& p, const Plan& plan, int64_t unit,
                             void* scratch) {
  for_dtype(p.dtype, [&](auto sum, auto element) {
    using T = decltype(sum);
    using E = decltype(element);
    (p.grad_x.data != nullptr ? depthwise_pointwise_backward_unit<T, E>
                              : depthwise_pointwise_unit<T, E>)(p, plan, unit, scratch);
  });
}

void run_reduce_parameter(const DepthwisePointwise& p, const Plan& plan, int64_t parameter) {
  for_dtype(p.dtype, [&](auto sum, auto element) {
    reduce_parameter<decltype(sum), decltype(element)>(p, plan, parameter);
  });
}

#define DDF_STRING_(name) #name
#define DDF_STRING(name) DDF_STRING_(name)
constexpr Kernels kKernels{DDF_STRING(DDF_CAPABILITY),
                           make_forward_plan,
                           run_forward,
                           make_backward_plan,
                           run_backward,
                           run_reduce,
                           filter_norm_scratch_bytes,
                           run_filter_norm,
                           make_interpolation_softmax_plan,
                           run_interpolation_softmax,
                           make_depthwise_pointwise_plan,
                           run_depthwise_pointwise,
                           run_reduce_parameter};

}  // namespace

const Kernels* kernels() { return &kKernels; }

}  // namespace ddf::DDF_NAMESPACE
