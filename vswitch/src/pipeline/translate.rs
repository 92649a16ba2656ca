//! Translation of OpenFlow into a datapath program: what happens to one packet. Called by a
//! worker on a miss of its cache, and by `vsctl trace`.
//!
//! What: the packet's way through tables, groups and bridges (OpenFlow 1.3.5 §5), as operations
//! with every decision taken. It is a function of the key's bits under the entry's mask, and of
//! nothing else: the key is cut down to those bits before anything looks at it. So whatever the
//! cache answers is what translation would have answered.
//!
//! How: one copy of the packet is a [`Strand`]: its working key, and a stack of what is still to
//! be done with it. [`Machine::run`] takes steps off the stack until it is empty; from table to
//! table it goes on at once. A bucket, a patch port or output to a table makes a copy, a strand of
//! its own that runs to its end before the first goes on; its operations are an [`Op::Clone`]. An
//! action changes the working key as it changes the packet, so that later tables match the changed
//! packet.
//!
//! Where an action uncovers headers that nobody has parsed, the key no longer tells; the next
//! step that reads it stops the strand instead. All that is to be done is then put on the stack, so
//! to freeze it is to keep the strand: it becomes a recirculation point ([`Points`]), and the
//! strand goes on from there when the worker has parsed the packet again.
//!
//! Why no recursion through tables: what is left to do would sit in the host's call stack, where
//! it can be neither kept nor counted. Why not everything by way of the stack: a miss would spend
//! a third of its time with putting steps there and taking them off again.

use std::ops::ControlFlow::Break;
use std::sync::Arc;

use flowtable::{FlowKey, Match, Scopes};
use openflow::{Action, OfPort};

use super::{Points, State, Trace, limits};
use crate::action::{BridgeId, Counted, CountedIn, DropReason, Heard, Op, PortNo, Program};

mod actions;
pub(super) mod choice;
mod conjunction;
mod groups;
pub(super) mod headers;
pub(super) mod learn;
mod nicira;
mod normal;
mod output;
mod strand;
mod tables;
#[cfg(test)]
mod tests;
mod track;
mod tunnel;
mod way;

pub use strand::Frozen;

use strand::{List, Step, Strand};

/// What a translation works with.
#[derive(Debug)]
pub struct Context<'a> {
    /// The published state.
    pub state: &'a State,
    /// The worker's recirculation points.
    pub points: &'a mut Points,
}

/// Where a packet enters the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// It has just come in by a port.
    Port(PortNo),
    /// It was taken out of a tunnel whose port this is, and carries what the tunnel told.
    Tunnel(PortNo),
    /// It goes on at a recirculation point, and carries what it was told on its way there.
    Point(u32),
    /// A controller sends it.
    PacketOut {
        /// By way of this bridge.
        bridge: BridgeId,
        /// As if it had come in by this port; [`OfPort::CONTROLLER`] or [`OfPort::ANY`] if none.
        in_port: OfPort,
        /// With these actions.
        actions: Arc<[Action]>,
    },
    /// A controller lets it go on.
    Resume {
        /// From here.
        frozen: Arc<Frozen>,
        /// With this metadata.
        metadata: Box<Match>,
    },
}

/// Decides what happens to a packet.
///
/// Of `key` only the header part is read (what the parser wrote), and what the packet carries if it
/// comes out of a tunnel or to a point ([`flowtable::Carried`]); of these only the bits of the
/// entry's mask: [`State::entry_mask`], [`State::tunnel_mask`] or [`Points::entry_mask`].
pub fn translate<'a>(
    context: &'a mut Context<'_>,
    ingress: Ingress,
    key: &FlowKey,
    trace: &mut impl Trace<'a>,
) -> Program {
    let mut machine = Machine::new(context, trace);
    machine.enter(&ingress, key);
    machine.finish()
}

/// Tells a trace that wants no program what happens to a packet; the reason if it goes nowhere.
#[inline]
pub(super) fn walk<'a>(
    context: &'a mut Context<'_>,
    ingress: &Ingress,
    key: &FlowKey,
    trace: &mut impl Trace<'a>,
) -> DropReason {
    let mut machine = Machine::new(context, trace);
    machine.enter(ingress, key);
    machine.drop_reason()
}

/// One translation under way.
struct Machine<'a, 't, T> {
    state: &'a State,
    points: &'a mut Points,
    trace: &'t mut T,
    /// Operations of the innermost copy.
    ops: Vec<Op>,
    counters: Vec<Counted>,
    heard: Vec<Arc<Heard>>,
    /// What was asked; none once it was more than rules and addresses.
    scopes: Option<Scopes>,
    /// The first reason not to send a copy somewhere.
    drop: Option<DropReason>,
    /// Copies within copies at the moment.
    depth: u32,
    /// Table lookups so far.
    lookups: u32,
    /// Actions and buckets so far.
    steps: u32,
    /// Operations so far, over all copies.
    emitted: usize,
    /// A limit is exceeded: nothing more is done, and the packet goes nowhere.
    exceeded: bool,
}

impl<'a, 't, T: Trace<'a>> Machine<'a, 't, T> {
    fn new(context: &'a mut Context<'_>, trace: &'t mut T) -> Machine<'a, 't, T> {
        Machine {
            state: context.state,
            points: context.points,
            trace,
            ops: Vec::new(),
            counters: Vec::new(),
            heard: Vec::new(),
            scopes: Some(Scopes::default()),
            drop: None,
            depth: 0,
            lookups: 0,
            steps: 0,
            emitted: 0,
            exceeded: false,
        }
    }

    #[inline]
    fn enter(&mut self, ingress: &Ingress, key: &FlowKey) {
        match ingress {
            Ingress::Port(port) => self.enter_port(*port, key, false),
            Ingress::Tunnel(port) => self.enter_port(*port, key, true),
            Ingress::Point(point) => self.enter_point(*point, key),
            Ingress::PacketOut {
                bridge,
                in_port,
                actions,
            } => self.enter_packet_out(*bridge, *in_port, actions, key),
            Ingress::Resume { frozen, metadata } => self.enter_resumed(frozen, metadata, key),
        }
    }

    fn enter_port(&mut self, number: PortNo, key: &FlowKey, carries: bool) {
        let port = self.state.port(number);
        let bridge = port.and_then(|port| self.state.bridge(port.bridge));
        let (Some(port), Some(bridge)) = (port, bridge) else {
            return self.refuse(DropReason::PortDown);
        };
        if self.receives(port) {
            let mut strand = Strand::new(bridge, Some(port));
            strand::write_headers(&mut strand.key, key, &bridge.entry_mask);
            if carries {
                self.scopes = None;
                self.count(&strand, CountedIn::Shared(&port.crossed.rx));
                strand.take_carried(key, &bridge.tunnel_mask);
            }
            strand.arrive(port);
            self.run_first(&mut strand);
        }
    }

    fn enter_point(&mut self, point: u32, key: &FlowKey) {
        let (frozen, mask) = (self.points.frozen(point), self.points.entry_mask(point));
        let (Some(frozen), Some(mask)) = (frozen, mask) else {
            return self.refuse(DropReason::TooDeep);
        };
        self.scopes = None;
        let frozen = frozen.clone();
        match Strand::thaw(&frozen, self.state) {
            Some(mut strand) => {
                strand::write_headers(&mut strand.key, key, mask);
                strand.take_carried(key, mask);
                self.run_first(&mut strand);
            }
            None => self.refuse(DropReason::PortDown),
        }
    }

    fn enter_packet_out(
        &mut self,
        bridge: BridgeId,
        in_port: OfPort,
        actions: &Arc<[Action]>,
        key: &FlowKey,
    ) {
        let Some(bridge) = self.state.bridge(bridge) else {
            return self.refuse(DropReason::PortDown);
        };
        let port = bridge.port(in_port).map(|port| &**port);
        let mut strand = Strand::new(bridge, port);
        strand.is_handed = true;
        strand.key = strand::headers_of(key);
        strand.key.in_port = in_port.0;
        strand.key.in_phy_port = in_port.0;
        let actions = List::Made(Arc::clone(actions));
        strand.todo.push(Step::Actions(actions, 0));
        self.run_first(&mut strand);
    }

    fn enter_resumed(&mut self, frozen: &Frozen, metadata: &Match, key: &FlowKey) {
        match Strand::thaw(frozen, self.state) {
            Some(mut strand) => {
                strand.resume(metadata, key);
                self.run_first(&mut strand);
            }
            None => self.refuse(DropReason::PortDown),
        }
    }

    /// Runs the packet itself.
    fn run_first(&mut self, strand: &mut Strand<'a>) {
        self.run(strand);
        self.trace.end(&strand.key);
    }

    /// Does what is to be done with one copy of the packet.
    fn run(&mut self, strand: &mut Strand<'a>) {
        while let Some(step) = strand.todo.pop()
            && !self.exceeded
        {
            match step {
                Step::Table(table) => self.pass(strand, table),
                Step::TableByConnection(table) => self.pass_by_connection(strand, table),
                Step::Actions(list, at) => {
                    if let Break(pause) = self.act(strand, &list, at) {
                        self.pause(strand, list, pause);
                    }
                }
                Step::ClearActions => strand.set.clear(),
                Step::WriteActions(list) => strand.set.write(&list),
                Step::Metadata { value, mask } => strand.write_metadata(value, mask),
                Step::ActionSet => self.run_action_set(strand),
                Step::Return(place) => strand.go_back(place),
            }
        }
        self.close_level(strand);
    }

    /// Notes that the program depends on something, except for rules of lower priority there.
    fn ask(&mut self, scope: u32, priority: u16) {
        if let Some(scopes) = &mut self.scopes {
            scopes.add(scope, priority);
        }
    }

    /// Keeps what is to be done for when the packet has been parsed again. Points are of one state
    /// only, and so are programs that lead to them or come from them.
    fn freeze(&mut self, strand: &mut Strand<'a>, step: Step<'a>) {
        self.scopes = None;
        self.trace.choose(way::PARSE_AGAIN);
        if !T::WANTS_PROGRAM {
            self.trace.complicate();
            return strand.todo.clear();
        }
        strand.todo.push(step);
        let frozen = strand.freeze();
        strand.todo.clear();
        if strand.recirculations == limits::RECIRCULATIONS_MAX {
            return self.exceed();
        }
        match self.points.intern(frozen, strand.point_mask()) {
            Some(point) => {
                self.trace
                    .note(format_args!("recirculate, point {point:#x}"));
                self.emit(Op::Recirculate(point));
            }
            None => self.exceed(),
        }
    }

    /// Runs a copy of the packet, leaving `strand` as it is.
    fn run_copy(&mut self, mut copy: Strand<'a>) {
        let body = self.collect(|machine| machine.run(&mut copy));
        self.splice(body);
    }

    /// The operations that `work` emits, taken out of the program.
    fn collect(&mut self, work: impl FnOnce(&mut Self)) -> Vec<Op> {
        if self.depth == limits::DEPTH_MAX {
            self.exceed();
            return Vec::new();
        }
        self.depth += 1;
        self.trace.complicate();
        let outer = std::mem::take(&mut self.ops);
        work(self);
        self.depth -= 1;
        flatten_tail(std::mem::replace(&mut self.ops, outer))
    }

    /// Puts the operations of a copy into the program, as a copy only if it must be one.
    fn splice(&mut self, body: Vec<Op>) {
        if body.iter().all(Op::keeps_packet) {
            self.ops.extend(body);
        } else {
            self.emit(Op::Clone(body.into()));
        }
    }

    /// Takes a step, if one is left.
    fn step(&mut self) -> bool {
        self.steps += 1;
        if self.steps > limits::STEPS_MAX {
            self.exceed();
        }
        !self.exceeded
    }

    fn emit(&mut self, op: Op) {
        match T::WANTS_PROGRAM {
            true => self.write(op),
            false => self.trace.write(op),
        }
    }

    /// The same, for operations that are some work to make.
    fn emit_with(&mut self, op: impl FnOnce() -> Op) {
        match T::WANTS_PROGRAM {
            true => self.write(op()),
            false => self.trace.complicate(),
        }
    }

    fn write(&mut self, op: Op) {
        self.emitted += match &op {
            Op::Outputs(ports) => ports.len(),
            _ => 1,
        };
        if self.emitted > limits::OPS_MAX {
            return self.exceed();
        }
        self.ops.push(op);
    }

    /// Counts the packet: with the program if it gets here whenever the program runs.
    fn count(&mut self, strand: &Strand<'_>, counted: CountedIn<'a>) {
        match (T::WANTS_PROGRAM, strand.certain) {
            (false, _) => self.trace.count(counted),
            (true, true) => self.counters.push(counted.kept()),
            (true, false) => self.emit(Op::Count(counted.kept())),
        }
    }

    /// Notes why a copy goes nowhere.
    fn refuse(&mut self, reason: DropReason) {
        self.trace.note(format_args!("drop: {}", reason.label()));
        self.drop.get_or_insert(reason);
    }

    fn exceed(&mut self) {
        if !self.exceeded {
            self.trace.complicate();
            self.trace
                .note(format_args!("drop: {}", DropReason::TooDeep.label()));
        }
        self.exceeded = true;
    }

    /// Why the packet goes nowhere, if it does.
    fn drop_reason(&self) -> DropReason {
        match self.exceeded {
            true => DropReason::TooDeep,
            false => self.drop.unwrap_or(DropReason::NoOutput),
        }
    }

    fn finish(self) -> Program {
        let reason = self.drop_reason();
        let ops = match self.exceeded {
            true => Vec::new(),
            false => flatten_tail(self.ops),
        };
        let drop = (!ops.iter().any(Op::sends)).then_some(reason);
        let program = Program {
            ops: ops.into(),
            counters: self.counters.into(),
            heard: self.heard.into(),
            drop,
            scopes: self.scopes,
            ..Program::default()
        };
        match T::WANTS_PROGRAM {
            true => program.sealed(),
            false => program,
        }
    }
}

/// A copy that nothing comes after need not be one.
fn flatten_tail(mut ops: Vec<Op>) -> Vec<Op> {
    while let Some(Op::Clone(body)) = ops.pop_if(|op| matches!(op, Op::Clone(_))) {
        ops.extend(body);
    }
    ops
}
