#!/usr/bin/env bash
# Installs what building, running and testing need on Debian 12: setup.sh TARGET_DIR.
# Run twice it changes nothing. Without root it says what root should run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${1:-target}

build_packages=(build-essential clang libclang-dev pkg-config libdpdk-dev libpcap-dev libxdp-dev libbpf-dev
    libelf-dev libnuma-dev libbsd-dev libjansson-dev zlib1g-dev)
run_packages=(dpdk iproute2 ethtool kmod)
test_packages=(dpdk-dev openvswitch-switch openvswitch-switch-dpdk qemu-system-x86 busybox-static cpio iperf3 iputils-ping
    tshark tcpdump valgrind python3-venv python3-dev curl ca-certificates dnsmasq-base bird2 keepalived vsftpd)
faucet_version=1.10.12
controller_version=3.1.0      # the os-ken that this Faucet asks for; later lines have no osken-manager
controller_apps_version=1.4.0 # the last os-ken that has its example applications and their web server
rpc_version=1.1.7             # what that web server asks for
controller_apps=(wsgi simple_switch_13 ofctl_rest rest_router rest_firewall)
hugepages_wanted=768     # of 2 MiB: the daemon's default memory and a test's

missing=()
for package in "${build_packages[@]}" "${run_packages[@]}" "${test_packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "setup: packages are missing; run as root:" >&2
        echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    echo "setup: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # Debian starts Open vSwitch on installation; it is wanted here only as a peer in tests.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        trap 'rm -f $policy' EXIT
    fi
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! command -v cargo >/dev/null; then
    echo "setup: installing the Rust toolchain by rustup"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y -q --profile minimal -c clippy -c rustfmt
fi

pages=/proc/sys/vm/nr_hugepages
if [ "$(cat $pages)" -lt $hugepages_wanted ]; then
    if [ -w $pages ] && [ "$(id -u)" = 0 ]; then
        echo $hugepages_wanted >$pages 2>/dev/null || true
        echo "setup: $(cat $pages) hugepages reserved"
    else
        echo "setup: no right to reserve hugepages: the switch will use ordinary memory (slower); root can run" \
            "'sysctl vm.nr_hugepages=$hugepages_wanted'"
    fi
fi

mkdir -p "$target"
tests/guest/build.sh "$target/guest"

venv=$target/controller
stamp="$faucet_version $controller_version $controller_apps_version $rpc_version ${controller_apps[*]}"
if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
    echo "setup: installing Faucet $faucet_version and os-ken $controller_version"
    python3 -m venv --clear "$venv"
    pip=("$venv/bin/pip" -q --disable-pip-version-check)
    "${pip[@]}" install "faucet==$faucet_version" "os-ken==$controller_version" "tinyrpc==$rpc_version"
    "${pip[@]}" download --no-deps -d "$venv/apps" "os-ken==$controller_apps_version"
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    "$venv/bin/python" -m zipfile -e "$venv"/apps/*.whl "$venv/apps/files"
    for app in "${controller_apps[@]}"; do
        cp "$venv/apps/files/os_ken/app/$app.py" "$site/os_ken/app/$app.py"
    done
    echo "$stamp" >"$venv/stamp"
fi
