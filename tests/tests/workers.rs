//! Two workers, as operators run them: traffic between ports of different workers, through a patch
//! port, while ports come and go and queues are spread anew; and the end in the midst of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tests::netns::hosts;
use tests::{Background, Daemon, Netns, eventually};

const TWO: &str = "[log]\nformat = \"json\"\n[workers]\ncpus = [0, 1]\n";

/// Hosts h1 on br0 and h2 on br1, which a pair of patch ports joins.
fn joined() -> (Daemon, [Netns; 2]) {
    let (switch, hosts) = hosts::<2>();
    let bridge = |bridge, port, patch, peer| {
        format!(
            "[[bridge]]\nname = \"{bridge}\"\nfail_mode = \"standalone\"\n\
             [[bridge.port]]\nname = \"{port}\"\ntype = \"system\"\n\
             [[bridge.port]]\nname = \"{patch}\"\ntype = \"patch\"\n\
             options = {{ peer = \"{peer}\" }}\n"
        )
    };
    let bridges = bridge("br0", "p1", "a", "b") + &bridge("br1", "p2", "b", "a");
    let daemon = Daemon::start_with(switch, TWO, &bridges);
    assert!(hosts[0].pings("10.0.0.2"));
    (daemon, hosts)
}

/// How many receive queues each worker polls.
fn queues(daemon: &Daemon) -> Vec<usize> {
    let shown = daemon.json(&["worker", "show"]);
    let workers = shown["workers"].as_array().expect("workers").clone();
    let count = |worker: Value| worker["queues"].as_array().expect("queues").len();
    workers.into_iter().map(count).collect()
}

#[test]
fn two_workers_share_ports_that_come_and_go_and_lose_nothing() {
    let (daemon, hosts) = joined();
    let spread = queues(&daemon);
    assert!(spread.iter().all(|count| *count > 0), "{spread:?}");

    let words = ["ping", "-q", "-c", "2000", "-i", "0.002", "-W", "5"];
    let words = [&words[..], &["10.0.0.2"]].concat();
    let log = daemon.scratch().join("ping.log");
    let mut ping = Background::start(&hosts[0].words(&words), &log);
    let mut seen = Vec::new();
    while ping.is_running() {
        for name in ["x1", "x2", "x3"] {
            let add = ["port", "add", "br0", name, "--type", "internal"];
            daemon.vsctl(&add).expect_success();
        }
        seen.push(queues(&daemon));
        for name in ["x1", "x2", "x3"] {
            daemon.vsctl(&["port", "del", "br0", name]).expect_success();
        }
    }
    let told = ping.output();
    assert!(seen.len() >= 2, "no time for changes");
    for counts in seen {
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(
            most.zip(least)
                .is_some_and(|(most, least)| most - least <= 2)
        );
    }
    assert!(told.contains("2000 received"), "{told}");

    for (patch, bridge) in [("a", "br0"), ("b", "br1")] {
        let stats = daemon
            .ofctl("dump-ports", bridge, &[patch])
            .expect_success();
        let rx = stats
            .split("rx pkts=")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        let packets: u64 = rx.expect("a count").parse().expect("a number");
        assert!(packets >= 2000, "{patch}: {stats}");
    }
    for line in daemon.log().lines().filter(|line| line.starts_with('{')) {
        let entry: Value = serde_json::from_str(line).expect("a line of JSON");
        assert!(entry["level"].is_string(), "{line}");
    }
    assert!(daemon.log().contains("{\"timestamp\""), "{}", daemon.log());
    daemon.stop();
}

#[test]
fn an_end_in_the_midst_of_changes_leaves_nothing() {
    for round in 0..4 {
        let (daemon, _hosts) = joined();
        let run_dir = daemon.run_dir().display().to_string();
        let done = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&done);
        let changes = thread::spawn(move || {
            let vsctl = tests::binary("vsctl").display().to_string();
            loop {
                let turn = done.load(Ordering::Relaxed) % 2;
                let verb = [["add", "del"][turn], "br0", "x"];
                let kind = ["--type", "internal"];
                let words = [&[&vsctl[..], "--run-dir", &run_dir, "port"], &verb[..]].concat();
                let words = match turn {
                    0 => [&words[..], &kind].concat(),
                    _ => words,
                };
                if !tests::run(&words).status.success() {
                    return;
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        eventually("a change is made", 20, || {
            (told.load(Ordering::Relaxed) > 0).then_some(())
        });
        // Each time at another point of a change.
        thread::sleep(Duration::from_millis(7 * round));
        daemon.stop();
        changes.join().expect("the changes end");
    }
}
