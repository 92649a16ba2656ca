//! `vsctl flow`, `group` and `meter` against a switch that is not one: a list of flows behind
//! our own end of an OpenFlow connection.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use openflow::connection::{Config, Connection, Side};
use openflow::{
    ErrorCode, FlowMod, FlowModCommand, FlowStats, GroupDesc, GroupMod, Message, MeterConfig,
    MeterMod, MultipartReply, MultipartRequest, NiciraMessage, OfPort, PortDesc, TlvTableReply,
    Xid,
};
use serde_json::Value;
use tempfile::TempDir;

/// What the switch was told.
#[derive(Default)]
struct Told {
    flows: Vec<FlowMod>,
    groups: Vec<GroupMod>,
    meters: Vec<MeterMod>,
}

struct Fake {
    folder: TempDir,
    told: Arc<Mutex<Told>>,
}

impl Fake {
    fn start() -> Fake {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = UnixListener::bind(folder.path().join("br0.mgmt")).expect("a socket");
        let told = Arc::new(Mutex::new(Told::default()));
        let shared = Arc::clone(&told);
        thread::spawn(move || {
            for stream in socket.incoming().map_while(Result::ok) {
                serve(stream, &shared);
            }
        });
        Fake { folder, told }
    }

    fn run(&self, words: &[&str]) -> (u8, String, String) {
        run(self.folder.path(), words)
    }

    /// Takes what the switch was told since the last time.
    fn told(&self) -> Told {
        std::mem::take(&mut *self.told.lock().expect("no panic elsewhere"))
    }
}

fn run(run_dir: &Path, words: &[&str]) -> (u8, String, String) {
    let run_dir = run_dir.to_str().expect("text");
    let prefix = ["vsctl", "--run-dir", run_dir];
    let words = prefix.iter().chain(words);
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = cli::run(words.map(Into::into), false, &mut out, &mut errors);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (code, text(out), text(errors))
}

fn serve(mut stream: UnixStream, told: &Mutex<Told>) {
    let mut connection = Connection::new(Config::new(Side::Switch), 0);
    let mut buffer = [0; 4096];
    loop {
        while let Some((xid, message)) = connection.next_message() {
            answer(
                &mut connection,
                xid,
                message,
                &mut told.lock().expect("no panic"),
            );
        }
        let pending = connection.outgoing().len();
        if stream.write_all(connection.outgoing()).is_err() {
            return;
        }
        connection.sent(pending);
        match stream.read(&mut buffer) {
            Ok(len @ 1..) if connection.receive(&buffer[..len], 0).is_ok() => {}
            _ => return,
        }
    }
}

fn answer(connection: &mut Connection, xid: Xid, message: Message, told: &mut Told) {
    let reply = match message {
        Message::BarrierRequest => Message::BarrierReply,
        Message::Nicira(NiciraMessage::TlvTableRequest) => {
            Message::Nicira(NiciraMessage::TlvTableReply(TlvTableReply::default()))
        }
        Message::FlowMod(flow) if flow.priority == REFUSED => {
            return connection.refuse(xid, ErrorCode::FLOW_MOD_FAILED_TABLE_FULL);
        }
        Message::FlowMod(flow) => return told.flows.push(*flow),
        Message::GroupMod(group) => return told.groups.push(group),
        Message::MeterMod(meter) => return told.meters.push(meter),
        Message::MultipartRequest { request, .. } => {
            let reply = match request {
                MultipartRequest::PortDesc => MultipartReply::PortDesc(ports()),
                MultipartRequest::Flow(request) => {
                    told.flows.push(FlowMod {
                        matching: request.matching,
                        table: request.table,
                        cookie: request.cookie,
                        cookie_mask: request.cookie_mask,
                        out_port: request.out_port,
                        out_group: request.out_group,
                        ..parse("", FlowModCommand::Delete)
                    });
                    MultipartReply::Flow((0..FLOWS).map(stats).collect())
                }
                MultipartRequest::GroupDesc => MultipartReply::GroupDesc(vec![group()]),
                MultipartRequest::MeterConfig(_) => MultipartReply::MeterConfig(vec![meter()]),
                _ => return connection.refuse(xid, ErrorCode::BAD_REQUEST_BAD_MULTIPART),
            };
            Message::MultipartReply { more: false, reply }
        }
        _ => return,
    };
    connection
        .send(xid, &reply)
        .expect("the connection is open");
}

fn ports() -> Vec<PortDesc> {
    ["vm1", "vm2"]
        .iter()
        .zip(1..)
        .map(|(name, number)| port(name, number))
        .collect()
}

fn port(name: &str, number: u32) -> PortDesc {
    PortDesc {
        number: OfPort(number),
        mac: [0; 6],
        name: name.into(),
        config: Default::default(),
        state: Default::default(),
        current: Default::default(),
        advertised: Default::default(),
        supported: Default::default(),
        peer: Default::default(),
        speed_kbps: 0,
        speed_kbps_max: 0,
    }
}

/// Enough that the reply comes in several messages.
const FLOWS: u16 = 2_000;
/// Flows of this priority do not fit the table.
const REFUSED: u16 = 666;

fn parse(text: &str, command: FlowModCommand) -> FlowMod {
    openflow::text::flow::parse(text, command).expect("a flow")
}

fn stats(priority: u16) -> FlowStats {
    let flow = parse(
        "cookie=0x5,tcp,in_port=1,idle_timeout=9,actions=2",
        FlowModCommand::Add,
    );
    FlowStats {
        table: flow.table,
        duration: Duration::from_millis(1_500),
        priority,
        idle_timeout_s: flow.idle_timeout_s,
        hard_timeout_s: 0,
        flags: flow.flags,
        cookie: flow.cookie,
        packets: 7,
        bytes: 420,
        matching: flow.matching,
        instructions: flow.instructions,
    }
}

fn group() -> GroupDesc {
    let text = "group_id=1,type=ff,bucket=watch_port:1,actions=output:1";
    let command = openflow::GroupModCommand::Add;
    let group = openflow::text::group::parse(text, command).expect("a group");
    GroupDesc {
        group: group.group,
        kind: group.kind,
        buckets: group.buckets,
    }
}

fn meter() -> MeterConfig {
    let text = "meter=1,pktps,burst,stats,bands=type=drop,rate=5,burst_size=6";
    let command = openflow::MeterModCommand::Add;
    let meter = openflow::text::meter::parse(text, command).expect("a meter");
    MeterConfig {
        meter: meter.meter,
        flags: meter.flags,
        bands: meter.bands,
    }
}

#[test]
fn flows_are_sent_as_they_were_typed() {
    let fake = Fake::start();
    let flows = [
        "priority=5,in_port=vm1,actions=output:vm2",
        "priority=6,tcp,actions=drop",
    ];
    let (code, out, errors) = fake.run(&["flow", "add", "br0", flows[0], flows[1]]);
    assert_eq!((code, out.as_str(), errors.as_str()), (0, "", ""));
    let wanted = [
        parse("priority=5,in_port=1,actions=output:2", FlowModCommand::Add),
        parse(flows[1], FlowModCommand::Add),
    ];
    assert_eq!(fake.told().flows, wanted);

    let commands: &[(&[&str], FlowModCommand)] = &[
        (
            &["flow", "mod", "br0", "tcp,actions=drop"],
            FlowModCommand::Modify,
        ),
        (
            &["flow", "mod", "--strict", "br0", "tcp,actions=drop"],
            FlowModCommand::ModifyStrict,
        ),
        (&["flow", "del", "br0", "tcp"], FlowModCommand::Delete),
        (
            &["flow", "del", "--strict", "br0", "tcp"],
            FlowModCommand::DeleteStrict,
        ),
    ];
    for (words, command) in commands {
        assert_eq!(fake.run(words).0, 0, "{words:?}");
        let text = words.last().expect("a flow");
        assert_eq!(fake.told().flows, [parse(text, *command)], "{words:?}");
    }
    assert_eq!(fake.run(&["flow", "del", "br0"]).0, 0);
    assert_eq!(
        fake.told().flows,
        [parse("", FlowModCommand::Delete)],
        "all of them"
    );
}

#[test]
fn a_file_of_flows_is_sent_in_order() {
    let fake = Fake::start();
    let file = fake.folder.path().join("flows");
    let mut text = String::from("# a comment\n\n");
    for priority in 0..5_000 {
        if priority != REFUSED {
            text.push_str(&format!(
                "priority={priority},in_port=vm1,actions=2 # more\n"
            ));
        }
    }
    text.push_str("delete tcp\n");
    std::fs::write(&file, &text).expect("a file");
    let words = [
        "--json",
        "flow",
        "add",
        "br0",
        "-f",
        file.to_str().expect("text"),
    ];
    let (code, out, errors) = fake.run(&words);
    assert_eq!((code, errors.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(document["sent"], 5_000);
    let told = fake.told().flows;
    assert_eq!(told.len(), 5_000);
    assert!(told[..4_999].is_sorted_by_key(|flow| flow.priority));
    assert_eq!(told[4_999], parse("tcp", FlowModCommand::Delete));
}

#[test]
fn refused_flows_are_told_by_line_and_do_not_stop_the_others() {
    let fake = Fake::start();
    let file = fake.folder.path().join("flows");
    let refused = format!("priority={REFUSED},actions=1\n").repeat(600);
    std::fs::write(
        &file,
        format!("priority=1,actions=1\n{refused}priority=2,actions=1\n"),
    )
    .expect("a file");
    let name = file.to_str().expect("text");
    let (code, _, errors) = fake.run(&["flow", "add", "br0", "-f", name]);
    assert_eq!(code, 1);
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 22, "{errors}");
    assert!(
        lines[0].contains(":2: the switch refused: the table is full"),
        "{errors}"
    );
    assert!(lines[20].ends_with("and 580 more refused"), "{errors}");
    assert!(lines[21].contains("600 of 602 refused"), "{errors}");
    assert_eq!(fake.told().flows.len(), 2);
}

#[test]
fn a_line_that_makes_no_sense_ends_the_file() {
    let fake = Fake::start();
    let file = fake.folder.path().join("flows");
    std::fs::write(
        &file,
        "priority=1,actions=1\ntcp_dts=80,tcp,actions=1\nactions=1\n",
    )
    .expect("a file");
    let name = file.to_str().expect("text");
    let (code, _, errors) = fake.run(&["flow", "add", "br0", "-f", name]);
    assert_eq!(code, 2);
    assert!(
        errors.contains(&format!("{name}:2: tcp_dts=80: ")),
        "{errors}"
    );
    assert!(errors.contains("did you mean tcp_dst?"), "{errors}");
    assert!(
        errors.contains("flows in force from the lines before it: 1"),
        "{errors}"
    );
    assert_eq!(fake.told().flows.len(), 1);

    std::fs::write(&file, [b'p', 0xff, b'\n']).expect("a file");
    let (code, _, errors) = fake.run(&["flow", "add", "br0", "-f", name]);
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains(":1: "), "{errors}");
}

#[test]
fn words_are_sent_all_or_none() {
    let fake = Fake::start();
    let (code, _, errors) = fake.run(&["flow", "add", "br0", "actions=1", "actions=nonsense"]);
    assert_eq!(code, 2);
    assert!(
        errors.starts_with("vsctl: flow 2: nonsense: unknown action"),
        "{errors}"
    );
    assert_eq!(fake.told().flows, []);
    assert_eq!(fake.run(&["flow", "add", "br0"]).0, 2);
    assert_eq!(fake.run(&["flow", "add", "br0", "x", "-f", "y"]).0, 2);
    assert_eq!(
        fake.run(&["flow", "add", "br0", "-f", "/nonexistent/file"])
            .0,
        2
    );
}

#[test]
fn a_dump_is_what_ovs_ofctl_would_print() {
    let fake = Fake::start();
    let (code, out, errors) = fake.run(&["flow", "dump", "br0", "tcp,cookie=5/-1,out_port=vm2"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), usize::from(FLOWS));
    let wanted = " cookie=0x5, duration=1.500s, table=0, n_packets=7, n_bytes=420, \
                  idle_timeout=9, priority=1,tcp,in_port=1 actions=output:2";
    assert_eq!(lines[1], wanted);
    let filter = parse("tcp,cookie=5/-1,out_port=2", FlowModCommand::Delete);
    assert_eq!(fake.told().flows, [filter]);

    let (_, out, _) = fake.run(&["flow", "dump", "br0", "--names", "--no-stats"]);
    let wanted = " cookie=0x5, idle_timeout=9, priority=1,tcp,in_port=vm1 actions=output:vm2";
    assert_eq!(out.lines().nth(1), Some(wanted));

    let (_, out, _) = fake.run(&["--json", "flow", "dump", "br0"]);
    let document: Value = serde_json::from_str(&out).expect("one document");
    let flow = &document["flows"][1];
    assert_eq!(
        document["flows"].as_array().map(Vec::len),
        Some(usize::from(FLOWS))
    );
    assert_eq!(flow["match"], "tcp,in_port=1");
    assert_eq!(flow["actions"], "output:2");
    assert_eq!(flow["cookie"], "0x5");
    assert_eq!(flow["duration_s"], 1.5);
}

#[test]
fn groups_and_meters_go_both_ways() {
    let fake = Fake::start();
    let group = "group_id=1,type=all,bucket=actions=output:1";
    assert_eq!(fake.run(&["group", "add", "br0", group]).0, 0);
    assert_eq!(fake.run(&["group", "mod", "br0", group]).0, 0);
    assert_eq!(fake.run(&["group", "del", "br0", "group_id=1"]).0, 0);
    let commands: Vec<_> = fake
        .told()
        .groups
        .iter()
        .map(|group| group.command)
        .collect();
    use openflow::GroupModCommand::{Add, Delete, Modify};
    assert_eq!(commands, [Add, Modify, Delete]);
    let (_, out, _) = fake.run(&["group", "dump", "br0", "--names"]);
    assert_eq!(
        out,
        " group_id=1,type=ff,bucket=watch_port:vm1,actions=output:vm1\n"
    );
    let (_, out, _) = fake.run(&["--json", "group", "dump", "br0"]);
    let document: Value = serde_json::from_str(&out).expect("one document");
    assert_eq!(document["groups"][0]["buckets"][0]["watch_port"], 1);

    let meter = "meter=1,kbps,bands=type=drop,rate=5";
    assert_eq!(fake.run(&["meter", "add", "br0", meter]).0, 0);
    assert_eq!(fake.run(&["meter", "del", "br0"]).0, 0);
    assert_eq!(fake.told().meters.len(), 2);
    let (_, out, _) = fake.run(&["meter", "dump", "br0"]);
    assert_eq!(
        out,
        "meter=1 pktps burst stats bands=type=drop rate=5 burst_size=6\n"
    );

    let (code, _, errors) = fake.run(&["group", "dump", "br0", "--stats"]);
    assert_eq!(code, 1);
    assert!(errors.contains("BAD_REQUEST_BAD_MULTIPART"), "{errors}");
}

#[test]
fn a_bridge_that_is_not_there_is_told_with_those_that_are() {
    let fake = Fake::start();
    let (code, _, errors) = fake.run(&["flow", "dump", "br9"]);
    assert_eq!(code, 1);
    assert_eq!(errors, "vsctl: no bridge \"br9\"; there is br0\n");

    let empty = tempfile::tempdir().expect("a temporary folder");
    let (code, _, errors) = run(empty.path(), &["flow", "dump", "br0"]);
    assert_eq!(code, 3);
    assert!(errors.contains("start vswitchd"), "{errors}");
}

#[test]
fn a_peer_that_speaks_no_openflow_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = UnixListener::bind(folder.path().join("br0.mgmt")).expect("a socket");
    let server = thread::spawn(move || {
        let (mut stream, _) = socket.accept().expect("a client");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
    });
    let (code, _, errors) = run(folder.path(), &["flow", "dump", "br0"]);
    server.join().expect("the server ends");
    assert_eq!(code, 3, "{errors}");
}
