#!/usr/bin/env bash
# Are the layers right on this GPU, and what do they cost there? At most nine minutes; needs torch and timm alone.
#
#   benchmarks/gpu.sh                            # on the GPU; one JSON on the standard output
#   benchmarks/gpu.sh results.json               # into a file that does not exist yet
#   benchmarks/gpu.sh --device cpu --quick       # runs to its end on a processor, small; the JSON says so
#
# PYTHON chooses the interpreter; otherwise .venv of this checkout, or python3. TAPADL_BUDGET changes the layers' budget
# (mmseg_tapadl/layers/budget.py), e.g. TAPADL_BUDGET=recompute=false. Exit status: 0 all within tolerance, 1 not, 2 it
# could not run.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 2
python=${PYTHON:-$root/.venv/bin/python}
if [ -z "${PYTHON:-}" ] && [ ! -x "$python" ]; then
    python=python3
fi
if ! command -v "$python" > /dev/null; then
    echo "gpu.sh: error: no Python at '$python': set PYTHON to one that has torch and timm" >&2
    exit 2
fi
# On a processor peak memory is that of the process: freed memory must not stay in it.
export MALLOC_TRIM_THRESHOLD_=0 PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m benchmarks.gpu "$@"
