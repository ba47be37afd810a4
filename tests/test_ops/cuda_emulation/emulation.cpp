// Runs a grid on the CPU. The threads of a block are fibers (ucontext): each runs until it meets a
// barrier, or exchanges values with its warp, in an order drawn anew for every round, and one warp
// lags behind, so that a result which depends on the order shows. Shared memory is allocated anew
// for each block, exactly as large as the launch says and filled with NaN: reading what nobody
// wrote shows, and so (AddressSanitizer) does reading past it.
#include <dlfcn.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "cuda_runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

Options options;
int64_t barriers = 0;
std::string launched;

namespace {

constexpr size_t kStack = 256 << 10;

constexpr unsigned kWarp = 32;

enum class State { ready, at_barrier, at_exchange, finished };

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStack]};
  int64_t barriers = 0;
  State state = State::finished;
  uint64_t given = 0, shown = 0;  // to the warp: for the next exchange, and in the last one
};

std::vector<Fiber> fibers;
ucontext_t scheduler;
Fiber* current = nullptr;
const std::function<void()>* running = nullptr;
void* shared = nullptr;

// AddressSanitizer wants to know which stack is in use.
#if defined(__SANITIZE_ADDRESS__)
void* scheduler_fake_stack = nullptr;
const void* scheduler_stack = nullptr;
size_t scheduler_stack_size = 0;

void leaving(void** fake_stack) {
  __sanitizer_start_switch_fiber(fake_stack, scheduler_stack, scheduler_stack_size);
}
void entered(void* fake_stack) {
  __sanitizer_finish_switch_fiber(fake_stack, &scheduler_stack, &scheduler_stack_size);
}
void entering(const Fiber& fiber) {
  __sanitizer_start_switch_fiber(&scheduler_fake_stack, fiber.stack.get(), kStack);
}
void left() { __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr); }
#else
void leaving(void**) {}
void entered(void*) {}
void entering(const Fiber&) {}
void left() {}
#endif

// From a fiber to the scheduler, and back in time.
void leave() {
  void* fake_stack = nullptr;
  leaving(&fake_stack);
  swapcontext(&current->context, &scheduler);
  entered(fake_stack);
}

void enter(Fiber& fiber) {
  current = &fiber;
  entering(fiber);
  swapcontext(&scheduler, &fiber.context);
  left();
}

void thread_main() {
  entered(nullptr);
  (*running)();
  current->state = State::finished;
  leaving(nullptr);  // for good
  swapcontext(&current->context, &scheduler);
}

void prepare(Fiber& fiber) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStack;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, thread_main, 0);
  fiber.barriers = 0;
  fiber.state = State::ready;
}

// Lets the threads from `begin` to `end` go on, if all of them that still run wait for `what`.
bool release(unsigned begin, unsigned end, State what) {
  const auto first = fibers.begin() + begin, last = fibers.begin() + end;
  const bool some = std::any_of(first, last, [&](const Fiber& f) { return f.state == what; });
  // A barrier and an exchange want every thread: one that has ended never comes.
  if (!some || std::any_of(first, last, [&](const Fiber& f) { return f.state != what; }))
    return false;
  std::for_each(first, last, [](Fiber& f) {
    f.state = State::ready;
    f.shown = f.given;
  });
  return true;
}

// False if some threads wait for others that never come.
bool run_block(unsigned threads, std::mt19937& random) {
  for (unsigned i = 0; i < threads; ++i) prepare(fibers[i]);
  std::vector<unsigned> order(threads);
  std::iota(order.begin(), order.end(), 0u);
  // One warp is so slow that it goes on only where all others wait.
  const auto slow = static_cast<unsigned>(random() % ((threads + kWarp - 1) / kWarp));
  for (;;) {
    std::shuffle(order.begin(), order.end(), random);
    const auto is_ready = [](const Fiber& f) { return f.state == State::ready; };
    const auto first = fibers.begin();
    const bool others =
        std::any_of(first, first + slow * kWarp, is_ready) ||
        std::any_of(first + std::min(threads, (slow + 1) * kWarp), first + threads, is_ready);
    size_t finished = 0;
    for (const unsigned i : order) {
      threadIdx = dim3(i, 0, 0);
      if (is_ready(fibers[i]) && (i / kWarp != slow || !others)) enter(fibers[i]);
      finished += fibers[i].state == State::finished;
    }
    barriers = std::max(barriers, fibers[0].barriers);
    if (finished == threads) return true;
    bool released = release(0, threads, State::at_barrier);
    for (unsigned warp = 0; warp < threads; warp += kWarp)
      released |= release(warp, std::min(warp + kWarp, threads), State::at_exchange);
    if (!released && !std::any_of(first, first + threads, is_ready)) return false;
  }
}

void wait_for(State what) {
  const dim3 thread = threadIdx;
  current->state = what;
  leave();
  threadIdx = thread;
}

}  // namespace

void* shared_memory() { return shared; }

cudaError_t launch(const cudaLaunchConfig_t& config, const void* address,
                   const std::function<void()>& kernel) {
  Dl_info info;
  if (dladdr(address, &info) != 0 && info.dli_sname != nullptr) {
    launched += info.dli_sname;
    launched += '\n';
  }
  const dim3 grid = config.gridDim, block = config.blockDim;
  const unsigned threads = block.x * block.y * block.z;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || threads == 0 || grid.x > 0x7fffffff ||
      grid.y > 65535 || grid.z > 65535 || threads > 1024 || block.z > 64 ||
      config.dynamicSmemBytes > 48 << 10)
    return cudaErrorInvalidConfiguration;
  if (options.dry) return cudaSuccess;
  std::mt19937 random(options.seed);
  if (fibers.size() < threads) fibers = std::vector<Fiber>(threads);
  gridDim = grid;
  blockDim = block;
  running = &kernel;
  std::vector<uint64_t> blocks(uint64_t{grid.x} * grid.y * grid.z);
  std::iota(blocks.begin(), blocks.end(), uint64_t{0});
  std::shuffle(blocks.begin(), blocks.end(), random);
  for (const uint64_t i : blocks) {
    blockIdx = dim3(static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                    static_cast<unsigned>(i / grid.x / grid.y));
    const auto missing = static_cast<size_t>(options.missing_shared);
    const size_t bytes = config.dynamicSmemBytes - std::min(config.dynamicSmemBytes, missing);
    const std::unique_ptr<char[]> memory(new char[bytes]);
    std::memset(memory.get(), 0xff, bytes);
    shared = memory.get();
    if (!run_block(threads, random)) {
      // The fibers that still wait are never resumed.
      return cudaErrorLaunchFailure;
    }
  }
  return cudaSuccess;
}

uint64_t exchange(uint64_t bits, unsigned from_lane) {
  current->given = bits;
  wait_for(State::at_exchange);
  return fibers[threadIdx.x / kWarp * kWarp + from_lane].shown;
}

}  // namespace emulation

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = emulation::options.multiprocessors;
  return cudaSuccess;
}

void __syncthreads() {
  using namespace emulation;
  if (current->barriers++ == options.dropped_barrier) return;
  wait_for(State::at_barrier);
}
