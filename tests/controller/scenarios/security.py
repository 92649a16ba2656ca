"""Security groups: what a guest sends may leave, what is for it must be allowed, answers pass.

Each guest has a zone of its own for connection tracking: a packet passes the zone of who sends it
and the zone of who gets it. A connection that was allowed and is not any more is marked, and then
nothing of it passes, either way.
"""

import ipaddress

from bridge import ARP, ESTABLISHED, ICMPV6, INVALID, IPV4, IPV6, NEW, RELATED, REPLY, TRACKED
from bridge import TCP, UDP
from networks import Networks
from routers import prefix

PORTS = {TCP: "tcp_dst", UDP: "udp_dst"}
ICMPV6_ROUTER, ICMPV6_NEIGHBOUR = (133, 134), (135, 136)
REVOKED = 1


def state(wanted, unwanted=0):
    """A match on ct_state: these bits set, those clear."""
    return {"ct_state": (TRACKED | wanted, TRACKED | wanted | unwanted)}


class Security(Networks):
    """Intent besides that of Networks: a guest's "zone", the "groups" it is in, and its "rules",
    each of a "family" (4 if left out) and, if these are said, a "protocol", a "port" or a range of
    "ports", and from a prefix ("from") or from the members of a "group". "elsewhere" has addresses
    of a group's members that are no guests of these nodes."""

    NEXT = DELIVER = 15
    OUT, OUT_KNOWN, IN, IN_KNOWN, HAND_OVER = 1, 2, 20, 21, 22
    GUEST = OUT
    FLOODED = ({"eth_type": ARP}, *(
        {"eth_type": IPV6, "ip_proto": ICMPV6, "icmpv6_type": kind} for kind in ICMPV6_NEIGHBOUR
    ))  # fmt: skip

    def program(self, bridge, wanted):
        super().program(bridge, wanted)
        self.sent_by_guests(bridge)
        self.sent_to_guests(bridge)
        for guest in wanted["guests"]:
            if guest["node"] != bridge.node:
                continue
            self.guard_neighbours(bridge, guest)
            zone = {"reg14": guest["zone"]}
            bridge.flow(self.HAND_OVER, 10, zone, bridge.output(guest["port"]))
            for number, rule in enumerate(guest.get("rules", [])):
                self.allow(bridge, guest, rule, guest["zone"] << 8 | number, wanted)

    def known(self, bridge, guest):
        """What is written down of a packet that a guest sends."""
        return [*super().known(bridge, guest), bridge.load(guest["zone"], "reg13")]

    def hand_over(self, bridge, match, guest):
        """To a guest of this node, if it is allowed."""
        bridge.flow(self.DELIVER, 10, match, bridge.load(guest["zone"], "reg14"), goto=self.IN)

    def guard_neighbours(self, bridge, guest):
        """A guest tells of its own IPv6 addresses alone, and is no router."""
        ndp = {"in_port": guest["port"], "eth_type": IPV6, "ip_proto": ICMPV6}
        bridge.flow(self.ADMIT, 30, {**ndp, "icmpv6_type": ICMPV6_ROUTER[1]})
        bridge.flow(self.ADMIT, 30, {**ndp, "icmpv6_type": ICMPV6_NEIGHBOUR[1]})
        ndp = {"in_port": guest["port"], "eth_src": guest["mac"], **ndp}
        for address in guest.get("ipv6", []):
            own = {
                **ndp, "icmpv6_type": ICMPV6_NEIGHBOUR[1], "ipv6_nd_target": address,
                "ipv6_src": address,
            }  # fmt: skip
            bridge.flow(self.ADMIT, 35, own, self.known(bridge, guest), goto=self.NEXT)

    def sent_by_guests(self, bridge):
        """All that makes sense may leave, but for what was revoked."""
        self.track_ip(bridge, self.OUT, "reg13", self.OUT_KNOWN, self.NEXT)
        self.pass_known(bridge, self.OUT_KNOWN, self.NEXT)
        unmarked = {"ct_mark": 0}
        going = state(ESTABLISHED, REPLY)
        bridge.flow(self.OUT_KNOWN, 20, {**going, **unmarked}, goto=self.NEXT)
        commit = bridge.track("reg13", commit=True)
        for kind in (IPV4, IPV6):
            new = {"eth_type": kind, **state(NEW)}
            bridge.flow(self.OUT_KNOWN, 20, new, commit, goto=self.NEXT)

    def sent_to_guests(self, bridge):
        """What no rule allows ends; if it was allowed before, all of its connection does."""
        self.track_ip(bridge, self.IN, "reg14", self.IN_KNOWN, self.HAND_OVER)
        self.pass_known(bridge, self.IN_KNOWN, self.HAND_OVER)
        mark = bridge.track("reg14", commit=True, actions=[bridge.load(REVOKED, "ct_mark")])
        for kind in (IPV4, IPV6):
            bridge.flow(self.IN_KNOWN, 10, {"eth_type": kind, **state(ESTABLISHED)}, mark)

    def track_ip(self, bridge, table, zone, known, untracked):
        """IP through the connection tracker; what finds neighbours, and all else, is not tracked."""
        for kind in (IPV4, IPV6):
            bridge.flow(table, 10, {"eth_type": kind}, bridge.track(zone, known))
        for kind in (*ICMPV6_ROUTER, *ICMPV6_NEIGHBOUR):
            ndp = {"eth_type": IPV6, "ip_proto": ICMPV6, "icmpv6_type": kind}
            bridge.flow(table, 20, ndp, goto=untracked)
        bridge.flow(table, 0, {}, goto=untracked)

    def pass_known(self, bridge, table, after):
        """Answers, and errors that belong to a connection."""
        unmarked = {"ct_mark": 0}
        bridge.flow(table, 50, state(INVALID))
        bridge.flow(table, 40, {**state(ESTABLISHED | REPLY), **unmarked}, goto=after)
        bridge.flow(table, 40, {**state(RELATED), **unmarked}, goto=after)

    def allow(self, bridge, guest, rule, number, wanted):
        """What a rule allows: from a prefix, or from members of a group by a conjunction."""
        kind = IPV6 if rule.get("family") == 6 else IPV4
        source = "ipv6_src" if kind == IPV6 else "ipv4_src"
        to_guest = {"reg14": guest["zone"], "eth_type": kind}
        what = {**to_guest}
        if "protocol" in rule:
            what["ip_proto"] = rule["protocol"]
        if "group" not in rule:
            if "from" in rule:
                what[source] = prefix6(rule["from"]) if kind == IPV6 else prefix(rule["from"])
            for service in services(what, rule):
                self.admit_new(bridge, 30, service, guest)
            return
        conjunction = bridge.parser.NXActionConjunction
        for service in services(what, rule):
            clause = conjunction(clause=1, n_clauses=2, id_=number)
            bridge.flow(self.IN_KNOWN, 31, service, clause)
        for address in members(rule["group"], kind, wanted):
            clause = conjunction(clause=0, n_clauses=2, id_=number)
            bridge.flow(self.IN_KNOWN, 31, {**to_guest, source: address}, clause)
        self.admit_new(bridge, 31, {"conj_id": number, "eth_type": kind}, guest)

    def admit_new(self, bridge, priority, match, guest):
        """New connections, and those that are allowed still."""
        going = {**match, **state(ESTABLISHED, REPLY), "ct_mark": 0}
        bridge.flow(self.IN_KNOWN, priority, going, goto=self.HAND_OVER)
        commit = bridge.track(guest["zone"], commit=True)
        new = {**match, **state(NEW)}
        bridge.flow(self.IN_KNOWN, priority, new, commit, goto=self.HAND_OVER)


def services(match, rule):
    """A match for each block of ports that a rule's port or ports are made of."""
    if "port" not in rule and "ports" not in rule:
        return [match]
    first, last = rule.get("ports", [rule.get("port")] * 2)
    return [{**match, PORTS[rule["protocol"]]: block} for block in blocks(first, last)]


def blocks(first, last):
    """The fewest values with masks that make a range of ports."""
    while first <= last:
        size = first & -first or 1 << 16
        while first + size - 1 > last:
            size >>= 1
        yield first if size == 1 else (first, 0x10000 - size)
        first += size


def members(group, kind, wanted):
    """Addresses of a group's members."""
    for guest in wanted["guests"]:
        if group in guest.get("groups", []):
            yield from [guest["address"]] if kind == IPV4 else guest.get("ipv6", [])
    if kind == IPV4:
        yield from wanted.get("elsewhere", {}).get(group, [])


def prefix6(text):
    """A prefix of IPv6 for a match."""
    network = ipaddress.IPv6Network(text)
    return str(network.network_address), str(network.netmask)
