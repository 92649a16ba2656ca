#!/usr/bin/env bash
# Builds the test guest: a Debian kernel as it comes and an initramfs of busybox, virtio drivers and iperf3.
# Usage: build.sh OUTPUT_DIR. Does nothing where OUTPUT_DIR already holds a guest made by this very script.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:?usage: build.sh OUTPUT_DIR}
mkdir -p "$out"
out=$(cd "$out" && pwd)
stamp=$(cat "$here/build.sh" "$here/init" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
echo "guest: fetching Debian's cloud kernel"
package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-[0-9]/ {print $2; exit}')
[ -n "$package" ] || { echo "guest: apt knows no linux-image-cloud-amd64: run 'apt-get update'" >&2; exit 1; }
(cd "$work" && apt-get download -qq "$package" 2>/dev/null)
dpkg -x "$work"/*.deb "$work/kernel"

root=$work/root
mkdir -p "$root"/{bin,dev,etc,lib/modules,lib64,proc,sys,usr/bin}
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$here/init" "$root/init"
chmod 755 "$root/init"
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net; do
    find "$work/kernel" -name "$module.ko" -exec cp {} "$root/lib/modules/" \;
    [ -e "$root/lib/modules/$module.ko" ] || { echo "guest: the kernel has no module $module" >&2; exit 1; }
done
for program in iperf3 ethtool; do
    cp "$(command -v $program)" "$root/usr/bin/"
    ldd "$(command -v $program)" | awk '$2 == "=>" {print $3} $1 ~ /^\// {print $1}' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
done
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -9) >"$out/initrd.gz"
cp "$work"/kernel/boot/vmlinuz-* "$out/vmlinuz"
echo "$stamp" >"$out/stamp"
echo "guest: kernel and initramfs in $out"
