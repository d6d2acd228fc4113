// cp.async, ldmatrix and mma.sync, as the PTX ISA describes them.
#include <ptx_on_cpu.h>

#include <cstring>

#include "block.h"
#include "sanitizer.h"
#include "text.h"

#define NO_SANITIZE __attribute__((no_sanitize("address", "undefined")))

namespace cuda_on_cpu {

NO_SANITIZE float mma_element(MmaType type, uint32_t bits, int half) {
  const auto part = static_cast<uint16_t>(bits >> 16 * half);
  switch (type) {
    case MmaType::kF16:
      return half_to_float(part);
    case MmaType::kBf16:
      return bfloat16_to_float(part);
    case MmaType::kTf32:
      break;
  }
  return tf32_to_float(bits);
}

namespace {

bool aligned(const void* address, int bytes) {
  return reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(bytes) == 0;
}

struct MatrixRow {
  const void* row;
  uint32_t* registers;
  int matrices;
  bool transpose;
};

void finish_load(void* const* lanes, uint32_t /*mask*/) {
  const auto payload = [&](int lane) -> const MatrixRow& { return *static_cast<const MatrixRow*>(lanes[lane]); };
  for (int m = 0; m < payload(0).matrices; ++m) {
    uint16_t matrix[8][8];
    for (int row = 0; row < 8; ++row) std::memcpy(matrix[row], payload(8 * m + row).row, 16);
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      const MatrixRow& self = payload(lane);
      const uint16_t low = self.transpose ? matrix[2 * t][g] : matrix[g][2 * t];
      const uint16_t high = self.transpose ? matrix[2 * t + 1][g] : matrix[g][2 * t + 1];
      self.registers[m] = low | static_cast<uint32_t>(high) << 16;
    }
  }
}

struct Fragments {
  MmaType type;
  int k;
  float* d;
  const uint32_t *a, *b;
};

// The registers are the kernel's own arrays: nothing for a sanitizer to find, and this is most of what the tests do.
NO_SANITIZE void finish_mma(void* const* lanes, uint32_t /*mask*/) {
  const auto& first = *static_cast<const Fragments*>(lanes[0]);
  const int per_register = first.type == MmaType::kTf32 ? 1 : 2;
  const int step = 4 * per_register;  // of k, from one register to the next
  double a[16][16], b[16][8], sum[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    const auto& self = *static_cast<const Fragments*>(lanes[lane]);
    for (int i = 0; i < first.k / step; ++i) {
      for (int half = 0; half < per_register; ++half) {
        const int k = step * i + per_register * t + half;
        a[g][k] = mma_element(first.type, self.a[2 * i], half);
        a[g + 8][k] = mma_element(first.type, self.a[2 * i + 1], half);
        b[k][g] = mma_element(first.type, self.b[i], half);
      }
    }
    for (int i = 0; i < 4; ++i) sum[g + 8 * (i / 2)][2 * t + i % 2] = self.d[i];
  }
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < first.k; ++k) {
      for (int column = 0; column < 8; ++column) sum[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& self = *static_cast<const Fragments*>(lanes[lane]);
    for (int i = 0; i < 4; ++i) self.d[i] = static_cast<float>(sum[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2]);
  }
}

}  // namespace

void async_copy(void* shared, const void* global, int bytes, int source_bytes, const Site& site) {
  Block& block = current_block();
  block.maybe_yield();
  const auto fail = [&](const std::string& problem) {
    throw AsyncCopyError(text(block.where(), "cp.async of ", bytes, " bytes (", describe(site), "): ", problem));
  };
  if (!aligned(shared, bytes)) fail("the target is not aligned to its size");
  if (!aligned(global, bytes)) fail("the source is not aligned to its size");
  if (source_bytes < 0 || source_bytes > bytes) fail(text("the source's size must be 0 to ", bytes, ", got ", source_bytes));
  if (!block.shared().holds(shared, static_cast<size_t>(bytes))) fail("the target is not in the block's shared memory");
  if (!readable(global, static_cast<size_t>(source_bytes))) fail("the source cannot be read");
  std::memset(shared, 0xff, static_cast<size_t>(bytes));
  block.copies().add(shared, global, bytes, source_bytes);
}

void async_copy_commit() { current_block().copies().commit(); }

void async_copy_wait(int pending) {
  Block& block = current_block();
  block.maybe_yield();
  block.copies().wait_for_all_but(static_cast<size_t>(pending));
}

void async_copy_wait_all() {
  Block& block = current_block();
  block.maybe_yield();
  block.copies().wait_for_all();
}

void load_matrices(uint32_t* registers, int matrices, bool transpose, const void* row, const Site& site) {
  Block& block = current_block();
  if (block.lane() < 8 * matrices) {  // the other lanes' addresses are not used
    const auto fail = [&](const char* problem) {
      throw SharedMemoryError(
          text(block.where(), "ldmatrix (", describe(site), "), lane ", block.lane(), ": the row is not ", problem));
    };
    if (!aligned(row, 16)) fail("aligned to 16 bytes");
    if (!block.shared().holds(row, 16)) fail("in the block's shared memory");
  }
  MatrixRow payload{row, registers, matrices, transpose};
  block.collective("ldmatrix", 0xffffffffu, &payload, finish_load, site);
}

void mma_m16n8(MmaType type, int k, float* d, const uint32_t* a, const uint32_t* b, const Site& site) {
  Fragments payload{type, k, d, a, b};
  current_block().collective("mma", 0xffffffffu, &payload, finish_mma, site);
}

}  // namespace cuda_on_cpu
