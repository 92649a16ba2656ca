//! What is measured of one switch: a figure for each question, all on one run of it.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use openflow::{
    BundleAdd, BundleControl, BundleFlags, BundleId, BundleStep, FlowModCommand, Fragments,
    Message, MultipartReply, MultipartRequest, OfPort, SwitchConfig, Xid, v13,
};

use super::client::{Client, PACKET_IN};
use super::peer::{Hosts, Peer};
use super::rules;

/// A figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What of.
    pub name: &'static str,
    /// How much.
    pub value: f64,
}

/// Measures a switch with a table of so many flows.
pub fn measure(peer: &Peer, hosts: &Hosts, flows: u32) -> Result<Vec<Figure>> {
    let mut run = Run::new(peer);
    run.packet_in_times(hosts)?;
    run.packet_in_rate()?;
    run.forward()?;
    run.memory(flows)?;
    run.bundle()?;
    run.carry_out(&rules::adds(0, SMALL)?)?;
    run.adds_at_size(
        "adds a second at 10,000 flows",
        "forwarding at 10,000 flows",
        SMALL,
    )?;
    run.churn(
        "adds and deletes a second at 10,000 flows",
        "forwarding while both come at 10,000 flows",
        SMALL,
    )?;
    run.clear()?;
    run.carry_out(&rules::adds(0, SMALL)?)?;
    run.adds(
        "adds a second up to all flows",
        "forwarding up to all flows",
        SMALL,
        flows - SMALL,
    )?;
    run.adds(
        "adds a second at all flows",
        "forwarding at all flows",
        flows,
        CHURNED,
    )?;
    run.carry_out(&rules::deletions(flows, CHURNED)?)?;
    run.churn(
        "adds and deletes a second at all flows",
        "forwarding while both come at all flows",
        flows,
    )?;
    run.dump(flows)?;
    run.changes(flows)?;
    run.note("least share of the time that the worker ran", run.ran);
    Ok(run.figures)
}

/// Measures how soon a switch that was started again works on a table of so many flows.
pub fn measure_restarted(peer: &Peer, flows: u32) -> Result<Vec<Figure>> {
    let mut run = Run::new(peer);
    run.first_flow(flows)?;
    Ok(run.figures)
}

struct Run<'a> {
    peer: &'a Peer,
    figures: Vec<Figure>,
    /// The least share of a phase's time that the worker ran.
    ran: f64,
}

impl<'a> Run<'a> {
    fn new(peer: &'a Peer) -> Run<'a> {
        Run {
            peer,
            figures: Vec::new(),
            ran: 1.0,
        }
    }

    fn note(&mut self, name: &'static str, value: f64) {
        eprintln!("{:5} {name}: {value:.3}", self.peer.name());
        self.figures.push(Figure { name, value });
    }

    /// Lets packets from port 1 out by port 2, below all other rules.
    fn forward(&self) -> Result<()> {
        let rule = "priority=1,in_port=1,actions=output:2";
        self.carry_out(&rules::encoded(rule, FlowModCommand::Add)?)
            .map(drop)
    }

    /// How long it takes to do this.
    fn carry_out(&self, bytes: &[u8]) -> Result<Duration> {
        let mut client = self.peer.connect()?;
        let took = timed(&mut client, bytes)?;
        ensure!(
            client.errors == 0,
            "{} requests were refused",
            client.errors
        );
        Ok(took)
    }

    /// Adds flows in a stream while packets run.
    fn adds(
        &mut self,
        rate_name: &'static str,
        forwarding_name: &'static str,
        first: u32,
        count: u32,
    ) -> Result<()> {
        let bytes = rules::adds(first, count)?;
        let (took, forwarding) = self.beside_packets(&bytes, PARTS)?;
        self.note(rate_name, f64::from(count) / took.as_secs_f64());
        self.note(forwarding_name, forwarding);
        Ok(())
    }

    /// Adds flows to `size` others in streams so short that there are never many more, while
    /// packets run: each is taken back before the next, which is not part of the time.
    fn adds_at_size(
        &mut self,
        rate_name: &'static str,
        forwarding_name: &'static str,
        size: u32,
    ) -> Result<()> {
        let (adds, back) = (rules::adds(size, FEW)?, rules::deletions(size, FEW)?);
        let (took, forwarding) = self.parts_beside_packets(PARTS, |client, _| {
            let mut took = Duration::ZERO;
            for _ in 0..FEW_TIMES {
                took += timed(client, &adds)?;
                timed(client, &back)?;
            }
            Ok(took)
        })?;
        let count = f64::from(FEW * FEW_TIMES) * PARTS as f64;
        self.note(rate_name, count / took.as_secs_f64());
        self.note(forwarding_name, forwarding);
        Ok(())
    }

    /// Adds flows in a stream, and deletes another for each, so that there are always `size`, while
    /// packets run. Both count.
    fn churn(
        &mut self,
        rate_name: &'static str,
        forwarding_name: &'static str,
        size: u32,
    ) -> Result<()> {
        let bytes = rules::churn(0, size, CHURNED)?;
        let (took, forwarding) = self.beside_packets(&bytes, PARTS)?;
        self.note(rate_name, f64::from(2 * CHURNED) / took.as_secs_f64());
        self.note(forwarding_name, forwarding);
        Ok(())
    }

    /// How long it takes to do this in parts, and what is forwarded meanwhile.
    fn beside_packets(&mut self, bytes: &[u8], parts: usize) -> Result<(Duration, f64)> {
        let parts = parts_of(bytes, parts);
        self.parts_beside_packets(parts.len(), |client, part| timed(client, parts[part]))
    }

    /// How long parts of something say that they take in all, and the packets forwarded meanwhile
    /// over those at other times, each in a second that the worker ran. There is a moment of
    /// nothing else before each part, since what memory gives the worker changes from second to
    /// second. What is over at once is seen with a moment after it.
    fn parts_beside_packets(
        &mut self,
        parts: usize,
        mut carry_out: impl FnMut(&mut Client, usize) -> Result<Duration>,
    ) -> Result<(Duration, f64)> {
        let (mut client, mut watcher) = (self.peer.connect()?, self.peer.connect()?);
        let mut took = Duration::ZERO;
        let (mut before, mut during) = (Vec::new(), Vec::new());
        for part in 0..parts {
            let start = self.sent(&mut watcher)?;
            std::thread::sleep(MOMENT);
            let idle = self.sent(&mut watcher)?;
            before.push(idle.since(start));
            let start = Instant::now();
            took += carry_out(&mut client, part)?;
            std::thread::sleep(MOMENT.saturating_sub(start.elapsed()));
            let end = self.sent(&mut watcher)?;
            during.push(end.since(idle));
            self.ran = self.ran.min(end.share_since(idle));
        }
        ensure!(
            client.errors == 0,
            "{} requests were refused",
            client.errors
        );
        Ok((took, median(&mut during) / median(&mut before)))
    }

    fn sent(&self, watcher: &mut Client) -> Result<Sent> {
        Ok(Sent {
            packets: sent_packets(watcher)?,
            seconds: self.peer.worker_seconds()?,
            at: Instant::now(),
        })
    }

    /// Commits a bundle of adds, and takes them back.
    fn bundle(&mut self) -> Result<()> {
        let adds = rules::adds(0, BUNDLED)?;
        let mut bytes = control(BundleStep::OpenRequest)?;
        for message in adds.chunks(adds.len() / BUNDLED as usize) {
            let add = Message::BundleAdd(BundleAdd {
                bundle: BundleId(1),
                flags: BundleFlags::ATOMIC,
                message: message.to_vec(),
            });
            v13::encode(Xid(7), &add, &mut bytes).context("a bundled flow_mod fits")?;
        }
        bytes.extend(control(BundleStep::CloseRequest)?);
        let mut client = self.peer.connect()?;
        client.write(&bytes)?;
        client.expect_kind(EXPERIMENTER)?;
        client.expect_kind(EXPERIMENTER)?;
        let start = Instant::now();
        client.write(&control(BundleStep::CommitRequest)?)?;
        client.expect_kind(EXPERIMENTER)?;
        let took = start.elapsed();
        self.note("seconds to commit 100,000 adds", took.as_secs_f64());
        self.clear()
    }

    /// Deletes the rules that [`rules::adds`] made.
    fn clear(&self) -> Result<()> {
        let all = rules::encoded("ip", FlowModCommand::Delete)?;
        self.carry_out(&all).map(drop)
    }

    /// What the first flows take.
    fn memory(&mut self, flows: u32) -> Result<()> {
        let adds = rules::adds(0, flows)?;
        let before = self.peer.resident_bytes()?;
        self.carry_out(&adds)?;
        let bytes = self.peer.resident_bytes()?.saturating_sub(before);
        self.note("bytes a flow", bytes as f64 / f64::from(flows));
        self.clear()
    }

    /// From hello to the first flow in force with all others behind it, and to the last.
    fn first_flow(&mut self, flows: u32) -> Result<()> {
        let first = rules::adds(0, 1)?;
        let rest = rules::adds(1, flows - 1)?;
        let start = Instant::now();
        let mut client = self.peer.connect()?;
        client.write(&first)?;
        client.barrier()?;
        self.note("milliseconds from hello to the first flow", millis(start));
        client.write(&rest)?;
        client.barrier()?;
        self.note(
            "seconds from hello to the last flow",
            millis(start) / 1000.0,
        );
        Ok(())
    }

    fn dump(&mut self, wanted: u32) -> Result<()> {
        let mut client = self.peer.connect()?;
        let before = self.peer.resident_bytes()?;
        self.peer.reset_peak()?;
        let start = Instant::now();
        let request = MultipartRequest::Flow(Box::default());
        client.send(&Message::MultipartRequest {
            more: false,
            request,
        })?;
        let mut flows = 0;
        client.drain_multipart(|message| flows += count_entries(message))?;
        let took = start.elapsed();
        ensure!(flows > wanted, "{flows} flows listed instead of {wanted}");
        let grown = self.peer.peak_bytes()?.saturating_sub(before);
        self.note(
            "flows listed a second",
            f64::from(flows) / took.as_secs_f64(),
        );
        self.note("MiB more while listing", grown as f64 / f64::from(1 << 20));
        Ok(())
    }

    /// Modifies and deletes parts of the table, by cookie and by match.
    fn changes(&mut self, flows: u32) -> Result<()> {
        let owned = |owner: u32| format!("cookie={:#x}/0xffffffff00000000", u64::from(owner) << 32);
        let each = f64::from(flows / rules::OWNERS);
        let modify = format!("{},actions=output:9", owned(3));
        let modify = rules::encoded(&modify, FlowModCommand::Modify)?;
        let (took, forwarding) = self.beside_packets(&modify, 1)?;
        self.note(
            "flows modified a second, by cookie",
            each / took.as_secs_f64(),
        );
        self.note("forwarding while they are", forwarding);
        let delete = rules::encoded(&owned(5), FlowModCommand::Delete)?;
        let (took, forwarding) = self.beside_packets(&delete, 1)?;
        self.note(
            "flows deleted a second, by cookie",
            each / took.as_secs_f64(),
        );
        self.note("forwarding while those are", forwarding);
        let one = (CHURNED..).step_by(rules::OWNERS as usize);
        let mut bytes = Vec::new();
        for rule in one.take(SINGLE).map(|owned| owned + 7) {
            let cookie = u64::from(7_u32) << 32 | u64::from(rule);
            let delete = format!("cookie={cookie:#x}/-1");
            bytes.extend(rules::encoded(&delete, FlowModCommand::Delete)?);
        }
        let took = self.carry_out(&bytes)?;
        let micros = took.as_secs_f64() * 1e6 / SINGLE as f64;
        self.note("microseconds to delete one by its cookie", micros);
        let net = rules::encoded("ip,nw_src=11.0.32.0/24", FlowModCommand::Delete)?;
        let took = self.carry_out(&net)?;
        self.note("milliseconds to delete a network", took.as_secs_f64() * 1e3);
        let all = rules::encoded("ip", FlowModCommand::Delete)?;
        let (took, forwarding) = self.beside_packets(&all, 1)?;
        self.note("seconds to delete all", took.as_secs_f64());
        self.note("forwarding while all go", forwarding);
        Ok(())
    }

    /// One packet of an unknown flow at a time: in, to the controller, its flow and packet, out.
    fn packet_in_times(&mut self, hosts: &Hosts) -> Result<()> {
        let mut client = self.punting("priority=1,in_port=3,actions=controller:65535")?;
        let inside = hosts.receiver();
        inside.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut times = Vec::new();
        for socket in hosts.senders(ROUNDS) {
            let start = Instant::now();
            socket.send_to(b"0123456789abcdef", inside.local_addr()?)?;
            loop {
                let message = client.receive_kind(PACKET_IN)?.to_vec();
                if answer(&mut client, &message, &socket)? {
                    break;
                }
            }
            inside.recv(&mut [0; 64])?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        self.note("microseconds of a packet-in, median", median(&mut times));
        self.note(
            "microseconds of a packet-in, 99 %",
            times[times.len() * 99 / 100],
        );
        let all = rules::encoded("", FlowModCommand::Delete)?;
        self.carry_out(&all).map(drop)
    }

    /// Packets to the controller as fast as they come.
    fn packet_in_rate(&mut self) -> Result<()> {
        let mut client = self.punting("priority=1,in_port=1,actions=controller:128")?;
        let (mut count, end) = (0, Instant::now() + Duration::from_secs(3));
        let mut start = None;
        while Instant::now() < end {
            client.receive_kind(PACKET_IN)?;
            start.get_or_insert_with(Instant::now);
            count += 1;
        }
        let took = start.context("no packet-in")?.elapsed();
        self.note("packet-ins a second", f64::from(count) / took.as_secs_f64());
        drop(client);
        let all = rules::encoded("", FlowModCommand::Delete)?;
        self.carry_out(&all).map(drop)
    }

    /// A connection that hears of packets, and a rule that sends it some.
    fn punting(&self, rule: &str) -> Result<Client> {
        let mut client = self.peer.connect()?;
        client.send(&Message::SetConfig(SwitchConfig {
            fragments: Fragments::Normal,
            miss_send_len: 128,
        }))?;
        client.write(&rules::encoded(rule, FlowModCommand::Add)?)?;
        client.barrier()?;
        Ok(client)
    }
}

/// How long it takes until all of this is done.
fn timed(client: &mut Client, bytes: &[u8]) -> Result<Duration> {
    let start = Instant::now();
    client.write(bytes)?;
    client.barrier()?;
    Ok(start.elapsed())
}

/// Messages in so many parts of about the same length.
fn parts_of(mut bytes: &[u8], parts: usize) -> Vec<&[u8]> {
    let wanted = bytes.len() / parts;
    let mut list = Vec::new();
    while !bytes.is_empty() {
        let mut end = 0;
        while end < bytes.len() && (end < wanted || list.len() + 1 == parts) {
            let length = bytes[end + 2..end + 4].try_into().map(u16::from_be_bytes);
            end += usize::from(length.unwrap_or(u16::MAX));
        }
        let (part, rest) = bytes.split_at(end.min(bytes.len()));
        list.push(part);
        bytes = rest;
    }
    list
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Answers a packet-in of this sender's with a flow for it and the packet itself; false if it was
/// of somebody else's.
fn answer(client: &mut Client, message: &[u8], socket: &UdpSocket) -> Result<bool> {
    let Ok((_, Message::PacketIn(packet))) = v13::decode(message) else {
        return Ok(false);
    };
    let port = socket.local_addr()?.port();
    let is_ours = packet.data.get(34..36) == Some(&port.to_be_bytes()[..]);
    if !is_ours {
        return Ok(false);
    }
    let rule = format!("priority=10,udp,udp_src={port},actions=output:4");
    let mut bytes = rules::encoded(&rule, FlowModCommand::Add)?;
    let out = openflow::PacketOut {
        buffer_id: packet.buffer_id,
        in_port: OfPort(3),
        actions: [openflow::Action::Output {
            port: OfPort(4),
            max_len: 0,
        }]
        .into(),
        data: match packet.buffer_id {
            Some(_) => Vec::new(),
            None => packet.data.clone(),
        },
    };
    let out = Message::PacketOut(out);
    v13::encode(Xid(9), &out, &mut bytes).context("a packet-out fits")?;
    client.write(&bytes)?;
    Ok(true)
}

fn control(step: BundleStep) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let message = Message::Bundle(BundleControl {
        bundle: BundleId(1),
        step,
        flags: BundleFlags::ATOMIC,
    });
    v13::encode(Xid(8), &message, &mut bytes).context("a bundle's control fits")?;
    Ok(bytes)
}

/// Flows in a part of a list: each begins with its length.
fn count_entries(message: &[u8]) -> u32 {
    let mut rest = message.get(MULTIPART_HEADER..).unwrap_or_default();
    let mut count = 0;
    while let Some((length, _)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).max(2);
        rest = rest.get(length..).unwrap_or_default();
        count += 1;
    }
    count
}

/// Packets that left by port 2, and how long the worker ran for it.
#[derive(Clone, Copy)]
struct Sent {
    packets: u64,
    seconds: f64,
    at: Instant,
}

impl Sent {
    fn since(self, before: Sent) -> f64 {
        (self.packets - before.packets) as f64 / (self.seconds - before.seconds)
    }

    fn share_since(self, before: Sent) -> f64 {
        (self.seconds - before.seconds) / (self.at - before.at).as_secs_f64()
    }
}

fn sent_packets(client: &mut Client) -> Result<u64> {
    let request = MultipartRequest::PortStats(OfPort(2));
    client.send(&Message::MultipartRequest {
        more: false,
        request,
    })?;
    let mut sent = None;
    client.drain_multipart(|bytes| {
        if let Ok((_, Message::MultipartReply { reply, .. })) = v13::decode(bytes)
            && let MultipartReply::PortStats(ports) = reply
        {
            sent = ports.first().map(|port| port.tx_packets);
        }
    })?;
    sent.context("no statistics of port 2")
}

fn millis(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Parts in which a stream is sent.
const PARTS: usize = 7;
/// The shortest time in which forwarding is looked at.
const MOMENT: Duration = Duration::from_millis(250);
/// Flows in a small table.
const SMALL: u32 = 10_000;
/// Flows added to a table of any size, and as many deleted: those up to this number.
const CHURNED: u32 = 100_000;
/// Flows added to a small table before they are taken back: a tenth of it.
const FEW: u32 = SMALL / 10;
/// How often they are in each part.
const FEW_TIMES: u32 = 14;
/// Flows of a bundle.
const BUNDLED: u32 = 100_000;
/// Deletions of one flow each.
const SINGLE: usize = 1000;
/// Packet-ins answered one after the other: each has a socket of its own.
const ROUNDS: usize = 500;
/// `OFPT_EXPERIMENTER`.
const EXPERIMENTER: u8 = 4;
/// Before the first entry of a multipart reply.
const MULTIPART_HEADER: usize = 16;
