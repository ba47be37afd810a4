// Compiled once per instruction set and element type (DDF_DTYPE), each instruction set into its own
// namespace (DDF_NAMESPACE).
#include "kernels.h"

#include "ddf_backward.h"
#include "ddf_forward.h"
#include "depthwise_pointwise.h"
#include "filter_norm.h"
#include "interpolation_softmax.h"

namespace ddf::DDF_NAMESPACE {
namespace {

using E = ElementOf<DType::DDF_DTYPE>::type;
using T = Sum<E>;

// Calls body with whether lanes are pixels, and what weights are.
template <typename Body>
void for_kind(const Problem& p, const Plan& plan, const Body& body) {
  const auto with = [&](auto combine) {
    if (plan.lanes_are_channels) {
      body(std::false_type{}, combine);
    } else {
      body(std::true_type{}, combine);
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
}

void run_forward(const Problem& p, const Plan& plan, int64_t unit, void* scratch) {
  for_kind(p, plan, [&](auto pixel_lanes, auto combine) {
    forward_unit<T, E, pixel_lanes(), combine()>(p, plan, unit, scratch);
  });
}

void run_backward(const Problem& p, const Plan& plan, int64_t unit, void* scratch) {
  for_kind(p, plan, [&](auto pixel_lanes, auto combine) {
    backward_unit<T, E, pixel_lanes(), combine()>(p, plan, unit, scratch);
  });
}

void run_filter_norm(const FilterNormProblem& p, int64_t unit, void* scratch) {
  (p.grad_output.data != nullptr ? filter_norm_unit<T, E, true>
                                 : filter_norm_unit<T, E, false>)(p, unit, scratch);
}

void run_interpolation_softmax(const InterpolationSoftmaxProblem& p, const Plan& plan, int64_t unit,
                               void* scratch) {
  (p.grad_logits.data != nullptr ? interpolation_softmax_unit<T, E, true>
                                 : interpolation_softmax_unit<T, E, false>)(p, plan, unit, scratch);
}

void run_depthwise_pointwise(const DepthwisePointwise& p, const Plan& plan, int64_t unit,
                             void* scratch) {
  (p.is_backward() ? depthwise_pointwise_backward_unit<T, E>
                   : depthwise_pointwise_unit<T, E>)(p, plan, unit, scratch);
}

#define DDF_STRING_(name) #name
#define DDF_STRING(name) DDF_STRING_(name)
constexpr Kernels kKernels{DDF_STRING(DDF_CAPABILITY),
                           plan_forward<T>,
                           run_forward,
                           plan_backward<T>,
                           run_backward,
                           reduce_channel<T, E>,
                           filter_norm_scratch<T>,
                           run_filter_norm,
                           plan_interpolation_softmax<T>,
                           run_interpolation_softmax,
                           plan_depthwise_pointwise<T>,
                           run_depthwise_pointwise,
                           reduce_parameters<T, E>};

}  // namespace

template <DType>
const Kernels& kernels();

template <>
const Kernels& kernels<DType::DDF_DTYPE>() {
  return kKernels;
}

}  // namespace ddf::DDF_NAMESPACE
