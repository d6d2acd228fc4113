#!/usr/bin/env bash
# Everything that needs a GPU, on a machine that has one, in under 9 minutes: builds the package against the torch that is
# there, then runs the CUDA tests, and compute-sanitizer on the small ones.
# Needs no network and installs nothing but this package. PYTHON names the interpreter (default: python3).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-python3}

fail() { echo "gpu_check: $*" >&2; exit 1; }
step() { printf '\n==> %s (%d s so far)\n' "$1" "$SECONDS"; }

# Away from the source tree, where Python would import the package without its extension.
away() { (cd / && "$python" "$@"); }
pytest=(-m pytest --rootdir "$root" -c "$root/pyproject.toml" -q)

grep -qE '^[^#[]+\.cu\b' csrc/sources.txt ||
  fail "this version has no CUDA kernels: there is nothing to check on a GPU, and nothing was checked"

step "GPU"
away -c 'import torch; raise SystemExit(not torch.cuda.is_available())' ||
  fail "$python has no torch that sees a CUDA GPU: nothing was checked"
name=$(away -c 'import re, torch; print(re.sub(r"\W+", "-", torch.cuda.get_device_name()).strip("-").lower())')
echo "$name"

# One architecture, this GPU's, keeps the build short.
step "build"
capability=$(away -c 'import torch; print("%d.%d" % torch.cuda.get_device_capability())')
export TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST:-$capability}
SRCNN_FUSED_CUDA=1 SRCNN_FUSED_REQUIRE_EXTENSION=1 "$python" -m pip install -q --no-build-isolation --no-deps .
cuda=$(away -c 'from srcnn_fused import _extension; print(_extension.module().build_info()["cuda"])')
[ "$cuda" != none ] || fail "the extension was built without CUDA kernels: nothing was checked"

step "tests"
SRCNN_FUSED_REQUIRE_CUDA=1 away "${pytest[@]}" -m cuda "$root/tests"

step "compute-sanitizer on the small shapes"
command -v compute-sanitizer >/dev/null || fail "compute-sanitizer is not on PATH"
for tool in memcheck racecheck; do
  (cd / && compute-sanitizer --tool "$tool" --error-exitcode 1 \
    "$python" "${pytest[@]}" -m "cuda and not slow" -k small "$root/tests")
done

step "done: the CUDA kernels are right on $name; bench/ does not time GPUs yet"
