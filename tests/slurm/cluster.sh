#!/usr/bin/env bash
# A real SLURM of one node on this machine, for tests: cluster.sh start | stop | records
#
#   start    install slurmctld, slurmd, slurm-client and munge where missing (Debian, root), start them, wait for the node;
#            ends with 3 where this machine cannot have a cluster
#   stop     cancel its jobs, stop exactly those daemons, remove everything that start wrote outside the lab's folder
#   records  what the scheduler knows of every job since the start, a line a job (scontrol show job)
#
# The GPUs are device files, four of type rtx8000 and one a100; processors and memory are declared, not measured. There is
# no accounting daemon: ended jobs stay visible in the controller's memory. Every client command runs under a time limit,
# because clients wait for a controller that is gone. State and logs lie in $SLURM_LAB, default /var/tmp/nino-slurm.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin" # where Debian has the daemons, and not on every user's path

LAB=${SLURM_LAB:-/var/tmp/nino-slurm}
CONF=/etc/slurm/slurm.conf # not in the lab: Snakemake's executor drops SLURM_CONF
MARK="# written by nino's tests/slurm/cluster.sh"
NODE=$(hostname -s)

say() { echo "cluster: $*" >&2; }
fail() { say "$*"; exit 1; }
# Not a fault of the cluster: this machine cannot have one.
cannot() { say "$*"; exit 3; }
client() { timeout 10 "$@"; }

# wait_for SECONDS COMMAND...: until the command succeeds
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

# pid_of NAME: of the daemon that start started, if it still is that program
pid_of() {
    local pid
    pid=$(cat "$LAB/$1.pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] && echo "$pid"
}

install_packages() {
    command -v slurmctld && command -v slurmd && command -v munged && command -v squeue && return
    command -v apt-get || cannot "SLURM is not installed, and apt-get is not there to install it"
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e "$policy" ]; then # packages shall not start daemons of their own
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1
    fi
    export DEBIAN_FRONTEND=noninteractive
    timeout 120 apt-get -qq update || say "apt-get update failed; trying with the lists that are there"
    timeout 240 apt-get -qq install -y --no-install-recommends slurmctld slurmd slurm-client munge || made=${made:-}failed
    [ "${made#1}" = "$made" ] || rm -f "$policy"
    [ "${made%failed}" = "$made" ] || cannot "the packages cannot be installed"
}

configure() {
    if [ -e "$CONF" ] && ! grep -qF "$MARK" "$CONF"; then
        cannot "$CONF is that of another cluster; this machine has a SLURM already"
    fi
    install -d -m 755 "$LAB" "$LAB/state" "$LAB/spool" /etc/slurm
    install -d -m 755 "$LAB/munge"
    (umask 077 && head -c 128 /dev/urandom >"$LAB/munge/key")
    for gpu in rtx8000-{0..3} a100-0; do
        [ -e "$LAB/$gpu" ] || mknod -m 666 "$LAB/$gpu" c 1 3 2>/dev/null || touch "$LAB/$gpu"
    done
    cat >"$CONF" <<CONF
$MARK
ClusterName=nino
SlurmctldHost=$NODE(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$LAB/munge/socket
CredType=cred/munge
SlurmctldPort=26817
SlurmdPort=26818
SlurmctldPidFile=$LAB/slurmctld.pid
SlurmdPidFile=$LAB/slurmd.pid
SlurmctldLogFile=$LAB/slurmctld.log
SlurmdLogFile=$LAB/slurmd.log
StateSaveLocation=$LAB/state
SlurmdSpoolDir=$LAB/spool
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# a job that takes more memory than it asked for is killed, as cgroups do it on a real cluster
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
# what the node line says counts, not what the machine has
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=3
MinJobAge=7200
SchedulerParameters=sched_min_interval=100000,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
EnforcePartLimits=ALL
NodeName=$NODE NodeAddr=127.0.0.1 CPUs=6 RealMemory=64000 Gres=gpu:rtx8000:4,gpu:a100:1 State=UNKNOWN
PartitionName=cpu Nodes=$NODE Default=YES MaxTime=2-00:00:00 State=UP
PartitionName=gpu Nodes=$NODE MaxTime=2-00:00:00 State=UP
CONF
    cat >/etc/slurm/gres.conf <<CONF
$MARK
AutoDetect=off
NodeName=$NODE Name=gpu Type=rtx8000 File=$LAB/rtx8000-[0-3]
NodeName=$NODE Name=gpu Type=a100 File=$LAB/a100-0
CONF
}

idle() { client sinfo -h -o %T | grep -qx idle; }

start() {
    [ "$(id -u)" = 0 ] || cannot "only root can start SLURM"
    install_packages >/dev/null
    stop
    configure
    munged --force --key-file="$LAB/munge/key" --socket="$LAB/munge/socket" --pid-file="$LAB/munged.pid" \
        --log-file="$LAB/munge/log" --seed-file="$LAB/munge/seed" </dev/null >/dev/null 2>&1
    wait_for 10 munge -n --socket="$LAB/munge/socket" || fail "munge does not answer: $(tail -n 5 "$LAB/munge/log")"
    timeout 20 slurmctld </dev/null >"$LAB/slurmctld.out" 2>&1 || true
    timeout 20 slurmd -N "$NODE" </dev/null >"$LAB/slurmd.out" 2>&1 || true
    wait_for 30 idle || fail "the node does not come up: $(tail -qn 8 "$LAB/slurmctld.log" "$LAB/slurmd.log" "$LAB"/*.out)"
    say "up: $(client sinfo -h -o '%P %c processors, %m MB, %G' | tr '\n' ';')"
}

stop() {
    local name pid
    if pid_of slurmctld >/dev/null; then
        client squeue -h -o %A | sort -u | xargs -r timeout 10 scancel --full 2>/dev/null || true
        wait_for 8 sh -c '[ -z "$(timeout 5 squeue -h -o %A)" ]' || true
    fi
    for name in slurmd slurmctld munged; do
        pid=$(pid_of "$name") || continue
        kill "$pid"
        wait_for 10 sh -c "[ ! -d /proc/$pid ]" || kill -9 "$pid"
        say "$name stopped"
    done
    rm -rf "$LAB"
    for name in "$CONF" /etc/slurm/gres.conf; do
        if grep -qsF "$MARK" "$name"; then rm -f "$name"; fi
    done
}

case ${1:-} in
start) start ;;
stop) stop ;;
records) client scontrol show job --oneliner ;;
*) fail "usage: cluster.sh start|stop|records" ;;
esac
