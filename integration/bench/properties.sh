#!/usr/bin/env bash
# properties.sh SYSTEM...: tries on each encrypted filesystem what the table in README.md says of it.
#
#   SYSTEM  gocryptfs | securefs | encfs | cryfs | salliefs (the binary in $SALLIEFS)
#
# Prints one line for each property: whether the mount can do it, or what it shows of the data in it.
set -eu
salliefs=$(realpath -m "${SALLIEFS:-bin/salliefs}")
work=$(mktemp -d)
finish() {
  cd /
  for m in $(awk -v b="$work/" 'index($2, b) == 1 { print $2 }' /proc/mounts); do umount -l "$m" || fusermount3 -uz "$m" || true; done
  rm -rf "$work"
}
trap finish EXIT
printf 'properties\n' >"$work/password"
export CRYFS_FRONTEND=noninteractive CRYFS_NO_UPDATE_CHECK=true

up() {
  case $1 in
    gocryptfs) gocryptfs -q -nosyslog -passfile "$work/password" "$2" "$3" ;;
    securefs) securefs mount --pass properties --background --log /dev/null "$2" "$3" ;;
    encfs) encfs --standard --extpass="cat $work/password" "$2" "$3" ;;
    cryfs) cryfs --blocksize 32768 "$2" "$3" <"$work/password" ;;
    salliefs) "$salliefs" mount --password-file "$work/password" "$2/store" "$3" ;;
  esac >/dev/null 2>&1
  for _ in $(seq 200); do mountpoint -q "$3" && return; sleep .05; done
  echo "$1 did not mount" >&2
  return 1
}
down() {
  cd /
  if [ "$1" = salliefs ]; then "$salliefs" umount "$2"; else
    for _ in $(seq 50); do fusermount3 -u "$2" 2>/dev/null && break; sleep .1; done
    sleep .5
  fi
}
try() { # NAME COMMAND: in the mount
  local name=$1
  shift
  if "$@" >/dev/null 2>&1; then echo "  $name: yes"; else echo "  $name: no"; fi
}

for system in "$@"; do
  echo "$system"
  b=$work/$system m=$work/$system.mnt
  mkdir "$b" "$m"
  case $system in
    gocryptfs) gocryptfs -init -q -scryptn 10 -passfile "$work/password" "$b" ;;
    securefs) securefs create --pass properties --rounds 1 "$b" ;;
    salliefs) "$salliefs" init --kdf-time 1ms --password-file "$work/password" "$b/store" ;;
  esac >/dev/null 2>&1
  up "$system" "$b" "$m"
  mkdir "$m/d"
  cd "$m/d"
  echo x >f
  try "hard links" ln f g
  try "extended attributes" setfattr -n user.a -v b f
  try "device nodes and FIFOs" mkfifo p
  try "names of 255 bytes" touch "$(printf 'n%.0s' $(seq 255))"
  try "names that are not UTF-8" touch $'\xff\xfe'
  try "files without a name (O_TMPFILE)" python3 -c 'import os; os.open(".", os.O_TMPFILE | os.O_RDWR)'
  try "exchange of two names" python3 -c '
import ctypes, os
open("x1", "w").close(); open("x2", "w").close()
libc = ctypes.CDLL(None, use_errno=True)
assert libc.renameat2(-100, b"x1", -100, b"x2", 2) == 0'
  try "punching holes" fallocate -p -o 0 -l 4096 f
  cp -r "$(go env GOROOT)/src/net" text
  down "$system" "$m"
  logical=$(du -sb --apparent-size "$(go env GOROOT)/src/net" | cut -f1)
  before=$(du -s --block-size=1 "$b" | cut -f1)
  echo "  bytes on the disk for $logical bytes of source: $before"
  up "$system" "$b" "$m"
  cd "$m/d"
  # Sizes: a file of an unusual size; is there a file of nearly that size on the disk?
  head -c 7654321 /dev/urandom >sized
  mkdir -p a/b/c/e/f
  down "$system" "$m"
  if find "$b" -type f -size +7650000c -size -7720000c | grep -q .; then echo "  sizes of files show on the disk: yes"; else echo "  sizes of files show on the disk: no"; fi
  depth=$(cd "$b" && find . -type d | awk -F/ '{ if (NF > n) n = NF } END { print n - 1 }')
  echo "  depth of directories on the disk (6 and more were made): $depth"
  # A changed byte: flip one in the middle of the largest file on the disk, then read everything.
  victim=$(find "$b" -type f -printf '%s %p\n' | sort -n | tail -1 | cut -d' ' -f2-)
  python3 - "$victim" <<'PY'
import os, sys
f = open(sys.argv[1], "r+b"); n = os.path.getsize(sys.argv[1]) // 2
f.seek(n); c = f.read(1); f.seek(n); f.write(bytes([c[0] ^ 1]))
PY
  up "$system" "$b" "$m"
  if find "$m/d" -type f -exec cat {} + >/dev/null 2>"$work/errors"; then
    echo "  a changed byte on the disk gives an error: no"
  else echo "  a changed byte on the disk gives an error: yes ($(head -c 100 "$work/errors" | head -1))"; fi
  down "$system" "$m"
  rm -rf "$b"
done
