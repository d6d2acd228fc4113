# Compile and link options of everything built here: the extension's, plus warnings and sanitizers.
find_package(Threads REQUIRED)

function(srcnn_fused_compile_options target)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion>)
  if(SRCNN_FUSED_WERROR)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
  endif()
  target_link_libraries(${target} PUBLIC Threads::Threads)
  if(SRCNN_FUSED_SANITIZE)
    target_compile_options(${target} PUBLIC
      -fsanitize=${SRCNN_FUSED_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
    target_link_options(${target} PUBLIC -fsanitize=${SRCNN_FUSED_SANITIZE})
  endif()
endfunction()

# nvcc's side: the same strictness in the host's half (nvcc's own output is not -Wpedantic), every warning of the device
# compilers. ptxas's report on each kernel is kept; architectures are compiled one after the other, or it would be mixed up.
function(srcnn_fused_cuda_compile_options target)
  set(werror "")
  if(SRCNN_FUSED_WERROR)
    set(werror -Werror=all-warnings -Xcompiler=-Werror)
  endif()
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:-Xptxas=-v -Xcompiler=-Wall,-Wextra ${werror}>
    $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion>)
  set_property(TARGET ${target} PROPERTY CUDA_COMPILER_LAUNCHER ${PROJECT_SOURCE_DIR}/cmake/keep_ptxas_log.sh)
endfunction()
