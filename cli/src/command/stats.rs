//! `vsctl stats`: counters of ports, or with `--watch` their rates; packet buffers in use.

use std::io::{self, Write};

use super::{Daemon, of_bridge, watch};
use crate::arguments::Watch;
use crate::failure::Failure;
use crate::management::reply::{Counts, Pool, PortStats, QueueCounts, Stats};
use crate::output::Output;
use crate::table::{Side, Table, human};

pub fn run(
    daemon: &Daemon<'_>,
    bridge: Option<&str>,
    queues: bool,
    watch: Watch,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut management = daemon.management()?;
    let read = || management.query::<Stats>("stats", of_bridge(bridge));
    watch::run(watch, output, read, |out, before, now| {
        match before {
            None => totals(now, queues).print(out, "")?,
            Some(before) => rates(before, now).print(out, "")?,
        }
        drops(out, before, now)?;
        control(out, now)?;
        pools(out, &now.pools)
    })
}

fn totals(stats: &Stats, queues: bool) -> Table {
    use Side::{Left, Right};
    let mut table = Table::new(&[
        ("BRIDGE", Left),
        ("PORT", Left),
        ("RX-PACKETS", Right),
        ("RX-BYTES", Right),
        ("RX-DROPS", Right),
        ("RX-ERRORS", Right),
        ("TX-PACKETS", Right),
        ("TX-BYTES", Right),
        ("TX-DROPS", Right),
        ("TX-ERRORS", Right),
    ]);
    for port in &stats.ports {
        let mut row = vec![port.bridge.clone(), port.name.clone()];
        for Counts {
            packets,
            bytes,
            drops,
            errors,
        } in [port.rx, port.tx]
        {
            row.extend([packets, bytes, drops, errors].map(|count| count.to_string()));
        }
        table.row(row);
        if queues {
            queue_rows(&mut table, port);
        }
    }
    table
}

fn queue_rows(table: &mut Table, port: &PortStats) {
    let count = port.rx_queues.len().max(port.tx_queues.len());
    let cells = |queue: Option<&QueueCounts>| match queue {
        Some(queue) => [queue.packets.to_string(), queue.bytes.to_string()],
        None => [String::new(), String::new()],
    };
    let worker = |queue: Option<&QueueCounts>, what: &str| {
        let worker = queue.and_then(|queue| queue.worker);
        worker.map_or(String::new(), |worker| {
            format!(", {what} by worker {worker}")
        })
    };
    for at in 0..count {
        let (rx, tx) = (port.rx_queues.get(at), port.tx_queues.get(at));
        let name = format!("  queue {at}{}{}", worker(rx, "rx"), worker(tx, "tx"));
        let [rx_packets, rx_bytes] = cells(rx);
        let [tx_packets, tx_bytes] = cells(tx);
        let empty = String::new;
        table.row([
            empty(),
            name,
            rx_packets,
            rx_bytes,
            empty(),
            empty(),
            tx_packets,
            tx_bytes,
        ]);
    }
}

fn rates(before: &Stats, now: &Stats) -> Table {
    use Side::{Left, Right};
    let mut table = Table::new(&[
        ("BRIDGE", Left),
        ("PORT", Left),
        ("RX-PACKETS/S", Right),
        ("RX-BITS/S", Right),
        ("RX-DROPS/S", Right),
        ("TX-PACKETS/S", Right),
        ("TX-BITS/S", Right),
        ("TX-DROPS/S", Right),
    ]);
    let seconds = seconds_between(before, now);
    for port in &now.ports {
        let earlier = find(before, port);
        let directions = [
            (earlier.map_or(Counts::default(), |port| port.rx), port.rx),
            (earlier.map_or(Counts::default(), |port| port.tx), port.tx),
        ];
        let mut row = vec![port.bridge.clone(), port.name.clone()];
        for (then, now) in directions {
            // A port that was opened anew counts from 0.
            let rate = |then: u64, now: u64| now.saturating_sub(then) as f64 / seconds;
            row.extend([
                human(rate(then.packets, now.packets)),
                human(rate(then.bytes, now.bytes) * 8.0),
                human(rate(then.drops + then.errors, now.drops + now.errors)),
            ]);
        }
        table.row(row);
    }
    table
}

/// Why packets were dropped, by port: since ever, or since the reading before.
fn drops(out: &mut dyn Write, before: Option<&Stats>, now: &Stats) -> io::Result<()> {
    for port in &now.ports {
        let earlier = before.and_then(|before| find(before, port));
        let count = |reason: &String, total: &u64| {
            let then = earlier.and_then(|port| port.drops.get(reason));
            total.saturating_sub(then.copied().unwrap_or(0))
        };
        let counts = port
            .drops
            .iter()
            .map(|(reason, n)| (reason, count(reason, n)));
        let told: Vec<String> = counts
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        if !told.is_empty() {
            writeln!(out, "dropped, {}: {}", port.name, told.join(", "))?;
        }
    }
    Ok(())
}

/// What the daemon itself had to drop, such as packets that controllers did not take.
fn control(out: &mut dyn Write, now: &Stats) -> io::Result<()> {
    let told = now.control.iter().filter(|(_, count)| **count > 0);
    let told: Vec<String> = told
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    match told.as_slice() {
        [] => Ok(()),
        told => writeln!(out, "daemon: {}", told.join(", ")),
    }
}

fn pools(out: &mut dyn Write, pools: &[Pool]) -> io::Result<()> {
    for pool in pools {
        let Pool {
            name,
            numa,
            buffer_bytes,
            buffers,
            in_use,
        } = pool;
        writeln!(
            out,
            "pool {name}: {in_use} of {buffers} buffers of {buffer_bytes} bytes in use, node {numa}"
        )?;
    }
    Ok(())
}

fn find<'a>(stats: &'a Stats, port: &PortStats) -> Option<&'a PortStats> {
    let same = |other: &&PortStats| other.bridge == port.bridge && other.name == port.name;
    stats.ports.iter().find(same)
}

/// Never 0, which would make rates infinite.
fn seconds_between(before: &Stats, now: &Stats) -> f64 {
    (now.now_ns.saturating_sub(before.now_ns) as f64 / 1e9).max(1e-9)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stats(now_ns: u64, packets: u64, full: u64) -> Stats {
        let counts =
            json!({"packets": packets, "bytes": 100 * packets, "drops": full, "errors": 0});
        let queue = json!([{"packets": packets, "bytes": 100 * packets, "worker": 0}]);
        serde_json::from_value(json!({
            "now_ns": now_ns,
            "ports": [{
                "bridge": "br0", "name": "vm1", "number": 1, "rx": counts, "tx": counts,
                "drops": {"transmit_full": full}, "rx_queues": queue, "tx_queues": [],
            }],
            "pools": [{
                "name": "small", "numa": 0, "buffer_bytes": 2048, "buffers": 1000, "in_use": 3,
            }],
            "control": {"notices_dropped": full, "packet_outs_dropped": 0},
        }))
        .unwrap()
    }

    fn text(print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn totals_come_with_their_queues() {
        let told = text(|out| totals(&stats(0, 5, 2), true).print(out, ""));
        let cells: Vec<Vec<&str>> = told
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            cells[1],
            ["br0", "vm1", "5", "500", "2", "0", "5", "500", "2", "0"]
        );
        assert_eq!(
            cells[2],
            ["queue", "0,", "rx", "by", "worker", "0", "5", "500"]
        );
        assert_eq!(cells.len(), 3);
    }

    #[test]
    fn rates_are_differences_by_time() {
        let (before, now) = (
            stats(1_000_000_000, 1_000, 0),
            stats(1_500_000_000, 3_000, 4),
        );
        let told = text(|out| rates(&before, &now).print(out, ""));
        let cells: Vec<&str> = told.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            cells,
            ["br0", "vm1", "4.00k", "3.20M", "8", "4.00k", "3.20M", "8"]
        );
        let told = text(|out| drops(out, Some(&before), &now));
        assert_eq!(told, "dropped, vm1: transmit_full 4\n");
        assert_eq!(text(|out| drops(out, Some(&now), &now)), "");
    }

    #[test]
    fn what_the_daemon_dropped_is_told_if_there_is_any() {
        assert_eq!(
            text(|out| control(out, &stats(0, 0, 7))),
            "daemon: notices_dropped 7\n"
        );
        assert_eq!(text(|out| control(out, &stats(0, 0, 0))), "");
    }

    #[test]
    fn pools_are_told() {
        let told = text(|out| pools(out, &stats(0, 0, 0).pools));
        assert_eq!(
            told,
            "pool small: 3 of 1000 buffers of 2048 bytes in use, node 0\n"
        );
    }
}
