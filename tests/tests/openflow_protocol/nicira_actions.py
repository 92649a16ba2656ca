"""Has a switch keep each of Nicira's actions that os-ken can encode, reads them back by flow
statistics and compares them byte by byte: argument 1 is a Unix socket."""

import struct
import sys

from os_ken.ofproto import nicira_ext as nx
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

from switch import DATAPATH, Switch

IP = {"eth_type": 0x0800}
TCP = {"eth_type": 0x0800, "ip_proto": 6}
# Flags of translation (nicira-ext, `nx_nat_flags`), which os-ken has no names for.
NAT_SRC, NAT_DST, NAT_PERSISTENT, NAT_HASH = 1, 2, 4, 8
half = nx.ofs_nbits(4, 19)


def learn():
    return parser.NXActionLearn(
        table_id=10,
        specs=[
            parser.NXFlowSpecMatch(src=0x800, dst=("eth_type_nxm", 0), n_bits=16),
            parser.NXFlowSpecMatch(src=("ipv4_src_nxm", 0), dst=("ipv4_dst_nxm", 0), n_bits=32),
            parser.NXFlowSpecMatch(src=("reg1", 1), dst=("reg2", 3), n_bits=5),
            parser.NXFlowSpecMatch(src=("vlan_tci", 0), dst=("vlan_tci", 0), n_bits=12),
            parser.NXFlowSpecLoad(src=7, dst=("reg4", 3), n_bits=5),
            parser.NXFlowSpecLoad(src=("reg5", 1), dst=("reg6", 3), n_bits=5),
            parser.NXFlowSpecOutput(src=("in_port_nxm", 0), n_bits=16),
        ],
        idle_timeout=180,
        hard_timeout=300,
        priority=1,
        cookie=0x64,
        flags=ofp.OFPFF_SEND_FLOW_REM,
        fin_idle_timeout=180,
        fin_hard_timeout=300,
    )


def track(flags=0, zone=0, table=255, alg=0, actions=(), field=""):
    return parser.NXActionCT(flags, field, zone, table, alg, list(actions))


def nat(flags, **ranges):
    return parser.NXActionNAT(flags, **ranges)


HASHED = dict(fields=nx.NX_HASH_FIELDS_SYMMETRIC_L4, basis=7)
MEMBERS = dict(slave_type=nx.NXM_OF_IN_PORT, n_slaves=2, slaves=[2, 3])

# What is matched, what is sent, and what comes back unless that is the same.
CASES = [
    ({}, parser.NXActionPopQueue()),
    ({}, parser.NXActionRegLoad(half, "reg3", 0x1234)),
    ({}, parser.NXActionRegLoad(nx.ofs_nbits(0, 11), "vlan_tci", 5)),
    ({}, parser.NXActionRegLoad2("reg2", 0x50, 0xF0)),
    (IP, parser.NXActionRegLoad2("ipv4_src_nxm", "10.0.0.0", "255.0.0.0")),
    ({}, parser.NXActionRegLoad2("reg2", 5), parser.OFPActionSetField(reg2=5)),
    ({}, parser.NXActionNote([1, 2, 3, 4, 5, 6])),
    ({}, parser.NXActionNote(list(range(14)))),
    ({}, parser.NXActionSetTunnel(77), parser.OFPActionSetField(tunnel_id=77)),
    ({}, parser.NXActionSetTunnel64(1 << 40), parser.OFPActionSetField(tunnel_id=1 << 40)),
    ({}, parser.NXActionRegMove("eth_src_nxm", "eth_dst_nxm", 48)),
    ({}, parser.NXActionRegMove("reg1", "xxreg1", 12, 3, 100)),
    ({}, parser.NXActionResubmit(in_port=3)),
    ({}, parser.NXActionResubmitTable(in_port=3, table_id=9)),
    ({}, parser.NXActionResubmitTable(table_id=9)),
    ({}, parser.NXActionOutputReg(half, "reg0", 100)),
    (
        {},
        parser.NXActionOutputReg2(half, "reg0", 100),
        parser.NXActionOutputReg(half, "reg0", 100),
    ),
    (IP, learn()),
    ({}, parser.NXActionExit()),
    (IP, parser.NXActionDecTtl(), parser.OFPActionDecNwTtl()),
    (IP, parser.NXActionDecTtlCntIds([1, 2, 3])),
    ({}, parser.NXActionController(max_len=1024, controller_id=1, reason=ofp.OFPR_INVALID_TTL)),
    (
        {},
        parser.NXActionController2(
            max_len=1024,
            controller_id=1,
            reason=ofp.OFPR_NO_MATCH,
            userdata=(1, 2, 3, 4, 5),
            pause=True,
        ),
    ),
    # What os-ken calls the end is how many bits there are.
    ({}, parser.NXActionStackPush("reg2", 0, 5)),
    ({}, parser.NXActionStackPop("reg2", 3, 29)),
    ({}, parser.NXActionSample(0x8000, 1, 2, 3)),
    ({}, parser.NXActionSample2(0x8000, 1, 2, 3, sampling_port=4)),
    (TCP, parser.NXActionFinTimeout(30, 60)),
    ({}, parser.NXActionConjunction(clause=1, n_clauses=3, id_=0xDEADBEEF)),
    (
        {},
        parser.NXActionMultipath(
            algorithm=nx.NX_MP_ALG_HRW, max_link=25, arg=0, ofs_nbits=half, dst="reg2", **HASHED
        ),
    ),
    (
        {},
        parser.NXActionBundle(
            algorithm=nx.NX_BD_ALG_ACTIVE_BACKUP, ofs_nbits=0, dst=0, **HASHED, **MEMBERS
        ),
    ),
    (
        {},
        parser.NXActionBundleLoad(
            algorithm=nx.NX_BD_ALG_HRW, ofs_nbits=half, dst="reg0", **HASHED, **MEMBERS
        ),
    ),
    (IP, track(table=4)),
    (IP, track(flags=nx.NX_CT_F_COMMIT, zone=7)),
    (IP, track(flags=nx.NX_CT_F_COMMIT, field="reg0", zone=half, table=5)),
    (TCP, track(flags=nx.NX_CT_F_COMMIT, zone=1, alg=21)),
    (IP, track(flags=1, actions=[parser.OFPActionSetField(ct_mark=5)])),
    (IP, track(table=3, actions=[nat(0)])),
    (
        IP,
        track(
            flags=nx.NX_CT_F_COMMIT,
            zone=9,
            table=3,
            actions=[
                nat(
                    NAT_SRC | NAT_PERSISTENT,
                    range_ipv4_min="10.1.12.0",
                    range_proto_min=1,
                    range_proto_max=1023,
                ),
                parser.OFPActionSetField(ct_mark=5),
            ],
        ),
    ),
    (
        IP,
        track(
            flags=nx.NX_CT_F_COMMIT,
            actions=[
                nat(
                    NAT_SRC,
                    range_ipv4_min="10.1.12.0",
                    range_ipv4_max="10.1.13.255",
                    range_proto_min=1,
                    range_proto_max=1023,
                )
            ],
        ),
    ),
    (
        {"eth_type": 0x86DD},
        track(
            flags=nx.NX_CT_F_COMMIT,
            actions=[nat(NAT_DST | NAT_HASH, range_ipv6_min="fd00::1")],
        ),
    ),
    ({}, parser.NXActionCTClear()),
    ({}, parser.NXActionOutputTrunc(port=1, max_len=64)),
]

# Of MPLS the specification has its own in this version, so Nicira's are no actions of it.
REFUSED = [
    parser.NXActionSetQueue(1),
    parser.NXActionPushMpls(0x8847),
    parser.NXActionPopMpls(0x0800),
    parser.NXActionSetMplsTtl(5),
    parser.NXActionDecMplsTtl(),
    parser.NXActionSetMplsLabel(5),
    parser.NXActionSetMplsTc(5),
]


def encoded(actions):
    out = bytearray()
    for action in actions:
        action.serialize(out, len(out))
    # What os-ken leaves out at the end are zeros.
    return bytes(out).ljust(-len(out) // 8 * -8, b"\0")


def add(switch, number, match, actions):
    """Adds a flow of its own table; the error, if there is one."""
    apply = parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions)
    flow = parser.OFPFlowMod(
        DATAPATH,
        cookie=number,
        table_id=100 + number,
        match=parser.OFPMatch(**match),
        instructions=[apply],
    )
    return switch.ask(flow)


def flows(switch):
    """The actions of each flow by its cookie."""
    switch.send(parser.OFPFlowStatsRequest(DATAPATH))
    told = {}
    while True:
        message = switch.receive()
        for flow in message.body:
            [apply] = flow.instructions
            told[flow.cookie] = apply.actions
        if not message.flags & ofp.OFPMPF_REPLY_MORE:
            return told


def map_options(switch):
    """Maps an option to `tun_metadata3` in the message that os-ken only frames."""
    nicira, add_map, request, reply = 0x2320, 24, 25, 26
    mapping = struct.pack("!HBBHH", 0x102, 0x80, 4, 3, 0)

    def change():
        data = struct.pack("!H6x", 0) + mapping
        return switch.ask(parser.OFPExperimenter(DATAPATH, nicira, add_map, data))

    assert change() is None
    switch.send(parser.OFPExperimenter(DATAPATH, nicira, request, b""))
    told = switch.receive()
    assert (told.experimenter, told.exp_type) == (nicira, reply), told
    assert bytes(told.data)[16:] == mapping, told
    assert change() == (ofp.OFPET_EXPERIMENTER, 20), "it is mapped already"


def main():
    switch = Switch(sys.argv[1])
    for number, (match, sent, *_) in enumerate(CASES):
        error = add(switch, number, match, [sent])
        assert error is None, (sent, error)
    told = flows(switch)
    assert len(told) == len(CASES), sorted(told)
    for number, (_, sent, *other) in enumerate(CASES):
        expected = (other or [sent])[0]
        came = told[number]
        assert [type(it) for it in came] == [type(expected)], (sent, came)
        assert encoded(came) == encoded([expected]), (expected, came)
    for action in REFUSED:
        error = add(switch, 0, TCP, [action])
        assert error == (ofp.OFPET_BAD_ACTION, ofp.OFPBAC_BAD_EXP_TYPE), (action, error)
    map_options(switch)
    print(f"{len(CASES)} actions of Nicira's came back as os-ken sent them")


if __name__ == "__main__":
    main()
