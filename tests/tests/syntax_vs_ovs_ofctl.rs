//! Flow syntax judged by stock `ovs-ofctl`: what it makes of a text, and what it makes of our
//! rendering of the same text, must be one and the same, and so must the words.

use flowtable::{Field, Match};
use openflow::text::flow;
use openflow::{
    Action, FlowFlags, FlowMod, FlowModCommand, GroupId, Instructions, MeterId, OfPort, QueueId,
    TableId,
};
use tests::run;

/// Texts that both take, and take alike.
const ACCEPTED: &[&str] = &[
    "reg0=5,reg1=0x7/0xff,reg15=0,actions=load:0x7->NXM_NX_REG0[0..15],load:0->reg1[3]",
    "xreg1=5,xxreg1=0x7/0xf,actions=set_field:5->reg2",
    "actions=set_field:0x123456789->xreg3,set_field:0x5->xxreg2,set_field:7->pkt_mark",
    "tun_id=0x5/0xff,tun_src=1.2.3.4,tun_dst=1.2.3.0/24,actions=set_field:1.2.3.4->tun_dst",
    "tun_ipv6_src=fd00::1,tun_ipv6_dst=fd00::/64,actions=set_field:fd00::1->tun_ipv6_dst",
    "tun_flags=+oam,actions=drop",
    "tun_flags=-oam,tun_gbp_id=3,tun_gbp_flags=0x1,actions=drop",
    "pkt_mark=5/0xff,conj_id=10,actions=drop",
    "ct_state=+trk+est-inv,ct_zone=5,ct_mark=0x1/0x3,ct_label=0x5/0xf,actions=drop",
    "ct_state=new|trk,ct_mark=7,ct_label=0x123456789abcdef0123,actions=drop",
    "ct_state=0/0x20,ct_zone=0,actions=drop",
    "ct_state=+trk+est,ct_nw_src=1.2.3.4,ct_nw_dst=10.0.0.0/8,ct_nw_proto=6,ct_tp_src=80,\
     ct_tp_dst=0x50/0xfff0,ip,actions=drop",
    "ct_state=+rpl,ct_ipv6_src=fd00::1,ct_ipv6_dst=fd00::/16,ct_nw_proto=17,ipv6,actions=drop",
    "priority=7,ct_state=+trk,tcp,reg3=1,metadata=5,in_port=3,tun_id=4,tp_dst=80,actions=drop",
    "actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],move:reg0[0..15]->metadata[16..31]",
    "arp,actions=move:arp_sha->arp_tha,move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],load:2->arp_op[]",
    "actions=load:5->in_port[],load:5->vlan_tci[0..11],load:0->NXM_OF_VLAN_TCI[],load:1->metadata",
    "ipv6,actions=load:1->NXM_NX_IPV6_SRC[64..127],move:ipv6_src[0..31]->reg1[]",
    "actions=resubmit(,5),resubmit:3,resubmit(3,4),resubmit(LOCAL,),resubmit(in_port,7)",
    "actions=output:NXM_NX_REG0[0..15],output:reg1[],push:reg1[],pop:NXM_NX_REG2[3..7]",
    "ip,nw_src=10.0.0.1,actions=conjunction(10,1/2),conjunction(0xffffffff,64/64)",
    "actions=note:01.02.03,note:010203040506,exit",
    "actions=controller(max_len=128,reason=no_match,id=7),controller(id=3),controller(max_len=9)",
    "ip,actions=dec_ttl(1,2),dec_ttl(0)",
    "actions=clone(load:1->NXM_NX_REG3[],output:2,clone(resubmit(,3))),pop_queue,ct_clear",
    "ip,actions=write_actions(load:1->NXM_NX_REG0[],move:reg0->reg1,resubmit(,5))",
    "ip,actions=ct(),ct(commit),ct(table=4,zone=5),ct(zone=65535,nat),ct(commit,force,table=1)",
    "ip,actions=ct(table=72,zone=NXM_NX_REG6[0..15]),ct(commit,zone=reg5[16..31])",
    "tcp,actions=ct(commit,alg=ftp,nat(src=10.0.0.1)),ct(alg=ftp,table=3)",
    "udp,actions=ct(commit,zone=1,alg=tftp)",
    "ip,actions=ct(commit,exec(set_field:0x1->ct_mark,set_field:0x5->ct_label))",
    "ip,actions=ct(commit,exec(load:1->NXM_NX_CT_MARK[],load:5->NXM_NX_CT_LABEL[64..127],\
     move:NXM_NX_REG0[]->NXM_NX_CT_MARK[]))",
    "ip,actions=ct(commit,nat(src=10.0.0.1-10.0.0.9:1000-2000,persistent,hash),table=2)",
    "ip,actions=ct(commit,nat(dst=10.0.0.1:80,random))",
    "ip,actions=ct(commit,nat(src)),ct(commit,nat(dst=10.0.0.1,random)),ct(table=7,nat,zone=3)",
    "ipv6,actions=ct(commit,nat(dst=[fe80::1]:80)),ct(commit,nat(src=fe80::1-fe80::ff))",
    "ipv6,actions=ct(commit,nat(dst=[fe80::1]-[fe80::9]:80-90),exec(load:1->NXM_NX_CT_MARK[]))",
    "tcp,tp_dst=80,actions=load:0x51->tcp_dst[0..7],load:1->NXM_NX_IP_TTL[]",
    "actions=learn(table=20,hard_timeout=300,priority=1,cookie=0x5,NXM_OF_VLAN_TCI[0..11],\
     NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],\
     load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[],output:OXM_OF_IN_PORT[])",
    "actions=learn(table=2,limit=5,eth_type=0x800,result_dst=reg0[3],delete_learned,\
     send_flow_rem,idle_timeout=3,fin_idle_timeout=2,fin_hard_timeout=1)",
    "actions=learn(in_port=5,eth_dst[]=eth_src[],dl_type=0x800,nw_proto=6,vlan_vid=5,reg0=5,\
     reg1[3..7]=5,nw_dst=1.2.3.4,load:0x123456789012345678->xxreg0[8..127])",
    "actions=learn(vlan_tci=5,dl_type=0x86dd,ipv6_src=fe80::1,eth_src=1:2:3:4:5:6,metadata=0,\
     tun_id=5,load:1->eth_dst,load:eth_src->xxreg1[0..47],ip_dscp=5,output:reg0[0..15])",
    "actions=learn(),learn(in_port=LOCAL,in_port)",
    "tcp,actions=fin_timeout(idle_timeout=5,hard_timeout=10),fin_timeout(hard_timeout=3)",
    "tcp,actions=fin_timeout",
    "actions=bundle(eth_src,0,active_backup,ofport,members:1,2),\
     bundle(nw_src,5,hrw,ofport,slaves:)",
    "actions=bundle_load(symmetric_l4,0,hrw,ofport,reg0[0..15],members:1,LOCAL,none)",
    "actions=multipath(eth_src,50,modulo_n,1,0,reg0[0..3]),multipath(nw_dst,50,hash_threshold,2,0,\
     reg0[0..1]),multipath(symmetric_l3l4+udp,50,iter_hash,4,3,reg0[]),multipath(symmetric_l3,1,\
     hrw,256,0,reg1[8..15])",
    "actions=check_pkt_larger(1500)->reg0[0],check_pkt_larger(0)->NXM_NX_XXREG0[127]",
    "actions=sample(probability=5),sample(probability=65535,collector_set_id=1,obs_domain_id=2,\
     obs_point_id=3,sampling_port=4,egress),sample(probability=1,sampling_port=LOCAL),\
     sample(probability=1,ingress)",
    "actions=output(port=1,max_len=100),output(port=LOCAL,max_len=14)",
    "actions=enqueue(1,2),enqueue:3:4,set_queue(5)",
    "actions=controller(reason=action,userdata=00.01.02,pause,meter_id=5),controller(pause)",
    "actions=controller(userdata=00.01.02,id=3,max_len=9),controller(meter_id=5,reason=no_match)",
    "actions=drop",
    "actions=",
    "action=output:1",
    "priority=10,in_port=1,actions=output:2",
    "priority=5 in_port=2\ttcp actions=output:3",
    "tcp ,, in_port=1 actions=3",
    "in_port=LOCAL,actions=1,2,LOCAL,local,4294967294",
    "in_port=65534,actions=65531",
    "in_port=0,actions=output:0",
    "in_port=CONTROLLER,actions=IN_PORT,TABLE,NORMAL,FLOOD,ALL,LOCAL",
    "table=3,priority=10,cookie=0x5,idle_timeout=3,hard_timeout=9,send_flow_rem,check_overlap,\
     tcp,in_port=LOCAL,nw_src=10.0.0.0/8,tp_dst=80/0xfff0,\
     actions=meter:3,set_field:1->metadata,dec_ttl,write_metadata:0x5/0xff,goto_table:4",
    "check_overlap,reset_counts,no_packet_counts,no_byte_counts,send_flow_rem,actions=drop",
    "cookie=0x5, duration=4.5s, table=3, n_packets=7, n_bytes=9, idle_age=2, hard_age=3, \
     priority=11,in_port=1 actions=output:3",
    "cookie=-1,actions=drop",
    "cookie=0xfffffffffffffffe,priority=0,table=253,actions=drop",
    "table=255,priority=65535,idle_timeout=65535,hard_timeout=0x10,actions=drop",
    "dl_vlan=5,dl_vlan_pcp=3,actions=drop",
    "dl_vlan=0,actions=drop",
    "dl_vlan=4095,actions=drop",
    "dl_vlan=0xffff,ip,actions=drop",
    "vlan_vid=0,actions=drop",
    "vlan_vid=5,actions=drop",
    "vlan_vid=0x1005,actions=pop_vlan,1",
    "vlan_vid=0x1000/0x1000,actions=pop_vlan,controller",
    "vlan_vid=0x1005/0x100f,actions=drop",
    "vlan_vid=5/0xfff,actions=drop",
    "vlan_vid=0x1000/0x1000,vlan_pcp=5,actions=drop",
    "vlan_pcp=5,actions=drop",
    "dl_vlan_pcp=0,actions=drop",
    "vlan_tci=0,actions=drop",
    "vlan_tci=0xffff,actions=drop",
    "vlan_tci=0x1000/0x1000,actions=drop",
    "vlan_tci=0x3000/0xf000,actions=drop",
    "vlan_tci=0x1005/0x1fff,actions=strip_vlan,CONTROLLER:128",
    "eth_src=01:00:00:00:00:00/01:00:00:00:00:00,eth_dst=1:2:3:4:5:6,actions=drop",
    "dl_src=*,dl_dst=ff:ff:ff:ff:ff:ff,actions=drop",
    "dl_type=0x88cc,actions=drop",
    "dl_type=0x05ff,actions=drop",
    "eth_type=0x800,actions=drop",
    "dl_type=0x86dd,nw_proto=58,icmp_type=135,icmp_code=0,actions=drop",
    "eth,actions=drop",
    "ip,actions=drop",
    "ip4,nw_dst=*,actions=drop",
    "ip,nw_src=10.0.0.1/255.0.0.255,nw_dst=1.2.3.4,actions=drop",
    "ip,ip_src=10.0.0.1/24,ip_dst=0.0.0.0/0,actions=drop",
    "nw_src=10.0.0.1,ip,actions=drop",
    "ip,nw_tos=33,nw_ecn=2,nw_ttl=64,nw_proto=89,actions=drop",
    "ip,ip_dscp=46,ip_ecn=1,actions=drop",
    "ip,ip_frag=no,actions=drop",
    "ip,nw_frag=yes,actions=drop",
    "ip,ip_frag=first,actions=drop",
    "ip,ip_frag=later,actions=drop",
    "ipv6,ip_frag=not_later,actions=drop",
    "tcp,tp_dst=010,actions=drop",
    "tcp_dst=80,tcp,actions=drop",
    "tcp,tp_src=0x50,tp_dst=0/0xfff0,actions=drop",
    "tcp6,tcp_src=0x50,actions=drop",
    "udp,udp_src=53,udp_dst=0xff00/0xff00,actions=drop",
    "udp6,tp_dst=53,actions=drop",
    "sctp,sctp_src=5,sctp_dst=6/0xfffe,actions=drop",
    "sctp6,actions=drop",
    "tcp,tcp_flags=+syn-ack,actions=drop",
    "tcp,tcp_flags=syn|ack,actions=drop",
    "tcp,tcp_flags=0,actions=drop",
    "tcp,tcp_flags=0x12/0x12,actions=drop",
    "tcp6,tcp_flags=0xe02,actions=drop",
    "tcp,tcp_flags=+[200]-[400],actions=drop",
    "icmp,icmp_type=8,icmp_code=0,actions=drop",
    "icmp6,icmp_type=128,icmpv6_code=0,actions=drop",
    "icmp6,icmpv6_type=135,nd_target=fe80::1,nd_sll=00:00:00:00:00:05,actions=NORMAL",
    "icmp6,icmpv6_type=136,icmpv6_code=0,nd_target=fe80::1/64,nd_tll=1:2:3:4:5:6,actions=drop",
    "icmp6,icmpv6_type=136,icmpv6_code=0,nd_reserved=0xe0000000,nd_options_type=2,\
     nd_tll=1:2:3:4:5:6,nd_target=fe80::1,actions=drop",
    "ipv6,ipv6_src=fe80::/10,ipv6_dst=::1/ffff::ffff,ipv6_label=5/0xff,actions=drop",
    "ipv6,ipv6_src=::1.2.3.4,ipv6_dst=::ffff:1.2.3.4,ipv6_label=0xfffff,actions=drop",
    "ipv6,ipv6_src=::5,ipv6_dst=1:0:0:2:0:0:0:3,nw_tos=32,nw_ecn=1,nw_ttl=3,actions=drop",
    "ip6,ipv6_src=1:0:2:3:4:5:6:7,ipv6_dst=::/0,nw_proto=4,actions=drop",
    "arp,arp_op=2,arp_spa=1.2.3.0/24,arp_tpa=1.2.3.4,arp_sha=00:00:00:00:00:01,\
     arp_tha=00:00:00:00:00:02/ff:ff:ff:00:00:00,actions=drop",
    "arp,nw_src=1.2.3.4,nw_dst=1.2.3.0/24,nw_proto=1,actions=drop",
    "rarp,arp_op=3,actions=drop",
    "mpls,mpls_label=5,mpls_tc=3,mpls_bos=1,mpls_ttl=4,actions=drop",
    "mplsm,mpls_label=1048575,actions=drop",
    "tun_id=5,metadata=7,in_port=1,actions=drop",
    "tunnel_id=0x5/0xff,metadata=0/0xff,actions=drop",
    "tun_id=0,metadata=0xffffffffffffffff,actions=drop",
    "metadata=5/0xffffffffffffffff,actions=drop",
    "metadata=0x105/0xff,actions=drop",
    "metadata=5/0,actions=drop",
    "actions=output:1, output:2 ,,3",
    "actions=output(1),output=2",
    "actions=CONTROLLER",
    "actions=controller:",
    "actions=controller()",
    "actions=CONTROLLER:0",
    "actions=controller(max_len=12)",
    "actions=controller(reason=action,max_len=100)",
    "actions=group:5,group(6),set_queue:4,1",
    "actions=meter:5,clear_actions,write_actions(output:1,group:4),write_metadata:5,goto_table:9",
    "actions=write_actions(push_vlan:0x8100,set_field:0x1005->vlan_vid,output:2)",
    "actions=write_actions(mod_vlan_vid:5,2)",
    "actions=write_actions(drop),goto_table:4",
    "actions=write_metadata:0",
    "actions=write_metadata:0/0xf",
    "actions=write_metadata(0x55/0xf)",
    "actions=clear_actions",
    "actions=goto_table:253",
    "actions=push_vlan:0x88a8,set_field:4097->vlan_vid,push_mpls:0x8847,output:1",
    "mpls,actions=pop_mpls:0x0800,dec_ttl",
    "mpls,actions=set_mpls_ttl:5,dec_mpls_ttl,set_mpls_label:7,set_mpls_tc:3",
    "actions=push_mpls:0x8848,set_field:5->mpls_label,set_field:7->mpls_tc",
    "ip,actions=dec_ttl(),mod_nw_ttl:5,set_nw_ttl:6",
    "actions=mod_vlan_vid:5",
    "actions=mod_vlan_pcp:5",
    "dl_vlan=5,actions=mod_vlan_vid:6,mod_vlan_pcp:2",
    "dl_vlan=5,actions=set_vlan_vid:5,set_vlan_pcp:3",
    "dl_vlan=0xffff,actions=mod_vlan_vid:6",
    "vlan_pcp=3,actions=mod_vlan_vid:6",
    "vlan_vid=5/5,actions=mod_vlan_vid:6",
    "actions=push_vlan:0x88a8,mod_vlan_vid:5",
    "actions=mod_vlan_vid:5,mod_vlan_pcp:5,output:1,strip_vlan,mod_vlan_vid:4",
    "actions=mod_vlan_vid:5,write_actions(mod_vlan_vid:6)",
    "actions=mod_dl_src:1:2:3:4:5:6,mod_dl_dst:01:02:03:04:05:06",
    "actions=set_field:1:2:3:4:5:6->eth_src,set_field:1:2:3:4:5:6->dl_dst",
    "ip,actions=mod_nw_src:1.2.3.4,mod_nw_dst:1.2.3.4,mod_nw_tos:16,mod_nw_ecn:3",
    "ip,actions=set_field:1.2.3.4->nw_src,set_field:1.2.3.4->ip_dst,set_field:8->ip_dscp,\
     set_field:3->ip_ecn,set_field:2->nw_ecn",
    "tcp,actions=mod_tp_src:5,mod_tp_dst:6,set_field:7->tp_src,set_field:8->tcp_dst",
    "udp6,actions=mod_tp_src:5,mod_tp_dst:6,set_field:8->udp_dst",
    "sctp,actions=mod_tp_src:5,mod_tp_dst:6",
    "icmp,actions=set_field:5->icmp_type,set_field:6->icmp_code",
    "icmp6,actions=set_field:5->icmpv6_type,set_field:6->icmpv6_code",
    "icmp6,icmpv6_type=135,actions=set_field:fe80::1->nd_target,set_field:1:2:3:4:5:6->nd_sll",
    "icmp6,icmpv6_type=136,actions=set_field:fe80::1->nd_target,set_field:1:2:3:4:5:6->nd_tll",
    "icmp6,icmpv6_type=135,icmpv6_code=0,actions=set_field:5->nd_reserved,\
     set_field:2->nd_options_type,load:3->nd_reserved[0..7],move:NXM_NX_REG0[]->nd_reserved[]",
    "ipv6,actions=set_field:fe80::1->ipv6_src,set_field:::1->ipv6_dst,set_field:5->ipv6_label",
    "arp,actions=set_field:1->arp_op,set_field:1.2.3.4->arp_spa,set_field:1.2.3.4->arp_tpa,\
     set_field:1:2:3:4:5:6->arp_sha,set_field:1:2:3:4:5:6->arp_tha",
    "actions=set_tunnel:5,set_tunnel64:0x100000000,set_field:0->tun_id,set_field:5->tunnel_id",
];

/// Texts that neither takes.
const REFUSED: &[&str] = &[
    "actions=learn(table=255)",
    "actions=learn(table=3,reg0=reg1[0..3])",
    "actions=learn(result_dst=reg0[0..1])",
    "actions=learn(in_port,output:1)",
    "actions=learn(load:1.2.3.4->reg0)",
    "actions=learn(reg0=5/7)",
    "actions=output(port=controller,max_len=14)",
    "actions=output(port=1,max_len=13)",
    "actions=bundle(l4,1,hrw,ofport,members:1)",
    "actions=bundle(eth_src,1,hrw,ofport,members:bogus)",
    "actions=multipath(nw_src,1,hrw,4,0,reg0[0])",
    "",
    "priority=5",
    "foo=5,actions=drop",
    "foo,actions=drop",
    "=5,actions=1",
    "in_port=,actions=1",
    "in_port=1/3,actions=drop",
    "in_port=nosuchport,actions=drop",
    "cookie=5/7,actions=drop",
    "cookie=,actions=1",
    "table=256,actions=drop",
    "table=,actions=1",
    "priority=65536,actions=drop",
    "priority=-1,actions=1",
    "priority=1x,actions=1",
    "idle_timeout=65536,actions=drop",
    "out_port=5,actions=drop",
    "out_group=5,actions=drop",
    "eth_src=1:2:3:4:5,actions=drop",
    "ip,nw_dst=1.2.3,actions=drop",
    "ip,nw_dst=1.2.3.4/33,actions=drop",
    "ip,ip_frag=0x1,actions=drop",
    "ip,nw_proto=5/7,actions=drop",
    "arp,arp_op=5/7,actions=drop",
    "dl_type=5/7,actions=drop",
    "dl_vlan=5/0xfff,actions=drop",
    "mpls,mpls_label=5/0xff,actions=drop",
    "ipv6,ipv6_label=0x100000,actions=drop",
    "tcp,tcp_flags=0xffff,actions=drop",
    "actions=foo",
    "actions=foo:5",
    "actions=output",
    "actions=output:-1",
    "actions=output:1x",
    "actions=output:1)",
    "actions=drop,output:1",
    "actions=output:1,drop",
    "actions=clear_actions,clear_actions",
    "actions=write_actions(1),clear_actions",
    "actions=output:1,meter:5",
    "actions=meter:0",
    "actions=goto_table:5,output:1",
    "actions=goto_table:5,goto_table:6",
    "actions=write_actions(meter:5)",
    "actions=write_actions(write_actions(1))",
    "actions=controller:65536",
    "actions=push_vlan:0x9100",
    "actions=push_mpls:0x800",
    "actions=mod_vlan_vid:4096",
    "ip,actions=mod_nw_tos:17",
    "icmp,actions=mod_tp_src:5",
    "dl_vlan=5,actions=set_field:5->vlan_vid",
    "actions=set_field:5",
    "actions=set_field:->metadata",
    "actions=set_field:5->",
    "actions=set_field:5->nosuch",
    "actions=set_field: 5->metadata",
    "tcp,actions=set_field:5->tcp_flags",
    "ip,actions=set_field:1->ip_frag",
];

/// Texts that stock takes, though not as they are written: it drops, truncates or overrides
/// something. We say no.
const REFUSED_BY_US: &[&str] = &[
    "tp_dst=80,actions=drop",
    "ip,tp_src=5,actions=drop",
    "nw_src=10.0.0.1,actions=drop",
    "tcp,udp_src=5,actions=drop",
    "tcp,nw_proto=17,actions=drop",
    "mpls,mpls_label=0x100000,actions=drop",
    "dl_vlan=4096,actions=drop",
    "actions=5:3",
    "actions=LOCAL:5",
    "dl_vlan=5,actions=set_field:5->in_port",
];

/// What stock makes of a flow: the line that says it, or `None` if it refuses.
fn stock(text: &str) -> Option<String> {
    let output = run(&["ovs-ofctl", "-O", "OpenFlow13", "parse-flow", text]);
    if !output.status.success() {
        return None;
    }
    let line = output.stdout.lines().find_map(flow_mod);
    line.filter(|line| !line.contains("decode error"))
}

fn flow_mod(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("OFPT_FLOW_MOD (OF1.3) ")?;
    Some(rest.split_once(": ")?.1.to_string())
}

fn ours(text: &str) -> Result<FlowMod, String> {
    flow::parse(text, FlowModCommand::Add).map_err(|error| error.to_string())
}

/// Our rendering of an add, its pieces put in the order in which `parse-flow` shows them.
fn in_the_order_of_a_message(flow: &FlowMod) -> String {
    let plain = FlowMod {
        cookie: 0,
        table: TableId(0),
        idle_timeout_s: 0,
        hard_timeout_s: 0,
        flags: FlowFlags::default(),
        ..flow.clone()
    };
    let plain = flow::format(&plain);
    let at = plain.find("actions=").expect("an add has actions");
    let (matching, actions) = plain.split_at(at);
    let number = |word: &str, n: u64| match n {
        0 => String::new(),
        _ => format!("{word}:{n} "),
    };
    let cookie = match flow.cookie {
        // Stock takes the cookie of all ones for none.
        0 | u64::MAX => String::new(),
        cookie => format!("cookie:{cookie:#x} "),
    };
    let flags = [
        ("send_flow_rem ", flow.flags.send_flow_removed),
        ("check_overlap ", flow.flags.check_overlap),
        ("reset_counts ", flow.flags.reset_counts),
        ("no_packet_counts ", flow.flags.no_packet_counts),
        ("no_byte_counts ", flow.flags.no_byte_counts),
    ];
    let flags: String = flags
        .iter()
        .filter(|(_, on)| *on)
        .map(|(w, _)| *w)
        .collect();
    format!(
        "ADD {}{matching}{cookie}{}{}{flags}{actions}",
        number("table", flow.table.0.into()),
        number("idle", flow.idle_timeout_s.into()),
        number("hard", flow.hard_timeout_s.into()),
    )
}

#[test]
fn what_stock_takes_we_take_and_print_alike() {
    for text in ACCEPTED {
        let judged = stock(text).unwrap_or_else(|| panic!("stock refuses {text}"));
        let flow = ours(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(in_the_order_of_a_message(&flow), judged, "{text}");
        let rendered = flow::format(&flow);
        assert_eq!(ours(&rendered).as_ref(), Ok(&flow), "{text} as {rendered}");
        let again = stock(&rendered).unwrap_or_else(|| panic!("stock refuses our {rendered}"));
        assert_eq!(again, judged, "{text} as {rendered}");
    }
}

#[test]
fn what_stock_refuses_we_refuse() {
    for text in REFUSED {
        assert_eq!(stock(text), None, "stock takes {text}");
        assert!(ours(text).is_err(), "{text} was taken");
    }
}

#[test]
fn what_stock_takes_for_something_else_we_refuse() {
    for text in REFUSED_BY_US {
        assert!(stock(text).is_some(), "stock refuses {text}");
        assert!(ours(text).is_err(), "{text} was taken");
    }
}

/// Seeded random flows that OpenFlow 1.3 allows.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A value of the field, often an extreme one.
    fn value(&mut self, field: Field) -> u128 {
        let any = u128::from(self.next()) << 64 | u128::from(self.next());
        match self.below(6) {
            0 => 0,
            1 => field.ones(),
            2 => any & 0xff & field.ones(),
            _ => any & field.ones(),
        }
    }

    /// A mask that the field allows and that is not 0.
    fn mask(&mut self, field: Field) -> u128 {
        let ones = field.ones();
        if !field.maskable() || self.one_in(2) {
            return ones;
        }
        let mask = match self.below(3) {
            0 => ones << self.below(field.width().into()) & ones,
            // Stock cannot read an IPv6 mask that starts with a decimal digit.
            _ if field.width() == 128 => self.value(field) | 0xf << 124,
            _ => self.value(field),
        };
        if mask == 0 { ones } else { mask }
    }

    fn maybe(&mut self, matching: &mut Match, fields: &[Field]) {
        for &field in fields {
            if self.one_in(3) {
                let mask = self.mask(field);
                matching.set(field, self.value(field) & mask, mask);
            }
        }
    }

    fn exactly(matching: &mut Match, field: Field, value: u128) {
        matching.set(field, value, field.ones());
    }

    fn matching(&mut self) -> Match {
        let mut m = Match::default();
        if self.one_in(3) {
            let port = u128::from(self.below(0xff00));
            Random::exactly(&mut m, Field::InPort, port);
        }
        use Field::*;
        self.maybe(&mut m, &[Metadata, TunnelId, EthSrc, EthDst]);
        match self.below(8) {
            0 => Random::exactly(&mut m, VlanVid, 0),
            1 => m.set(VlanVid, 0x1000, 0x1000),
            2 => self.maybe(&mut m, &[VlanVid]),
            3 => {
                let vid = 0x1000 | self.value(VlanVid);
                Random::exactly(&mut m, VlanVid, vid);
                self.maybe(&mut m, &[VlanPcp]);
            }
            4 => {
                m.set(VlanVid, 0x1000, 0x1000);
                let pcp = self.value(VlanPcp);
                Random::exactly(&mut m, VlanPcp, pcp);
            }
            _ => {}
        }
        match self.below(9) {
            0..=2 => self.ip(&mut m, 0x0800, &[Ipv4Src, Ipv4Dst]),
            3 | 4 => self.ip(&mut m, 0x86dd, &[Ipv6Src, Ipv6Dst, Ipv6Flabel]),
            5 => {
                let kind = if self.one_in(2) { 0x0806 } else { 0x8035 };
                Random::exactly(&mut m, EthType, kind);
                let op = u128::from(self.below(256));
                Random::exactly(&mut m, ArpOp, op);
                self.maybe(&mut m, &[ArpSpa, ArpTpa, ArpSha, ArpTha]);
            }
            6 => {
                let kind = if self.one_in(2) { 0x8847 } else { 0x8848 };
                Random::exactly(&mut m, EthType, kind);
                self.maybe(&mut m, &[MplsLabel, MplsTc, MplsBos, MplsTtl]);
            }
            7 => {
                let kind = 0x600 + u128::from(self.below(0x100));
                Random::exactly(&mut m, EthType, kind);
            }
            _ => {}
        }
        m
    }

    fn ip(&mut self, m: &mut Match, kind: u128, addresses: &[Field]) {
        use Field::*;
        Random::exactly(m, EthType, kind);
        self.maybe(m, addresses);
        self.maybe(m, &[IpDscp, IpEcn, IpTtl]);
        let version6 = kind == 0x86dd;
        match self.below(8) {
            0 => self.transport(m, 6, &[TcpSrc, TcpDst, TcpFlags]),
            1 => self.transport(m, 17, &[UdpSrc, UdpDst]),
            2 => self.transport(m, 132, &[SctpSrc, SctpDst]),
            3 if version6 => self.transport(m, 58, &[Icmpv6Type, Icmpv6Code]),
            3 => self.transport(m, 1, &[Icmpv4Type, Icmpv4Code]),
            4 if version6 => {
                let (kind, address) = if self.one_in(2) {
                    (135, NdSll)
                } else {
                    (136, NdTll)
                };
                Random::exactly(m, Icmpv6Type, kind);
                self.transport(m, 58, &[NdTarget, address, NdReserved, NdOptionsType]);
            }
            5 => self.transport(m, 89, &[]),
            6 => {
                let fragment = [(0, 3), (1, 1), (1, 3), (3, 3), (0, 2)];
                let (value, mask) = fragment[self.below(5) as usize];
                m.set(IpFrag, value, mask);
            }
            _ => {}
        }
    }

    fn transport(&mut self, m: &mut Match, protocol: u128, fields: &[Field]) {
        Random::exactly(m, Field::IpProto, protocol);
        self.maybe(m, fields);
    }

    fn set(&mut self, field: Field) -> Action {
        let mut value = self.value(field);
        match field {
            Field::VlanVid => value |= 0x1000,
            // Stock knows the lower byte of opcodes only.
            Field::ArpOp => value &= 0xff,
            _ => {}
        }
        Action::SetField {
            field,
            value,
            mask: field.ones(),
        }
    }

    /// An action that goes with `matching`.
    fn action(&mut self, matching: &Match) -> Action {
        let settable = |field: &Field| {
            use Field::*;
            let refused = [
                InPort, InPort16, VlanTci, EthType, IpProto, MplsBos, IpTtl, MplsTtl, PbbIsid,
            ];
            let tag = *field == VlanVid && matching.missing_prerequisite(VlanPcp);
            let refused = refused.contains(field) || field.is_read_only();
            let refused = refused || field.is_tunnel_option();
            !refused && !tag && !matching.missing_prerequisite(*field)
        };
        let fields: Vec<Field> = Field::ALL.iter().copied().filter(settable).collect();
        let ip = !matching.missing_prerequisite(Field::IpDscp);
        match self.below(12) {
            0 => Action::Group(GroupId(self.below(0xffff_ff00) as u32)),
            1 => Action::SetQueue(QueueId(self.next() as u32)),
            2 if ip => Action::DecNwTtl,
            3 if ip => Action::SetNwTtl(self.next() as u8),
            4 => Action::Output {
                port: OfPort::CONTROLLER,
                max_len: self.next() as u16,
            },
            5 => {
                let reserved = [
                    OfPort::IN_PORT,
                    OfPort::TABLE,
                    OfPort::NORMAL,
                    OfPort::LOCAL,
                ];
                let port = reserved[self.below(4) as usize];
                Action::Output { port, max_len: 0 }
            }
            6..=9 => {
                let field = fields[self.below(fields.len() as u64) as usize];
                self.set(field)
            }
            _ => Action::Output {
                port: OfPort(self.below(0xff00) as u32),
                max_len: 0,
            },
        }
    }

    fn actions(&mut self, matching: &Match) -> Option<Vec<Action>> {
        let count = self.below(4);
        let list: Vec<Action> = (0..count).map(|_| self.action(matching)).collect();
        (!list.is_empty()).then_some(list)
    }

    fn flow(&mut self) -> FlowMod {
        let matching = self.matching();
        let table = self.below(253) as u8;
        let instructions = Instructions {
            meter: self
                .one_in(4)
                .then(|| MeterId(1 + self.below(0xffff_0000) as u32)),
            apply: self.actions(&matching).map(Into::into),
            clear: self.one_in(4),
            write: self.actions(&matching).map(Into::into),
            metadata: self.one_in(4).then(|| (self.next(), self.next() | 1)),
            goto: self.one_in(3).then(|| TableId(table + 1)),
        };
        FlowMod {
            command: FlowModCommand::Add,
            cookie: self.next() >> self.below(64) >> 1,
            cookie_mask: 0,
            table: TableId(table),
            idle_timeout_s: self.next() as u16,
            hard_timeout_s: self.below(2) as u16,
            priority: self.next() as u16,
            buffer_id: None,
            out_port: OfPort::ANY,
            out_group: GroupId::ANY,
            flags: FlowFlags {
                send_flow_removed: self.one_in(2),
                check_overlap: self.one_in(2),
                reset_counts: self.one_in(2),
                no_packet_counts: self.one_in(2),
                no_byte_counts: self.one_in(2),
            },
            matching,
            instructions,
        }
    }
}

#[test]
fn what_is_printed_reads_as_it_was() {
    let mut random = Random(1);
    for _ in 0..20_000 {
        let flow = random.flow();
        let text = flow::format(&flow);
        assert_eq!(ours(&text), Ok(flow), "{text}");
    }
}

#[test]
fn modifications_and_deletes_read_as_they_were() {
    use FlowModCommand::*;
    let mut random = Random(2);
    for round in 0..4_000 {
        let mut flow = random.flow();
        flow.command = [Modify, ModifyStrict, Delete, DeleteStrict][round % 4];
        flow.cookie_mask = random.next() >> random.below(64);
        flow.cookie = random.next() & flow.cookie_mask;
        if round % 4 >= 2 {
            flow.instructions = Instructions::default();
            flow.flags = FlowFlags::default();
            (flow.idle_timeout_s, flow.hard_timeout_s) = (0, 0);
            flow.out_port = [OfPort::ANY, OfPort(3), OfPort::LOCAL][random.below(3) as usize];
            flow.out_group = [GroupId::ANY, GroupId(7)][random.below(2) as usize];
        }
        if flow.command == Delete {
            flow.priority = 0x8000;
        }
        let text = flow::format(&flow);
        let read = flow::parse(&text, flow.command).map_err(|error| error.to_string());
        assert_eq!(read, Ok(flow), "{text}");
    }
}

#[test]
fn stock_reads_random_flows_as_we_print_them() {
    let mut random = Random(3);
    let flows: Vec<FlowMod> = (0..5_000).map(|_| random.flow()).collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("flows");
    let texts: Vec<String> = flows.iter().map(flow::format).collect();
    std::fs::write(&file, texts.join("\n")).expect("a writable folder");
    let file = file.to_str().expect("text");
    let output = run(&["ovs-ofctl", "-O", "OpenFlow13", "parse-flows", file]);
    let errors = output.stderr.clone();
    let judged: Vec<String> = output
        .expect_success()
        .lines()
        .filter_map(flow_mod)
        .collect();
    assert_eq!(judged.len(), flows.len(), "{errors}");
    for (flow, judged) in flows.iter().zip(judged) {
        assert_eq!(in_the_order_of_a_message(flow), judged);
    }
}
