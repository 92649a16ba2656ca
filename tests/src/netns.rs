//! Network namespaces as hosts, joined to the switch by veth pairs or internal ports.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::{Background, Output, run};

/// A switch's namespace whose devices p1, p2 and so on lead to hosts with the addresses 10.0.0.1,
/// 10.0.0.2 and so on.
#[track_caller]
pub fn hosts<const N: usize>() -> (Netns, [Netns; N]) {
    let switch = Netns::new("sw");
    let hosts = std::array::from_fn(|index| {
        let number = index + 1;
        let host = Netns::new(&format!("h{number}"));
        switch.veth(&format!("p{number}"), &host, "eth0");
        host.ip(&format!("addr add 10.0.0.{number}/24 dev eth0"));
        host
    });
    (switch, hosts)
}

/// As [`hosts`], and they speak IPv4 alone: they send nothing of their own accord.
#[track_caller]
pub fn silent_hosts<const N: usize>() -> (Netns, [Netns; N]) {
    let (switch, hosts) = hosts();
    for host in &hosts {
        host.run(&["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
    }
    (switch, hosts)
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
            "link add {here} type veth peer name {there} netns {peer}"
        ));
        self.ip(&format!("link set {here} up"));
        other.ip(&format!("link set {there} up"));
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
        self.ip(&format!("link set {device} netns {}", other.name()));
        other.ip(&format!("link set {device} up"));
    }

    /// Pings `address` from here without a break while `change` is made at least so many times: no
    /// answer may be missing. How many there were; `folder` is for what ping prints.
    #[track_caller]
    pub fn loses_no_ping(
        &self,
        address: &str,
        changes_min: u32,
        folder: &Path,
        mut change: impl FnMut(),
    ) -> u64 {
        const PINGS: u64 = 500;
        let words = format!("ping -q -c {PINGS} -i 0.005 -W 20 {address}");
        let words = self.words(&words.split(' ').collect::<Vec<_>>());
        let (mut changes, mut pings) = (0, 0);
        while changes < changes_min {
            let mut ping = Background::start(&words, &folder.join("ping.log"));
            while ping.is_running() {
                change();
                changes += 1;
            }
            pings += PINGS;
            let told = ping.output();
            let all = format!(" {PINGS} received");
            assert!(told.contains(&all), "after {changes} changes: {told}");
        }
        pings
    }

    /// Whether `address` answers a ping from here.
    pub fn pings(&self, address: &str) -> bool {
        self.pings_with(address, &[])
    }

    /// Whether `address` answers a ping with further options of `ping`.
    pub fn pings_with(&self, address: &str, options: &[&str]) -> bool {
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
