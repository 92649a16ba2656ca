//! Listens to a translation: nobody on a worker, or a [`super::Path`]; a [`Recorder`] for
//! `vsctl trace`.

use std::fmt::Arguments;

use flowtable::{Field, FlowKey, FlowMask};

use super::{Context, Ingress, Points, State, translate};
use crate::action::{CountedIn, Op, Program};

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
    /// What was decided, in the order of processing.
    pub steps: Vec<Tree>,
    /// What the packet looks like in the end.
    pub final_key: FlowKey,
    /// The bits of the key that the decision looked at.
    pub mask: FlowMask,
    /// The decision.
    pub program: Program,
}

/// Says what would become of a packet. Nothing is sent, learned or counted.
pub fn trace(state: &State, ingress: Ingress, key: &FlowKey) -> Traced {
    let mask = match &ingress {
        Ingress::Port(port) => state.entry_mask(*port),
        Ingress::Tunnel(port) => state.tunnel_mask(*port),
        Ingress::Point(_) | Ingress::Resume { .. } => None,
        Ingress::PacketOut { bridge, .. } => state.bridge(*bridge).map(|bridge| &bridge.entry_mask),
    };
    let mask = mask.map(|mask| **mask).unwrap_or_default();
    let mut recorder = Recorder {
        end: *key,
        ..Recorder::default()
    };
    let mut points = Points::new();
    let mut context = Context {
        state,
        points: &mut points,
    };
    let program = translate(&mut context, ingress, key, &mut recorder);
    Traced {
        steps: recorder.done,
        final_key: whole(key, &mask, &recorder.end, &program),
        mask,
        program,
    }
}

/// What the packet looks like in the end. The translator has seen no bits outside the mask: those
/// are as they were, unless they were written.
fn whole(before: &FlowKey, mask: &FlowMask, after: &FlowKey, program: &Program) -> FlowKey {
    let seen = |field: &Field, key: &FlowKey| field.read(key) & field.read(&mask.0);
    let mut end = *before;
    for field in Field::ALL {
        let value = field.read(after);
        if value != seen(field, before) {
            field.write(&mut end, value, field.ones());
        }
    }
    for op in program.ops.iter() {
        match *op {
            Op::SetField { field, value, mask } => field.write(&mut end, value, mask),
            Op::DecNwTtl(_) => end.ip_ttl = end.ip_ttl.saturating_sub(1),
            _ => {}
        }
    }
    end
}

#[cfg(test)]
mod tests {
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
        let traced = trace(&world.switch.publish(), port, &key);
        let after = FlowKey {
            ip_ttl: 63,
            in_phy_port: 1,
            ..key
        };
        let mut expected = after;
        Field::Ipv4Dst.write(&mut expected, 0, Field::Ipv4Dst.ones());
        assert_eq!(traced.final_key, expected);
    }
}
