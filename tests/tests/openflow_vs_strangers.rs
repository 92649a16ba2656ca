//! Our OpenFlow 1.3 bytes before strangers: what we encode, as stock `ovs-ofctl` prints it and as
//! tshark dissects it; what stock `ovs-ofctl` says over a socket, as we decode it.
//!
//! The texts in the folder beside this file were read line by line against the samples, once.

use openflow::*;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use tests::run;

#[path = "openflow_vs_strangers/capture.rs"]
mod capture;
#[path = "../../openflow/tests/strategies/messages.rs"]
mod messages;
#[path = "openflow_vs_strangers/samples.rs"]
mod samples;
#[path = "openflow_vs_strangers/switch.rs"]
mod switch;

use switch::Switch;

/// A message as bytes.
fn encode(xid: u32, message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    v13::encode(Xid(xid), message, &mut bytes).expect("short enough");
    bytes
}

/// What `ovs-ofctl` makes of messages, which are numbered from 1.
fn printed(messages: &[Message]) -> String {
    let numbered = messages.iter().zip(1..);
    let bytes: Vec<u8> = numbered
        .flat_map(|(message, xid)| encode(xid, message))
        .collect();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("a file of ours");
    run(&[
        "ovs-ofctl",
        "ofp-parse",
        file.path().to_str().expect("text"),
    ])
    .expect_success()
}

#[track_caller]
fn assert_lines(text: &str, wanted: &str) {
    let lines = |text: &str| -> Vec<String> {
        text.trim_end()
            .lines()
            .map(|line| line.trim_end().to_string())
            .collect()
    };
    for (number, (found, wanted)) in lines(text).iter().zip(&lines(wanted)).enumerate() {
        assert_eq!(found, wanted, "line {}", number + 1);
    }
    assert_eq!(lines(text).len(), lines(wanted).len(), "{text}");
}

#[test]
fn ovs_ofctl_prints_plain_messages() {
    let wanted = include_str!("openflow_vs_strangers/plain.txt");
    assert_lines(&printed(&samples::plain()), wanted);
}

#[test]
fn ovs_ofctl_prints_changes() {
    let wanted = include_str!("openflow_vs_strangers/changes.txt");
    assert_lines(&printed(&samples::changes()), wanted);
}

#[test]
fn ovs_ofctl_prints_requests() {
    let wanted = include_str!("openflow_vs_strangers/requests.txt");
    assert_lines(&printed(&samples::requests()), wanted);
}

#[test]
fn ovs_ofctl_prints_replies() {
    let wanted = include_str!("openflow_vs_strangers/replies.txt");
    assert_lines(&printed(&samples::replies()), wanted);
}

#[test]
fn tshark_finds_nothing_malformed_in_random_messages() {
    let mut runner = TestRunner::deterministic();
    let any = messages::message();
    let random = std::iter::repeat_with(|| any.new_tree(&mut runner).expect("a message").current());
    let random = random.filter(|message| !is_beyond_tshark(message));
    let messages: Vec<Vec<u8>> = random
        .take(1000)
        .map(|message| encode(7, &without_frame(message)))
        .collect();
    let columns = ["openflow_v4.type", "_ws.malformed", "_ws.expert.severity"];
    let rows = capture::dissect(&messages, &columns);
    assert_eq!(rows.len(), messages.len());
    for (message, row) in messages.iter().zip(rows) {
        assert_eq!(row[0], message[1].to_string(), "{message:x?}");
        assert_eq!(row[1], "", "{message:x?}");
        // What tshark merely cannot decode, such as the mask of a port, is a note.
        for severity in row[2].split(';').filter(|text| !text.is_empty()) {
            let severity: u32 = severity.parse().expect("a number");
            assert!(severity <= TSHARK_NOTE, "{message:x?}");
        }
    }
}

/// `PI_NOTE` of tshark: warnings and errors are above it.
const TSHARK_NOTE: u32 = 0x0040_0000;

/// Tshark dissects what a packet message carries, too, and random bytes are no frame.
fn without_frame(mut message: Message) -> Message {
    match &mut message {
        Message::PacketIn(packet) => packet.data.clear(),
        Message::PacketOut(packet) => packet.data.clear(),
        _ => {}
    }
    message
}

/// An error repeats its request, which tshark dissects too, and random bytes are none; hellos of
/// other versions are not its business; and it calls every multipart reply of an experimenter
/// malformed, even one without a body.
fn is_beyond_tshark(message: &Message) -> bool {
    let experimenter = |reply: &MultipartReply| {
        matches!(
            reply,
            MultipartReply::Experimenter(_) | MultipartReply::FlowMonitor(_)
        )
    };
    match message {
        Message::Error(_) | Message::Hello(_) => true,
        Message::MultipartReply { reply, .. } => experimenter(reply),
        _ => false,
    }
}

#[test]
fn tshark_finds_the_values_of_random_flows() {
    let mut runner = TestRunner::deterministic();
    let any = messages::flow_mod();
    let random = std::iter::repeat_with(|| any.new_tree(&mut runner).expect("a flow").current());
    let flows: Vec<FlowMod> = random.take(300).collect();
    let message = |flow: &FlowMod| encode(7, &Message::FlowMod(Box::new(flow.clone())));
    let messages: Vec<Vec<u8>> = flows.iter().map(message).collect();
    let columns = [
        "openflow_v4.flowmod.cookie",
        "openflow_v4.flowmod.cookie_mask",
        "openflow_v4.flowmod.table_id",
        "openflow_v4.flowmod.idle_timeout",
        "openflow_v4.flowmod.hard_timeout",
        "openflow_v4.flowmod.priority",
        "openflow_v4.flowmod.out_port",
        "openflow_v4.flowmod.out_group",
        "openflow_v4.instruction.goto_table.table_id",
        "openflow_v4.instruction.meter.meter_id",
        "openflow_v4.action.type",
    ];
    let rows = capture::dissect(&messages, &columns);
    assert_eq!(rows.len(), flows.len());
    for (flow, row) in flows.iter().zip(rows) {
        let instructions = &flow.instructions;
        let goto = instructions.goto.map(|table| table.to_string());
        let meter = instructions.meter.map(|meter| meter.to_string());
        let lists = [&instructions.apply, &instructions.write];
        let actions = lists.into_iter().flatten().flat_map(|list| list.iter());
        let kinds: Vec<String> = actions
            .map(|action| action.kind().map_or(0xffff, |kind| kind as u16).to_string())
            .collect();
        let wanted = [
            format!("{:#018x}", flow.cookie),
            format!("{:#018x}", flow.cookie_mask),
            flow.table.to_string(),
            flow.idle_timeout_s.to_string(),
            flow.hard_timeout_s.to_string(),
            flow.priority.to_string(),
            flow.out_port.to_string(),
            flow.out_group.to_string(),
            goto.unwrap_or_default(),
            meter.unwrap_or_default(),
            kinds.join(";"),
        ];
        assert_eq!(row, wanted);
    }
}

/// Answers every question with the sample of its kind.
fn answer(message: &Message) -> Vec<Message> {
    let plain = samples::plain();
    let same = |a: &Message, b: &Message| std::mem::discriminant(a) == std::mem::discriminant(b);
    let after = |question: &Message| plain.iter().position(|one| same(one, question));
    match message {
        Message::FeaturesRequest | Message::ConfigRequest | Message::QueueConfigRequest(_) => {
            let question = after(message).expect("every kind has a sample");
            vec![plain[question + 1].clone()]
        }
        Message::MultipartRequest { request, .. } => samples::reply_to(request),
        _ => Vec::new(),
    }
}

/// The lines of a sample that begins with `heading`, as `ovs-ofctl` prints it.
fn excerpt(text: &str, heading: &str) -> String {
    let begins = |line: &str| line.starts_with("OFP");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(heading));
    lines.next().expect("the heading is in the text");
    let lines: Vec<&str> = lines.take_while(|line| !begins(line)).collect();
    lines.join("\n")
}

#[test]
fn ovs_ofctl_understands_our_answers() {
    let replies = include_str!("openflow_vs_strangers/replies.txt");
    let cases: &[(&str, &[&str], &str)] = &[
        ("dump-desc", &[], "OFPST_DESC"),
        ("dump-tables", &[], "OFPST_TABLE reply"),
        ("dump-ports", &[], "OFPST_PORT reply"),
        ("dump-ports-desc", &[], "OFPST_PORT_DESC"),
        ("dump-flows", &["table=3,in_port=1"], "OFPST_FLOW"),
        ("dump-group-features", &[], "OFPST_GROUP_FEATURES"),
        ("dump-groups", &[], "OFPST_GROUP_DESC"),
        ("dump-group-stats", &["group_id=3"], "OFPST_GROUP reply"),
        ("dump-meters", &[], "OFPST_METER_CONFIG"),
        ("meter-stats", &["meter=6"], "OFPST_METER reply"),
        ("meter-features", &[], "OFPST_METER_FEATURES"),
        ("dump-table-features", &[], "OFPST_TABLE_FEATURES"),
        ("queue-stats", &["3", "4"], "OFPST_QUEUE"),
    ];
    let switch = Switch::start(answer);
    for (command, arguments, heading) in cases {
        let text = switch.ofctl(command, arguments);
        let wanted = excerpt(replies, heading);
        assert!(text.contains(&wanted), "{command}: {text}");
    }
    let aggregate = switch.ofctl("dump-aggregate", &[]);
    assert!(
        aggregate.contains("packet_count=1 byte_count=2 flow_count=3"),
        "{aggregate}"
    );
    let queues = switch.ofctl("queue-get-config", &["3"]);
    assert!(
        queues.contains("queue 4: min_rate:10.0% max_rate:50.0%"),
        "{queues}"
    );
    let shown = switch.ofctl("show", &[]);
    assert!(
        shown.contains("dpid:0000000012345678\nn_tables:254, n_buffers:256"),
        "{shown}"
    );
    assert!(shown.contains(" 2(vm2): addr:02:00:00:00:00:02"), "{shown}");
    assert!(shown.contains("frags=drop miss_send_len=128"), "{shown}");
    switch.end();
}

/// What `ovs-ofctl` asks for its own sake, to translate names.
fn is_aside(message: &Message) -> bool {
    use MultipartRequest::{PortDesc, TableFeatures};
    matches!(
        message,
        Message::MultipartRequest {
            request: PortDesc | TableFeatures(_),
            ..
        }
    )
}

#[test]
fn ovs_ofctl_is_understood() {
    let rich = "table=3,priority=1234,cookie=0x55,idle_timeout=60,hard_timeout=600,send_flow_rem,\
                check_overlap,reset_counts,no_packet_counts,no_byte_counts,tcp,\
                metadata=0x1200/0xff00,in_port=1,vlan_vid=0x1005,vlan_pcp=3,\
                dl_src=02:00:00:00:00:01,nw_src=10.0.0.0/8,tp_dst=80,tcp_flags=+syn-ack,\
                actions=meter:6,push_vlan:0x8100,set_field:4103->vlan_vid,\
                set_field:2->vlan_pcp,output:2,pop_vlan,set_field:02:00:00:00:00:02->eth_dst,\
                set_field:10->ip_dscp,dec_ttl,set_field:10.0.0.2->ip_dst,\
                set_field:8080->tcp_src,set_field:0x77->tun_id,set_queue:4,mod_nw_ttl:9,IN_PORT,\
                NORMAL,FLOOD,ALL,LOCAL,CONTROLLER:128,group:3,clear_actions,\
                write_actions(output:9),write_metadata:0x5/0xff,goto_table:7";
    let frame = "ffffffffffff0200000000010806";
    let group = "group_id=3,type=select,bucket=weight:10,output:1,bucket=weight:20,output:2";
    let failover = "group_id=3,type=ff,bucket=watch_port:1,output:1,bucket=watch_port:2,output:2";
    let meter = "meter=6,pktps,burst,stats,\
                 bands=type=drop,rate=1000,burst_size=100,\
                 type=dscp_remark,rate=500,burst_size=50,prec_level=1";
    let commands: &[(&str, &[&str])] = &[
        ("add-flow", &[rich]),
        (
            "del-flows",
            &[
                "cookie=0x10/0xf0,out_port=5,icmp6,ipv6_src=fe80::/16,ipv6_dst=ff02::1,\
                         ipv6_label=0x12345,icmp_type=135,icmp_code=0,nd_target=fe80::7,\
                         nd_sll=02:00:00:00:00:03",
            ],
        ),
        (
            "del-flows",
            &["cookie=0x10/0xf0,out_port=5,arp,arp_op=1,arp_spa=10.0.0.1,\
                         arp_tpa=10.0.0.0/24,arp_sha=02:00:00:00:00:01,\
                         arp_tha=02:00:00:00:00:02"],
        ),
        (
            "del-flows",
            &[
                "cookie=0x10/0xf0,out_port=5,mpls,tun_id=0x99,mpls_label=74565,\
                         mpls_tc=5,mpls_bos=1",
            ],
        ),
        (
            "del-flows",
            &[
                "cookie=0x10/0xf0,out_port=5,ip,ip_dscp=46,nw_ecn=2,nw_ttl=64,\
                         ip_frag=first",
            ],
        ),
        ("add-group", &[group]),
        ("mod-group", &[failover]),
        ("del-groups", &["group_id=3"]),
        ("add-meter", &[meter]),
        (
            "mod-meter",
            &["meter=6,pktps,burst,stats,bands=type=drop,rate=1,burst_size=2"],
        ),
        ("mod-port", &["vm2", "down"]),
        ("packet-out", &["CONTROLLER", "TABLE", frame]),
    ];
    let switch = Switch::start(answer);
    for (command, arguments) in commands {
        assert_eq!(
            switch.ofctl(command, arguments),
            "",
            "{command} {arguments:?}"
        );
    }
    // It asks whether it was obeyed, which it was not: the answers never change.
    switch.ofctl("set-frags", &["normal"]);
    let mut noted = switch.end();
    noted.retain(|message| !is_aside(message));
    let mut wanted = samples::changes();
    let down = PortConfig {
        port_down: true,
        ..PortConfig::default()
    };
    wanted.push(Message::PortMod(PortMod {
        port: OfPort(2),
        mac: [2, 0, 0, 0, 0, 2],
        config: down,
        mask: down,
        advertise: PortFeatures::default(),
    }));
    wanted.push(Message::PacketOut(PacketOut {
        buffer_id: None,
        in_port: OfPort::CONTROLLER,
        actions: [Action::Output {
            port: OfPort::TABLE,
            max_len: 0,
        }]
        .into(),
        data: vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6],
    }));
    wanted.extend([
        Message::ConfigRequest,
        Message::SetConfig(SwitchConfig {
            fragments: Fragments::Normal,
            miss_send_len: 128,
        }),
        Message::ConfigRequest,
    ]);
    for (noted, wanted) in noted.iter().zip(&wanted) {
        assert_eq!(noted, wanted);
    }
    assert_eq!(noted.len(), wanted.len(), "{noted:#?}");
}
