#!/usr/bin/env bash
# Everything that needs a GPU, on a machine that has one, in under 9 minutes: builds the package against the torch that is
# there, then runs the CUDA tests, compute-sanitizer and the benchmarks, and leaves one JSON in bench/results/.
# Needs no network and installs nothing but this package. PYTHON names the interpreter (default: python3).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

fail() { echo "gpu_check: $*" >&2; exit 1; }
step() { printf '\n==> %s (%d s so far)\n' "$1" "$SECONDS"; }

step "GPU"
"$python" -c 'import torch; raise SystemExit(not torch.cuda.is_available())' ||
  fail "torch of $python sees no CUDA GPU: nothing was checked"
name=$("$python" -c 'import re, torch; print(re.sub(r"\W+", "-", torch.cuda.get_device_name()).strip("-").lower())')
echo "$name"

# One architecture, this GPU's, keeps the build short.
step "build"
TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST:-$("$python" -c 'import torch; print("%d.%d" % torch.cuda.get_device_capability())')}
export TORCH_CUDA_ARCH_LIST
grep -qE '^[^#[]+\.cu\b' csrc/sources.txt || fail "this version has no CUDA kernels, so there is nothing to check on a GPU"
SRCNN_FUSED_CUDA=1 SRCNN_FUSED_REQUIRE_EXTENSION=1 "$python" -m pip install -q --no-build-isolation --no-deps .
# Away from the source tree, where the package has no extension.
cuda=$(cd / && "$python" -c 'from srcnn_fused import _extension; print(_extension.module().build_info()["cuda"])')
[ "$cuda" != none ] || fail "the extension was built without CUDA"

step "tests"
SRCNN_FUSED_REQUIRE_CUDA=1 "$python" -P -m pytest -q -m cuda tests

step "compute-sanitizer"
command -v compute-sanitizer >/dev/null || fail "compute-sanitizer is not on PATH"
for tool in memcheck racecheck; do
  compute-sanitizer --tool "$tool" --error-exitcode 1 "$python" -P -m pytest -q -m "cuda and not slow" -k small tests
done

step "benchmarks"
mkdir -p bench/results
"$python" -P -m pytest -q bench --benchmark-only -m cuda --benchmark-json "bench/results/$name.json"

step "done: bench/results/$name.json"
