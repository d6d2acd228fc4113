// The functions of include/wgmma_on_cpu.h, on the running block.
#include <wgmma_on_cpu.h>

#include "block.h"
#include "text.h"
#include "warpgroup.h"

namespace cuda_on_cpu {
namespace {

struct Payload {
  WgmmaOperands* operands;
  int pending;
  const Site* site;
};

[[noreturn]] void fail(const std::string& fault, const char* what, const Site& site) {
  throw WgmmaError(text(current_block().where(), what, " (", describe(site), "): ", fault));
}

// Warps meet at each instruction, the warpgroup does not: that would be a barrier that the hardware has not.
void for_warp(const char* what, WgmmaOperands* operands, int pending, Finish finish, const Site& site) {
  Payload payload{operands, pending, &site};
  current_block().collective(what, 0xffffffffu, &payload, finish, site);
}

const Payload& payload_of(void* const* lanes, int lane = 0) { return *static_cast<const Payload*>(lanes[lane]); }

}  // namespace

uint64_t wgmma_descriptor(const void* shared, int leading, int stride, const Site& site) {
  Block& block = current_block();
  constexpr const char* kWhat = "make_descriptor";
  if (!block.shared().holds(shared, 16)) fail("the address is not in the block's shared memory", kWhat, site);
  const auto offset = static_cast<uint64_t>(static_cast<const std::byte*>(shared) - block.shared().data());
  if (offset % 16 != 0) fail(text("the address must be a multiple of 16, got ", offset), kWhat, site);
  for (const int bytes : {leading, stride}) {
    if (bytes % 16 != 0 || bytes < 0 || bytes >= 1 << 18) {
      fail(text("offsets must be multiples of 16 below 256 KiB, got ", bytes), kWhat, site);
    }
  }
  return offset >> 4 | static_cast<uint64_t>(leading) >> 4 << 16 | static_cast<uint64_t>(stride) >> 4 << 32;
}

void wgmma_proxy_fence() {
  Block& block = current_block();
  block.maybe_yield();
  ++block.proxy_fences();
}

void wgmma_registers_fence(const Site& site) {
  for_warp(
      "wgmma.fence", nullptr, 0,
      [](void* const* lanes, uint32_t) {
        const Site& place = *payload_of(lanes).site;
        const std::string fault = current_block().warpgroup().fence(current_block().warp_of_group(), place);
        if (!fault.empty()) fail(fault, "wgmma.fence", place);
      },
      site);
}

void wgmma(const WgmmaOperands& operands, const Site& site) {
  WgmmaOperands own = operands;
  for_warp(
      "wgmma", &own, 0,
      [](void* const* lanes, uint32_t) {
        Block& block = current_block();
        WgmmaOperands* all[32];
        for (int lane = 0; lane < 32; ++lane) all[lane] = payload_of(lanes, lane).operands;
        const Site& place = *payload_of(lanes).site;
        const std::string fault = block.warpgroup().multiply(block.warp_of_group(), all, place, block.shared());
        if (!fault.empty()) fail(fault, "wgmma", place);
      },
      site);
}

void wgmma_commit_group(const Site& site) {
  for_warp(
      "wgmma.commit_group", nullptr, 0,
      [](void* const* lanes, uint32_t) {
        const Site& place = *payload_of(lanes).site;
        const std::string fault = current_block().warpgroup().commit(current_block().warp_of_group(), place);
        if (!fault.empty()) fail(fault, "wgmma.commit_group", place);
      },
      site);
}

void wgmma_wait_group(int pending, const Site& site) {
  for_warp(
      "wgmma.wait_group", nullptr, pending,
      [](void* const* lanes, uint32_t) {
        Block& block = current_block();
        const Payload& payload = payload_of(lanes);
        const std::string fault = block.warpgroup().wait(block.warp_of_group(), static_cast<size_t>(payload.pending),
                                                         *payload.site, block.shared(), block.proxy_fences());
        if (!fault.empty()) fail(fault, "wgmma.wait_group", *payload.site);
      },
      site);
}

}  // namespace cuda_on_cpu
