#!/usr/bin/env bash
# Starts the switch on its built-in default in the foreground: run.sh TARGET_DIR.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=$(cd "${1:-target}" && pwd)
run_dir=/run/vswitch

if [ "$(id -u)" != 0 ]; then
    echo "run: the switch makes network devices and maps hugepages: run 'sudo make run'" >&2
    exit 1
fi
# KVM on real hardware alone: a host that is a guest itself may offer it, and then not run by it.
accel='-accel tcg -cpu max,-erms,-fsrm'
hint="on real hardware with KVM, '-accel kvm -cpu host' in place of '$accel' is faster"
if [ -w /dev/kvm ] && ! grep -qw hypervisor /proc/cpuinfo; then
    hint="should KVM fail, '$accel' in place of '-accel kvm -cpu host'"
    accel='-accel kvm -cpu host'
fi
cat <<E2
The switch comes up with one learning bridge br0: vhost-user ports vm1 and vm2, the host's own port br0 (a TAP),
and OpenFlow on tcp:127.0.0.1:6654 and unix:$run_dir/br0.mgmt. Ctrl-C ends it. In other terminals, as root:

  A guest on vm1 (vm2 likewise, with its own MAC address and IP address; $hint):
    qemu-system-x86_64 $accel -machine q35 -m 256 -nographic -nodefaults -serial mon:stdio \\
      -object memory-backend-memfd,id=m,size=256M,share=on -numa node,memdev=m \\
      -kernel $target/guest/vmlinuz -initrd $target/guest/initrd.gz \\
      -append "console=ttyS0 quiet gip=10.0.0.1/24" \\
      -chardev socket,id=c,path=$run_dir/vm1.sock,server=on -netdev vhost-user,id=n,chardev=c \\
      -device virtio-net-pci,netdev=n,mac=52:54:00:00:00:01,vectors=0,romfile=

  The host on the same network:
    ip addr add 10.0.0.254/24 dev br0 && ip link set br0 up && ping 10.0.0.1

  Looking around:
    $target/release/vsctl show
    $target/release/vsctl mac dump br0
    $target/release/vsctl stats --watch
    $target/release/vsctl flow add br0 'priority=10,icmp,actions=drop'
    ovs-ofctl -O OpenFlow13 dump-flows unix:$run_dir/br0.mgmt

E2
exec "$target/release/vswitchd"
