// The products (wgmma) of one warpgroup that are under way.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <wgmma_on_cpu.h>

namespace cuda_on_cpu {

class SharedMemory;

class Warpgroup {
 public:
  void clear() { *this = {}; }

  // Each is called once for a whole warp `w` (0 .. 3) of the group; empty, or what is wrong.
  std::string fence(int w, const Site& site);
  std::string multiply(int w, WgmmaOperands* const* lanes, const Site& site, const SharedMemory& shared);
  std::string commit(int w, const Site& site);
  std::string wait(int w, size_t pending, const Site& site, const SharedMemory& shared, uint64_t proxy_fences);
  std::string check_end() const;  // the block has ended

 private:
  // The accumulators of a warp's lanes, from the first product on them until the last is done.
  struct Sums {
    std::array<float*, 32> registers;
    int tiles;
    MmaType type;
    std::vector<float> value;  // [32][tiles][4]
    int products = 0;          // not done yet
  };
  struct Product {
    std::shared_ptr<Sums> sums;
    WgmmaOperands operands;                       // lane 0's
    std::array<std::array<uint32_t, 4>, 32> a{};  // fragments, if in registers
    Site site;
  };
  struct Warp {
    bool fenced = false;
    size_t instructions = 0;
    std::vector<Product> open;
    std::deque<std::vector<Product>> groups;
  };
  struct Instruction {
    std::string what;
    Site site;
  };
  struct Seen {  // of an operand in shared memory, when last read
    uint64_t hash, proxy_fences;
  };

  std::string same_as_others(int w, std::string what, const Site& site);
  std::string read(uint64_t descriptor, int first_group, int groups, const Product& product, const SharedMemory& shared,
                   uint64_t proxy_fences, std::vector<double>& to);
  std::string carry_out(int w, Product& product, const SharedMemory& shared, uint64_t proxy_fences);

  std::array<Warp, 4> warps_;
  std::vector<Instruction> instructions_;  // of whichever warp comes first
  std::map<uint64_t, Seen> seen_;          // by place
};

}  // namespace cuda_on_cpu
