#!/bin/sh
# demo.sh BINARY DIRECTORY: a store to play with, made and mounted. Running it again is fine.
set -eu
bin=$(realpath "$1") demo=$2
mkdir -p "$demo/mnt"
demo=$(realpath "$demo")
store=$demo/store mnt=$demo/mnt password=$demo/password

[ -s "$password" ] || (umask 077; echo "demo password" >"$password")
if [ ! -d "$store" ]; then
  "$bin" init --kdf-time 100ms --password-file "$password" --recovery-file "$demo/recovery-key" "$store" >/dev/null
  echo "made the store   $store"
fi
if grep -q " $mnt fuse.salliefs " /proc/mounts; then
  echo "mounted already  $mnt"
else
  "$bin" mount --password-file "$password" "$store" "$mnt"
  echo "mounted          $mnt"
fi

mkdir -p "$mnt/preferences" "$mnt/conversations"
printf 'dark\n' >"$mnt/preferences/theme"
"$bin" set -s "$mnt" preferences/language en
echo "$(date -u +%FT%TZ) hello" >>"$mnt/conversations/first.txt"

show() { echo; echo "\$ $*"; "$@"; }
cd "$demo"
show ls -l mnt/preferences mnt/conversations
show cat mnt/conversations/first.txt
show "$bin" get -s mnt preferences/theme
show "$bin" stats -s mnt

cat <<END

What is on the disk:   find $store -type f
Go on:                 write files under $mnt; $bin --help
Stop:                  make stop        (or: $bin umount $mnt)
The password is in     $password
END
