//! Flow, group and meter syntax judged by the messages that stock `ovs-ofctl` makes of it: it
//! talks to an end of ours that only listens, and what it sends must be what we read in the text.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use openflow::connection::{Config, Connection, Side};
use openflow::text::{flow, group, meter};
use openflow::{
    BandStats, BucketStats, FlowModCommand, GroupDesc, GroupModCommand, GroupStats, Message,
    MeterConfig, MeterModCommand, MeterStats, MultipartReply, Xid, v13,
};
use tempfile::TempDir;
use tests::run;

/// A switch that agrees to everything and tells what it was sent.
struct Listener {
    _folder: TempDir,
    socket: PathBuf,
    messages: Receiver<Message>,
}

impl Listener {
    fn start() -> Listener {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("switch");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (told, messages) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(stream, &mut |message| told.send(message).is_ok());
            }
        });
        Listener {
            _folder: folder,
            socket,
            messages,
        }
    }

    /// The change that stock makes of its arguments.
    fn change(&self, command: &str, arguments: &[&str]) -> Message {
        let target = format!("unix:{}", self.socket.display());
        let prefix = [
            "ovs-ofctl",
            "-O",
            "OpenFlow13",
            "--no-names",
            command,
            &target,
        ];
        let output = run(&[&prefix, arguments].concat());
        let messages: Vec<Message> = self.messages.try_iter().collect();
        assert_eq!(messages.len(), 1, "{arguments:?}: {output:?}");
        messages.into_iter().next().expect("one message")
    }
}

fn serve(mut stream: UnixStream, told: &mut dyn FnMut(Message) -> bool) {
    let mut connection = Connection::new(Config::new(Side::Switch), 0);
    let mut buffer = [0; 4096];
    loop {
        while let Some((xid, message)) = connection.next_message() {
            let change = matches!(
                message,
                Message::FlowMod(_) | Message::GroupMod(_) | Message::MeterMod(_)
            );
            if matches!(message, Message::BarrierRequest) {
                connection
                    .send(xid, &Message::BarrierReply)
                    .expect("an open connection");
            } else if change && !told(message) {
                return;
            }
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

const ADDED_FLOWS: &[&str] = &[
    "priority=10,in_port=1,actions=output:2",
    "table=3,cookie=0x5,idle_timeout=3,hard_timeout=9,send_flow_rem,check_overlap,reset_counts,\
     no_packet_counts,no_byte_counts,actions=meter:3,clear_actions,\
     write_actions(output:1,group:4),write_metadata:0x5/0xff,goto_table:4",
    "in_port=LOCAL,actions=LOCAL,IN_PORT,NORMAL,FLOOD,ALL,CONTROLLER,CONTROLLER:7",
    "dl_vlan=5,dl_vlan_pcp=3,dl_src=1:2:3:4:5:6/ff:ff:ff:00:00:00,actions=pop_vlan,mod_vlan_vid:7",
    "dl_vlan=0xffff,ip,actions=mod_vlan_vid:4,mod_vlan_pcp:3",
    "vlan_vid=0x1000/0x1000,actions=strip_vlan",
    "vlan_tci=0x3000/0xf000,actions=drop",
    "vlan_pcp=3,actions=drop",
    "tcp,nw_src=10.0.0.0/8,nw_tos=32,nw_ecn=1,tp_src=80/0xfff0,tp_dst=010,actions=dec_ttl",
    "tcp,tcp_flags=+syn-ack,nw_ttl=64,actions=mod_nw_ttl:5,mod_tp_dst:6,mod_nw_tos:16",
    "ip,ip_frag=no,actions=drop",
    "ip,ip_frag=yes,actions=drop",
    "ip,ip_frag=first,actions=drop",
    "ip,ip_frag=later,actions=drop",
    "ip,ip_frag=not_later,actions=drop",
    "ip,nw_proto=89,nw_src=1.2.3.4/255.0.255.0,actions=mod_nw_src:4.3.2.1,mod_nw_ecn:2",
    "ipv6,ipv6_src=fe80::/10,ipv6_label=5/0xff,actions=set_field:::1->ipv6_dst",
    "icmp6,icmpv6_type=135,nd_target=fe80::1/64,nd_sll=1:2:3:4:5:6,actions=NORMAL",
    "icmp6,icmp_type=136,icmp_code=0,nd_tll=1:2:3:4:5:6,actions=drop",
    "icmp,icmp_type=8,icmp_code=0,actions=set_field:0->icmp_type",
    "udp6,tp_dst=53,actions=mod_tp_src:54",
    "sctp,tp_src=1,actions=mod_tp_dst:54",
    "arp,arp_op=2,arp_spa=1.2.3.0/24,nw_dst=1.2.3.4,arp_sha=1:2:3:4:5:6,actions=drop",
    "rarp,arp_tha=1:2:3:4:5:6,actions=drop",
    "mpls,mpls_label=5,mpls_tc=3,mpls_bos=1,actions=set_mpls_ttl:5,dec_mpls_ttl,set_mpls_label:9",
    "mpls,mpls_ttl=9,actions=pop_mpls:0x0800,dec_ttl",
    "actions=push_vlan:0x88a8,set_field:0x1005->vlan_vid,push_mpls:0x8847,set_field:5->mpls_tc",
    "tun_id=0x5/0xff,metadata=7,actions=set_tunnel:9,set_queue:4,1",
    "dl_type=0x88cc,actions=controller(max_len=12)",
];

const MODIFIED_FLOWS: &[&str] = &[
    "tcp,actions=output:1",
    "table=4,cookie=5/0xff,actions=drop",
    "cookie=7,priority=9,in_port=3,actions=output:1",
    "cookie=-1/-1,send_flow_rem,idle_timeout=4,actions=goto_table:5",
];

const DELETED_FLOWS: &[&str] = &[
    "",
    "tcp,tp_dst=80",
    "table=4",
    "table=0,out_port=3,out_group=7",
    "cookie=0x105/0xff,out_port=LOCAL",
    "cookie=5/-1",
];

const GROUPS: &[&str] = &[
    "group_id=1,type=select,bucket=weight:5,watch_port:1,actions=output:1,bucket=weight:0,output:2,\
     bucket=actions=output:3",
    "group_id=2,type=all,bucket=output:1,bucket=output:2,set_field:1:2:3:4:5:6->eth_dst",
    "group_id=3,type=indirect,bucket=actions=drop",
    "group_id=4,type=ff,bucket=watch_port:1,output:1,bucket=watch_group:2,output:2,\
     bucket=watch_port=2,watch_group=2,actions=push_vlan:0x8100,set_field:4101->vlan_vid,output:2",
    "group_id=0xffffff00,type=fast_failover,bucket=watch_port:1,mod_vlan_vid:5,output:1",
    "group_id=6,type=all",
    "group_id=10,type=select,bucket=weight:2,watch_port:1,actions=ct(commit,zone=1,table=2,\
     nat(dst=10.0.0.1)),bucket=ct(commit,zone=1,table=2,nat(dst=10.0.0.2:80)),mod_nw_ttl:9",
    "group_id=14 type=all bucket=output:1,output:2,actions=output:3",
    "group_id=8,type=select,bucket=bucket_id:5,output:1,bucket=bucket_id:7,weight:3,group:2",
    "group_id=9,type=all,bucket=strip_vlan,mod_nw_src:1.2.3.4,mod_nw_tos:16,set_queue:4,LOCAL",
];

const METERS: &[&str] = &[
    "meter=1,kbps,burst,stats,bands=type=drop,rate=100,burst_size=10",
    "meter=2,pktps,band=type=drop,rate=100",
    "meter=3 kbps stats band=type=drop rate=100 type=dscp_remark,rate=5,prec_level=1",
    "meter=0xffff0000,kbps,burst,bands=type=drop,rate=5,burst_size=1,type=drop,rate=6,burst_size=7",
    "meter=controller,kbps,bands=type=drop rate=5",
    "meter=slowpath,kbps,bands=type=drop rate=5",
];

#[test]
fn flows_become_the_messages_that_stock_makes() {
    let listener = Listener::start();
    let check = |command: &str, options: &[&str], texts: &[&str], meant: FlowModCommand| {
        for text in texts {
            let stock = listener.change(command, &[options, &[*text]].concat());
            let ours = flow::parse(text, meant).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(stock, Message::FlowMod(Box::new(ours)), "{command} {text}");
        }
    };
    use FlowModCommand::{Add, Delete, DeleteStrict, Modify, ModifyStrict};
    check("add-flow", &[], ADDED_FLOWS, Add);
    check("mod-flows", &[], MODIFIED_FLOWS, Modify);
    check("mod-flows", &["--strict"], MODIFIED_FLOWS, ModifyStrict);
    check("del-flows", &[], DELETED_FLOWS, Delete);
    check("del-flows", &["--strict"], DELETED_FLOWS, DeleteStrict);
    check(
        "del-flows",
        &["--strict"],
        &["priority=7,in_port=1"],
        DeleteStrict,
    );
}

#[test]
fn groups_become_the_messages_that_stock_makes() {
    let listener = Listener::start();
    let check = |command: &str, text: &str, meant: GroupModCommand| {
        let stock = listener.change(command, &[text]);
        let ours = group::parse(text, meant).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(stock, Message::GroupMod(ours), "{command} {text}");
    };
    for text in GROUPS {
        check("add-group", text, GroupModCommand::Add);
        check("mod-group", text, GroupModCommand::Modify);
    }
    check("del-groups", "group_id=5", GroupModCommand::Delete);
    check("del-groups", "group_id=all", GroupModCommand::Delete);
    check("del-groups", "", GroupModCommand::Delete);
}

#[test]
fn meters_become_the_messages_that_stock_makes() {
    let listener = Listener::start();
    let check = |command: &str, text: &str, meant: MeterModCommand| {
        let stock = listener.change(command, &[text]);
        let ours = meter::parse(text, meant).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(stock, Message::MeterMod(ours), "{command} {text}");
    };
    for text in METERS {
        check("add-meter", text, MeterModCommand::Add);
        check("mod-meter", text, MeterModCommand::Modify);
    }
    check("del-meter", "meter=5", MeterModCommand::Delete);
    check("del-meters", "meter=all", MeterModCommand::Delete);
}

/// What stock prints of a message, without the line that says what it is.
fn printed(message: &Message) -> String {
    let mut bytes = Vec::new();
    v13::encode(Xid(1), message, &mut bytes).expect("a message that fits");
    let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = run(&["ovs-ofctl", "ofp-print", &hexadecimal]).expect_success();
    let (_, rest) = text.split_once('\n').expect("more than one line");
    rest.to_string()
}

fn reply(reply: MultipartReply) -> Message {
    Message::MultipartReply { more: false, reply }
}

#[test]
fn dumps_of_flows_are_printed_as_stock_prints_them() {
    let durations = [(0, 0), (3, 0), (4, 5_000_000), (5, 6_000), (7, 8)];
    for (text, (seconds, nanoseconds)) in ADDED_FLOWS.iter().zip(durations.iter().cycle()) {
        let flow = flow::parse(text, FlowModCommand::Add).unwrap_or_else(|e| panic!("{e}"));
        let stats = openflow::FlowStats {
            table: flow.table,
            duration: std::time::Duration::new(*seconds, *nanoseconds),
            priority: flow.priority,
            idle_timeout_s: flow.idle_timeout_s,
            hard_timeout_s: flow.hard_timeout_s,
            flags: flow.flags,
            cookie: flow.cookie,
            packets: 1 << 40,
            bytes: u64::MAX,
            matching: flow.matching,
            instructions: flow.instructions,
        };
        let mut ours = String::from(" ");
        flow::write_stats(&mut ours, &stats, true, &Default::default());
        let stock = printed(&reply(MultipartReply::Flow(vec![stats])));
        assert_eq!(ours, stock.trim_end_matches('\n'), "{text}");
    }
}

#[test]
fn dumps_of_groups_are_printed_as_stock_prints_them() {
    for text in GROUPS {
        let group = group::parse(text, GroupModCommand::Add).unwrap_or_else(|e| panic!("{e}"));
        let group = GroupDesc {
            group: group.group,
            kind: group.kind,
            buckets: group.buckets,
        };
        let mut ours = String::from(" ");
        group::write_description(&mut ours, &group, &Default::default());
        let stock = printed(&reply(MultipartReply::GroupDesc(vec![group])));
        assert_eq!(ours, stock.trim_end_matches('\n'), "{text}");
    }
    let stats = GroupStats {
        group: openflow::GroupId(7),
        references: 3,
        packets: 5,
        bytes: 500,
        duration: std::time::Duration::from_millis(1_234),
        buckets: vec![
            BucketStats {
                packets: 1,
                bytes: 2,
            },
            BucketStats {
                packets: 3,
                bytes: 4,
            },
        ],
    };
    let mut ours = String::from(" ");
    group::write_stats(&mut ours, &stats);
    let stock = printed(&reply(MultipartReply::Group(vec![stats])));
    assert_eq!(ours, stock.trim_end_matches('\n'));
}

/// Stock breaks the line after `bands=` and after each band; ours is one line.
fn on_one_line(stock: &str) -> String {
    let words: Vec<&str> = stock.split_whitespace().collect();
    words
        .join(" ")
        .replace("bands= ", "bands=")
        .replace("bands: ", "bands:")
}

#[test]
fn dumps_of_meters_are_printed_in_the_words_of_stock() {
    for text in METERS {
        let meter = meter::parse(text, MeterModCommand::Add).unwrap_or_else(|e| panic!("{e}"));
        let meter = MeterConfig {
            meter: meter.meter,
            flags: meter.flags,
            bands: meter.bands,
        };
        let mut ours = String::new();
        meter::write_configuration(&mut ours, &meter);
        let stock = printed(&reply(MultipartReply::MeterConfig(vec![meter])));
        assert_eq!(ours, on_one_line(&stock), "{text}");
    }
    let stats = MeterStats {
        meter: openflow::MeterId(9),
        flows: 1,
        packets: 2,
        bytes: 3,
        duration: std::time::Duration::from_millis(4_005),
        bands: vec![
            BandStats {
                packets: 5,
                bytes: 6,
            },
            BandStats {
                packets: 7,
                bytes: 8,
            },
        ],
    };
    let mut ours = String::new();
    meter::write_stats(&mut ours, &stats);
    let stock = printed(&reply(MultipartReply::Meter(vec![stats])));
    assert_eq!(ours, on_one_line(&stock));
}
