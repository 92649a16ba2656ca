//! Conjunctions of two to four dimensions at random, which overlap each other and ordinary flows,
//! and frames that meet them. Who wins writes its number into the destination.

use std::fmt::Write;

use tests::frame::tcp;
use tests::naive::random::Random;
use tests::naive::wire::fix_checksums;

/// Flows of several conjunctions and of others.
pub fn flows(random: &mut Random) -> String {
    let mut text = String::from("priority=0,actions=load:0xffff->NXM_OF_ETH_DST[0..15],output:2\n");
    for id in 1..=6 {
        // Within one priority the choice between two that are fulfilled is nobody's promise.
        let priority = 10 * id;
        let dimensions = 2 + random.below(3);
        for dimension in 1..=dimensions {
            for value in values(random) {
                let matching = matching(dimension, value);
                let _ = writeln!(
                    text,
                    "priority={priority},tcp,{matching},\
                     actions=conjunction({id},{dimension}/{dimensions})"
                );
            }
        }
        let _ = writeln!(
            text,
            "priority={priority},tcp,conj_id={id},\
             actions=load:{id}->NXM_OF_ETH_DST[0..15],output:2"
        );
    }
    for number in 0..7 {
        let priority = 10 * number + 5;
        let [one, other] = [random.below(8), random.below(8)];
        let _ = writeln!(
            text,
            "priority={priority},tcp,{},{},\
             actions=load:{}->NXM_OF_ETH_DST[0..15],output:2",
            matching(1, one),
            matching(3, other),
            100 + number
        );
    }
    text
}

/// Some of the eight values that a field takes, each once.
fn values(random: &mut Random) -> Vec<usize> {
    let chosen: Vec<usize> = (0..8).filter(|_| random.one_in(2)).collect();
    if chosen.is_empty() { vec![0] } else { chosen }
}

/// What a dimension matches. Each has a field of its own; even values of addresses are prefixes.
fn matching(dimension: usize, value: usize) -> String {
    let prefix = if value.is_multiple_of(2) { 31 } else { 32 };
    match dimension {
        1 => format!("nw_src=10.0.0.{value}/{prefix}"),
        2 => format!("nw_dst=10.0.1.{value}/{prefix}"),
        3 => format!("tp_dst={}", 80 + value),
        _ => format!("tp_src={}", 1000 + value),
    }
}

/// Frames whose every field takes one of eight values.
pub fn frames(random: &mut Random, count: usize) -> Vec<Vec<u8>> {
    let frame = |_| {
        let [src, dst] = [random.below(8) as u8, random.below(8) as u8];
        let (source, destination) = (1000 + random.below(8), 80 + random.below(8));
        let segment = tcp(source as u16, destination as u16, 16, &[], b"");
        let packet = segment.ipv4(6, [10, 0, 0, src], [10, 0, 1, dst]);
        let mut bytes = packet.typed(0x0800).addresses([2; 6], [2; 6]).0;
        fix_checksums(&mut bytes);
        bytes
    };
    (0..count).map(frame).collect()
}
