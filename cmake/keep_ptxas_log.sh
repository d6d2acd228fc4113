#!/bin/sh
# CUDA_COMPILER_LAUNCHER of the CUDA kernels: compiles, and keeps what `ptxas -v` says of each kernel in OBJECT.ptxas, for
# scripts/kernel_resources.py. Everything else that the compiler says is passed on.
previous=
for argument; do
  [ "$previous" = -o ] && object=$argument
  previous=$argument
done
"$@" 2>"$object.ptxas"
status=$?
grep -vE '^$|^ptxas info +: |^ +[0-9]+ bytes stack frame' "$object.ptxas" >&2
exit $status
