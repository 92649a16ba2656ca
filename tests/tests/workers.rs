//! Two workers, as operators run them: traffic between ports of different workers, through a patch
//! port, while ports come and go and queues are spread anew; and the end in the midst of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tests::netns::hosts;
use tests::{Daemon, Netns, eventually};

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

/// The receive queues that each worker polls: port, and number among the port's queues.
fn queues(daemon: &Daemon) -> Vec<Vec<(String, u64)>> {
    let shown = daemon.json(&["worker", "show"]);
    let queue = |queue: &Value| {
        let port = queue["port"].as_str().expect("a name").to_owned();
        (port, queue["queue"].as_u64().expect("a number"))
    };
    let of_worker = |worker: &Value| {
        let queues = worker["queues"].as_array().expect("queues");
        queues.iter().map(queue).collect()
    };
    let workers = shown["workers"].as_array().expect("workers");
    workers.iter().map(of_worker).collect()
}

/// Both workers poll something, and each port's one queue is polled by one of them. How many each
/// has is not said: queues are spread by what they bring, and one may bring more than five.
#[track_caller]
fn assert_spread(daemon: &Daemon, ports: &[&str]) {
    let spread = queues(daemon);
    assert_eq!(spread.len(), 2, "{spread:?}");
    assert!(spread.iter().all(|queues| !queues.is_empty()), "{spread:?}");
    let mut polled = spread.concat();
    polled.sort();
    let expected: Vec<_> = ports.iter().map(|port| (port.to_string(), 0)).collect();
    assert_eq!(polled, expected);
}

#[test]
fn two_workers_share_ports_that_come_and_go_and_lose_nothing() {
    const LASTING: [&str; 4] = ["br0", "br1", "p1", "p2"];
    const PASSING: [&str; 3] = ["x1", "x2", "x3"];
    let (daemon, hosts) = joined();
    assert_spread(&daemon, &LASTING);
    let pings = daemon.loses_no_ping(&hosts[0], "10.0.0.2", 8, || {
        for name in PASSING {
            let add = ["port", "add", "br0", name, "--type", "internal"];
            daemon.vsctl(&add).expect_success();
        }
        assert_spread(&daemon, &[&LASTING[..], &PASSING].concat());
        for name in PASSING {
            daemon.vsctl(&["port", "del", "br0", name]).expect_success();
        }
        assert_spread(&daemon, &LASTING);
    });

    for (patch, bridge) in [("a", "br0"), ("b", "br1")] {
        let stats = daemon
            .ofctl("dump-ports", bridge, &[patch])
            .expect_success();
        let rx = stats
            .split("rx pkts=")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        let packets: u64 = rx.expect("a count").parse().expect("a number");
        assert!(packets >= pings, "{patch}: {stats}");
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
        eventually("a change is made", 30, || {
            (told.load(Ordering::Relaxed) > 0).then_some(())
        });
        // Each time at another point of a change.
        thread::sleep(Duration::from_millis(7 * round));
        daemon.stop();
        changes.join().expect("the changes end");
    }
}
