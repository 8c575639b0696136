#!/usr/bin/env bash
# Tests with several processes on this machine: one a GPU, or that many on the CPU where there is none.
#
#   bash tools/dist_test.sh configs/fan_tapadl_cityscapes.py CHECKPOINT 4 [any option of tools/test.py]
#
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR (the same on all) and PORT, and start it on each.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [options of tools/test.py]" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
shift 3
PYTHON=${PYTHON:-python}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$PYTHON" -m torch.distributed.run --nnodes="${NNODES:-1}" --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" --master-port="${PORT:-29500}" --nproc-per-node="$GPUS" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
