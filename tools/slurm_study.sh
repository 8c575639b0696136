#!/usr/bin/env bash
# Runs a study as a Slurm job array: each job makes its share of the runs, one after the other or --jobs side by side.
#
#   SHARDS=8 GPUS_PER_NODE=1 bash tools/slurm_study.sh PARTITION JOB_NAME STUDY [options of tools/study.py]
#
# The jobs share the work dir, which every machine must see: each finished run is written up there for all. Slurm sends
# SIGTERM two minutes before it takes a machine away: the runs then save. A job that was preempted is queued again and
# goes on; after a time limit the same command goes on.
# Where machines share no folder, give each its own --work-dir and --shard I/N, and put them together with --merge.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: SHARDS=8 $0 PARTITION JOB_NAME STUDY [options of tools/study.py]" >&2
    exit 2
fi
PARTITION=$1
JOB_NAME=$2
STUDY=$3
shift 3
SHARDS=${SHARDS:-4}
TOOL="$(dirname "$0")/study.py"
printf -v COMMAND '%q ' "${PYTHON:-python}" -u "$TOOL" "$STUDY" --shard slurm "$@"
exec sbatch --partition="$PARTITION" --job-name="$JOB_NAME" --array="1-$SHARDS" --requeue --signal=TERM@120 --ntasks=1 \
    --gres="gpu:${GPUS_PER_NODE:-1}" --cpus-per-task="${CPUS_PER_TASK:-5}" ${SBATCH_ARGS:-} --wrap "srun --ntasks=1 ${SRUN_ARGS:-} $COMMAND"
