//! Random TCP segments against a naive model: numbers that never wrap, and netfilter's table of
//! states as its documentation prints it.

use flowtable::conntrack::{Phase, Segment, ct_state};
use proptest::prelude::*;

use super::bench::{Bench, EST, INV, NEW, ZONE, tcp, tuple};

/// States by letter, in the order of the columns below.
const STATES: &str = "NSREFWLTC2";
const PHASES: [Phase; 10] = [
    Phase::None,
    Phase::SynSent,
    Phase::SynRecv,
    Phase::Established,
    Phase::FinWait,
    Phase::CloseWait,
    Phase::LastAck,
    Phase::TimeWait,
    Phase::Close,
    Phase::SynSent2,
];
/// What SYN, SYN ACK, FIN, ACK and RST do in each state: the next, `.` nothing, `!` invalid, `*`
/// opens anew. First those of the original direction.
const TABLE: [[&str; 5]; 2] = [
    [
        "SS.....**2",
        "!!.......R",
        "!!FFLLLTC!",
        "E!EEWWTTC!",
        "!CCCCCCCCC",
    ],
    [
        "!2!!!!!**2",
        "!R.......R",
        "!!FFLLLTC!",
        "!.REWWTTC.",
        "!CCCCCCCCC",
    ],
];
/// The flags of these kinds.
const FLAGS: [u8; 5] = [2, 18, 17, 16, 4];
/// Added to the numbers of each side, so that they wrap.
const FIRST: [i64; 2] = [0xffff_fff0, 0x7fff_ff00];

#[derive(Clone, Copy, Default)]
struct Side {
    is_known: bool,
    end: i64,
    limit: i64,
    window: i64,
    scale: Option<u8>,
    shift: u8,
    is_liberal: bool,
    acked: Option<i64>,
}

/// A segment with numbers relative to the first of each side.
#[derive(Clone, Copy, Debug)]
struct Sent {
    by: usize,
    kind: usize,
    seq: i64,
    ack: i64,
    len: i64,
    window: i64,
    scale: Option<u8>,
}

impl Sent {
    fn end(&self) -> i64 {
        self.seq + self.len + i64::from(self.kind < 3)
    }

    fn has_ack(&self) -> bool {
        matches!(self.kind, 1..=3)
    }

    fn real(&self) -> Segment {
        let ack = (FIRST[1 - self.by] + self.ack) as u32;
        let ack = if self.has_ack() { ack } else { 0 };
        Segment {
            seq: (FIRST[self.by] + self.seq) as u32,
            ack,
            sack: ack,
            len: self.len as u32,
            window: self.window as u16,
            flags: FLAGS[self.kind],
            scale: self.scale,
            sack_permitted: false,
        }
    }
}

#[derive(Clone, Copy)]
struct Model {
    state: char,
    sides: [Side; 2],
    noted: Option<(Sent, bool)>,
    replied: bool,
    assured: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Valid,
    Ignored,
    Invalid,
    New,
}

impl Model {
    fn next(&self, sent: &Sent) -> char {
        let column = STATES.find(self.state).expect("a state");
        let row = TABLE[sent.by][sent.kind];
        row.chars().nth(column).expect("a column")
    }

    fn open(sent: &Sent) -> Option<Model> {
        let mut model = Model {
            state: 'N',
            sides: [Side::default(); 2],
            noted: None,
            replied: false,
            assured: false,
        };
        model.state = Some(model.next(sent)).filter(|next| next.is_alphabetic())?;
        let is_picked_up = model.state == 'E';
        model.sides[0] = Side {
            is_known: true,
            end: sent.end(),
            limit: sent.end() + if is_picked_up { sent.window.max(1) } else { 0 },
            window: sent.window.max(1),
            scale: sent.scale.filter(|_| !is_picked_up),
            shift: sent.scale.filter(|_| !is_picked_up).unwrap_or(0),
            is_liberal: is_picked_up,
            acked: Some(sent.ack).filter(|_| is_picked_up),
        };
        if is_picked_up {
            model.sides[1].is_liberal = true;
            model.sides[1].end = sent.ack;
            model.sides[1].limit = sent.ack;
        }
        Some(model)
    }

    fn hear(&mut self, sent: &Sent) -> Said {
        match self.next(sent) {
            '*' => Said::New,
            '!' => Said::Invalid,
            '.' => self.ignore(sent),
            next => self.go(next, sent),
        }
    }

    fn ignore(&mut self, sent: &Sent) -> Said {
        if let (1, Some((noted, true))) = (sent.kind, self.noted)
            && noted.by != sent.by
            && same(noted.end(), sent.ack, noted.by)
        {
            let mut side = Side {
                is_known: true,
                end: noted.end(),
                limit: noted.end(),
                window: noted.window.max(1),
                scale: noted.scale,
                shift: noted.scale.unwrap_or(0),
                ..Side::default()
            };
            side.acked = None;
            self.sides = [Side::default(); 2];
            self.sides[noted.by] = side;
            self.noted = None;
            self.state = 'S';
            return self.go('R', sent);
        }
        self.noted = Some((*sent, sent.kind == 0));
        Said::Ignored
    }

    fn go(&mut self, mut next: char, sent: &Sent) -> Said {
        let (by, other) = (sent.by, 1 - sent.by);
        if sent.kind == 4 {
            // A RST has no acknowledgment here, so it answers nothing that was noted.
            match self.sides[other].acked {
                Some(acked) if sent.seq < acked => return Said::Invalid,
                Some(acked) if self.state == 'E' => {
                    let is_exact = sent.seq == acked || sent.seq == self.sides[by].end;
                    next = if is_exact { 'C' } else { 'E' };
                }
                _ => next = 'C',
            }
        }
        let before = self.sides;
        let verdict = self.fit(sent);
        if verdict == Said::Invalid && !self.sides[by].is_liberal || verdict == Said::Ignored {
            self.sides = before;
            return verdict;
        }
        self.state = next;
        self.replied |= by == 1;
        self.assured |= next == 'E' && self.replied;
        Said::Valid
    }

    fn fit(&mut self, sent: &Sent) -> Said {
        let (by, other) = (sent.by, 1 - sent.by);
        let (is_syn, end) = (sent.kind < 2, sent.end());
        if !self.sides[by].is_known {
            let liberal = self.sides[by].is_liberal;
            if is_syn {
                self.sides[by] = begun(sent);
                if self.sides[by].scale.is_none() || self.sides[other].scale.is_none() {
                    self.sides[0].shift = 0;
                    self.sides[1].shift = 0;
                }
                if sent.kind == 0 {
                    return Said::Valid;
                }
            } else {
                let window = (sent.window << self.sides[by].shift).max(1);
                self.sides[by].is_known = true;
                self.sides[by].end = end;
                self.sides[by].window = window;
                self.sides[by].limit = end + window;
                self.sides[by].is_liberal = liberal;
                if !self.sides[other].is_known {
                    self.sides[other].end = sent.ack;
                    self.sides[other].limit = sent.ack;
                }
            }
        } else {
            let opens = (self.state, by) == ('S', 0) || (self.state, by) == ('R', 1);
            if opens && end > self.sides[by].end {
                let acked = self.sides[by].acked;
                self.sides[by] = begun(sent);
                self.sides[by].acked = acked;
            }
        }
        let ack = match sent.has_ack() {
            true => sent.ack,
            false => self.sides[other].end,
        };
        let (mut seq, mut end) = (sent.seq, end);
        if seq == end && sent.kind != 4 {
            (seq, end) = (self.sides[by].end, self.sides[by].end);
        }
        let (own, its) = (self.sides[by], self.sides[other]);
        if seq > own.limit || its.is_known && ack > its.end {
            return Said::Invalid;
        }
        let is_old = end < own.end - its.window || ack < its.end - own.window.max(66_000);
        if its.is_known && is_old {
            return Said::Ignored;
        }
        let shift = if is_syn { 0 } else { own.shift };
        let window = sent.window << shift;
        self.sides[by].window = own.window.max(window);
        if its.is_known && end > own.limit {
            self.sides[other].window += end - own.limit;
        }
        self.sides[by].end = own.end.max(end);
        if sent.has_ack() {
            let highest = own.acked.unwrap_or(i64::MIN).max(ack);
            self.sides[by].acked = Some(highest);
        }
        if ack + window >= its.limit {
            self.sides[other].limit = ack + window + i64::from(window == 0);
        }
        Said::Valid
    }
}

fn begun(sent: &Sent) -> Side {
    Side {
        is_known: true,
        end: sent.end(),
        limit: sent.end(),
        window: sent.window.max(1),
        scale: sent.scale,
        shift: sent.scale.unwrap_or(0),
        ..Side::default()
    }
}

/// Whether numbers of a side are one on the wire.
fn same(one: i64, other: i64, of: usize) -> bool {
    (FIRST[of] + one) as u32 == (FIRST[of] + other) as u32
}

/// A segment as a random choice of where it lies among what is known.
#[derive(Clone, Copy, Debug)]
struct Choice {
    by: usize,
    kind: usize,
    seq_from: u8,
    ack_from: u8,
    shift: i64,
    len: i64,
    window: i64,
    scale: Option<u8>,
}

impl Choice {
    fn segment(&self, model: Option<&Model>) -> Sent {
        let side = |of: usize| model.map_or(Side::default(), |model| model.sides[of]);
        let (own, its) = (side(self.by), side(1 - self.by));
        let seq = match self.seq_from {
            0..=5 => own.end,
            6 => own.end - self.len,
            7 => own.limit,
            8 => its.acked.unwrap_or(0),
            9 => own.end + self.shift,
            _ => own.end - its.window - self.len,
        };
        let noted = model.and_then(|model| model.noted).map(|(noted, _)| noted);
        let ack = match self.ack_from {
            0..=5 => its.end,
            6 => noted.map_or(0, |noted| noted.end()),
            7 => its.end + self.shift,
            8 => its.end - 66_000 - self.shift,
            _ => own.acked.unwrap_or(0),
        };
        Sent {
            by: self.by,
            kind: self.kind,
            seq,
            ack,
            len: if matches!(self.kind, 2 | 3) {
                self.len
            } else {
                0
            },
            window: self.window,
            scale: self.scale.filter(|_| self.kind < 2),
        }
    }
}

fn choice() -> impl Strategy<Value = Choice> {
    let kinds =
        prop_oneof![2 => Just(0_usize), 2 => Just(1), 2 => Just(2), 8 => Just(3), 1 => Just(4)];
    let len = prop_oneof![Just(0_i64), 1..2000_i64];
    let window = prop_oneof![Just(0_i64), 1..65_536_i64];
    let scale = prop_oneof![Just(None), (0..15_u8).prop_map(Some)];
    let numbers = (0..11_u8, 0..10_u8, -3..4_i64);
    (0..2_usize, kinds, numbers, len, window, scale).prop_map(
        |(by, kind, (seq_from, ack_from, shift), len, window, scale)| Choice {
            by,
            kind,
            seq_from,
            ack_from,
            shift,
            len,
            window,
            scale,
        },
    )
}

/// A connection as far as it comes in order, so that what follows meets more than closed ones.
fn start() -> impl Strategy<Value = Vec<Choice>> {
    let plain = |by, kind| Choice {
        by,
        kind,
        seq_from: 0,
        ack_from: 0,
        shift: 0,
        len: 0,
        window: 9000,
        scale: Some(2),
    };
    let whole = [
        (0, 0),
        (1, 1),
        (0, 3),
        (1, 3),
        (0, 2),
        (1, 3),
        (1, 2),
        (0, 3),
    ];
    (0..=whole.len()).prop_map(move |len| {
        let steps = whole[..len].iter();
        steps.map(|(by, kind)| plain(*by, *kind)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn tells_what_the_model_tells(
        start in start(),
        rest in prop::collection::vec(choice(), 1..30),
    ) {
        let mut bench = Bench::new(64);
        let mut model: Option<Model> = None;
        for choice in start.into_iter().chain(rest) {
            let by = if model.is_some() { choice.by } else { 0 };
            let sent = Choice { by, ..choice }.segment(model.as_ref());
            let client = tuple(6, 9, 1000);
            let wire = if by == 0 { client } else { client.reversed() };
            let bits = bench.bits(tcp(wire, sent.real()));
            let said = model.as_mut().map(|model| model.hear(&sent));
            let expected = match said {
                Some(Said::New) if by == 1 => {
                    // The second side is the first from here on.
                    prop_assert_eq!(bits, NEW);
                    break;
                }
                None | Some(Said::New) => {
                    model = Model::open(&sent);
                    if model.is_some() { NEW } else { INV }
                }
                Some(Said::Invalid) => INV,
                Some(Said::Valid | Said::Ignored) => {
                    let model = model.as_ref().expect("a connection");
                    let is_new = model.state == 'S' && by == 0 && !model.replied;
                    let reply = if by == 1 { ct_state::RPL } else { 0 };
                    if is_new { NEW } else { EST | reply }
                }
            };
            prop_assert_eq!(bits, expected, "{:?}", sent);
            let connections = bench.connections();
            prop_assert_eq!(connections.len(), usize::from(model.is_some()));
            prop_assert_eq!(bench.table().count(ZONE), u32::from(model.is_some()));
            if let (Some(model), Some(connection)) = (&model, connections.first()) {
                let phase = PHASES[STATES.find(model.state).expect("a state")];
                prop_assert_eq!(connection.tcp, Some(phase), "{:?}", sent);
                prop_assert_eq!(connection.is_assured, model.assured);
            }
        }
    }
}
