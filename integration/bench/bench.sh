#!/usr/bin/env bash
# bench.sh [-d DIR] [-n ROUNDS] [-p "PHASES"] [-c CPU] [-o "SALLIEFS MOUNT FLAGS"] SYSTEM...
#
# Compares encrypted filesystems on one machine, in one run, and prints a table for BENCHMARKS.md.
#
#   SYSTEM  plain | gocryptfs | securefs | encfs | cryfs | salliefs (the binary in $SALLIEFS)
#   -d      where the encrypted side lies; on a disk for honest figures (default: $TMPDIR or /tmp)
#   -n      rounds; the table has their medians (default 3)
#   -p      phases: write read untar grep ls stat rm randread randwrite fsync sqlite git
#   -c      pin the daemon and the programs to one CPU: shows work done rather than waiting for wake-ups
#   -o      more flags of `salliefs mount`, for example "-o noxattr"
#
# The systems take turns within each round, so that a machine that gets slower gets slower for all. Phases that read
# start with a fresh mount and cold caches (as root). Times are seconds; randread, randwrite and fsync are seconds for
# 10,000 operations of 4 KiB. Each figure stands beside its ratio to the best of the other encrypted systems.
set -eu

dir=${TMPDIR:-/tmp} rounds=3 cpu= flags=
phases="write read untar grep ls stat rm randread randwrite fsync sqlite git"
while getopts d:n:p:c:o: opt; do
  case $opt in
    d) dir=$OPTARG ;; n) rounds=$OPTARG ;; p) phases=$OPTARG ;; c) cpu=$OPTARG ;; o) flags=$OPTARG ;;
    *) sed -n '2,18p' "$0" >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { sed -n '2,18p' "$0" >&2; exit 2; }
pin=${cpu:+taskset -c $cpu}
salliefs=$(realpath -m "${SALLIEFS:-bin/salliefs}")
for tool in fio git python3 go; do
  command -v "$tool" >/dev/null || { echo "bench.sh needs $tool" >&2; exit 1; }
done
for system in "$@"; do
  case $system in
    plain) ;;
    salliefs) [ -x "$salliefs" ] || { echo "no $salliefs: make build" >&2; exit 1; } ;;
    gocryptfs | securefs | encfs | cryfs) command -v "$system" >/dev/null || { echo "$system is not installed: apt-get install $system" >&2; exit 1; } ;;
    *) echo "unknown system $system" >&2; exit 2 ;;
  esac
done

scratch=$(mktemp -d /dev/shm/bench.XXXXXX) # input that costs nothing to read
results=$scratch/results
base=$(mktemp -d "$dir/bench.XXXXXX")
finish() {
  cd /
  local m
  for m in $(awk -v b="$base/" 'index($2, b) == 1 { print $2 }' /proc/mounts); do umount -l "$m" || fusermount3 -uz "$m" || true; done
  rm -rf "$scratch" "$base"
}
trap finish EXIT
trap 'exit 130' INT TERM
printf 'bench password\n' >"$scratch/password"
export CRYFS_FRONTEND=noninteractive CRYFS_NO_UPDATE_CHECK=true

goroot=$(go env GOROOT)
tar -C "$goroot" -cf "$scratch/tree.tar" src $([ -d "$goroot/test" ] && echo test)
head -c 536870912 /dev/urandom >"$scratch/noise"

make_store() { # SYSTEM BACKING
  case $1 in
    gocryptfs) gocryptfs -init -q -scryptn 10 -passfile "$scratch/password" "$2" ;;
    securefs) securefs create --pass bench --rounds 1 "$2" ;;
    salliefs) "$salliefs" init --kdf-time 1ms --password-file "$scratch/password" "$2/store" ;;
  esac >/dev/null 2>&1
}

mount_store() { # SYSTEM BACKING MOUNTPOINT
  case $1 in
    plain) return ;;
    gocryptfs) $pin gocryptfs -q -nosyslog -passfile "$scratch/password" "$2" "$3" ;;
    securefs) $pin securefs mount --pass bench --background --log /dev/null "$2" "$3" ;;
    encfs) $pin encfs --standard --extpass="cat $scratch/password" "$2" "$3" ;;
    cryfs) $pin cryfs --blocksize 32768 "$2" "$3" <"$scratch/password" ;;
    salliefs) $pin "$salliefs" mount $flags --password-file "$scratch/password" "$2/store" "$3" ;;
  esac >/dev/null 2>&1
  local i
  for i in $(seq 300); do
    mountpoint -q "$3" && return
    sleep .05
  done
  echo "$1 did not mount" >&2
  exit 1
}

unmount_store() { # SYSTEM BACKING MOUNTPOINT
  cd /
  case $1 in
    plain) ;;
    salliefs) "$salliefs" umount "$3" ;;
    *)
      local i
      for i in $(seq 100); do fusermount3 -u "$3" 2>/dev/null && break; sleep .1; done
      sleep .3 # their daemons end a little later
      ;;
  esac
  sync -f "$2"
  { echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null || true
}

record() { echo "$1 $2 $3" | tee -a "$results" >&2; }

timed() { # SYSTEM PHASE COMMAND...
  local system=$1 phase=$2 from to
  shift 2
  from=$(date +%s%N)
  if ! "$@" >/dev/null 2>"$scratch/stderr"; then
    echo "$system failed at $phase: $(tail -1 "$scratch/stderr")" >&2
    failed=1
    return
  fi
  to=$(date +%s%N)
  record "$system" "$phase" "$(awk "BEGIN { printf \"%.3f\", ($to - $from) / 1e9 }")"
}

operations() { # SYSTEM PHASE FIO-FLAGS...
  local system=$1 phase=$2
  shift 2
  local cost
  cost=$($pin fio --name=x --ioengine=psync --bs=4k --runtime=6 --time_based --minimal "$@" 2>/dev/null |
    awk -F';' '{ iops = $8 > 0 ? $8 : $49; if (iops > 0) printf "%.3f", 10000 / iops }')
  if [ -z "$cost" ]; then echo "$system failed at $phase" >&2; failed=1; return; fi
  record "$system" "$phase" "$cost"
}

sqlite_inserts() {
  $pin python3 - "$1" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("create table t(a integer primary key, b text)")
for _ in range(500):
    db.execute("insert into t(b) values(?)", ("x" * 200,))
    db.commit()
PY
}

git_session() {
  $pin bash -e -c '
    git init -q repo; cd repo
    git config user.email a@b; git config user.name a
    tar -xf "$1" --strip-components=1 src/cmd
    git add -A .; git commit -qm one; git status --short; git gc -q' bash "$scratch/tree.tar"
}

phase() { # SYSTEM PHASE, in the working directory
  case $2 in
    write) timed "$1" write $pin dd if="$scratch/noise" of=big bs=1M conv=fsync status=none ;;
    read) timed "$1" read $pin dd if=big of=/dev/null bs=1M status=none ;;
    untar) timed "$1" untar $pin sh -c "tar -xf $scratch/tree.tar && sync -f ." ;;
    grep) timed "$1" grep $pin sh -c 'grep -r nosuchstring src || true' ;;
    ls) timed "$1" ls $pin ls -lR . ;;
    stat) timed "$1" stat $pin find . -newer big ;;
    rm) timed "$1" rm $pin rm -rf src test ;;
    randread) operations "$1" randread --filename=big --rw=randread --size=512m ;;
    randwrite) operations "$1" randwrite --filename=big --rw=randwrite --size=512m --end_fsync=1 ;;
    fsync) operations "$1" fsync --filename=log --rw=randwrite --size=64m --fsync=1 ;;
    sqlite) timed "$1" sqlite sqlite_inserts t.db ;;
    git) timed "$1" git git_session ;;
    *) echo "unknown phase $2" >&2; exit 2 ;;
  esac
}

failed=0
for round in $(seq "$rounds"); do
  for system in "$@"; do
    backing=$base/backing mnt=$base/mnt
    mkdir "$backing" "$mnt"
    [ "$system" = plain ] && mnt=$backing
    make_store "$system" "$backing"
    mount_store "$system" "$backing" "$mnt"
    mkdir "$mnt/bench"
    for p in $phases; do
      case $p in
        read | grep | ls | stat | rm | randread)
          unmount_store "$system" "$backing" "$mnt"
          mount_store "$system" "$backing" "$mnt"
          ;;
      esac
      cd "$mnt/bench"
      phase "$system" "$p"
    done
    unmount_store "$system" "$backing" "$mnt"
    rm -rf "$base/backing" "$base/mnt"
  done
done

python3 - "$results" <<'PY'
import collections, statistics, sys
seen = collections.defaultdict(lambda: collections.defaultdict(list))
for line in open(sys.argv[1]):
    system, phase, cost = line.split()
    seen[phase][system].append(float(cost))
bars = dict(write=.8, read=.8, untar=.85, grep=.7, ls=.8, stat=.8, rm=.6, randread=.9, randwrite=.35, fsync=.9, sqlite=.95, git=.8)
systems = list(dict.fromkeys(s for phase in seen.values() for s in phase))
print()
print("| phase | " + " | ".join(systems) + " | bar |")
print("|---|" + "---:|" * (len(systems) + 1))
for phase, costs in seen.items():
    median = {s: statistics.median(c) for s, c in costs.items()}
    peers = [m for s, m in median.items() if s not in ("plain", "salliefs")]
    cells = []
    for s in systems:
        cell = f"{median[s]:.3f}" if s in median else "–"
        if s in median and peers:
            cell += f" (×{median[s] / min(peers):.2f})"
        cells.append(cell)
    print(f"| {phase} | " + " | ".join(cells) + f" | {bars[phase]} |")
PY
exit "$failed"
