// Chooses an instruction set once, at load. This file is compiled for the baseline.
#include <cstdlib>
#include <cstring>

#include "kernels.h"

namespace ddf {

namespace baseline {
const Kernels* kernels();
}

#if defined(DDF_WITH_AVX2)
namespace avx2 {
const Kernels* kernels();
}
static bool has_avx2() {
#if !defined(__clang__)
  // clang 14 does not know the name; processors with AVX2 have it.
  if (!__builtin_cpu_supports("f16c")) return false;
#endif
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#if defined(DDF_WITH_AVX512)
namespace avx512 {
const Kernels* kernels();
}
static bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

bool is_narrow(const Problem& p) {
  return p.features.x == 1 && p.grid_width() <= (p.dtype == DType::float64 ? 4 : 8);
}

const Kernels* select_kernels(bool narrow, const char** error) {
  const char* wanted = std::getenv("DDF_SEG_CPU_CAPABILITY");
  const bool any = wanted == nullptr || *wanted == '\0';
  *error = nullptr;
  (void)narrow;
#if defined(DDF_WITH_AVX512)
  if (has_avx512() && (any ? !narrow : std::strcmp(wanted, "avx512") == 0))
    return avx512::kernels();
#endif
#if defined(DDF_WITH_AVX2)
  if (has_avx2() && (any || std::strcmp(wanted, "avx2") == 0)) return avx2::kernels();
#endif
  if (any || std::strcmp(wanted, "default") == 0) return baseline::kernels();
  *error =
      "DDF_SEG_CPU_CAPABILITY: expected one of 'default', 'avx2', 'avx512' that this machine and "
      "this build support";
  return nullptr;
}

}  // namespace ddf
