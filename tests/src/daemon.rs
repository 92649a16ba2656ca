//! The daemon under test, in a network namespace and run folder of its own.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tempfile::TempDir;

use crate::netns::{self, Netns};
use crate::process::{Background, Output, binary, eventually, run};

/// One switch at a time: the machine has two cores.
static TURN: Mutex<()> = Mutex::new(());

/// Waits until nobody else has the machine, for whoever starts several switches.
pub fn take_turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bridge `br0` in fail mode secure, with these settings besides, whose ports 1 and 2, `n1` and
/// `n2`, lead nowhere.
pub fn null_bridge(settings: &str) -> String {
    let head = "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n";
    let port = |i| format!("[[bridge.port]]\nname = \"n{i}\"\nnumber = {i}\ntype = \"null\"\n");
    format!("{head}{settings}{}{}", port(1), port(2))
}

/// A running `vswitchd`; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    process: Background,
    netns: Netns,
    folder: TempDir,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Daemon {
    /// Starts the switch with one worker on CPU 1 and the given `[[bridge]]` tables, and waits
    /// until it answers. `RUN_DIR` in the text stands for its run folder.
    #[track_caller]
    pub fn start(bridges: &str) -> Daemon {
        Daemon::start_in(Netns::new("sw"), bridges)
    }

    /// A daemon with one bridge, `br0`, between hosts ([`netns::hosts`]) on its ports 1, 2 and so
    /// on, with these flows and no others.
    #[track_caller]
    pub fn start_between_hosts<const N: usize>(flows: &[&str]) -> (Daemon, [Netns; N]) {
        let (switch, hosts) = netns::hosts::<N>();
        let mut bridge = "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n".to_string();
        for port in 1..=N {
            bridge += &format!(
                "[[bridge.port]]\nname = \"p{port}\"\ntype = \"system\"\nnumber = {port}\n"
            );
        }
        let daemon = Daemon::start_in(switch, &bridge);
        for flow in flows {
            daemon.ofctl("add-flow", "br0", &[flow]).expect_success();
        }
        (daemon, hosts)
    }

    /// As [`Daemon::start_between_hosts`], and hosts have the addresses fd00::1, fd00::2 and so on,
    /// too.
    #[track_caller]
    pub fn start_between_dual_stack_hosts<const N: usize>(flows: &[&str]) -> (Daemon, [Netns; N]) {
        let (daemon, hosts) = Daemon::start_between_hosts(flows);
        for (host, number) in hosts.iter().zip(1..) {
            host.ip(&format!("addr add fd00::{number}/64 dev eth0 nodad"));
        }
        (daemon, hosts)
    }

    /// As [`Daemon::start`], in a namespace that already holds devices.
    #[track_caller]
    pub fn start_in(netns: Netns, bridges: &str) -> Daemon {
        Daemon::start_on(netns, &[1], bridges)
    }

    /// As [`Daemon::start_in`], with a worker on each of these CPUs.
    #[track_caller]
    pub fn start_on(netns: Netns, cpus: &[usize], bridges: &str) -> Daemon {
        Daemon::start_with(netns, &format!("[workers]\ncpus = {cpus:?}\n"), bridges)
    }

    /// As [`Daemon::start_in`], with these tables before those of the bridges.
    #[track_caller]
    pub fn start_with(netns: Netns, tables: &str, bridges: &str) -> Daemon {
        let turn = take_turn();
        Daemon::launch(
            netns,
            &format!("{tables}{}", memory(256)),
            bridges,
            Some(turn),
        )
    }

    /// As [`Daemon::start_in`], beside others and with little memory; whoever starts several sees
    /// to it that nothing else runs meanwhile that minds.
    #[track_caller]
    pub fn start_beside(netns: Netns, bridges: &str) -> Daemon {
        let settings = format!("[workers]\ncpus = [1]\n{}", memory(128));
        Daemon::launch(netns, &settings, bridges, None)
    }

    #[track_caller]
    fn launch(
        netns: Netns,
        settings: &str,
        bridges: &str,
        turn: Option<MutexGuard<'static, ()>>,
    ) -> Daemon {
        let folder = crate::process::folder();
        let run_dir = folder.path().join("run");
        let text = format!("run_dir = \"{}\"\n{settings}{bridges}", run_dir.display());
        let text = text.replace("RUN_DIR", &run_dir.display().to_string());
        std::fs::write(folder.path().join("vswitch.toml"), text).expect("the folder is writable");
        let process = spawn(&netns, folder.path());
        let mut daemon = Daemon {
            process,
            netns,
            folder,
            _turn: turn,
        };
        daemon.wait_until_up();
        daemon
    }

    #[track_caller]
    fn wait_until_up(&mut self) {
        eventually("the daemon answers", 120, || {
            assert!(
                self.process.is_running(),
                "the daemon ended: {}",
                self.log()
            );
            let socket = self.run_dir().join("vswitchd.sock");
            (socket.exists() && self.vsctl(&["show"]).status.success()).then_some(())
        });
    }

    /// The namespace it runs in.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its run folder.
    pub fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// A folder for the test's own files.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("vswitch.toml")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Runs `vsctl` against it, with patience: the kernel takes its time to remove a netdev when
    /// every core is busy.
    pub fn vsctl(&self, words: &[&str]) -> Output {
        let vsctl = binary("vsctl");
        let run_dir = self.run_dir();
        let (vsctl, run_dir) = (path_text(&vsctl), path_text(&run_dir));
        let prefix = [vsctl, "--timeout=120", "--run-dir", run_dir];
        run(&[&prefix, words].concat())
    }

    /// Runs `vsctl --json` against it, which must succeed.
    #[track_caller]
    pub fn json(&self, words: &[&str]) -> Value {
        let text = self.vsctl(&[&["--json"], words].concat()).expect_success();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Packets and bytes that a port has received.
    #[track_caller]
    pub fn received(&self, port: &str) -> [u64; 2] {
        let stats = self.json(&["stats"]);
        let mut ports = stats["ports"].as_array().expect("ports").iter();
        let port = ports.find(|known| known["name"] == port);
        let rx = &port.expect("it is counted")["rx"];
        ["packets", "bytes"].map(|count| rx[count].as_u64().expect("a number"))
    }

    /// Runs stock `ovs-ofctl -O OpenFlow13 COMMAND BRIDGE ARGUMENTS` over the Unix socket.
    pub fn ofctl(&self, command: &str, bridge: &str, arguments: &[&str]) -> Output {
        let socket = format!("unix:{}/{bridge}.mgmt", self.run_dir().display());
        let prefix = ["ovs-ofctl", "-O", "OpenFlow13", command, &socket];
        run(&[&prefix, arguments].concat())
    }

    /// Has `host` ping `address` through it without a break while `change` is made at least so many
    /// times: no answer may be missing. How many there were. The host's kernel counts them, since
    /// `ping` loses some of its own when it does not get to read for long.
    #[track_caller]
    pub fn loses_no_ping(
        &self,
        host: &Netns,
        address: &str,
        changes_min: u32,
        mut change: impl FnMut(),
    ) -> u64 {
        const PINGS: u64 = 500;
        let words = format!("ping -q -c {PINGS} -i 0.005 -W 20 {address}");
        let words = host.words(&words.split(' ').collect::<Vec<_>>());
        let (mut changes, mut pings) = (0, 0);
        while changes < changes_min {
            let before = host.echoes();
            let mut ping = Background::start(&words, &self.scratch().join("ping.log"));
            while ping.is_running() {
                change();
                changes += 1;
            }
            pings += PINGS;
            let told = ping.output();
            let [sent, answered] = host.echoes();
            let stats = self.vsctl(&["stats"]).stdout;
            assert_eq!(sent - before[0], PINGS, "{told}{stats}");
            assert_eq!(answered - before[1], PINGS, "{told}{stats}");
        }
        pings
    }

    /// Kills it with SIGKILL and starts it again with the same configuration.
    #[track_caller]
    pub fn crash_and_restart(&mut self) {
        self.crash();
        self.restart();
    }

    /// Kills it with SIGKILL.
    pub fn crash(&mut self) {
        self.process.signal("KILL");
        self.process.wait(60);
    }

    /// Starts it, after it has ended, with the same configuration.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = spawn(&self.netns, self.folder.path());
        self.wait_until_up();
    }

    /// Ends it with SIGTERM: it must end well and leave no file behind. It ends badly if its pools
    /// do not hold again, once its ports are closed, what they held at the start.
    #[track_caller]
    pub fn stop(mut self) {
        self.process.signal("TERM");
        let status = self.process.wait(120);
        assert!(status.success(), "{status}: {}", self.log());
        let left: Vec<_> = std::fs::read_dir(self.run_dir())
            .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
            .unwrap_or_default();
        assert!(left.is_empty(), "left behind in the run folder: {left:?}");
        let left = self.netns.ip("-o link show type tun");
        assert!(left.is_empty(), "left behind: {left}");
    }
}

fn memory(mib: u32) -> String {
    format!("[dpdk]\nmemory_mib = {mib}\n")
}

fn spawn(netns: &Netns, folder: &Path) -> Background {
    let vswitchd = binary("vswitchd");
    let config = folder.join("vswitch.toml");
    let words = netns.words(&[path_text(&vswitchd), "--config", path_text(&config)]);
    Background::start(&words, &folder.join("log"))
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("paths here are text")
}
