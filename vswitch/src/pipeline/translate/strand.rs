//! A strand: one copy of a packet on its way, with all that is still to be done with it.

use std::ops::Deref;
use std::sync::Arc;

use arrayvec::ArrayVec;
use flowtable::{Carried, Field, FlowKey, FlowMask, Match, TlvMapping};
use openflow::{Action, Controller, MeterId, OfPort, TableId};

use super::super::action_set::ActionSet;
use super::super::{Bridge, BridgePort, Meter, State, limits};
use crate::action::{BridgeId, PortNo, Punt, PuntReason};

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step<'a> {
    /// Look the packet up in a table.
    Table(TableId),
    /// The same as the first packet of its connection was.
    TableByConnection(TableId),
    /// Carry out a list of actions from this one on.
    Actions(List<'a>, usize),
    /// Empty the action set.
    ClearActions,
    /// Merge a list into the action set.
    WriteActions(List<'a>),
    /// Write bits of the metadata.
    Metadata {
        /// New value.
        value: u64,
        /// Bits to write.
        mask: u64,
    },
    /// Carry out the action set: the end of a pipeline.
    ActionSet,
    /// Go back to where a resubmit came from.
    Return(Place),
}

/// Where a resubmit comes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The port that the packet is taken to have come in by there.
    pub in_port: u32,
    /// The flow that it is with there.
    pub origin: Origin,
    /// The table that it is in there.
    pub table: TableId,
    /// [`Strand::flow`] there.
    pub flow: Option<(u32, u64)>,
}

/// Actions: those of a rule or bucket, or made for one packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum List<'a> {
    /// In the state.
    Held(&'a [Action]),
    /// In no other place.
    Made(Arc<[Action]>),
}

/// What is to be done, the next thing last. Without resubmits these are the instructions of one
/// flow at most, for no flow leaves any to the next: they need no memory of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Todo<'a> {
    near: ArrayVec<Step<'a>, NEAR_MAX>,
    /// What comes after all that.
    far: Vec<Step<'a>>,
}

/// Kinds of instructions but meters, which come first (OpenFlow 1.3.5 §5.9), and a return.
const NEAR_MAX: usize = 6;

impl<'a> Todo<'a> {
    /// Nothing.
    #[inline(always)]
    pub fn new() -> Todo<'a> {
        Todo {
            near: ArrayVec::new_const(),
            far: Vec::new(),
        }
    }

    /// Adds what is to be done before everything else.
    #[inline]
    pub fn push(&mut self, step: Step<'a>) {
        if self.near.is_full() {
            self.far.extend(self.near.drain(..));
        }
        self.near.push(step);
    }

    /// Takes the next thing.
    #[inline]
    pub fn pop(&mut self) -> Option<Step<'a>> {
        self.near.pop().or_else(|| self.far.pop())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.near.clear();
        self.far.clear();
    }

    /// With nothing borrowed.
    fn kept(&self) -> Todo<'static> {
        Todo {
            near: self.near.iter().map(Step::kept).collect(),
            far: self.far.iter().map(Step::kept).collect(),
        }
    }
}

/// The flow that a packet is with, as packet-in tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Its table.
    pub table: TableId,
    /// Its cookie; all ones in a bucket and in the action set, which several flows may have made.
    pub cookie: u64,
    /// Whether it is the table-miss flow.
    pub miss: bool,
}

/// One copy of a packet on its way.
#[derive(Clone, Debug)]
pub struct Strand<'a> {
    /// Where it is.
    pub bridge: &'a Bridge,
    /// The port of that bridge it came in by, if it did.
    pub port: Option<&'a BridgePort>,
    /// What the packet looks like now.
    pub key: FlowKey,
    /// Bits of what it carries that actions have written, so that all packets have them alike.
    pub written: Carried,
    /// What connection tracking found out is to be forgotten.
    pub forgets: bool,
    /// Whether the header part of `key` can be believed.
    pub known: bool,
    /// Whether it gets here whenever the program runs: nothing before may have ended it.
    pub certain: bool,
    /// What is to be done, the next thing last.
    pub todo: Todo<'a>,
    /// The action set.
    pub set: ActionSet,
    /// The flow it is with.
    pub origin: Origin,
    /// The table it is in.
    pub table: TableId,
    /// The row and the serial number of that flow's counters, unless it was parsed again since.
    pub flow: Option<(u32, u64)>,
    /// Resubmits that it has not come back from.
    pub resubmits: u32,
    /// What actions pushed.
    pub stack: Stack,
    /// How often it has been parsed again.
    pub recirculations: u32,
    /// Whether it was wrapped for a tunnel: who sent it does not know it as it is.
    pub is_wrapped: bool,
    /// A controller sent it, with actions that no flow has.
    pub is_handed: bool,
    /// Whether the trace has a level open for the table it is in.
    pub level_open: bool,
}

/// A strand with nothing borrowed and no headers: a recirculation point.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frozen {
    bridge: BridgeId,
    port: Option<PortNo>,
    /// Of what packets carry only bits that actions have written.
    metadata: FlowKey,
    written: Carried,
    forgets: bool,
    todo: Todo<'static>,
    set: ActionSet,
    origin: Origin,
    table: TableId,
    resubmits: u32,
    stack: Stack,
    recirculations: u32,
    is_wrapped: bool,
    is_handed: bool,
}

/// Values that actions keep aside (ovs-actions(7), `push` and `pop`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stack {
    values: Vec<(u128, u8)>,
    bytes: usize,
}

impl Stack {
    /// Keeps a value of so many bits; whether there is room.
    #[must_use]
    pub fn push(&mut self, value: u128, width: u8) -> bool {
        self.bytes += Stack::bytes(width);
        self.values.push((value, width));
        self.bytes <= limits::STACK_BYTES_MAX
    }

    /// The value that was kept last.
    pub fn pop(&mut self) -> Option<u128> {
        let (value, width) = self.values.pop()?;
        self.bytes -= Stack::bytes(width);
        Some(value)
    }

    /// What a value counts for, as in Open vSwitch: its bytes and its length.
    fn bytes(width: u8) -> usize {
        usize::from(width).div_ceil(8) + 1
    }
}

impl Step<'_> {
    /// With nothing borrowed.
    fn kept(&self) -> Step<'static> {
        match self {
            Step::Table(table) => Step::Table(*table),
            Step::TableByConnection(table) => Step::TableByConnection(*table),
            Step::Actions(list, at) => Step::Actions(list.kept(), *at),
            Step::ClearActions => Step::ClearActions,
            Step::WriteActions(list) => Step::WriteActions(list.kept()),
            &Step::Metadata { value, mask } => Step::Metadata { value, mask },
            Step::ActionSet => Step::ActionSet,
            // Points are for all flows that do the same.
            Step::Return(place) => Step::Return(Place {
                flow: None,
                ..*place
            }),
        }
    }
}

impl List<'_> {
    fn kept(&self) -> List<'static> {
        List::Made(match self {
            List::Held(list) => (*list).into(),
            List::Made(list) => list.clone(),
        })
    }
}

impl Deref for List<'_> {
    type Target = [Action];

    #[inline(always)]
    fn deref(&self) -> &[Action] {
        match self {
            List::Held(list) => list,
            List::Made(list) => list,
        }
    }
}

impl<'a> Strand<'a> {
    /// A packet in a bridge, with nothing to be done and nothing known of it.
    #[inline(always)]
    pub fn new(bridge: &'a Bridge, port: Option<&'a BridgePort>) -> Strand<'a> {
        Strand {
            bridge,
            port,
            key: FlowKey::default(),
            written: Carried::NONE,
            forgets: false,
            known: true,
            certain: true,
            todo: Todo::new(),
            set: ActionSet::default(),
            origin: Origin {
                table: TableId(0),
                cookie: u64::MAX,
                miss: false,
            },
            table: TableId(0),
            flow: None,
            resubmits: 0,
            stack: Stack::default(),
            recirculations: 0,
            is_wrapped: false,
            is_handed: false,
            level_open: false,
        }
    }

    /// The packet comes in by this port of the bridge.
    #[inline(always)]
    pub fn arrive(&mut self, port: &BridgePort) {
        self.key.in_port = port.of_port.0;
        self.key.in_phy_port = port.of_port.0;
        self.todo.push(match self.bridge.standalone {
            true => Step::Actions(List::Held(&NORMAL), 0),
            false => Step::Table(TableId(0)),
        });
    }

    /// A copy of the packet with something else to be done.
    pub fn copy(&self, step: Step<'a>) -> Strand<'a> {
        let mut todo = Todo::new();
        todo.push(step);
        Strand {
            todo,
            set: ActionSet::default(),
            stack: self.stack.clone(),
            level_open: false,
            ..*self
        }
    }

    /// A value of `field` that the key does not tell: it must be parsed again, if any rule asks.
    pub fn forget(&mut self, field: Field) {
        let mask = match self.recirculations {
            0 => &self.bridge.entry_mask,
            _ => self.point_mask(),
        };
        self.known &= field.read(&mask.0) == 0;
    }

    /// The bits that may matter of it at a recirculation point.
    pub fn point_mask(&self) -> &'a Arc<FlowMask> {
        match self.is_handed {
            false => &self.bridge.point_mask,
            true => &self.bridge.handed_mask,
        }
    }

    /// Writes bits of a metadata field.
    pub fn write(&mut self, field: Field, value: u128, mask: u128) {
        field.write(&mut self.key, value, mask);
        if field.is_carried() {
            let mut bits = FlowKey::default();
            field.write(&mut bits, mask, mask);
            // With a part of an option all of it is there.
            if let Some(option) = self.option(field).filter(|_| mask != 0) {
                bits.tunnel_option_units |= option.units();
                self.key.tunnel_option_units |= option.units();
            }
            self.written.unite(&bits);
        }
    }

    fn option(&self, field: Field) -> Option<&'a TlvMapping> {
        match field.is_tunnel_option() {
            true => self.bridge.tlvs.of_field(field),
            false => None,
        }
    }

    /// The packet has this option no more, whether it had it or not.
    pub fn delete(&mut self, option: Field) {
        let mapping = self.option(option);
        let mut mask = FlowMask::default();
        for field in mapping.map_or([option].as_slice(), |mapping| mapping.fields) {
            mask.unite(&field.mask());
        }
        let FlowMask(bits) = mask;
        let words = self.key.words_mut().iter_mut().zip(bits.words());
        words.for_each(|(word, gone)| *word &= !gone);
        self.written.unite(&bits);
    }

    /// Takes what a packet carries of its own from its key, only the bits of `mask`.
    pub fn take_carried(&mut self, key: &FlowKey, mask: &FlowMask) {
        let carried = Carried::of(key).within(&Carried::of(&mask.0));
        let own = carried.overlaid(&self.written, &Carried::of(&self.key));
        own.write(&mut self.key);
    }

    /// The metadata that all packets have alike that come here.
    fn metadata(&self) -> FlowKey {
        let mut metadata = metadata_of(&self.key);
        let written = Carried::of(&metadata).within(&self.written);
        written.write(&mut metadata);
        metadata
    }

    /// A controller lets the packet go on, with metadata and headers of its choice.
    pub fn resume(&mut self, metadata: &Match, headers: &FlowKey) {
        for field in Field::ALL.iter().filter(|field| field.is_metadata()) {
            if !field.is_alias() {
                field.write(&mut self.key, metadata.read(*field).0, field.ones());
            }
        }
        let words = self.key.words_mut().iter_mut().zip(headers.words());
        for (word, header) in words.skip(FlowKey::HEADER_WORD) {
            *word = *header;
        }
        if metadata.read(Field::InPhyPort).1 == 0 {
            self.key.in_phy_port = self.key.in_port;
        }
        self.written = Carried::ALL;
        self.recirculations = 0;
        self.is_handed = true;
    }

    /// What tells the controllers about the packet.
    pub fn punt(&self, reason: PuntReason, max_len: u16) -> Arc<Punt> {
        let meters = MeterId::VIRTUAL.iter();
        let meters = meters.filter_map(|meter| self.bridge.meter(*meter).cloned());
        Arc::new(self.punt_by(meters.collect(), reason, max_len))
    }

    /// The same as an action says it, with how the packet goes on if it is interrupted.
    pub fn punt_for(&self, controller: &Controller, paused: Option<Frozen>) -> Arc<Punt> {
        let reason = match controller.reason {
            0 => PuntReason::NoMatch,
            2 => PuntReason::InvalidTtl,
            _ => PuntReason::Action,
        };
        // A meter that the action names takes the place of that for all controllers.
        let own = controller.meter.and_then(|meter| self.bridge.meter(meter));
        let [slow, all] = MeterId::VIRTUAL.map(|meter| self.bridge.meter(meter));
        let meters = [slow, own.or(all)].into_iter().flatten().cloned();
        Arc::new(Punt {
            controller: controller.id,
            userdata: Arc::clone(&controller.userdata),
            paused: paused.map(Arc::new),
            ..self.punt_by(meters.collect(), reason, controller.max_len)
        })
    }

    fn punt_by(&self, meters: Box<[Arc<Meter>]>, reason: PuntReason, max_len: u16) -> Punt {
        Punt {
            bridge: self.bridge.id,
            reason,
            table: self.origin.table,
            cookie: self.origin.cookie,
            max_len,
            metadata: Box::new(self.metadata()),
            written: self.written,
            meters,
            controller: 0,
            userdata: [].into(),
            paused: None,
        }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        Place {
            in_port: self.key.in_port,
            origin: self.origin,
            table: self.table,
            flow: self.flow,
        }
    }

    /// Back from a resubmit.
    pub fn go_back(&mut self, place: Place) {
        self.key.in_port = place.in_port;
        self.origin = place.origin;
        self.table = place.table;
        self.flow = place.flow;
        self.resubmits -= 1;
    }

    /// Writes bits of the metadata.
    #[inline]
    pub fn write_metadata(&mut self, value: u64, mask: u64) {
        self.key.metadata = self.key.metadata & !mask | value & mask;
    }

    /// Whether `number` is where the packet came in.
    pub fn came_by(&self, number: OfPort) -> bool {
        self.key.in_port == number.0
    }

    /// The strand as it can be kept.
    pub fn freeze(&self) -> Frozen {
        Frozen {
            bridge: self.bridge.id,
            port: self.port.map(|port| port.number),
            metadata: self.metadata(),
            written: self.written,
            forgets: self.forgets,
            todo: self.todo.kept(),
            set: self.set.clone(),
            origin: self.origin,
            table: self.table,
            resubmits: self.resubmits,
            stack: self.stack.clone(),
            recirculations: self.recirculations + 1,
            is_wrapped: self.is_wrapped,
            is_handed: self.is_handed,
        }
    }

    /// The strand that was kept, its headers still to be known; `None` if its bridge is gone.
    pub fn thaw(frozen: &Frozen, state: &'a State) -> Option<Strand<'a>> {
        let port = frozen.port.and_then(|number| state.port(number));
        Some(Strand {
            key: frozen.metadata,
            written: frozen.written,
            forgets: frozen.forgets,
            todo: frozen.todo.clone(),
            set: frozen.set.clone(),
            origin: frozen.origin,
            table: frozen.table,
            resubmits: frozen.resubmits,
            stack: frozen.stack.clone(),
            recirculations: frozen.recirculations,
            is_wrapped: frozen.is_wrapped,
            is_handed: frozen.is_handed,
            ..Strand::new(state.bridge(frozen.bridge)?, port.map(|port| &**port))
        })
    }
}

/// The metadata part of a key.
pub fn metadata_of(key: &FlowKey) -> FlowKey {
    let mut metadata = *key;
    metadata.words_mut()[FlowKey::HEADER_WORD..].fill(0);
    metadata
}

/// The header part of a key.
pub fn headers_of(key: &FlowKey) -> FlowKey {
    let mut headers = *key;
    headers.words_mut()[..FlowKey::HEADER_WORD].fill(0);
    headers
}

/// Writes the header part of a key, only the bits of `mask` of it.
#[inline(always)]
pub fn write_headers(headers: &mut FlowKey, key: &FlowKey, mask: &FlowMask) {
    const FIRST: usize = FlowKey::HEADER_WORD;
    let words = key.words()[FIRST..].iter().zip(&mask.0.words()[FIRST..]);
    let places = headers.words_mut()[FIRST..].iter_mut().zip(words);
    for (place, (word, mask)) in places {
        *place = word & mask;
    }
}

/// What a bridge does that is left to itself.
static NORMAL: [Action; 1] = [Action::Output {
    port: OfPort::NORMAL,
    max_len: 0,
}];
