#!/bin/bash
# A Ray cluster for one job of Slurm, which ends with it: sbatch slurm.sh --dataset=ml-1m --data_dir=...
#SBATCH --job-name=fedrec
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --exclusive
#SBATCH --time=04:00:00
# Slurm says so a while before the time is over: the run then finishes its round, saves, and can be resumed.
#SBATCH --signal=B:TERM@120
set -euo pipefail

# The project's folder, on a disk that every node sees, with its environment (make setup, then requirements-ray.txt).
FEDREC=${FEDREC:-$SLURM_SUBMIT_DIR}
OUTPUT=${OUTPUT:-$FEDREC/runs/slurm-$SLURM_JOB_ID}
RAY=$FEDREC/.venv/bin/ray
PORT=$((20000 + SLURM_JOB_ID % 20000))
export RAY_USAGE_STATS_ENABLED=0

mapfile -t NODES < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
HEAD=${NODES[0]}
HEAD_IP=$(srun --nodes=1 --ntasks=1 --nodelist="$HEAD" hostname --ip-address | awk '{print $1}')

start() {
  srun --nodes=1 --ntasks=1 --overlap --nodelist="$1" "$RAY" start --block \
    --num-cpus="$SLURM_CPUS_PER_TASK" "${@:2}" &
}
start "$HEAD" --head --node-ip-address="$HEAD_IP" --port="$PORT"
sleep 15
for NODE in "${NODES[@]:1}"; do
  start "$NODE" --address="$HEAD_IP:$PORT"
done

# Workers that come later join when they are there.
srun --nodes=1 --ntasks=1 --overlap --nodelist="$HEAD" --chdir="$FEDREC" \
  .venv/bin/python -m experiments.train --execution=ray --ray_address="$HEAD_IP:$PORT" \
  --ray_workers=$((SLURM_NNODES * SLURM_CPUS_PER_TASK)) --num_shares=$((2 * SLURM_NNODES * SLURM_CPUS_PER_TASK)) \
  --output_dir="$OUTPUT" "$@" &
DRIVER=$!
trap 'kill -TERM "$DRIVER"; wait "$DRIVER"' TERM
wait "$DRIVER"
