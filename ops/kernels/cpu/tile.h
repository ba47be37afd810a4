// Ranges, tiles and scratch memory, for all operators.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace ddf::DDF_NAMESPACE {

DDF_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
DDF_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
DDF_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
DDF_INLINE int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

struct Range {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end > begin ? end - begin : 0; }
  bool contains(int64_t i) const { return i >= begin && i < end; }
  bool operator==(const Range& other) const { return begin == other.begin && end == other.end; }
};

DDF_INLINE Range intersect(Range a, Range b) {
  return {larger(a.begin, b.begin), smaller(a.end, b.end)};
}

struct Tile {
  Range rows, columns;
};

DDF_INLINE Tile tile_at(const Plan& plan, int64_t index, int64_t height, int64_t width) {
  const int64_t y = index / plan.tiles_x * plan.tile_rows;
  const int64_t x = index % plan.tiles_x * plan.tile_columns;
  return {{y, smaller(y + plan.tile_rows, height)}, {x, smaller(x + plan.tile_columns, width)}};
}

// Hands out pieces of a thread's scratch memory. With a null base it only adds up the sizes.
class Scratch {
 public:
  explicit Scratch(void* base) : base_(static_cast<char*>(base)) {}

  template <typename T>
  T* take(int64_t elements) {
    T* piece = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += round_up(elements * static_cast<int64_t>(sizeof(T)), 64);
    return piece;
  }
  int64_t used() const { return used_; }

 private:
  char* base_;
  int64_t used_ = 0;
};

}  // namespace ddf::DDF_NAMESPACE
