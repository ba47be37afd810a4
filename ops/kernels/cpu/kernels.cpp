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

void run_forward(const Problem& p, const Plan& plan, int64_t unit, void* scratch) {
  (plan.lanes_are_channels ? forward_unit<T, E, false> : forward_unit<T, E, true>)(p, plan, unit,
                                                                                   scratch);
}

void run_backward(const Problem& p, const Plan& plan, int64_t unit, void* scratch) {
  (plan.lanes_are_channels ? backward_unit<T, E, false> : backward_unit<T, E, true>)(p, plan, unit,
                                                                                     scratch);
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
                           filter_norm_unit<T, E>,
                           plan_interpolation_softmax<T>,
                           interpolation_softmax_unit<T, E>,
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
