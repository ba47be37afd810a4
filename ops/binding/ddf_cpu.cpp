// The CPU side of torch.ops.ddf_seg: checks, allocation, threads and registration, on torch's
// stable ABI alone (torch/csrc/stable, torch/headeronly), so that one binary serves every torch.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "call.h"

namespace {

using ddf::Kernels;
using ddf::Plan;
using ddf::Problem;
using ddf::binding::empty;
using ddf::binding::Gradients;
using torch::stable::Tensor;

const Kernels& kernels_for(const Problem& p) {
  static const char* error = nullptr;
  static const Kernels* const wide = ddf::select_kernels(false, &error);
  static const Kernels* const narrow = ddf::select_kernels(true, &error);
  if (wide == nullptr) throw std::runtime_error(error);
  return ddf::is_narrow(p) ? *narrow : *wide;
}

// Kept by each thread from call to call: allocating it anew costs more than a small map.
void* thread_scratch(int64_t bytes) {
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  thread_local std::unique_ptr<void, Free> memory;
  thread_local int64_t size = 0;
  if (bytes > size) {
    memory.reset();
    size = (bytes + 4095) / 4096 * 4096;
    memory.reset(std::aligned_alloc(64, static_cast<size_t>(size)));
    if (memory == nullptr) {
      size = 0;
      throw std::bad_alloc();
    }
  }
  return memory.get();
}

// Runs body(unit) for all units, each on whichever thread is free. `work` counts multiply-adds.
template <typename Body>
void for_units(int64_t units, int64_t work, const Body& body) {
  constexpr int64_t kLeastWork = 1 << 18;  // waking a thread costs about as much
  const int64_t threads =
      std::min<int64_t>({torch::stable::get_num_threads(), units, 1 + work / kLeastWork});
  if (threads <= 1) {
    for (int64_t unit = 0; unit < units; ++unit) body(unit);
    return;
  }
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    for (int64_t unit = next++; unit < units; unit = next++) body(unit);
  });
}

// The C library gives every block of 32 MiB and more fresh pages, smaller ones now and then, and
// the kernel clears them as they are first written: with pages of 4 KiB that takes longer than the
// operator itself.
void prefer_huge_pages(const Tensor& fresh) {
#if defined(__linux__)
  const int64_t bytes = fresh.numel() * static_cast<int64_t>(fresh.element_size());
  constexpr uintptr_t kHuge = uintptr_t{2} << 20;
  if (bytes < int64_t{4} << 20) return;
  const auto data = reinterpret_cast<uintptr_t>(fresh.mutable_data_ptr());
  const uintptr_t begin = (data + kHuge - 1) / kHuge * kHuge;
  const uintptr_t end = (data + static_cast<uintptr_t>(bytes)) / kHuge * kHuge;
  // Only advice: a kernel without huge pages goes on as before.
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)fresh;
#endif
}

int64_t work_of(const Problem& p) {
  return p.batch * p.channels * p.out_height * p.out_width * p.taps();
}

struct Cpu {
  static constexpr bool kOnCuda = false;

  static Tensor forward(Problem p, const Tensor& features) {
    Tensor output = empty({p.batch, p.channels, p.out_height, p.out_width}, features);
    prefer_huge_pages(output);
    p.output = ddf::binding::view_of(output);
    const Kernels& k = kernels_for(p);
    const Plan plan = k.plan_forward(p, torch::stable::get_num_threads());
    for_units(plan.units, work_of(p),
              [&](int64_t unit) { k.forward(p, plan, unit, thread_scratch(plan.scratch_bytes)); });
    return output;
  }

  static Gradients backward(Problem p, const Tensor& grad_output, const Tensor& features,
                            const Tensor& channel_filter, const Tensor& spatial_filter,
                            const std::vector<bool>& output_mask) {
    const Gradients gradients = ddf::binding::make_gradients(
        p, grad_output, features, channel_filter, spatial_filter, output_mask);
    prefer_huge_pages(std::get<0>(gradients));
    prefer_huge_pages(std::get<2>(gradients));
    const Kernels& k = kernels_for(p);
    const Plan plan = k.plan_backward(p);
    // Freed with the tensor; torch's allocator so that torch's memory statistics see it.
    const auto element = static_cast<int64_t>(features.element_size());
    const Tensor partial = empty({(plan.partial_bytes + element - 1) / element}, features);
    if (plan.partial_bytes > 0) p.partial_sums = partial.mutable_data_ptr();
    for_units(plan.units, 3 * work_of(p),
              [&](int64_t unit) { k.backward(p, plan, unit, thread_scratch(plan.scratch_bytes)); });
    if (p.partial_sums != nullptr)
      torch::stable::parallel_for(0, p.batch * p.channels, 1024, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) k.reduce_channel(p, plan, i);
      });
    return gradients;
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(ddf_seg, CPU, m) { ddf::binding::Operators<Cpu>::register_with(m); }

// The instruction set in use, for ddf_seg/ops/native.py (ctypes); the reason if there is none.
extern "C" __attribute__((visibility("default"))) const char* ddf_seg_cpu_capability() {
  const char* error = nullptr;
  const Kernels* chosen = ddf::select_kernels(false, &error);
  return chosen != nullptr ? chosen->capability : error;
}
