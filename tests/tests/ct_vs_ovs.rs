//! Connection tracking, translation and conjunctions, packet by packet, beside Open vSwitch's own.
//!
//! Both get the same flows from stock `ovs-ofctl` and the same frames in the same order. Flows
//! write what tracking told into the frames themselves: state, zone, mark, label, original tuple.
//!
//! Open vSwitch's kernel datapath tracks by netfilter, its userspace datapath, which is the judge
//! here, by rules that come from pf. Where these two differ ours does as netfilter:
//!
//! - A FIN or RST opens no connection: it is invalid. Userspace Open vSwitch calls it new.
//! - The original tuple is that of the connection for related ICMP errors, too. Userspace Open
//!   vSwitch tells none, nor the ports of it for SCTP and later fragments.
//! - Where all ports of an address are taken those of the next are tried. Open vSwitch gives up.
//! - What cannot be translated is dropped. Userspace Open vSwitch lets it pass as it is.
//! - Windows, challenged SYNs, resets and reopened connections are judged by netfilter's automaton,
//!   for which its own tests have a model: once an end breaks the rules of TCP, what the two say of
//!   the rest of that dialogue may differ, and is only counted.

#[path = "ct_vs_ovs/conjunctions.rs"]
mod conjunctions;
#[path = "ct_vs_ovs/courses.rs"]
mod courses;
#[path = "ct_vs_ovs/dialogue.rs"]
mod dialogue;
#[path = "ct_vs_ovs/exchanges.rs"]
mod exchanges;
#[path = "ct_vs_ovs/translations.rs"]
mod translations;

use std::collections::BTreeMap;

use dialogue::{Dialogue, Step, Way};
use tests::naive::random::Random;
use tests::twins::{Record, Seen, through_both, through_both_by_two_bridges};

const FLOWS: &str = concat!(
    include_str!("ct_vs_ovs/flows.txt"),
    include_str!("ct_vs_ovs/written.txt")
);
/// The end of these flows, which writes what was told.
const WRITTEN: &str = include_str!("ct_vs_ovs/written.txt");
/// Commits what is new, and lets all go on to the other bridge.
const COMMITTED: &str = "\
ip,actions=ct(table=1,zone=1)
ipv6,actions=ct(table=1,zone=1)
table=1,priority=2,ct_state=+new-rel+trk,ip,actions=ct(commit,zone=1),output:10
table=1,priority=2,ct_state=+new-rel+trk,ipv6,actions=ct(commit,zone=1),output:10
table=1,priority=1,actions=output:10";
const NEW: u8 = 0x01;
const REL: u8 = 0x04;
const INV: u8 = 0x10;
const TRK: u8 = 0x20;

/// Dialogues that follow each other, the way of each chosen at random from these.
fn dialogues(
    seed: u64,
    course: fn(&mut Dialogue, &mut Random),
    count: usize,
    ways: &[Way],
) -> Vec<Step> {
    let mut random = Random(seed);
    let mut steps = Vec::new();
    for number in 1..=count {
        let way = random.pick(ways);
        let mut dialogue = Dialogue::new(number, way, &mut random);
        course(&mut dialogue, &mut random);
        steps.append(&mut dialogue.steps);
    }
    steps
}

/// What both switches made of each step.
fn judged(steps: &[Step]) -> [Record; 2] {
    let frames: Vec<_> = steps.iter().map(|step| step.frame.clone()).collect();
    through_both(FLOWS, &frames, 3)
}

/// The bits of ct_state that the flows wrote.
#[track_caller]
fn state(seen: &[Seen]) -> u8 {
    let told = seen.iter().find(|seen| seen.port == 2);
    told.expect("no frame is lost").frame[5]
}

/// Why the two may differ in this, if they may.
fn justified(step: &Step, ours: &[Seen], theirs: &[Seen]) -> Option<&'static str> {
    let (our_state, their_state) = (state(ours), state(theirs));
    let ends = step.what.starts_with("FIN") || step.what == "RST";
    if ends && our_state == TRK | INV && their_state & (TRK | NEW | INV) == TRK | NEW {
        return Some("a FIN or RST opens no connection");
    }
    let beyond_destination = |seen: &Seen| (seen.port, seen.frame[6..].to_vec());
    let same = ours.len() == theirs.len()
        && ours
            .iter()
            .map(beyond_destination)
            .eq(theirs.iter().map(beyond_destination));
    if our_state == their_state && our_state & REL > 0 && same && ours[0] == theirs[0] {
        return Some("the original tuple of related errors");
    }
    None
}

/// How often both said the same, by the state that they told, and why they did not else, which has
/// to be justified.
#[track_caller]
fn compared(
    steps: &[Step],
    ours: &Record,
    theirs: &Record,
) -> (BTreeMap<u8, usize>, BTreeMap<&'static str, usize>) {
    let (mut states, mut reasons) = (BTreeMap::new(), BTreeMap::new());
    let mut parted = 0;
    for (step, (ours, theirs)) in steps.iter().zip(ours.iter().zip(theirs)) {
        if parted == step.dialogue {
            continue;
        }
        if ours == theirs {
            *states.entry(state(ours)).or_default() += 1;
            continue;
        }
        let Some(reason) = justified(step, ours, theirs) else {
            panic!("{step:02x?}\nours: {ours:02x?}\ntheirs: {theirs:02x?}");
        };
        *reasons.entry(reason).or_default() += 1;
        // One of the two has a connection that the other has not.
        if state(ours) != state(theirs) {
            parted = step.dialogue;
        }
    }
    (states, reasons)
}

#[test]
fn orderly_dialogues_are_judged_alike() {
    let steps = dialogues(1, courses::orderly, 700, &Way::ALL);
    let [ours, theirs] = judged(&steps);
    let (states, reasons) = compared(&steps, &ours, &theirs);
    let same: usize = states.values().sum();
    println!(
        "{same} of {} alike, {states:02x?}, {reasons:?}",
        steps.len()
    );
    assert!(same > 5000, "{same}");
    assert_eq!(reasons.len(), 2, "each difference is there: {reasons:?}");
    // New, established in both directions, translated source and destination.
    for bits in [0x21, 0x22, 0x2a, 0x61, 0x62, 0xaa, 0x6a, 0xa2] {
        assert!(states.contains_key(&bits), "{bits:#x}: {states:02x?}");
    }
}

#[test]
fn unruly_dialogues_are_judged_alike_until_an_end_breaks_the_rules() {
    let steps = dialogues(2, courses::unruly, 700, &Way::ALL);
    let [ours, theirs] = judged(&steps);
    let (mut same, mut apart) = (0, 0);
    let (mut harmed, mut broken, mut parted) = (0, 0, 0);
    for (step, (ours, theirs)) in steps.iter().zip(ours.iter().zip(&theirs)) {
        assert_eq!(ours.len(), 3, "{step:02x?}");
        if step.what == "wrong checksum" {
            harmed += 1;
            // Where ct_clear follows, only what is in the reply direction is cleared.
            assert!(
                state(ours) & INV > 0 && state(theirs) & INV > 0,
                "{step:02x?}"
            );
        }
        broken = if courses::is_orderly(step.what) {
            broken
        } else {
            step.dialogue
        };
        if parted == step.dialogue {
            continue;
        }
        if ours == theirs {
            same += 1;
            continue;
        }
        apart += 1;
        parted = step.dialogue;
        let may_differ = broken == step.dialogue || justified(step, ours, theirs).is_some();
        assert!(
            may_differ,
            "{step:02x?}\nours: {ours:02x?}\ntheirs: {theirs:02x?}"
        );
    }
    println!(
        "{same} of {} alike, {apart} of 700 dialogues part",
        steps.len()
    );
    assert!(same > steps.len() / 2 && harmed > 300, "{same} {harmed}");
}

#[test]
fn conjunctions_choose_the_same_flow() {
    let mut random = Random(3);
    let mut winners = BTreeMap::<Vec<u8>, usize>::new();
    for round in 0..3 {
        let flows = conjunctions::flows(&mut random);
        let frames = conjunctions::frames(&mut random, 1000);
        let [ours, theirs] = through_both(&flows, &frames, 1);
        for ((frame, ours), theirs) in frames.iter().zip(&ours).zip(&theirs) {
            assert_eq!(ours, theirs, "round {round}: {frame:02x?}\n{flows}");
            *winners.entry(ours[0].frame[..6].to_vec()).or_default() += 1;
        }
    }
    assert!(winners.len() > 10, "{winners:?}");
}

/// A packet that goes on to another bridge is untracked there: its flows are told nothing, but the
/// same zone knows its connections as before, and another one does not.
#[test]
fn what_is_told_on_one_bridge_is_not_on_the_next() {
    let steps = dialogues(4, courses::orderly, 300, &[Way::Plain]);
    let frames: Vec<_> = steps.iter().map(|step| step.frame.clone()).collect();
    let mut counts = BTreeMap::<(&str, u8), usize>::new();
    for (what, beyond) in [
        (
            "nothing",
            "ip,actions=resubmit(,90)\nipv6,actions=resubmit(,90)",
        ),
        (
            "same zone",
            "ip,actions=ct(table=90,zone=1)\nipv6,actions=ct(table=90,zone=1)",
        ),
        (
            "another zone",
            "ip,actions=ct(table=90,zone=2)\nipv6,actions=ct(table=90,zone=2)",
        ),
    ] {
        let beyond = format!("{beyond}\n{WRITTEN}");
        let [ours, theirs] = through_both_by_two_bridges([COMMITTED, &beyond], &frames, 3);
        let (states, _) = compared(&steps, &ours, &theirs);
        let same: usize = states.values().sum();
        counts.extend(
            states
                .into_iter()
                .map(|(told, count)| ((what, told), count)),
        );
        assert!(same > steps.len() / 2, "{what}: {same} of {}", steps.len());
    }
    println!("{counts:02x?}");
    for told in [
        ("nothing", 0),
        ("same zone", 0x21),
        ("same zone", 0x2a),
        ("another zone", 0x21),
    ] {
        assert!(counts.contains_key(&told), "{told:02x?}");
    }
}
