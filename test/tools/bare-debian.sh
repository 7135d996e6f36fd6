#!/bin/sh
# Runs a command in a clone of HEAD, in root's home on a Debian with nothing but this machine's Node.js and npm.
# Needs root and debootstrap:
#   sh test/tools/bare-debian.sh 'npm ci && npm run demo'
set -eu
machine=$(mktemp -d)
trap 'rm -rf "$machine"' EXIT
# Other users enter its root.
chmod 755 "$machine"

debootstrap --variant=minbase --include=ca-certificates "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$machine"
# How this machine reaches its registries.
cp -a /etc/apt/apt.conf.d /etc/apt/sources.list.d "$machine/etc/apt/"
cp /etc/ssl/certs/ca-certificates.crt "$machine/etc/ssl/certs/"
cp /etc/resolv.conf /etc/hosts "$machine/etc/"
for settings in "$(npm config get userconfig)" "$(npm config get globalconfig)"; do
  [ ! -f "$settings" ] || install -D "$settings" "$machine$settings"
done
cp "$(node --print process.execPath)" "$machine/usr/bin/node"
install -d "$machine/usr/lib/node_modules"
cp -a "$(npm root --global)/npm" "$machine/usr/lib/node_modules/"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$machine/usr/bin/npm"
ln -s ../lib/node_modules/npm/bin/npx-cli.js "$machine/usr/bin/npx"
git clone -q . "$machine/root/app"

# Processes, mounts and shared memory of its own, as a container has them: they end with it.
unshare --mount --pid --ipc --fork sh -c '
  mount -t proc proc "$1/proc" && mount --rbind /sys "$1/sys" && mount --rbind /dev "$1/dev" && mount -t tmpfs tmpfs "$1/dev/shm"
  exec chroot "$1" sh -c "cd /root/app && $2"' sh "$machine" "$1"
