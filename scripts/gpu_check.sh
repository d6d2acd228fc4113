#!/usr/bin/env bash
# Everything that needs a GPU, on a machine that has one, in under 9 minutes: builds the package against the torch that is
# there, runs the CUDA tests, compute-sanitizer on the small ones, and the benchmarks, whose results go to bench/results/.
# Needs no network and installs nothing but this package.
#
#   scripts/gpu_check.sh [STEP...]    steps: build tests sanitizer bench training kernels more_sanitizer profile (default: all)
#
# A step that fails stops neither the others nor what they have written; the exit status and the last lines tell of it. Planned
# for 16 cores and one GPU: build 150 s, tests 90 s, sanitizer 60 s, benchmarks 230 s (training steps 90 s and each kernel 65 s
# of these); where those before it take less, the benchmark takes more, and what comes after the kernels (more_sanitizer,
# profile) what is left.
#
# PYTHON names the interpreter (default: python3). OUT names a folder for everything that is written (default:
# build/gpu_check). SRCNN_FUSED_CHECK_SECONDS: the time for all (default: 530). SRCNN_FUSED_REQUIRE_SANITIZER=1: that
# compute-sanitizer cannot run is a failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
root=$PWD
python=${PYTHON:-python3}
total=${SRCNN_FUSED_CHECK_SECONDS:-530}
results=${OUT:-$root/build/gpu_check}
all_steps=(build tests sanitizer bench training kernels more_sanitizer profile)
# What is kept for steps to come.
training_seconds=90 kernels_seconds=65 backward_seconds=20
steps=("$@")
export PYTHONUNBUFFERED=1 SRCNN_FUSED_REQUIRE_EXTENSION=1 SRCNN_FUSED_REQUIRE_CUDA=1
MAX_JOBS=${MAX_JOBS:-$(nproc)}
export MAX_JOBS

fail() { echo "gpu_check: $*" >&2; exit 1; }
left() { echo $((total - SECONDS)); }
at_most() { echo $(($1 < $2 ? $1 : $2)); }
wanted() { [[ " ${steps[*]} " == *" $1 "* ]]; }

[ $# -gt 0 ] || steps=("${all_steps[@]}")
for step in "${steps[@]}"; do
  [[ " ${all_steps[*]} " == *" $step "* ]] || fail "a step must be one of ${all_steps[*]}, got '$step'"
done

# Away from the source tree, where Python would import the package without its extension.
away=(env -C / "$python")
# A test that hangs says which it is before the step's limit ends it.
pytest=(-m pytest --rootdir "$root" -c "$root/pyproject.toml" -q --tb=short --maxfail=30 --continue-on-collection-errors
  -o faulthandler_timeout=60)

mkdir -p "$results" || fail "cannot make the folder $results"
results=$(cd "$results" && pwd)
rm -f "$results"/{sanitizer,benchmark}.log
exec > >(tee "$results/gpu_check.log") 2>&1
tee_process=$!
summary=() failed=0
finish() {
  local status=$?
  [ $failed = 0 ] || status=1
  if [ ${#summary[@]} -gt 0 ]; then
    printf '\n==> %d s, exit status %d; written to %s\n' "$SECONDS" "$status" "$results"
    printf '%s\n' "${summary[@]}"
  fi
  exec >&- 2>&-  # lets tee end
  wait "$tee_process"
  exit "$status"
}
trap finish EXIT

note() {  # note STEP OUTCOME SECONDS
  summary+=("$(printf '%-28s %-40s %4d s' "$1" "$2" "$3")")
  printf '%s\n' "${summary[@]}" >"$results/summary.txt"
}

run() {  # run STEP SECONDS COMMAND...: remembers what became of it
  local name=$1 limit=$2 start=$SECONDS status=0
  shift 2
  printf '\n==> %s (%d s so far; %d s for this)\n' "$name" "$SECONDS" "$limit"
  timeout --kill-after=10 "$limit" "$@" || status=$?
  case $status in
    0) note "$name" ok $((SECONDS - start)) ;;
    124 | 137) note "$name" "FAILED: stopped after $limit s" $((SECONDS - start)) ;;
    *) note "$name" "FAILED: exit status $status" $((SECONDS - start)) ;;
  esac
  [ $status = 0 ] || failed=1
  return $status
}

find_tool() {  # find_tool NAME: on PATH or where the toolkit and its companions are put
  local place
  command -v "$1" && return
  for place in "${CUDA_HOME:-/usr/local/cuda}"/bin /usr/local/cuda*/bin /usr/local/cuda*/compute-sanitizer /opt/nvidia/nsight-compute/*; do
    if [ -x "$place/$1" ]; then
      echo "$place/$1"
      return
    fi
  done
  return 1
}

# ------------------------------------------------------------------------------------------------------------- the GPU

grep -qE '^[^#[]+\.cu\b' csrc/sources.txt ||
  fail "this version has no CUDA kernels: there is nothing to check on a GPU, and nothing was checked"
"${away[@]}" -c 'import torch; raise SystemExit(not torch.cuda.is_available())' ||
  fail "$python has no torch that sees a CUDA GPU: nothing was checked"
printf '==> GPU\n'
facts=$("${away[@]}" -c '
import re, torch
facts = torch.cuda.get_device_properties(0)
print(re.sub(r"\W+", "-", facts.name).strip("-").lower())
print(f"{facts.major}.{facts.minor}")
print(f"{facts.name}, sm_{facts.major}{facts.minor}, {facts.multi_processor_count} multiprocessors, "
      f"{facts.total_memory / 2**30:.0f} GiB; torch {torch.__version__}, CUDA {torch.version.cuda}, "
      f"cuDNN {torch.backends.cudnn.version()}")') || fail "torch cannot describe the GPU"
{ read -r gpu; read -r capability; read -r description; } <<<"$facts"
echo "$description; $(nproc) cores, $MAX_JOBS compilers at once"
nvidia-smi || echo "nvidia-smi is not there or cannot run"

# ------------------------------------------------------------------------------------------------------------- build, tests

# One architecture, this GPU's, keeps the build short; Hopper's own instructions need the "a".
[ "$capability" != 9.0 ] || capability=9.0a
export TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST:-$capability}
if wanted build; then
  run build "$(at_most 300 "$(left)")" env SRCNN_FUSED_CUDA=1 "$python" -m pip install -q --no-build-isolation --no-deps . ||
    fail "the build failed: nothing else was checked"
fi
cuda=$("${away[@]}" -c 'from srcnn_fused import _extension; i = _extension.module().build_info(); print(i["cuda"], "for", i["cuda_archs"])') ||
  fail "the extension is not installed: nothing else was checked"
[[ "$cuda" != none* ]] || fail "the extension was built without CUDA kernels: nothing else was checked"
echo "the extension has kernels of CUDA $cuda"

if wanted tests; then
  run tests "$(at_most 180 "$(left)")" "${away[@]}" "${pytest[@]}" -m cuda --durations=10 "$root/tests"
fi

# ------------------------------------------------------------------------------------------------------------- sanitizer

no_sanitizer() {  # no_sanitizer TOOL WHY
  echo "gpu_check: $1 DID NOT RUN: $2"
  note "$1" "NOT RUN: $2" 0
  [ "${SRCNN_FUSED_REQUIRE_SANITIZER:-0}" != 1 ] || failed=1
}

sanitize() {  # sanitize TOOL SECONDS
  local program log status=0
  program=$(find_tool compute-sanitizer) || { no_sanitizer "$1" "compute-sanitizer is not there"; return; }
  [ "$2" -ge 20 ] || { no_sanitizer "$1" "out of time"; return; }
  log=$(mktemp)
  # Without torch's cache of memory, each tensor is an allocation of its own, whose bounds are known.
  local command=(env -C / PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$program" --tool "$1" --error-exitcode 1)
  # torch asks the driver for functions that it may lack, which is no error of ours; our own launches are checked.
  [ "$1" != memcheck ] || command+=(--report-api-errors no)
  command+=("$python" "${pytest[@]}" -m "cuda and not slow" -k small "$root"/tests/test_*cuda*.py)
  local start=$SECONDS
  printf '\n==> %s (%d s so far; %d s for this)\n' "$1" "$SECONDS" "$2"
  timeout --kill-after=10 "$2" "${command[@]}" >"$log" 2>&1 || status=$?
  tail -n 60 "$log"
  { echo "==> $1"; head -c 4000000 "$log"; } >>"$results/sanitizer.log"
  if grep -qi "device not supported" "$log"; then
    no_sanitizer "$1" "it does not support this device"
  elif [ $status = 0 ]; then
    note "$1" ok $((SECONDS - start))
  elif [ $status = 124 ] || [ $status = 137 ]; then
    no_sanitizer "$1" "stopped after $2 s"
  else
    note "$1" "FAILED: exit status $status" $((SECONDS - start))
    failed=1
  fi
  rm -f "$log"
}

if wanted sanitizer; then
  reserve=20
  wanted bench && reserve=140
  ! wanted training || reserve=$((reserve + training_seconds))
  for tool in memcheck racecheck; do
    sanitize "$tool" "$(at_most 75 $(($(left) - reserve)))"
  done
fi

# ------------------------------------------------------------------------------------------------------------- benchmark

bench() {  # bench STEP RESERVE MODULE NAME OPTION...: the seconds left but for the reserve; stopped if it takes much longer
  local step=$1 reserve=$2 module=$3 json="$results/$4.json" budget
  shift 4
  budget=$(($(left) - reserve - 15))
  if [ $budget -lt 20 ]; then
    note "$step" "NOT RUN: out of time" 0
    return
  fi
  rm -f "$json"  # a run before this one may have left it
  echo "notes of the compiler and the like: benchmark.log"
  # shellcheck disable=SC2016  # expanded by the inner shell
  run "$step" $((budget + 25)) bash -c '"$@" 2>>"$0"' "$results/benchmark.log" \
    "$python" -m "$module" --budget $budget --json "$json" "$@" || tail -n 20 "$results/benchmark.log"
  # The kernels one by one are no result to publish.
  if [ $# = 0 ] && [ -s "$json" ]; then cp "$json" bench/results/; fi
}

reserve=0
! wanted kernels || reserve=$kernels_seconds
if wanted bench; then
  ! wanted training || reserve=$((reserve + training_seconds))
  bench benchmark $reserve bench.gpu "$gpu"
  ! wanted training || reserve=$((reserve - training_seconds))
fi
if wanted training; then
  bench "training steps" $reserve bench.gpu.train "training-$gpu"
fi
if wanted kernels; then
  bench "each kernel" $backward_seconds bench.gpu "$gpu-kernels" --peers fused --kernels fma tf32x3 tf32 mma wgmma \
    --shape 1920x1080 --rounds 5
  bench "each backward" 0 bench.gpu.train "training-$gpu-kernels" --peers fused --kernels fma mma --batch 16x256 \
    --precision float16 --rounds 5
fi
if wanted more_sanitizer; then
  for tool in synccheck initcheck; do
    sanitize "$tool" "$(at_most 60 $(($(left) - 5)))"
  done
fi

# ------------------------------------------------------------------------------------------------------------- profile

profile() {
  local program
  program=$(find_tool ncu) || { note profile "NOT RUN: ncu is not there" 0; return; }
  [ "$(left)" -ge 40 ] || { note profile "NOT RUN: out of time" 0; return; }
  local start=$SECONDS limit=$(($(left) - 5))
  local what=(--clock-control none --kernel-name "regex:srcnn" --log-file "$results/profile.txt")
  local sections=(--section SpeedOfLight --section LaunchStats --section Occupancy --section WarpStateStats
    --section MemoryWorkloadAnalysis --section ComputeWorkloadAnalysis)
  local metrics='gpu__time_duration.sum,regex:^sm__inst_executed_pipe_tensor[a-z_0-9]*.sum$'
  metrics+=,smsp__issue_active.avg.pct_of_peak_sustained_active
  metrics+=,sm__warps_active.avg.pct_of_peak_sustained_active,l1tex__data_bank_conflicts_pipe_lsu.sum
  metrics+=,l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum
  metrics+=,l1tex__data_pipe_lsu_wavefronts_mem_shared.avg.pct_of_peak_sustained_elapsed
  printf '\n==> profile (%d s so far; %d s for this)\n' "$SECONDS" "$limit"
  # Names of metrics differ between versions; those of sections do not.
  if timeout --kill-after=10 "$limit" "$program" "${what[@]}" "${sections[@]}" --metrics "$metrics" "$python" -m bench.gpu.profile ||
    timeout --kill-after=10 "$(left)" "$program" "${what[@]}" "${sections[@]}" "$python" -m bench.gpu.profile; then
    note profile "ok: profile.txt" $((SECONDS - start))
  else
    note profile "NOT RUN: ncu may not or cannot" $((SECONDS - start))
  fi
}
if wanted profile; then profile; fi
