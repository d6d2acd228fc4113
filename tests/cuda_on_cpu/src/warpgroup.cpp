#include "warpgroup.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "block.h"
#include "shared_memory.h"
#include "text.h"

namespace cuda_on_cpu {
namespace {

constexpr uint32_t kInUse = 0xffc0dead;  // a NaN
constexpr int kCoreBytes = 16;           // of a row of a core matrix

size_t field(uint64_t descriptor, int bit) { return static_cast<size_t>(descriptor >> bit & 0x3fff) << 4; }

int elements_per_register(MmaType type) { return type == MmaType::kTf32 ? 1 : 2; }
int depth(MmaType type) { return 8 * elements_per_register(type); }

}  // namespace

std::string Warpgroup::same_as_others(int w, std::string what, const Site& site) {
  const size_t i = warps_[static_cast<size_t>(w)].instructions++;
  if (i == instructions_.size()) instructions_.push_back({what, site});
  const Instruction& first = instructions_[i];
  if (first.what == what && same(first.site, site)) return "";
  return text("warp ", w, " of the warpgroup does ", what, " (", describe(site), "), another one did ", first.what, " (",
              describe(first.site), ")");
}

std::string Warpgroup::fence(int w, const Site& site) {
  warps_[static_cast<size_t>(w)].fenced = true;
  return same_as_others(w, "wgmma.fence", site);
}

std::string Warpgroup::commit(int w, const Site& site) {
  Warp& warp = warps_[static_cast<size_t>(w)];
  warp.groups.push_back(std::exchange(warp.open, {}));
  return same_as_others(w, "wgmma.commit_group", site);
}

std::string Warpgroup::multiply(int w, WgmmaOperands* const* lanes, const Site& site, const SharedMemory& shared) {
  Warp& warp = warps_[static_cast<size_t>(w)];
  const WgmmaOperands& first = *lanes[0];
  const bool described = first.a == nullptr;
  for (int lane = 1; lane < 32; ++lane) {
    if (lanes[lane]->a_described != first.a_described || lanes[lane]->b_described != first.b_described ||
        lanes[lane]->accumulate != first.accumulate) {
      return text("lanes 0 and ", lane, " differ in their descriptors");
    }
  }
  if (std::string fault =
          same_as_others(w,
                         text("wgmma n", 8 * first.tiles, " of A ", described ? text("at ", first.a_described) : "in registers",
                              ", B at ", first.b_described, first.accumulate ? "" : ", from zero"),
                         site);
      !fault.empty()) {
    return fault;
  }
  if (!warp.fenced) return "no wgmma.fence came before, since the kernel's start or the last wait";
  const auto end = [](uint64_t descriptor, int groups) {
    return field(descriptor, 0) + field(descriptor, 16) + field(descriptor, 32) * static_cast<size_t>(groups - 1) +
           8 * kCoreBytes;
  };
  for (const size_t last : {end(first.b_described, first.tiles), described ? end(first.a_described, 8) : 0}) {
    if (last > 0 && !shared.holds(shared.data() + last - kCoreBytes, kCoreBytes)) {
      return text("an operand ends at byte ", last, ", outside the block's shared memory");
    }
  }

  Product product;
  product.operands = first;
  product.site = site;
  if (!described) {
    for (size_t lane = 0; lane < 32; ++lane) std::copy(lanes[lane]->a, lanes[lane]->a + 4, product.a[lane].begin());
  }
  const size_t count = static_cast<size_t>(first.tiles) * 4;
  // In use already? Then the product goes on from there.
  const auto find = [&](const std::vector<Product>& products) {
    for (const Product& other : products) {
      if (other.sums->registers[0] == first.d) product.sums = other.sums;
    }
  };
  for (const auto& group : warp.groups) find(group);
  find(warp.open);
  if (product.sums) {
    if (product.sums->tiles != first.tiles || product.sums->type != first.type) {
      return "the accumulators are in use by a product of another shape";
    }
  } else {
    product.sums = std::make_shared<Sums>();
    product.sums->tiles = first.tiles;
    product.sums->type = first.type;
    for (size_t lane = 0; lane < 32; ++lane) {
      float* d = product.sums->registers[lane] = lanes[lane]->d;
      product.sums->value.insert(product.sums->value.end(), d, d + count);
      for (size_t i = 0; i < count; ++i) std::memcpy(d + i, &kInUse, sizeof kInUse);
    }
  }
  ++product.sums->products;
  warp.open.push_back(std::move(product));
  return "";
}

// `groups` groups of 8 rows, from first_group on, as [8 * groups][depth].
std::string Warpgroup::read(uint64_t descriptor, int first_group, int groups, const Product& product,
                            const SharedMemory& shared, uint64_t proxy_fences, std::vector<double>& to) {
  const MmaType type = product.operands.type;
  const int per_row = 4 * elements_per_register(type), k_size = depth(type);  // elements in 16 bytes; of k
  uint64_t hash = 1469598103934665603u;
  to.resize(static_cast<size_t>(8 * groups * k_size));
  for (int row = 0; row < 8 * groups; ++row) {
    for (int chunk = 0; chunk < 2; ++chunk) {
      const size_t offset = field(descriptor, 0) + field(descriptor, 32) * static_cast<size_t>(first_group + row / 8) +
                            field(descriptor, 16) * static_cast<size_t>(chunk) + static_cast<size_t>(row % 8 * kCoreBytes);
      if (!shared.holds(shared.data() + offset, kCoreBytes)) {
        return text("byte ", offset, " of an operand is not in the block's shared memory");
      }
      uint32_t words[4];
      std::memcpy(words, shared.data() + offset, sizeof words);
      for (int i = 0; i < 4; ++i) hash = (hash ^ words[i]) * 1099511628211u;
      for (int i = 0; i < per_row; ++i) {
        const int in_register = i % elements_per_register(type);
        to[static_cast<size_t>(row * k_size + chunk * per_row + i)] =
            mma_element(type, words[i / elements_per_register(type)], in_register);
      }
    }
  }
  const uint64_t place = descriptor ^ static_cast<uint64_t>(first_group) << 56 ^ static_cast<uint64_t>(groups) << 48;
  const auto seen = seen_.find(place);
  const bool changed = seen == seen_.end() || seen->second.hash != hash;
  const uint64_t fences_before = seen == seen_.end() ? 0 : seen->second.proxy_fences;
  if (changed && proxy_fences == fences_before) {
    return "an operand in shared memory was written, but no fence.proxy.async came after that";
  }
  if (changed) seen_[place] = {hash, proxy_fences};
  return "";
}

std::string Warpgroup::carry_out(int w, Product& product, const SharedMemory& shared, uint64_t proxy_fences) {
  const WgmmaOperands& operands = product.operands;
  const int k_size = depth(operands.type), per_register = elements_per_register(operands.type), step = 4 * per_register;
  std::vector<double> a(static_cast<size_t>(16 * k_size)), b;
  if (operands.a == nullptr) {
    if (std::string fault = read(operands.a_described, 2 * w, 2, product, shared, proxy_fences, a); !fault.empty())
      return fault;
  } else {
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {
        for (int part = 0; part < per_register; ++part) {
          const int row = lane / 4 + 8 * (i % 2), k = step * (i / 2) + per_register * (lane % 4) + part;
          a[static_cast<size_t>(row * k_size + k)] =
              mma_element(operands.type, product.a[static_cast<size_t>(lane)][static_cast<size_t>(i)], part);
        }
      }
    }
  }
  if (std::string fault = read(operands.b_described, 0, operands.tiles, product, shared, proxy_fences, b); !fault.empty()) {
    return fault;
  }
  Sums& sums = *product.sums;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4 * sums.tiles; ++i) {
      const int row = lane / 4 + i % 4 / 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      float& value = sums.value[static_cast<size_t>(lane * 4 * sums.tiles + i)];
      double sum = operands.accumulate ? value : 0.0;
      for (int k = 0; k < k_size; ++k) {
        sum += a[static_cast<size_t>(row * k_size + k)] * b[static_cast<size_t>(column * k_size + k)];
      }
      value = static_cast<float>(sum);
    }
  }
  if (--sums.products > 0) return "";
  const size_t count = static_cast<size_t>(sums.tiles) * 4;
  for (size_t lane = 0; lane < 32; ++lane) {
    for (size_t i = 0; i < count; ++i) {
      if (std::memcmp(sums.registers[lane] + i, &kInUse, sizeof kInUse) != 0) {
        return text("lane ", lane, " wrote an accumulator while the product was under way");
      }
    }
    std::copy_n(sums.value.begin() + static_cast<std::ptrdiff_t>(lane * count), count, sums.registers[lane]);
  }
  return "";
}

std::string Warpgroup::wait(int w, size_t pending, const Site& site, const SharedMemory& shared, uint64_t proxy_fences) {
  Warp& warp = warps_[static_cast<size_t>(w)];
  warp.fenced = false;
  if (std::string fault = same_as_others(w, text("wgmma.wait_group ", pending), site); !fault.empty()) return fault;
  while (warp.groups.size() > pending) {
    for (Product& product : warp.groups.front()) {
      if (std::string fault = carry_out(w, product, shared, proxy_fences); !fault.empty()) {
        return text(fault, ", of wgmma (", describe(product.site), ")");
      }
    }
    warp.groups.pop_front();
  }
  return "";
}

std::string Warpgroup::check_end() const {
  for (size_t w = 0; w < warps_.size(); ++w) {
    if (warps_[w].instructions != instructions_.size()) {
      return text("warp ", w, " of a warpgroup did ", warps_[w].instructions, " wgmma instructions, another one ",
                  instructions_.size());
    }
    if (!warps_[w].open.empty() || !warps_[w].groups.empty()) return "the kernel ended before a wgmma was waited for";
  }
  return "";
}

}  // namespace cuda_on_cpu
