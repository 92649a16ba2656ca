//! Open vSwitch as a peer: with DPDK the same devices and guests, for figures side by side; with
//! its userspace datapath alone, the other switch of the conformance patterns.

use std::path::Path;

use tempfile::TempDir;

use crate::netns::Netns;
use crate::process::{Background, eventually};

/// A running `ovs-vswitchd` with its database; both end when dropped.
#[derive(Debug)]
pub struct Ovs {
    vswitchd: Background,
    _database: Background,
    netns: Netns,
    folder: TempDir,
}

impl Ovs {
    /// Starts OVS on DPDK, with its poll thread on CPU 1 and all else on CPU 0; in ordinary memory
    /// if there are not enough huge pages.
    #[track_caller]
    pub fn start(netns: Netns) -> Ovs {
        let memory = match free_hugepages_mib() >= MEMORY_MIB {
            true => ["dpdk-extra=--no-pci --in-memory", "dpdk-socket-mem=512"],
            false => [
                "dpdk-extra=--no-pci --in-memory --no-huge -m 512",
                "dpdk-socket-limit=0",
            ],
        };
        let [extra, memory] = memory.map(|setting| format!("other_config:{setting}"));
        let settings = [
            "other_config:dpdk-init=true",
            "other_config:pmd-cpu-mask=2",
            "other_config:dpdk-lcore-mask=1",
            &extra,
            &memory,
        ];
        let program = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
        Ovs::start_program(netns, program, &settings)
    }

    /// Starts OVS without DPDK: bridges of the type `netdev` work on the kernel's devices.
    #[track_caller]
    pub fn start_without_dpdk(netns: Netns) -> Ovs {
        let program = "/usr/lib/openvswitch-switch/ovs-vswitchd";
        Ovs::start_program(netns, program, &["other_config:dpdk-init=false"])
    }

    #[track_caller]
    fn start_program(netns: Netns, program: &str, settings: &[&str]) -> Ovs {
        let folder = crate::process::folder();
        let database = start_database(&netns, folder.path());
        let set = ["--no-wait", "set", "Open_vSwitch", "."];
        vsctl(&netns, folder.path(), &[&set[..], settings].concat());
        let words = [
            program,
            &format!("unix:{}/db.sock", folder.path().display()),
        ];
        let vswitchd = start_in(&netns, folder.path(), &words, "vswitchd.log");
        Ovs {
            vswitchd,
            _database: database,
            netns,
            folder,
        }
    }

    /// The namespace it runs in.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its run folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.vswitchd.pid()
    }

    /// Adds a bridge on the userspace datapath, with settings as `ovs-vsctl set` has them.
    #[track_caller]
    pub fn add_bridge(&self, name: &str, settings: &[&str]) {
        let words = ["add-br", name, "--", "set", "bridge", name];
        self.vsctl(&[&words[..], &["datapath_type=netdev"], settings].concat());
    }

    /// Adds an interface as a port to a bridge, with settings of the interface.
    #[track_caller]
    pub fn add_interface(&self, bridge: &str, name: &str, settings: &[&str]) {
        let words = ["add-port", bridge, name, "--", "set", "interface", name];
        self.vsctl(&[&words[..], settings].concat());
    }

    /// Runs `ovs-vsctl` with the given words, which must succeed and waits for the daemon.
    #[track_caller]
    pub fn vsctl(&self, words: &[&str]) {
        vsctl(&self.netns, self.folder.path(), words);
    }
}

/// MiB of huge pages, of 2 MiB each, that nobody has (Linux, admin-guide/mm/hugetlbpage.rst).
pub fn free_hugepages_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("HugePages_Free:"));
    line.and_then(|count| count.trim().parse::<u64>().ok())
        .map_or(0, |count| count * 2)
}

fn start_database(netns: &Netns, folder: &Path) -> Background {
    let file = format!("{}/conf.db", folder.display());
    let schema = "/usr/share/openvswitch/vswitch.ovsschema";
    netns
        .run(&["ovsdb-tool", "create", &file, schema])
        .expect_success();
    let remote = format!("--remote=punix:{}/db.sock", folder.display());
    let database = start_in(
        netns,
        folder,
        &["ovsdb-server", &file, &remote],
        "ovsdb.log",
    );
    eventually("ovsdb-server opens its socket", 30, || {
        folder.join("db.sock").exists().then_some(())
    });
    vsctl(netns, folder, &["--no-wait", "init"]);
    database
}

/// Starts a program of OVS with its folders set to `folder`.
fn start_in(netns: &Netns, folder: &Path, words: &[&str], log: &str) -> Background {
    let mut prefix = vec!["env".to_string()];
    for name in ["RUNDIR", "DBDIR", "LOGDIR", "SYSCONFDIR"] {
        prefix.push(format!("OVS_{name}={}", folder.display()));
    }
    prefix.extend(words.iter().map(|word| (*word).to_string()));
    let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
    Background::start(&netns.words(&prefix), &folder.join(log))
}

#[track_caller]
fn vsctl(netns: &Netns, folder: &Path, words: &[&str]) {
    let database = format!("--db=unix:{}/db.sock", folder.display());
    let prefix = ["ovs-vsctl", &database, "--timeout=30"];
    netns.run(&[&prefix, words].concat()).expect_success();
}

/// What it takes of them on DPDK.
pub const MEMORY_MIB: u64 = 512;
