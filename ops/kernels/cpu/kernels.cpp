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

// Calls body with those, whether lanes are pixels, and what weights are.
template <typename Body>
void for_kind(const Problem& p, const Plan& plan, const Body& body) {
  for_dtype(p.dtype, [&](auto sum, auto element) {
    const auto with = [&](auto combine) {
      if (plan.lanes_are_channels) {
        body(sum, element, std::false_type{}, combine);
      } else {
        body(sum, element, std::true_type{}, combine);
      }
    };
    switch (p.combine) {
      case Combine::multiply:
        return with(std::integral_constant<Combine, Combine::multiply>{});
      case Combine::add:
        return with(std::integral_constant<Combine, Combine::add>{});
      case Combine::spatial:
        return with(std::integral_constant<Combine, Combine::spatial>{});
      case Combine::channel:
        return with(std::integral_constant<Combine, Combine::channel>{});
    }
  });
}

void run_forward(const Problem& p, const Plan& plan, int64_t unit, void* scratch) {
  for_kind(p, plan, [&](auto sum, auto element, auto pixel_lanes, auto combine) {
    forward_unit<decltype(sum), decltype(element), pixel_lanes(), combine()>(p, plan, unit,
                                                                             scratch);
  });
}

void run_backward(const Problem& p, const Plan& plan, int64_t unit, void* scratch) {
  for_kind(p, plan, [&](auto sum, auto element, auto pixel_lanes, auto combine) {
    backward_unit<decltype(sum), decltype(element), pixel_lanes(), combine()>(p, plan, unit,
                                                                              scratch);
  });
}

void run_reduce(const Problem& p, const Plan& plan, int64_t begin, int64_t end) {
  for_dtype(p.dtype, [&](auto sum, auto element) {
    reduce_channel<decltype(sum), decltype(element)>(p, plan, begin, end);
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
    (p.is_backward() ? depthwise_pointwise_backward_unit<T, E>
                     : depthwise_pointwise_unit<T, E>)(p, plan, unit, scratch);
  });
}

void run_reduce_parameters(const DepthwisePointwise& p, const Plan& plan, int64_t begin,
                           int64_t end) {
  for_dtype(p.dtype, [&](auto sum, auto element) {
    reduce_parameters<decltype(sum), decltype(element)>(p, plan, begin, end);
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
                           run_reduce_parameters};

}  // namespace

const Kernels* kernels() { return &kKernels; }

}  // namespace ddf::DDF_NAMESPACE
