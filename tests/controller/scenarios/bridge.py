"""A bridge as an application describes it: flows, groups, and words for their actions."""

import ipaddress

from os_ken.ofproto import nicira_ext

# Widths in bits of what is moved and loaded.
WIDTHS = {
    "eth_src": 48, "eth_dst": 48, "arp_sha": 48, "arp_tha": 48, "nd_sll": 48, "nd_tll": 48,
    "ipv4_src": 32, "ipv4_dst": 32, "arp_spa": 32, "arp_tpa": 32, "arp_op": 16,
    "ipv6_src": 128, "ipv6_dst": 128, "nd_target": 128, "nw_ttl": 8, "in_port": 32,
    "tunnel_id": 64, "tun_ipv4_src": 32, "tun_ipv4_dst": 32, "vlan_tci": 16,
    "ct_mark": 32, "pkt_mark": 32,
}  # fmt: skip
WIDTHS.update({f"reg{number}": 32 for number in range(16)})
ARP, IPV4, IPV6, VLAN = 0x0806, 0x0800, 0x86DD, 0x8100
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
BROADCAST, GROUP_BIT = "ff:ff:ff:ff:ff:ff", "01:00:00:00:00:00"
TAGGED = 0x1000
# Bits of ct_state, and matches on them.
NEW, ESTABLISHED, RELATED, REPLY, INVALID, TRACKED = 1, 2, 4, 8, 16, 32
IN_PORT_16 = 0xFFF8
NAT_SOURCE, NAT_DESTINATION = 1, 2
# Cookies of flows whose packets are answered with an error of ICMP: type, code and router follow.
ERROR = 0xE << 60
TIME_EXCEEDED, UNREACHABLE = (11, 0), (3, 1)


class Flow:
    """A flow that a bridge needs."""

    def __init__(self, datapath, table, priority, match, instructions, cookie=0):
        self.datapath, self.cookie = datapath, cookie
        self.table, self.priority = table, priority
        self.match, self.instructions = match, instructions

    def key(self):
        """What makes it this flow."""
        match = tuple(sorted((name, str(value)) for name, value in self.match.items()))
        return ("flow", self.table, self.priority, match)

    def flow_mod(self, command, instructions):
        """As a message."""
        ofproto, parser = self.datapath.ofproto, self.datapath.ofproto_parser
        return parser.OFPFlowMod(
            datapath=self.datapath, table_id=self.table, priority=self.priority,
            command=command, match=parser.OFPMatch(**self.match), instructions=instructions,
            out_port=ofproto.OFPP_ANY, out_group=ofproto.OFPG_ANY, cookie=self.cookie,
        )  # fmt: skip

    def message(self, _present):
        """What adds or replaces it."""
        return self.flow_mod(self.datapath.ofproto.OFPFC_ADD, self.instructions)

    def removal(self):
        """What takes it away."""
        return self.flow_mod(self.datapath.ofproto.OFPFC_DELETE_STRICT, [])

    def bytes(self):
        """All that is said of it."""
        message = self.message(None)
        message.set_xid(0)
        message.serialize()
        return bytes(message.buf)


class Group:
    """A group that a bridge needs."""

    def __init__(self, datapath, number, kind, buckets):
        self.datapath, self.number, self.kind, self.buckets = datapath, number, kind, buckets

    def group_mod(self, command, buckets):
        """As a message."""
        ofproto, parser = self.datapath.ofproto, self.datapath.ofproto_parser
        kind = {"all": ofproto.OFPGT_ALL, "select": ofproto.OFPGT_SELECT, "ff": ofproto.OFPGT_FF}
        return parser.OFPGroupMod(self.datapath, command, kind[self.kind], self.number, buckets)

    def message(self, present):
        """What adds it, or changes the one that is there."""
        ofproto = self.datapath.ofproto
        command = ofproto.OFPGC_ADD if present is None else ofproto.OFPGC_MODIFY
        return self.group_mod(command, self.buckets)

    def removal(self):
        """What takes it away."""
        return self.group_mod(self.datapath.ofproto.OFPGC_DELETE, [])

    def bytes(self):
        """All that is said of it."""
        message = self.message(None)
        message.set_xid(0)
        message.serialize()
        return bytes(message.buf)


class Bridge:
    """Collects what a bridge needs; `described` is what the intent says of this bridge."""

    def __init__(self, datapath, described):
        self.datapath, self.described = datapath, described or {}
        self.node, self.name = self.described.get("node"), self.described.get("name")
        self.ofproto, self.parser = datapath.ofproto, datapath.ofproto_parser
        self.needed = {}

    def clear(self):
        """Messages that take all flows and groups away."""
        flows = Flow(self.datapath, self.ofproto.OFPTT_ALL, 0, {}, [])
        yield flows.flow_mod(self.ofproto.OFPFC_DELETE, [])
        groups = Group(self.datapath, self.ofproto.OFPG_ALL, "all", [])
        yield groups.removal()

    def flow(self, table, priority, match, *actions, goto=None, cookie=0):
        """A flow; without actions and `goto` it drops."""
        instructions = []
        actions = flat(actions)
        if actions:
            apply = self.ofproto.OFPIT_APPLY_ACTIONS
            instructions.append(self.parser.OFPInstructionActions(apply, actions))
        if goto is not None:
            instructions.append(self.parser.OFPInstructionGotoTable(goto))
        flow = Flow(self.datapath, table, priority, dict(match), instructions, cookie)
        assert flow.key() not in self.needed, f"twice: {flow.key()}"
        self.needed[flow.key()] = flow

    def group(self, number, kind, *buckets):
        """A group of (actions, port to watch or None, weight)."""
        made = []
        for actions, watched, weight in buckets:
            watch_port = self.ofproto.OFPP_ANY if watched is None else watched
            made.append(
                self.parser.OFPBucket(
                    weight=weight if kind == "select" else 0, watch_port=watch_port,
                    watch_group=self.ofproto.OFPG_ANY, actions=flat(actions),
                )  # fmt: skip
            )
        self.needed = {("group", number): Group(self.datapath, number, kind, made), **self.needed}

    def output(self, port):
        """To a port by number or name of OpenFlow: "LOCAL", "IN_PORT", "NORMAL"."""
        number = port if isinstance(port, int) else getattr(self.ofproto, f"OFPP_{port}")
        return self.parser.OFPActionOutput(number, self.ofproto.OFPCML_NO_BUFFER)

    def outputs(self, ports):
        """Copies to several ports."""
        return [self.output(port) for port in ports]

    def to_group(self, number):
        """To a group."""
        return self.parser.OFPActionGroup(number)

    def set(self, **fields):
        """Sets fields in the order given."""
        return [self.parser.OFPActionSetField(**{name: value}) for name, value in fields.items()]

    def load(self, value, field, first=0, last=None):
        """Loads bits of a field, all if not said which."""
        last = WIDTHS[field] - 1 if last is None else last
        return self.parser.NXActionRegLoad(nicira_ext.ofs_nbits(first, last), field, value)

    def move(self, source, target, bits=None, source_first=0, target_first=0):
        """Copies bits of a field to another, as many as the narrower has if not said."""
        bits = bits or min(WIDTHS[source], WIDTHS[target])
        return self.parser.NXActionRegMove(
            src_field=source, dst_field=target, n_bits=bits,
            src_ofs=source_first, dst_ofs=target_first,
        )  # fmt: skip

    def resubmit(self, table):
        """Through a table and back."""
        return self.parser.NXActionResubmitTable(IN_PORT_16, table)

    def tag(self, vlan):
        """Pushes a VLAN tag."""
        return [self.parser.OFPActionPushVlan(VLAN), *self.set(vlan_vid=TAGGED | vlan)]

    def untag(self):
        """Pops the outer VLAN tag."""
        return self.parser.OFPActionPopVlan()

    def route(self, source, target):
        """What a router does to a packet: one hop less, and Ethernet addresses of the next link."""
        return [self.parser.OFPActionDecNwTtl(), *self.set(eth_src=source, eth_dst=target)]

    def track(self, zone, table=None, commit=False, nat=None, actions=()):
        """ct(): through the connection tracker in a zone, a number or the register that has it, and
        on in a table; `nat` is ("src" or "dst", address), () for what was decided before."""
        number = isinstance(zone, int)
        nested = list(actions)
        if nat is not None:
            nested.append(self.translate(*nat))
        return self.parser.NXActionCT(
            flags=nicira_ext.NX_CT_F_COMMIT if commit else 0,
            zone_src="" if number else zone,
            zone_ofs_nbits=zone if number else nicira_ext.ofs_nbits(0, 15),
            recirc_table=nicira_ext.NX_CT_RECIRC_NONE if table is None else table,
            alg=0, actions=nested,
        )  # fmt: skip

    def translate(self, direction=None, address=""):
        """nat(), within ct()."""
        flags = {"src": NAT_SOURCE, "dst": NAT_DESTINATION}
        return self.parser.NXActionNAT(flags=flags.get(direction, 0), range_ipv4_min=address)

    def answer_arp(self, table, priority, match, address, mac):
        """Answers who asks for `address` with `mac`."""
        self.flow(
            table, priority, {**match, "eth_type": ARP, "arp_op": 1, "arp_tpa": address},
            self.move("eth_src", "eth_dst"), self.set(eth_src=mac, arp_op=2),
            self.move("arp_sha", "arp_tha"), self.move("arp_spa", "arp_tpa"),
            self.set(arp_sha=mac, arp_spa=address), self.output("IN_PORT"),
        )  # fmt: skip

    def answer_ping(self, table, priority, match, address, mac):
        """Answers echo requests for `address`, which belongs to a router with `mac`."""
        echo = {"eth_type": IPV4, "ip_proto": ICMP, "icmpv4_type": 8, "ipv4_dst": address}
        self.flow(
            table, priority, {**match, "eth_dst": mac, **echo},
            self.move("eth_src", "eth_dst"), self.set(eth_src=mac),
            self.move("ipv4_src", "ipv4_dst"), self.set(ipv4_src=address, icmpv4_type=0),
            self.load(64, "nw_ttl"), self.output("IN_PORT"),
        )  # fmt: skip


    def answer_error(self, table, priority, match, kind, code, router):
        """Has the controller answer what matches with an error of ICMP from the address `router`:
        the cookie says which."""
        error = ERROR | kind << 40 | code << 32 | int(ipaddress.IPv4Address(router))
        self.flow(table, priority, match, self.output("CONTROLLER"), cookie=error)


def flat(actions):
    """Actions out of lists of lists."""
    result = []
    for action in actions:
        result += flat(action) if isinstance(action, (list, tuple)) else [action]
    return result
