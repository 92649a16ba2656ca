//! Binds DPDK: generates the FFI from the installed headers, compiles the shim, links libraries.
//!
//! The dev profile links DPDK dynamically (quick to build; EAL then loads every driver of the
//! plug-in directory); the release profile links a chosen list of static libraries, which is
//! faster at run time. Static libraries are merged into two archives: one whose every object is
//! wanted, because drivers register themselves by constructors nobody calls, and one whose
//! libraries may refer to each other in any order.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Drivers and what carries their constructors: linked whole.
const WHOLE: &[&str] = &[
    "eal",
    "ethdev",
    "kvargs",
    "telemetry",
    "mbuf",
    "bus_pci",
    "bus_vdev",
    "mempool_ring",
    "mempool_stack",
    "net_af_packet",
    "net_af_xdp",
    "net_bond",
    "net_memif",
    "net_null",
    "net_pcap",
    "net_ring",
    "net_tap",
    "net_vhost",
    "net_virtio",
];

/// Drivers of the NICs and virtual machines' NICs that compute nodes have: linked whole.
const NICS: &[&str] = &[
    "bus_auxiliary",
    "common_iavf",
    "common_mlx5",
    "net_bnxt",
    "net_e1000",
    "net_ena",
    "net_i40e",
    "net_iavf",
    "net_ice",
    "net_igc",
    "net_ixgbe",
    "net_mlx5",
    "net_vmxnet3",
];

/// Libraries that the drivers use: linked as far as they are used.
const LIBRARIES: &[&str] = &[
    "bpf",
    "cmdline",
    "compressdev",
    "cryptodev",
    "dmadev",
    "eventdev",
    "gro",
    "gso",
    "hash",
    "ip_frag",
    "member",
    "mempool",
    "meter",
    "metrics",
    "net",
    "pci",
    "rawdev",
    "rcu",
    "reorder",
    "ring",
    "sched",
    "security",
    "stack",
    "timer",
    "vhost",
];

/// What those libraries need of the system.
const SYSTEM: &[&str] = &[
    "pcap", "xdp", "bpf", "elf", "z", "numa", "bsd", "jansson", "ibverbs", "mlx5",
];

/// What is linked where drivers are plug-ins.
const SHARED: &[&str] = &[
    "rte_eal",
    "rte_ethdev",
    "rte_mbuf",
    "rte_mempool",
    "rte_net",
    "rte_ring",
    "rte_vhost",
];

const FUNCTIONS: &[&str] = &[
    "rte_dev_.*",
    "rte_eal_(init|hotplug_add|hotplug_remove|process_type)",
    "rte_eth_.*",
    "rte_get_tsc_hz",
    "rte_log_.*",
    "rte_mbuf_dyn.*",
    "rte_mempool_(avail_count|in_use_count|free|lookup)",
    "rte_openlog_stream",
    "rte_pktmbuf_pool_create",
    "rte_socket_.*",
    "rte_strerror",
    "rte_thread_(register|unregister)",
    "rte_version",
    "rte_vhost_.*",
    "shim_.*",
];
const TYPES: &[&str] = &[
    "rte_mbuf.*",
    "rte_mempool.*",
    "rte_eth.*",
    "rte_vhost.*",
    "rte_ether.*",
];
const VARIABLES: &[&str] = &[
    "RTE_.*",
    "VIRTIO_.*",
    "VHOST_.*",
    "SHIM_.*",
    "rte_eth_fp_ops",
];

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=native");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let dpdk = pkg_config::Config::new()
        .cargo_metadata(false)
        .atleast_version("22.11")
        .probe("libdpdk")
        .context("DPDK's development files are needed (Debian: libdpdk-dev)")?;
    let flags = compiler_flags()?;
    let headers = dpdk
        .include_paths
        .iter()
        .map(|path| path.join("rte_version.h"));
    for header in headers.filter(|header| header.exists()) {
        println!("cargo:rerun-if-changed={}", header.display());
    }
    bind(&flags, &out)?;
    compile(&flags);
    let libraries = dpdk.link_paths.first().cloned();
    let libraries = libraries.unwrap_or_else(|| PathBuf::from("/usr/lib/x86_64-linux-gnu"));
    if env::var("PROFILE")? == "release" {
        link_statically(&libraries, &out)
    } else {
        for library in SHARED {
            println!("cargo:rustc-link-lib=dylib={library}");
        }
        Ok(())
    }
}

/// As pkg-config gives them: `pkg_config::Library` would lose `-include` and `-march`.
fn compiler_flags() -> Result<Vec<String>> {
    let output = Command::new("pkg-config")
        .args(["--cflags", "libdpdk"])
        .output()?;
    ensure!(
        output.status.success(),
        "pkg-config --cflags libdpdk failed"
    );
    Ok(String::from_utf8(output.stdout)?
        .split_whitespace()
        .map(str::to_owned)
        .collect())
}

fn bind(flags: &[String], out: &Path) -> Result<()> {
    let mut builder = bindgen::Builder::default()
        .header("native/wrapper.h")
        .clang_args(flags)
        .derive_default(true)
        .prepend_enum_name(false)
        .generate_comments(false);
    for pattern in FUNCTIONS {
        builder = builder.allowlist_function(pattern);
    }
    for pattern in TYPES {
        builder = builder.allowlist_type(pattern);
    }
    for pattern in VARIABLES {
        builder = builder.allowlist_var(pattern);
    }
    builder.generate()?.write_to_file(out.join("bindings.rs"))?;
    Ok(())
}

fn compile(flags: &[String]) {
    let mut build = cc::Build::new();
    build
        .file("native/shim.c")
        .opt_level(3)
        .flag("-Wno-unused-parameter");
    for flag in flags {
        build.flag(flag);
    }
    build.compile("pmdshim");
}

fn link_statically(from: &Path, out: &Path) -> Result<()> {
    let whole: Vec<_> = WHOLE.iter().chain(NICS).copied().collect();
    merge(from, &whole, &out.join("libdpdkwhole.a"))?;
    merge(from, LIBRARIES, &out.join("libdpdkused.a"))?;
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=static:-bundle,+whole-archive=dpdkwhole");
    println!("cargo:rustc-link-lib=static:-bundle=dpdkused");
    for library in SYSTEM {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
    Ok(())
}

/// Puts the objects of several archives in one, so that the order of libraries does not matter.
fn merge(from: &Path, names: &[&str], archive: &Path) -> Result<()> {
    use std::io::Write;
    let mut script = format!("create {}\n", archive.display());
    for name in names {
        let library = from.join(format!("librte_{name}.a"));
        ensure!(
            library.exists(),
            "{} is missing (Debian: libdpdk-dev)",
            library.display()
        );
        script += &format!("addlib {}\n", library.display());
    }
    script += "save\nend\n";
    let mut ar = Command::new("ar").arg("-M").stdin(Stdio::piped()).spawn()?;
    ar.stdin
        .take()
        .context("ar takes no input")?
        .write_all(script.as_bytes())?;
    if !ar.wait()?.success() {
        bail!("ar could not write {}", archive.display());
    }
    Ok(())
}
