// Chooses an instruction set once, at load. This file is compiled for the baseline.
#include <cstdlib>
#include <cstring>

#include "kernels.h"

// Chooses, in the namespace of an instruction set, the kernels of an element type (kernels.cpp).
#define DDF_TYPED(name, scalar_type) \
  template <>                        \
  const Kernels& kernels<DType::name>();
#define DDF_CASE(name, scalar_type) \
  case DType::name:                 \
    return kernels<DType::name>();
#define DDF_KERNELS_OF(space)                      \
  namespace space {                                \
  template <DType>                                 \
  const Kernels& kernels();                        \
  DDF_DTYPES(DDF_TYPED)                            \
  static const Kernels& of(DType dtype) {          \
    switch (dtype) { DDF_DTYPES(DDF_CASE) }        \
    std::abort(); /* the binding knows no other */ \
  }                                                \
  }

namespace ddf {

DDF_KERNELS_OF(baseline)

#if defined(DDF_WITH_AVX2)
DDF_KERNELS_OF(avx2)
static bool has_avx2() {
#if !defined(__clang__)
  // clang 14 does not know the name; processors with AVX2 have it.
  if (!__builtin_cpu_supports("f16c")) return false;
#endif
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#if defined(DDF_WITH_AVX512)
DDF_KERNELS_OF(avx512)
static bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

bool is_narrow(const Problem& p) {
  return p.features.x == 1 && p.grid_width() <= (p.dtype == DType::float64 ? 4 : 8);
}

KernelsOf select_kernels(bool narrow, const char** error) {
  const char* wanted = std::getenv("DDF_SEG_CPU_CAPABILITY");
  const bool any = wanted == nullptr || *wanted == '\0';
  *error = nullptr;
  (void)narrow;
#if defined(DDF_WITH_AVX512)
  if (has_avx512() && (any ? !narrow : std::strcmp(wanted, "avx512") == 0)) return avx512::of;
#endif
#if defined(DDF_WITH_AVX2)
  if (has_avx2() && (any || std::strcmp(wanted, "avx2") == 0)) return avx2::of;
#endif
  if (any || std::strcmp(wanted, "default") == 0) return baseline::of;
  *error =
      "DDF_SEG_CPU_CAPABILITY: expected one of 'default', 'avx2', 'avx512' that this machine and "
      "this build support";
  return nullptr;
}

}  // namespace ddf
