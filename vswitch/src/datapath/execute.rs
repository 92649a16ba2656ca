//! Runs a program on a packet: every decision was taken, here it happens.
//!
//! Called by `processor` for each packet of a group that does the same. An operation that
//! sends the packet somewhere works on a copy, unless it is the last: then it gets the packet
//! itself, so that the common program, ending in one output, copies nothing.

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;

use arrayvec::ArrayVec;
use flowtable::{Carried, Counts, Field, FlowKey, eth_type, ip_proto};
use pmd::port::LostReason;
use pmd::{BATCH_MAX, Batch, Packet, Pools};

use super::edit::{Editor, Parcel};
use super::limits;
use super::processor::Now;
use super::punt::{Punter, Receiver};
use super::rewrite::Fate;
use super::send::Ports;
use super::track::{Tracked, Tracking, Waiting};
use super::tunnel::{self, Arrived, Reception};
use crate::action::{
    DropReason, Encapsulation, Op, PortNo, Program, Punt, Sampling, Select, Tallies,
};
use crate::local::Link;
use crate::pipeline::limits::RECIRCULATIONS_MAX;
use crate::pipeline::{Ingress, Meter, Underlay, Verdict};

mod sampled;
mod tracked;

pub use sampled::{Dice, Sampled};

/// What running programs needs.
#[derive(Debug)]
pub struct Executor {
    /// Where packets leave.
    pub ports: Ports,
    /// Where copies come from.
    pub pools: Pools,
    /// The way to control.
    pub punter: Punter,
    /// Connections.
    pub tracking: Tracking,
    /// What was counted on packets' way.
    pub tallies: Tallies,
    /// Packets to be parsed again.
    pub recirculated: Vec<Recirculated>,
    /// The network that tunnels go through.
    pub underlay: Arc<Underlay>,
    /// Room for the packets that a super-frame stands for, so that cutting allocates nothing.
    pub segments: Vec<Packet>,
    /// Room for the fragments of a datagram.
    pub fragments: Vec<Waiting>,
    /// Which packets are sampled.
    pub dice: Dice,
    /// The time of this loop.
    pub now: Now,
    /// How often the packets of the batch went through before.
    pub rounds: u32,
}

/// A packet that goes through again.
#[derive(Debug)]
pub struct Recirculated {
    /// The packet.
    pub packet: Packet,
    /// Where it goes on.
    pub ingress: Ingress,
    /// The port it came in by.
    pub origin: Option<PortNo>,
    /// What it carries of its own.
    pub carried: Carried,
    /// What connection tracking said of it.
    pub tracked: Option<Tracked>,
    /// How often it went through before.
    pub rounds: u32,
}

impl Executor {
    /// Runs a program on a packet.
    pub fn run_program(&mut self, program: &Program, parcel: Parcel) {
        if let Some(reason) = program.drop {
            self.count_drop(parcel.origin, reason);
        }
        self.run(&program.ops, parcel);
    }

    /// Sends a packet that came in by `origin` by a port.
    #[inline]
    pub fn output(&mut self, port: PortNo, packet: Packet, origin: Option<PortNo>) {
        if let Err(reason) = self.ports.stage(port, packet) {
            self.count_drop(origin, reason);
        }
    }

    /// Counts a packet that ended, if there is a reason to.
    pub fn count_end(&mut self, origin: Option<PortNo>, reason: Option<DropReason>) {
        if let Some(reason) = reason {
            self.count_drop(origin, reason);
        }
    }

    /// Does the same with a whole batch.
    #[inline]
    pub fn output_batch(&mut self, port: PortNo, origin: Option<PortNo>, batch: &mut Batch) {
        if let Err(reason) = self.ports.stage_batch(port, batch) {
            self.drop_batch(reason, origin, batch);
        }
    }

    /// Drops a whole batch.
    pub fn drop_batch(&mut self, reason: DropReason, origin: Option<PortNo>, batch: &mut Batch) {
        let count = batch.len() as u64;
        self.ports.count_drops(origin, reason, count);
        batch.clear();
    }

    /// Runs operations on a packet, which ends with the last.
    pub fn run(&mut self, ops: &[Op], mut parcel: Parcel) {
        let Some((last, earlier)) = ops.split_last() else {
            return;
        };
        for (index, op) in earlier.iter().enumerate() {
            match op {
                Op::Encapsulate(_) if is_super_frame(&parcel.packet) => {
                    return self.run_on_segments(&ops[index..], parcel);
                }
                Op::Track(track) => return self.track(track, &ops[index + 1..], parcel),
                _ => {}
            }
            if let Break(reason) = self.perform(op, &mut parcel) {
                return self.end(op, parcel, reason);
            }
        }
        self.finish(last, parcel);
    }

    /// Runs operations on each of the packets that a super-frame stands for.
    fn run_on_segments(&mut self, ops: &[Op], parcel: Parcel) {
        let mut segments = std::mem::take(&mut self.segments);
        let Parcel { packet, .. } = parcel;
        let bare = |packet| Parcel { packet, ..parcel };
        let cut = packet.segment(&self.pools, |segment| segments.push(segment));
        for segment in segments.drain(..) {
            self.run(ops, bare(segment));
        }
        self.segments = segments;
        match cut {
            Ok(()) => {}
            Err(LostReason::NoBuffer) => self.count_drop(parcel.origin, DropReason::NoBuffer),
            Err(_) => self.count_drop(parcel.origin, DropReason::Malformed),
        }
    }

    /// Lets a packet to one of the addresses behind a port go on at the tunnel's port that it came
    /// in by; the packet, if it came by none.
    fn arrive<'a>(&mut self, port: PortNo, mut parcel: Parcel<'a>) -> Option<Parcel<'a>> {
        match tunnel::deliver(&mut parcel.packet, port, &self.underlay) {
            Arrived::Host => {
                self.notice(port, parcel.origin, &parcel.packet);
                return Some(parcel);
            }
            Arrived::Tunnel(port, carried) => {
                parcel.origin = Some(port);
                // It is another packet than the one that was tracked.
                parcel.tracked = None;
                self.recirculate(Ingress::Tunnel(port), carried, parcel);
            }
            Arrived::Drop(reason) => self.count_drop(parcel.origin, reason),
        }
        None
    }

    /// The same with a whole batch: what is left of it are the packets that came by no tunnel.
    pub fn unwrap_all(&mut self, port: PortNo, origin: Option<PortNo>, batch: &mut Batch) {
        let Some(mut reception) = Reception::new(port, &self.underlay) else {
            return;
        };
        batch.iter().for_each(Packet::prefetch);
        let rounds = self.rounds + 1;
        // Both have room for what came in one batch.
        let mut left = Batch::new();
        let mut arrived = ArrayVec::<_, BATCH_MAX>::new();
        for mut packet in batch.drain() {
            match reception.receive(&mut packet) {
                Arrived::Host => {
                    let _ = left.push(packet);
                }
                Arrived::Tunnel(port, carried) => arrived.push(Some(Recirculated {
                    packet,
                    ingress: Ingress::Tunnel(port),
                    origin: Some(port),
                    carried,
                    tracked: None,
                    rounds,
                })),
                Arrived::Drop(reason) => self.ports.count_drops(origin, reason, 1),
            }
        }
        for packet in &left {
            self.notice(port, origin, packet);
        }
        batch.append(&mut left);
        self.go_on_by_tunnel(&mut arrived);
    }

    /// Lets control know of a packet for the host behind a port that tells of the path of a tunnel.
    fn notice(&mut self, port: PortNo, origin: Option<PortNo>, packet: &Packet) {
        if tunnel::tells_of_path(packet.data()) && self.underlay.host(port).is_some() {
            self.deliver_copy((Receiver::Path(port), origin), (Link::default(), packet));
        }
    }

    /// Lets packets go on, those of each tunnel one after another, so that they are a batch again:
    /// packets of a flow come by one tunnel, and may pass those of others.
    fn go_on_by_tunnel(&mut self, arrived: &mut [Option<Recirculated>]) {
        for first in 0..arrived.len() {
            let Some(origin) = arrived[first].as_ref().map(|packet| packet.origin) else {
                continue;
            };
            for slot in &mut arrived[first..] {
                if let Some(packet) = slot.take_if(|packet| packet.origin == origin) {
                    self.go_again(packet);
                }
            }
        }
    }

    /// Performs an operation after which the packet is still needed.
    fn perform(&mut self, op: &Op, parcel: &mut Parcel) -> Fate {
        match op {
            Op::Outputs(ports) => ports.iter().for_each(|port| self.copy_to(*port, parcel)),
            Op::Output(_)
            | Op::Answer(_)
            | Op::Deliver(_)
            | Op::Controller(_)
            | Op::Clone(_)
            | Op::Select(_)
            | Op::Longer(_)
            | Op::Recirculate(_) => {
                if let Some(copy) = self.copy(parcel) {
                    self.finish(op, copy);
                }
            }
            Op::Resolve(unresolved) => {
                let shares = self.ports.shares(parcel.origin);
                self.punter.resolve(&shares, *unresolved, self.now.ms());
            }
            Op::Meter(meter) => return admit(meter, &mut parcel.editor(), self.now),
            Op::Count(counters) => {
                let counts = Counts {
                    packets: 1,
                    bytes: parcel.bytes.into(),
                    used_ms: self.now.ms(),
                };
                self.tallies.add(counters.into(), counts);
            }
            Op::Learn(learn) => {
                let shares = self.ports.shares(parcel.origin);
                self.punter.learn(&shares, *learn, self.now.ms());
            }
            Op::Sample(sampling) => self.sample(sampling, parcel),
            Op::Wish(wish) => {
                let shares = self.ports.shares(parcel.origin);
                self.punter.wish(&shares, wish, self.now.ms());
            }
            _ => return parcel.editor().edit(op),
        }
        Continue(())
    }

    /// Tells control of a packet for collectors, if it is one of those that are chosen.
    fn sample(&mut self, sampling: &Arc<Sampling>, parcel: &Parcel) {
        if self.dice.throw() >= sampling.probability {
            return;
        }
        let sampled = Sampled::new(sampling, &parcel.packet, self.now.ms());
        let shares = self.ports.shares(parcel.origin);
        self.punter.sample(&shares, sampled);
    }

    /// Performs the last operation on a packet.
    fn finish(&mut self, op: &Op, mut parcel: Parcel) {
        match op {
            Op::Output(port) => self.output(*port, parcel.packet, parcel.origin),
            Op::Outputs(ports) => self.output_to_all(ports, parcel),
            Op::Answer(port) => {
                if let Some(parcel) = self.arrive(*port, parcel) {
                    let link = Link::of(parcel.key);
                    let to = (Receiver::Endpoint(*port), parcel.origin);
                    self.deliver(to, (link, parcel.packet));
                }
            }
            Op::Deliver(port) => {
                if let Some(parcel) = self.arrive(*port, parcel) {
                    self.output(*port, parcel.packet, parcel.origin);
                }
            }
            Op::Controller(punt) => self.punt(punt, parcel),
            Op::Clone(ops) => self.run(ops, parcel),
            Op::Select(select) => self.run(bucket(select, parcel.key), parcel),
            Op::Longer(longer) => {
                let is_longer = parcel.packet.frame_len_max() > longer.len as usize;
                let ops = if is_longer {
                    &longer.longer
                } else {
                    &longer.other
                };
                self.run(ops, parcel);
            }
            Op::Track(track) => self.track(track, &[], parcel),
            Op::Recirculate(point) => {
                let carried = parcel.carried();
                self.recirculate(Ingress::Point(*point), carried, parcel);
            }
            _ => {
                if let Break(reason) = self.perform(op, &mut parcel) {
                    self.end(op, parcel, reason);
                }
            }
        }
    }

    /// Ends a packet that an operation stopped.
    fn end(&mut self, op: &Op, parcel: Parcel, reason: DropReason) {
        match op {
            Op::DecNwTtl(expiry) if reason == DropReason::InvalidTtl => {
                let ops = std::slice::from_ref(op);
                self.answer_end(ops, reason, parcel.origin, (parcel.key, &parcel.packet));
                match &expiry.punt {
                    Some(punt) => self.punt(punt, parcel),
                    None => self.count_drop(parcel.origin, reason),
                }
            }
            Op::DecMplsTtl(Some(punt)) if reason == DropReason::InvalidTtl => {
                self.punt(punt, parcel);
            }
            Op::Encapsulate(_) => {
                let ops = std::slice::from_ref(op);
                self.answer_end(ops, reason, parcel.origin, (parcel.key, &parcel.packet));
                self.count_drop(parcel.origin, reason);
            }
            _ => self.count_drop(parcel.origin, reason),
        }
    }

    /// Has whoever is to answer a packet that one of these operations ended do so. `key` is what it
    /// came in with.
    #[cold]
    pub fn answer_end(
        &mut self,
        ops: &[Op],
        reason: DropReason,
        origin: Option<PortNo>,
        (key, packet): (&FlowKey, &Packet),
    ) {
        let to = match reason {
            DropReason::InvalidTtl => {
                let bridge = ops.iter().find_map(Op::answers_expiry);
                bridge.map(Receiver::Expired)
            }
            DropReason::TooBig => {
                let obstacle = obstacle(ops, key, packet.len());
                let obstacle = obstacle.filter(|it| it.is_told);
                obstacle.map(|it| Receiver::TooBig(it.inner_len_max() as u32))
            }
            _ => None,
        };
        if let Some(to) = to {
            self.deliver_copy((to, origin), (Link::of(key), packet));
        }
    }

    /// Hands a copy of a packet to the switch itself.
    fn deliver_copy(&mut self, to: (Receiver, Option<PortNo>), (link, packet): (Link, &Packet)) {
        match packet.try_copy(&self.pools) {
            Some(copy) => self.deliver(to, (link, copy)),
            None => self.count_drop(to.1, DropReason::NoBuffer),
        }
    }

    /// Hands a packet to the switch itself.
    fn deliver(&mut self, to: (Receiver, Option<PortNo>), packet: (Link, Packet)) {
        let origin = to.1;
        let shares = self.ports.shares(origin);
        let lost = self.punter.deliver(&shares, to, packet, &self.pools);
        self.count_end(origin, lost);
    }

    fn copy<'a>(&mut self, parcel: &Parcel<'a>) -> Option<Parcel<'a>> {
        let copy = parcel.packet.try_copy(&self.pools);
        if copy.is_none() {
            self.count_drop(parcel.origin, DropReason::NoBuffer);
        }
        let packet = copy?;
        Some(Parcel { packet, ..*parcel })
    }

    fn copy_to(&mut self, port: PortNo, parcel: &Parcel) {
        if let Some(copy) = self.copy(parcel) {
            self.output(port, copy.packet, copy.origin);
        }
    }

    fn output_to_all(&mut self, ports: &[PortNo], parcel: Parcel) {
        let Some((last, others)) = ports.split_last() else {
            return;
        };
        for port in others {
            self.copy_to(*port, &parcel);
        }
        self.output(*last, parcel.packet, parcel.origin);
    }

    fn punt(&mut self, punt: &Arc<Punt>, mut parcel: Parcel) {
        for meter in &punt.meters {
            if let Break(reason) = admit(meter, &mut parcel.editor(), self.now) {
                return self.count_drop(parcel.origin, reason);
            }
        }
        let shares = self.ports.shares(parcel.origin);
        let carried = parcel.carried();
        let told = carried.overlaid(&punt.written, &Carried::of(&punt.metadata));
        let packet = parcel.packet;
        let (refused, lost) = self
            .punter
            .punt(&shares, (punt, &told), packet, &self.pools);
        if refused > 0 {
            let reason = DropReason::PuntQueueFull;
            self.ports.count_drops(parcel.origin, reason, refused);
        }
        if let Some(reason) = lost {
            self.count_drop(parcel.origin, reason);
        }
    }

    /// Lets a packet go through again, once the batch that it is of is through.
    fn recirculate(&mut self, ingress: Ingress, carried: Carried, parcel: Parcel) {
        self.go_again(Recirculated {
            packet: parcel.packet,
            ingress,
            origin: parcel.origin,
            carried,
            tracked: parcel.tracked,
            rounds: self.rounds + 1,
        });
    }

    /// The same of a packet of which all is known.
    pub fn go_again(&mut self, packet: Recirculated) {
        let is_too_deep = packet.rounds > RECIRCULATIONS_MAX;
        match is_too_deep || self.recirculated.len() >= limits::RECIRCULATED_MAX {
            true => self.count_drop(packet.origin, DropReason::TooDeep),
            false => self.recirculated.push(packet),
        }
    }

    fn count_drop(&mut self, origin: Option<PortNo>, reason: DropReason) {
        self.ports.count_drops(origin, reason, 1);
    }
}

/// Of what wraps packets in these operations, that for which one of so many bytes is too long; of
/// the buckets of a group only the chosen one is looked at.
fn obstacle<'a>(ops: &'a [Op], key: &FlowKey, len: usize) -> Option<&'a Encapsulation> {
    ops.iter().find_map(|op| match op {
        Op::Encapsulate(it) => (len > it.inner_len_max()).then_some(&**it),
        Op::Select(select) => obstacle(bucket(select, key), key, len),
        _ => None,
    })
}

/// Whether a packet stands for several.
pub fn is_super_frame(packet: &Packet) -> bool {
    packet.owes() && packet.offload().gso.is_some()
}

/// Lets a meter decide about a packet.
#[inline(never)]
pub fn admit(meter: &Meter, editor: &mut Editor, now: Now) -> Fate {
    match meter.admit(now.ns, editor.packet.len() as u32) {
        Verdict::Pass => Continue(()),
        Verdict::Drop => Break(DropReason::Meter),
        Verdict::Remark(levels) => editor.remark(levels),
    }
}

/// The bucket for a packet: the same for both directions of a conversation, and for all its
/// packets.
fn bucket<'a>(select: &'a Select, key: &FlowKey) -> &'a [Op] {
    select.choose(flow_hash(key, select.routes))
}

/// Hash of addresses (Ethernet, IP or ARP), VLAN, protocol and ports, symmetric in source and
/// destination. Where the buckets are next hops, IP packets are hashed without what routing
/// changes, Ethernet addresses and VLAN. Fragments have no ports to tell: all of a datagram go one
/// way. Types of ICMP are no ports: an echo goes the way of its request.
pub fn flow_hash(key: &FlowKey, routes: bool) -> u32 {
    let mix = |sum: u64, word: u64| {
        (sum ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    };
    let link = match key.eth_type {
        eth_type::IPV4 | eth_type::IPV6 if routes => 0,
        _ => (key.eth_src ^ key.eth_dst) | (Field::VlanVid.read(key) as u64) << 48,
    };
    let ipv4_or_arp = u64::from(key.ipv4_src ^ key.ipv4_dst);
    let ipv6 = [0, 1].map(|word| key.ipv6_src[word] ^ key.ipv6_dst[word]);
    let ports = match (key.ip_frag, key.ip_proto) {
        (0, ip_proto::TCP | ip_proto::UDP | ip_proto::SCTP) => u64::from(key.tp_src ^ key.tp_dst),
        _ => 0,
    };
    let kind = u64::from(key.eth_type) << 24 | u64::from(key.ip_proto) << 16 | ports;
    let words = [link, ipv4_or_arp, ipv6[0], ipv6[1], kind];
    let hash = words.into_iter().fold(0, mix);
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(weights: &[u32]) -> Select {
        crate::action::select::tests::select(weights.iter().map(|weight| (*weight, true)))
    }

    fn chosen(select: &Select, key: &FlowKey) -> u32 {
        match bucket(select, key) {
            [Op::Output(port)] => port.0,
            other => panic!("{other:?}"),
        }
    }

    fn tcp(client: u32, port: u16) -> FlowKey {
        FlowKey {
            eth_type: eth_type::IPV4,
            ip_proto: 6,
            ipv4_src: client,
            ipv4_dst: 0x0a00_0001,
            tp_src: port,
            tp_dst: 80,
            ..FlowKey::default()
        }
    }

    #[test]
    fn both_directions_meet_the_same_bucket() {
        let select = select(&[1, 1, 1, 1]);
        for port in 0..100 {
            let there = tcp(0x0a00_0002, 30_000 + port);
            let mut back = there;
            (back.ipv4_src, back.ipv4_dst) = (there.ipv4_dst, there.ipv4_src);
            (back.tp_src, back.tp_dst) = (there.tp_dst, there.tp_src);
            assert_eq!(chosen(&select, &there), chosen(&select, &back));
        }
    }

    #[test]
    fn both_directions_meet_the_same_bucket_on_both_sides_of_a_router() {
        let select = Select {
            routes: true,
            ..select(&[1, 1, 1, 1])
        };
        for port in 0..100 {
            let mut there = tcp(0x0a00_0002, 30_000 + port);
            let mut back = there;
            (there.eth_src, there.eth_dst, there.vlan_tci) = (1, 0xfe, 0x1065);
            (back.eth_src, back.eth_dst, back.vlan_tci) = (2, 0xff, 0x1066);
            (back.ipv4_src, back.ipv4_dst) = (there.ipv4_dst, there.ipv4_src);
            (back.tp_src, back.tp_dst) = (there.tp_dst, there.tp_src);
            assert_eq!(chosen(&select, &there), chosen(&select, &back));
            (there.ip_proto, there.tp_src, there.tp_dst) = (ip_proto::ICMP, 8, 0);
            (back.ip_proto, back.tp_src, back.tp_dst) = (ip_proto::ICMP, 0, 0);
            there.ipv4_src += u32::from(port) << 8;
            back.ipv4_dst += u32::from(port) << 8;
            assert_eq!(chosen(&select, &there), chosen(&select, &back));
        }
    }

    #[test]
    fn buckets_are_chosen_by_weight() {
        let select = select(&[1, 0, 3]);
        let mut counts = [0; 3];
        for client in 0..100 {
            for port in 0..100 {
                counts[chosen(&select, &tcp(client, 1024 + port)) as usize] += 1;
            }
        }
        assert_eq!(counts[1], 0);
        assert!((2300..2700).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn addresses_of_ethernet_and_of_arp_alone_spread_packets_too() {
        let select = select(&[1, 2]);
        let (mut ethernet, mut arp) = ([0; 2], [0; 2]);
        for host in 0..9000 {
            let mut key = tcp(0x0a00_0002, 1024);
            key.eth_src = u64::from(host) * 0x0001_0203_0507;
            ethernet[chosen(&select, &key) as usize] += 1;
            let key = FlowKey {
                eth_type: eth_type::ARP,
                ipv4_src: host,
                ..FlowKey::default()
            };
            arp[chosen(&select, &key) as usize] += 1;
        }
        assert!((2700..3300).contains(&ethernet[0]), "{ethernet:?}");
        assert!((2700..3300).contains(&arp[0]), "{arp:?}");
    }

    #[test]
    fn fragments_of_a_datagram_stay_together() {
        let select = select(&[1; 16]);
        let mut first = tcp(7, 4711);
        first.ip_frag = flowtable::FRAGMENT_ANY;
        let mut later = first;
        later.ip_frag |= flowtable::FRAGMENT_LATER;
        (later.tp_src, later.tp_dst) = (0, 0);
        assert_eq!(chosen(&select, &first), chosen(&select, &later));
    }

    #[test]
    fn no_buckets_lead_nowhere() {
        assert!(bucket(&select(&[]), &tcp(1, 1)).is_empty());
        let dead = crate::action::select::tests::select([(1, false)]);
        assert!(bucket(&dead, &tcp(1, 1)).is_empty());
    }
}
