#!/usr/bin/env bash
# A sweep inside one Slurm allocation. From the root of the checkout, which must lie in a folder that all nodes share:
#
#   sbatch deploy/slurm.sh sweeps/xnli.py                 any option of `xfer-ray run` may follow
#   tail -f xfer-ray-*.log
#
# Two minutes before the time limit every trial saves a checkpoint, and the job goes back into the queue by itself; it
# goes on where it was. `scancel --signal=TERM --batch JOB` does the same without going back. What is done stays done
# in any case.
#
# Edit these for your site (or give them to sbatch):
#SBATCH --job-name=xfer-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --output=xfer-ray-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#
#   XFER_RAY_VENV      the environment (default: .venv of the folder from which the job was submitted)
#   XFER_RAY_HEAD_IP   the first node's address, where its name leads to the wrong network
set -uo pipefail

if [ $# -eq 0 ] || [ -z "${SLURM_JOB_ID:-}" ]; then
    echo "usage: sbatch deploy/slurm.sh SWEEP [options of xfer-ray run]" >&2
    exit 2
fi
cd "${SLURM_SUBMIT_DIR:-$PWD}" || exit 2
# shellcheck disable=SC1091
. "${XFER_RAY_VENV:-$PWD/.venv}/bin/activate" || { echo "no environment in ${XFER_RAY_VENV:-$PWD/.venv}; name it in XFER_RAY_VENV" >&2; exit 4; }

# The token: other users of these nodes can reach Ray's ports, and whoever has the token can run programs as you. So each
# job has one of its own, in a folder that only you can open and that ends with the job. It is never an argument or logged.
folder="$HOME/.xfer-ray-jobs/$SLURM_JOB_ID"
mkdir -p "$folder" && chmod 700 "$HOME/.xfer-ray-jobs" "$folder" || exit 4
(umask 077 && python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$folder/token") || exit 4
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$folder/token"

# Ten ports to each job, so that two jobs on a node do not meet; what trials listen on, the system chooses.
export XFER_RAY_PORT=$((10000 + SLURM_JOB_ID % 2000 * 10))
# Ray's sockets and logs, on each node's own disk (a shared folder is too slow, and its path too long for a socket).
export XFER_RAY_TEMP="/tmp/xfer-ray-$SLURM_JOB_ID"
export RAY_ROTATION_MAX_BYTES=100000000 RAY_ROTATION_BACKUP_COUNT=3 RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
find_address() {
    getent ahostsv4 "${nodes[0]}" | awk '$1 !~ /^127\./ {print $1; found = 1; exit} END {exit !found}' || hostname -I | awk '{print $1}'
}
XFER_RAY_HEAD_IP=${XFER_RAY_HEAD_IP:-$(find_address)}
export XFER_RAY_HEAD_IP

# What runs on each node: Ray, until the job ends. Ray opens its own folder to everybody, so it lies within one that is closed.
# shellcheck disable=SC2317 # it is called on the nodes
on_node() {
    if ! mkdir -m 700 "$XFER_RAY_TEMP" 2>/dev/null && { [ -L "$XFER_RAY_TEMP" ] || [ ! -O "$XFER_RAY_TEMP" ]; }; then
        echo "$XFER_RAY_TEMP on $(hostname) is not yours" >&2
        exit 4
    fi
    chmod 700 "$XFER_RAY_TEMP"
    ulimit -n 65536 2>/dev/null || ulimit -Sn hard
    local common=(--num-cpus="${SLURM_CPUS_PER_TASK:-1}" --object-manager-port=$((XFER_RAY_PORT + 1))
        --node-manager-port=$((XFER_RAY_PORT + 2)) --metrics-export-port=$((XFER_RAY_PORT + 3))
        --runtime-env-agent-port=$((XFER_RAY_PORT + 4)) --dashboard-agent-listen-port=$((XFER_RAY_PORT + 5))
        --dashboard-agent-grpc-port=$((XFER_RAY_PORT + 6)) --min-worker-port=0 --max-worker-port=0 --block)
    if [ "$1" = head ]; then
        ray start --head --node-ip-address="$XFER_RAY_HEAD_IP" --port="$XFER_RAY_PORT" --dashboard-host=127.0.0.1 \
            --dashboard-port=$((XFER_RAY_PORT + 7)) --ray-client-server-port=$((XFER_RAY_PORT + 8)) \
            --temp-dir="$XFER_RAY_TEMP/ray" --disable-usage-stats "${common[@]}" >"$XFER_RAY_TEMP/start.log" 2>&1 &
    else
        for _ in $(seq 60); do # the head needs a moment
            (: <"/dev/tcp/$XFER_RAY_HEAD_IP/$XFER_RAY_PORT") 2>/dev/null && break
            sleep 2
        done
        ray start --address="$XFER_RAY_HEAD_IP:$XFER_RAY_PORT" "${common[@]}" >"$XFER_RAY_TEMP/start.log" 2>&1 &
    fi
    local ray=$!
    trap 'kill -TERM $ray 2>/dev/null' TERM INT
    wait "$ray"
    local code=$?
    [ "$code" -gt 128 ] && wait "$ray" 2>/dev/null
    [ "$code" -eq 0 ] || [ "$code" -gt 128 ] || tail -n 20 "$XFER_RAY_TEMP/start.log" >&2
    rm -rf "$XFER_RAY_TEMP"
}

sruns=()
clean_up() {
    for each in "${sruns[@]}"; do kill -TERM "$each" 2>/dev/null; done
    for each in "${sruns[@]}"; do wait "$each" 2>/dev/null; done
    sruns=()
    rm -rf "$folder"
}
trap clean_up EXIT

kind="head"
for node in "${nodes[@]}"; do
    # One step for each node, with all that the job has there. srun does not take --cpus-per-task over from the job by itself.
    srun --nodes=1 --ntasks=1 --nodelist="$node" --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
        bash -c "$(declare -f on_node); on_node $kind" &
    sruns+=($!)
    kind=worker
done

# The batch script runs on the first node, beside the head.
here() {
    python - "$XFER_RAY_HEAD_IP:$XFER_RAY_PORT" 2>/dev/null <<'PYTHON'
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
print(sum(node["Alive"] for node in ray.nodes()))
PYTHON
}
found=0
end=$((SECONDS + ${XFER_RAY_WAIT:-300}))
while [ "$found" -lt "${#nodes[@]}" ]; do
    if [ $SECONDS -ge $end ]; then
        echo "only $found of ${#nodes[@]} nodes came within ${XFER_RAY_WAIT:-300} s" >&2
        exit 4
    fi
    sleep 2
    found=$(here)
    found=${found:-0}
done
echo "Ray runs on ${#nodes[@]} nodes: ${nodes[*]}"

# A notice goes to the sweep, whose trials then save and leave; `wait` ends early when a notice comes, so wait again.
asked=""
xfer-ray run "$@" --address "$XFER_RAY_HEAD_IP:$XFER_RAY_PORT" &
sweep=$!
trap 'asked=again; kill -TERM $sweep 2>/dev/null' USR1
trap 'asked=stop; kill -TERM $sweep 2>/dev/null' TERM INT
code=0
while kill -0 "$sweep" 2>/dev/null; do
    wait "$sweep"
    code=$?
done
if [ "$asked" = again ] && [ "$code" -ne 0 ]; then
    clean_up # before the job is requeued, which ends it
    echo "the time is over; the job goes back into the queue and will go on from the checkpoints"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
