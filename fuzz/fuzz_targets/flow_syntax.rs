//! Arbitrary text through the readers of flows, groups and meters: they must not panic, and what
//! they make of it must be printed so that it reads as the same again. The first byte chooses the
//! reader.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openflow::text::{Ports, flow, group, meter};
use openflow::{FlowModCommand, GroupModCommand, MeterModCommand, OfPort};

const FLOWS: [FlowModCommand; 5] = [
    FlowModCommand::Add,
    FlowModCommand::Modify,
    FlowModCommand::ModifyStrict,
    FlowModCommand::Delete,
    FlowModCommand::DeleteStrict,
];
const GROUPS: [GroupModCommand; 3] = [
    GroupModCommand::Add,
    GroupModCommand::Modify,
    GroupModCommand::Delete,
];
const METERS: [MeterModCommand; 3] = [
    MeterModCommand::Add,
    MeterModCommand::Modify,
    MeterModCommand::Delete,
];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let mut ports = Ports::default();
    ports.insert("vm1", OfPort(1));
    ports.insert("tcp", OfPort(2));
    ports.insert("a,b(", OfPort(3));
    match choice.wrapping_sub(b'a') {
        kind @ 0..5 => flow_of(text, FLOWS[usize::from(kind)], &ports),
        kind @ 5..8 => group_of(text, GROUPS[usize::from(kind - 5)]),
        kind @ 8..11 => meter_of(text, METERS[usize::from(kind - 8)]),
        11 => match_of(text, &ports),
        _ => line_of(text, &ports),
    }
});

fn flow_of(text: &str, command: FlowModCommand, ports: &Ports) {
    let Ok(read) = flow::parse_with(text, command, ports) else {
        return;
    };
    let printed = flow::format(&read);
    assert_eq!(flow::parse(&printed, command), Ok(read), "{printed}");
}

fn group_of(text: &str, command: GroupModCommand) {
    let Ok(read) = group::parse(text, command) else {
        return;
    };
    let printed = group::format(&read);
    assert_eq!(group::parse(&printed, command), Ok(read), "{printed}");
}

fn meter_of(text: &str, command: MeterModCommand) {
    let Ok(read) = meter::parse(text, command) else {
        return;
    };
    let printed = meter::format(&read);
    assert_eq!(meter::parse(&printed, command), Ok(read), "{printed}");
}

fn match_of(text: &str, ports: &Ports) {
    let Ok(read) = flow::parse_match(text, ports) else {
        return;
    };
    let printed = flow::format_match(&read, &Ports::default());
    assert_eq!(flow::parse_match(&printed, ports), Ok(read), "{printed}");
}

fn line_of(text: &str, ports: &Ports) {
    for line in text.lines() {
        let _ = flow::parse_line(line, FlowModCommand::Add, ports);
        let _ = group::parse_line(line, GroupModCommand::Add, ports);
        let _ = meter::parse_line(line, MeterModCommand::Add);
    }
}
