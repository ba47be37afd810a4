// Values at equal distances in memory, or zeros in their place: without a branch or a condition.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace ddf::cuda {

// Stands for what lies outside a map, with a kernel's reach on both sides.
__device__ alignas(16) const unsigned char kZeros[64] = {};

// Values that lie `step` bytes apart: of a row of pixels (channels_last), or of a pixel's channels.
// One outside the map is the same zeros time and again, so that reading needs no condition.
template <typename E>
struct Line {
  const unsigned char* data;
  unsigned step;

  __device__ static Line of(bool inside, const E* first, int64_t elements_apart) {
    return {inside ? reinterpret_cast<const unsigned char*>(first) : kZeros + sizeof kZeros / 2,
            inside ? static_cast<unsigned>(elements_apart) * static_cast<unsigned>(sizeof(E)) : 0};
  }
  // i >= 0
  __device__ const E* at(int i) const {
    uint64_t bytes = 0;
#if defined(__CUDA_ARCH__)
    // 32 by 32 bits, one instruction with the sum below; the compiler multiplies in 64 bits once it
    // has widened `step` ahead of a loop.
    asm("mul.wide.u32 %0, %1, %2;" : "=l"(bytes) : "r"(i), "r"(step));
#else
    bytes = uint64_t{static_cast<unsigned>(i)} * step;
#endif
    return reinterpret_cast<const E*>(data + bytes);
  }
  // The same for several loads around it under conditions: the compiler would add anew for each.
  __device__ const E* at_once(int i) const {
#if defined(__CUDA_ARCH__)
    uint64_t address = 0;
    asm("mad.wide.u32 %0, %1, %2, %3;"
        : "=l"(address)
        : "r"(i), "r"(step), "l"(__cvta_generic_to_global(data)));
    return static_cast<const E*>(__cvta_global_to_generic(address));
#else
    return at(i);
#endif
  }
};

}  // namespace ddf::cuda
