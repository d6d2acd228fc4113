# cmake -DNAME= -DFROM= -DTO= -DTABLES= -P plant.cmake: copies the headers of csrc/ and all of csrc/cuda, and plants one fault.
# Of the networks the copy has only the case's: a sixth of the compiler's time.
cmake_minimum_required(VERSION 3.22)

function(planted_fault name)
  if(NOT name STREQUAL NAME)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 1 fault "SANITIZED" "FILE;OLD;NEW;CASE;CAUGHT;SEEDS" "COMPILE")
  set(path ${FROM}/cuda/${fault_FILE})
  if(NOT EXISTS "${path}")
    message(FATAL_ERROR "planted fault ${name}: csrc/cuda/${fault_FILE} does not exist")
  endif()
  file(READ "${path}" text)
  string(FIND "${text}" "${fault_OLD}" first)
  string(FIND "${text}" "${fault_OLD}" last REVERSE)
  if(first EQUAL -1)
    message(FATAL_ERROR "planted fault ${name}: csrc/cuda/${fault_FILE} has no longer the text\n${fault_OLD}\n"
                        "Plant it anew in ${CMAKE_CURRENT_LIST_FILE}, or remove the entry")
  elseif(NOT first EQUAL last)
    message(FATAL_ERROR "planted fault ${name}: csrc/cuda/${fault_FILE} has the text more than once\n${fault_OLD}\n")
  elseif(fault_OLD STREQUAL fault_NEW)
    message(FATAL_ERROR "planted fault ${name}: OLD and NEW are the same")
  endif()
  string(REPLACE "${fault_OLD}" "${fault_NEW}" text "${text}")
  set_property(GLOBAL PROPERTY planted "${text}")
  set_property(GLOBAL PROPERTY planted_file "cuda/${fault_FILE}")
  set_property(GLOBAL PROPERTY planted_case "${fault_CASE}")
endfunction()

foreach(table IN LISTS TABLES)
  include(${table})
endforeach()
get_property(planted_file GLOBAL PROPERTY planted_file)
get_property(planted GLOBAL PROPERTY planted)
if(NOT planted_file)
  message(FATAL_ERROR "planted fault ${NAME}: no table has it")
endif()

# Writes a file, unless it is what it would become: then it keeps its time, and is not compiled again.
function(write_if_different path text)
  set(old "")
  if(EXISTS ${path})
    file(READ ${path} old)
  endif()
  if(NOT text STREQUAL old)
    file(WRITE ${path} "${text}")
  endif()
endfunction()

set(networks cuda/networks.cuh)
file(MAKE_DIRECTORY ${TO}/cuda)
file(GLOB files RELATIVE ${FROM} ${FROM}/*.h ${FROM}/cuda/*)
list(REMOVE_ITEM files ${planted_file} ${networks})
foreach(file IN LISTS files)
  file(COPY_FILE ${FROM}/${file} ${TO}/${file} ONLY_IF_DIFFERENT)
endforeach()
write_if_different(${TO}/${planted_file} "${planted}")

get_property(case GLOBAL PROPERTY planted_case)
string(REGEX MATCH "^([135]),([13])," matched "${case}")
if(NOT matched)
  message(FATAL_ERROR "planted fault ${NAME}: CASE must begin with conv2's kernel size and the channels, got ${case}")
endif()
write_if_different(${TO}/${networks} "#pragma once

#include <cstdint>
#include <type_traits>

namespace srcnn::cuda {

template <int kValue>
using Constant = std::integral_constant<int, kValue>;

template <class Call>
void with_kernel2(int, const Call& call) {
  call(Constant<${CMAKE_MATCH_1}>{});
}

template <class Call>
void with_network(int, int64_t, const Call& call) {
  call(Constant<${CMAKE_MATCH_1}>{}, Constant<${CMAKE_MATCH_2}>{});
}

}  // namespace srcnn::cuda
")
