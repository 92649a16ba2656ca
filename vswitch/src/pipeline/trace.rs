//! Listens to a translation: nobody on a worker, or a [`super::Path`]; a [`Recorder`] for
//! `vsctl trace`.

use std::fmt::Arguments;

use flowtable::{Field, FlowKey, FlowMask};

use super::{Context, Ingress, Points, State, limits, translate};
use crate::action::{CountedIn, Op, Program};

mod follow;

use follow::Arrival;
pub use follow::Followed;

/// Hears what a translation decides. Levels nest; a text is only made for who listens.
pub trait Trace<'a> {
    /// Whether a program is wanted. Who wants none gets one without operations and counters, and
    /// hears the choices sooner.
    const WANTS_PROGRAM: bool = true;

    /// Something was decided; what follows until the matching [`Trace::leave`] is because of it.
    fn enter(&mut self, text: Arguments<'_>);

    /// The end of what was because of the last [`Trace::enter`].
    fn leave(&mut self);

    /// The pipeline ends for the packet itself, not a copy, which looks like this now.
    fn end(&mut self, key: &FlowKey);

    /// The key chose a way: which rule, or what else. With the same state, entry and choices the
    /// program is the same. At one place in the pipeline other ways have other numbers.
    fn choose(&mut self, _way: u64) {}

    /// An operation of the program that is not wanted.
    fn write(&mut self, _op: Op) {}

    /// The packet is counted in this by the program that is not wanted.
    fn count(&mut self, _counted: CountedIn<'a>) {}

    /// The program that is not wanted has more in it than was told.
    fn complicate(&mut self) {}

    /// Something was decided that nothing follows from.
    fn note(&mut self, text: Arguments<'_>) {
        self.enter(text);
        self.leave();
    }
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrace;

impl Trace<'_> for NoTrace {
    fn enter(&mut self, _text: Arguments<'_>) {}

    fn leave(&mut self) {}

    fn end(&mut self, _key: &FlowKey) {}
}

/// A line of a trace, and what followed from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// What was decided.
    pub text: String,
    /// What followed.
    pub children: Vec<Tree>,
}

/// Writes everything down.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    done: Vec<Tree>,
    /// Levels that are open, the innermost last.
    open: Vec<Tree>,
    end: FlowKey,
}

impl Trace<'_> for Recorder {
    fn enter(&mut self, text: Arguments<'_>) {
        self.open.push(Tree {
            text: text.to_string(),
            children: Vec::new(),
        });
    }

    fn leave(&mut self) {
        if let Some(tree) = self.open.pop() {
            let siblings = match self.open.last_mut() {
                Some(parent) => &mut parent.children,
                None => &mut self.done,
            };
            siblings.push(tree);
        }
    }

    fn end(&mut self, key: &FlowKey) {
        self.end = *key;
    }
}

/// What would become of a packet.
#[derive(Clone, Debug)]
pub struct Traced {
    /// The recirculation point that it comes to; none where it comes in.
    pub point: Option<u32>,
    /// The packet.
    pub key: FlowKey,
    /// What was decided, in the order of processing.
    pub steps: Vec<Tree>,
    /// What the packet looks like in the end.
    pub final_key: FlowKey,
    /// The bits of the key that the decision looked at.
    pub mask: FlowMask,
    /// The decision.
    pub program: Program,
}

/// Says what would become of a packet, first where it comes in and then at each recirculation point
/// that it comes to, up to [`limits::TRACED_POINTS_MAX`]. Nothing is sent, learned or counted.
///
/// Connections are not looked up: tracking finds the `states` (bits of `ct_state`), one after the
/// other, and a new connection once there are no more.
pub fn trace(state: &State, ingress: Ingress, packet: Followed, states: &[u32]) -> Vec<Traced> {
    let mut points = Points::new();
    let mut states = states.iter().copied();
    let mut traced = vec![trace_from(state, &mut points, ingress, &packet)];
    let mut packets = vec![packet];
    let mut at = 0;
    while at < traced.len() {
        let mut ahead = Vec::new();
        let packet = packets[at].clone();
        packet.follow(&traced[at].program.ops, &mut states, &mut ahead);
        ahead.truncate((limits::TRACED_POINTS_MAX + 1).saturating_sub(traced.len()));
        for Arrival { point, followed } in ahead {
            let ingress = Ingress::Point(point);
            traced.push(trace_from(state, &mut points, ingress, &followed));
            packets.push(followed);
        }
        at += 1;
    }
    traced
}

/// What would become of a packet until its program ends.
fn trace_from(state: &State, points: &mut Points, ingress: Ingress, packet: &Followed) -> Traced {
    let key = &packet.key;
    let (mask, point) = match &ingress {
        Ingress::Port(port) => (state.entry_mask(*port), None),
        Ingress::Tunnel(port) => (state.tunnel_mask(*port), None),
        Ingress::Point(point) => (points.entry_mask(*point), Some(*point)),
        Ingress::Resume { .. } => (None, None),
        Ingress::PacketOut { bridge, .. } => {
            let bridge = state.bridge(*bridge);
            (bridge.map(|bridge| &bridge.entry_mask), None)
        }
    };
    let mask = mask.map(|mask| **mask).unwrap_or_default();
    let mut recorder = Recorder {
        end: *key,
        ..Recorder::default()
    };
    let mut context = Context { state, points };
    let program = translate(&mut context, ingress, key, &mut recorder);
    Traced {
        point,
        key: *key,
        steps: recorder.done,
        final_key: whole(packet, &mask, &recorder.end, &program),
        mask,
        program,
    }
}

/// What the packet looks like in the end. The translator has seen no bits outside the mask: those
/// are as they were, unless they were written.
fn whole(packet: &Followed, mask: &FlowMask, after: &FlowKey, program: &Program) -> FlowKey {
    let before = &packet.key;
    let seen = |field: &Field, key: &FlowKey| field.read(key) & field.read(&mask.0);
    let mut end = packet.clone();
    for field in Field::ALL {
        let value = field.read(after);
        if value != seen(field, before) {
            field.write(&mut end.key, value, field.ones());
        }
    }
    for op in program.ops.iter() {
        if let Op::SetField { .. } | Op::DecNwTtl(_) | Op::Track(_) = op {
            end.change(op);
        }
    }
    end.key
}

#[cfg(test)]
mod tests {
    use flowtable::conntrack::ct_state;

    use super::*;

    #[test]
    fn levels_become_a_tree() {
        let mut recorder = Recorder::default();
        recorder.enter(format_args!("table {}", 0));
        recorder.note(format_args!("rule"));
        recorder.enter(format_args!("group"));
        recorder.note(format_args!("output"));
        recorder.leave();
        recorder.leave();
        recorder.leave();
        let text = |tree: &Tree| tree.text.clone();
        let [table] = &recorder.done[..] else {
            panic!("{recorder:?}");
        };
        assert_eq!(table.text, "table 0");
        let children: Vec<_> = table.children.iter().map(text).collect();
        assert_eq!(children, ["rule", "group"]);
        assert_eq!(table.children[1].children[0].text, "output");
    }

    #[test]
    fn what_was_not_looked_at_is_as_it_was() {
        let mut world = super::super::testing::run(
            "
            port p1 1
            port p2 2
            flow priority=1,ip,actions=mod_nw_dst:0.0.0.0,dec_ttl,output:2
        ",
        );
        let text = "in_port=1,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tp_dst=80";
        let ports = openflow::text::Ports::default();
        let key = openflow::text::flow::parse_match(text, &ports)
            .unwrap()
            .key();
        let port = Ingress::Port(world.number("p1"));
        let traced = trace(&world.switch.publish(), port, key.into(), &[]);
        let [traced] = &traced[..] else {
            panic!("{traced:?}");
        };
        let after = FlowKey {
            ip_ttl: 63,
            in_phy_port: 1,
            ..key
        };
        let mut expected = after;
        Field::Ipv4Dst.write(&mut expected, 0, Field::Ipv4Dst.ones());
        assert_eq!(traced.final_key, expected);
    }

    #[test]
    fn what_is_tracked_goes_on_in_the_states_that_are_told() {
        let mut world = super::super::testing::run(
            "
            port p1 1
            port p2 2
            port p3 3
            flow ip,ct_state=-trk,actions=mod_nw_ttl:9,ct(table=1,zone=7)
            flow table=1,ip,actions=ct(commit,zone=7,table=2,exec(set_field:5->ct_mark))
            flow table=1,priority=40000,ip,ct_state=+est,actions=output:3
            flow table=2,ip,ct_state=+est,ct_mark=5,ct_zone=7,nw_ttl=9,actions=output:2
        ",
        );
        let text = "in_port=1,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tp_dst=80";
        let ports = openflow::text::Ports::default();
        let key = openflow::text::flow::parse_match(text, &ports)
            .unwrap()
            .key();
        let state = world.switch.publish();
        let outcome = |states: &[u32]| {
            let port = Ingress::Port(world.number("p1"));
            let traced = trace(&state, port, key.into(), states);
            let told: Vec<_> = traced.iter().map(|one| one.key.ct_state).collect();
            let last = traced.last().unwrap();
            let outputs = last.program.ops.iter();
            let outputs = outputs.filter(|op| matches!(op, Op::Output(_))).cloned();
            (told, outputs.collect::<Vec<_>>())
        };
        let (new, est) = (ct_state::NEW | ct_state::TRK, ct_state::EST | ct_state::TRK);
        assert_eq!(outcome(&[]).0, [0, new, new]);
        let out = |name: &str| vec![Op::Output(world.number(name))];
        assert_eq!(outcome(&[est]), (vec![0, est], out("p3")));
        assert_eq!(outcome(&[new, est]), (vec![0, new, est], out("p2")));
    }

    /// Text of the parts of a trace: what comes to each point.
    fn parts(script: &str, packet: &str, states: &[u32]) -> Vec<FlowKey> {
        let mut world = super::super::testing::run(script);
        let ports = openflow::text::Ports::default();
        let matching = openflow::text::flow::parse_match(packet, &ports);
        let key = matching.unwrap().key();
        let state = world.switch.publish();
        let port = Ingress::Port(world.number("p1"));
        let traced = trace(&state, port, key.into(), states);
        traced.iter().map(|part| part.key).collect()
    }

    #[test]
    fn a_new_connection_is_translated_to_the_first_that_is_allowed() {
        let script = "
            port p1 1
            flow ip,ct_state=-trk,actions=ct(commit,table=1,nat(src=10.9.0.1-10.9.0.7:5000-6000))
            flow table=1,ip,actions=ct(commit,table=2,nat(dst=10.8.0.1))
            flow table=2,ip,actions=drop
        ";
        let packet = "in_port=1,udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,udp_src=53,udp_dst=54";
        let parts = parts(script, packet, &[]);
        let (new, trk) = (ct_state::NEW, ct_state::TRK);
        let told: Vec<_> = parts
            .iter()
            .map(|key| (key.ipv4_src, key.tp_src, key.ipv4_dst, key.ct_state))
            .collect();
        let (first, second) = (0x0a09_0001, 0x0a08_0001);
        assert_eq!(
            told,
            [
                (0x0a00_0001, 53, 0x0a00_0002, 0),
                (first, 5000, 0x0a00_0002, new | trk | ct_state::SNAT),
                (first, 5000, second, new | trk | ct_state::DNAT),
            ]
        );
        assert_eq!((parts[1].ct_src, parts[1].ct_tp_src), (0x0a00_0001, 53));
        let reply = ct_state::EST | trk | ct_state::RPL;
        let kept = self::parts(script, packet, &[reply]);
        assert_eq!((kept[1].ipv4_src, kept[1].ct_state), (0x0a00_0001, reply));
    }

    #[test]
    fn what_mpls_covered_comes_to_light_again() {
        let script = "
            port p1 1
            flow ip,actions=push_mpls:0x8847,set_field:9->mpls_label,resubmit(,1)
            flow table=1,mpls,mpls_label=9,actions=pop_mpls:0x0800,resubmit(,2)
            flow table=2,tcp,tp_dst=80,actions=dec_ttl,ct(table=3)
            flow table=3,ip,actions=drop
        ";
        let packet = "in_port=1,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=9,tp_dst=80";
        let parts = parts(script, packet, &[]);
        assert_eq!(parts.len(), 3, "{parts:?}");
        let told = |key: &FlowKey| (key.eth_type, key.mpls, key.ipv4_dst, key.tp_dst);
        assert_eq!(told(&parts[1]), (0x0800, 0, 0x0a00_0002, 80));
        assert_eq!((parts[1].ip_ttl, parts[2].ip_ttl), (9, 8));
    }
}
