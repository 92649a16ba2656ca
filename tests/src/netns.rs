//! Network namespaces as hosts, joined to the switch by veth pairs or internal ports.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::{Background, Output, eventually, run};

/// A switch's namespace whose devices p1, p2 and so on lead to hosts with the addresses 10.0.0.1,
/// 10.0.0.2 and so on.
#[track_caller]
pub fn hosts<const N: usize>() -> (Netns, [Netns; N]) {
    joined(Netns::new)
}

/// As [`hosts`], and they speak IPv4 alone, as does the switch's own host: they send nothing of
/// their own accord.
#[track_caller]
pub fn silent_hosts<const N: usize>() -> (Netns, [Netns; N]) {
    joined(Netns::silent)
}

#[track_caller]
fn joined<const N: usize>(netns: fn(&str) -> Netns) -> (Netns, [Netns; N]) {
    let switch = netns("sw");
    let hosts = std::array::from_fn(|index| {
        let number = index + 1;
        let host = netns(&format!("h{number}"));
        switch.veth(&format!("p{number}"), &host, "eth0");
        host.ip(&format!("addr add 10.0.0.{number}/24 dev eth0"));
        host
    });
    (switch, hosts)
}

/// TCP segments that a kernel found to have a wrong checksum, as its `/proc/net/snmp` tells.
#[track_caller]
pub fn wrong_checksums(snmp: &str) -> u64 {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp:"));
    let names = lines.next().expect("names").split_whitespace();
    let values = lines.next().expect("values").split_whitespace();
    let errors = names.zip(values).find(|(name, _)| *name == "InCsumErrors");
    errors.expect("a counter").1.parse().expect("a number")
}

/// A network namespace of the test's own; removed when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// A new namespace with its loopback up and IPv6 addresses usable at once.
    pub fn new(role: &str) -> Netns {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vst-{}-{number}-{role}", std::process::id());
        run(&["ip", "netns", "add", &name]).expect_success();
        let netns = Netns { name };
        netns.ip("link set lo up");
        netns.run(&["sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0"]);
        netns.run(&["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"]);
        netns
    }

    /// Its name for `ip netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The words that run a command in it, for [`crate::Background`].
    pub fn words(&self, words: &[&str]) -> Vec<String> {
        let prefix = ["ip", "netns", "exec", &self.name];
        prefix
            .iter()
            .chain(words)
            .map(|word| (*word).to_string())
            .collect()
    }

    /// Runs a command in it to its end.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Output {
        let words = self.words(words);
        run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts a server in it and waits until somebody in it has a socket at a local port: `-t` for
    /// one of TCP that listens, `-u` for one of UDP.
    #[track_caller]
    pub fn serve(&self, words: &[&str], protocol: &str, port: u16, log: &Path) -> Background {
        let mut server = Background::start(&self.words(words), log);
        self.await_server(&mut server, protocol, port);
        server
    }

    /// Waits until a server that was started in it has a socket, as [`Netns::serve`] does.
    #[track_caller]
    pub fn await_server(&self, server: &mut Background, protocol: &str, port: u16) {
        let filter = format!("sport = {port}");
        eventually("the server listens", 60, || {
            assert!(server.is_running(), "{}", server.output());
            let listening = self.run(&["ss", "-Hln", protocol, &filter]);
            (!listening.stdout.is_empty()).then_some(())
        });
    }

    /// As [`Netns::new`], without IPv6 on devices to come, for which the host would send packets of
    /// its own accord.
    #[track_caller]
    pub fn silent(role: &str) -> Netns {
        let netns = Netns::new(role);
        netns
            .run(&["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"])
            .expect_success();
        netns
    }

    /// Runs `ip` in it with the given words, which must succeed.
    #[track_caller]
    pub fn ip(&self, words: &str) -> String {
        let words: Vec<&str> = ["ip"].into_iter().chain(words.split_whitespace()).collect();
        self.run(&words).expect_success()
    }

    /// Makes a veth pair: `here` in this namespace and `there` in the other, both up.
    #[track_caller]
    pub fn veth(&self, here: &str, other: &Netns, there: &str) {
        let peer = other.name();
        self.ip(&format!(
            "link add name {here} type veth peer name {there} netns {peer}"
        ));
        self.ip(&format!("link set dev {here} up"));
        other.ip(&format!("link set dev {there} up"));
    }

    /// Runs something of this process in it, on a thread that ends with that.
    #[track_caller]
    pub fn enter<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        let namespace = File::open(path).expect("the namespace has a name");
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), network).expect("root enters");
                run()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves a device of this namespace to another one and brings it up there.
    #[track_caller]
    pub fn give(&self, device: &str, other: &Netns) {
        self.ip(&format!("link set dev {device} netns {}", other.name()));
        other.ip(&format!("link set dev {device} up"));
    }

    /// Whether `address` answers a ping from here: a machine that has much to do is given ten
    /// seconds.
    pub fn pings(&self, address: &str) -> bool {
        self.pings_with(address, &[])
    }

    /// As [`Netns::pings`], with further options of `ping`.
    pub fn pings_with(&self, address: &str, options: &[&str]) -> bool {
        let end = Instant::now() + Duration::from_secs(10);
        while !self.is_answered(address, options) {
            if Instant::now() >= end {
                return false;
            }
        }
        true
    }

    /// Echo requests that its kernel has sent, and answers that it has received.
    #[track_caller]
    pub fn echoes(&self) -> [u64; 2] {
        let table = self.run(&["cat", "/proc/net/snmp"]).expect_success();
        let mut lines = table.lines().filter(|line| line.starts_with("Icmp:"));
        let names = lines.next().expect("names").split(' ');
        let values = lines.next().expect("values").split(' ');
        let counters: Vec<_> = names.zip(values).collect();
        ["OutEchos", "InEchoReps"].map(|wanted| {
            let found = counters.iter().find(|(name, _)| *name == wanted);
            found.expect("a counter").1.parse().expect("a number")
        })
    }

    /// Whether `address` answers none of two pings from here.
    pub fn is_cut_off_from(&self, address: &str) -> bool {
        self.is_cut_off_with(address, &[])
    }

    /// As [`Netns::is_cut_off_from`], with further options of `ping`.
    pub fn is_cut_off_with(&self, address: &str, options: &[&str]) -> bool {
        !self.is_answered(address, options)
    }

    fn is_answered(&self, address: &str, options: &[&str]) -> bool {
        let words = [
            &["ping", "-c", "2", "-i", "0.2", "-W", "1", "-q"],
            options,
            &[address],
        ];
        self.run(&words.concat()).status.success()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        run(&["ip", "netns", "del", &self.name]);
    }
}
