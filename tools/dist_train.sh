#!/usr/bin/env bash
# Trains with several processes on this machine: one a GPU, or that many on the CPU where there is none.
#
#   bash tools/dist_train.sh configs/fan_tapadl_cityscapes.py 4 [any option of tools/train.py]
#
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR (the same on all) and PORT, and start it on each.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG GPUS [options of tools/train.py]" >&2
    exit 2
fi
CONFIG=$1
GPUS=$2
shift 2
PYTHON=${PYTHON:-python}
# As torchrun does where nothing is said, but without its warning: one thread a process.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$PYTHON" -m torch.distributed.run --nnodes="${NNODES:-1}" --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" --master-port="${PORT:-29500}" --nproc-per-node="$GPUS" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "$@"
