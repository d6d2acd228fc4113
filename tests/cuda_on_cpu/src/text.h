// Words for messages. (g++ 12 warns wrongly of an overlapping copy in "literal" + std::string.)
#pragma once

#include <sstream>
#include <string>

namespace cuda_on_cpu {

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace cuda_on_cpu
