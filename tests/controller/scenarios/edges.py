"""Routers with a way out: floating addresses where the guest is, one address for all others of a
router at its network node.

Each floating address and each router has a zone of its own for connection tracking, so tenants may
have the same addresses.
"""

from bridge import ESTABLISHED, IPV4, TAGGED
from routers import Routers, prefix
from security import state


class Edges(Routers):
    """Intent besides that of Routers: "edge" with port, the "macs" of nodes there and the "gateway"
    MAC; "routers" with "zone", "address" and network "node"; a guest's "floating" address and its
    "floating_zone"."""

    OUTSIDE, ENTER, RETURNED = 25, 26, 27

    def program(self, bridge, wanted):
        super().program(bridge, wanted)
        edge = wanted["edge"]
        for number, router in wanted["routers"].items():
            self.share_address(bridge, wanted, int(number), router)
        for guest in wanted["guests"]:
            if "floating" in guest:
                self.float_address(bridge, wanted, guest)
        leave = bridge.set(eth_src=edge["macs"][str(bridge.node)], eth_dst=edge["gateway"])
        bridge.flow(self.OUTSIDE, 0, {}, leave, bridge.output(edge["port"]))

    def public(self, bridge, edge, address):
        """An address that this node has at the edge."""
        from_outside = {"in_port": edge["port"]}
        mac = edge["macs"][str(bridge.node)]
        bridge.answer_arp(self.ADMIT, 40, from_outside, address, mac)
        match = {**from_outside, "eth_dst": mac, "eth_type": IPV4, "ipv4_dst": address}
        bridge.flow(self.ADMIT, 40, match, goto=self.ENTER)

    def float_address(self, bridge, wanted, guest):
        """Both ways between a guest and its floating address, on the guest's node."""
        edge, floating, zone = wanted["edge"], guest["floating"], guest["floating_zone"]
        to_floating = {"eth_type": IPV4, "ipv4_dst": floating}
        own, there = edge["macs"][str(bridge.node)], edge["macs"][str(guest["node"])]
        if guest["node"] != bridge.node:
            leave = bridge.set(eth_src=own, eth_dst=there)
            bridge.flow(self.OUTSIDE, 10, to_floating, leave, bridge.output(edge["port"]))
            return
        bridge.flow(self.OUTSIDE, 10, to_floating, goto=self.ENTER)
        self.public(bridge, edge, floating)
        enter = bridge.track(zone, self.NEIGHBOUR, commit=True, nat=("dst", guest["address"]))
        bridge.flow(self.ENTER, 10, to_floating, bridge.load(guest["network"], "reg0"), enter)
        leave = bridge.track(zone, self.OUTSIDE, commit=True, nat=("src", floating))
        match = {"reg0": guest["network"], "eth_type": IPV4, "ipv4_src": guest["address"]}
        bridge.flow(self.ROUTE, 5, match, bridge.parser.OFPActionDecNwTtl(), leave)

    def share_address(self, bridge, wanted, number, router):
        """The way out of all guests of a router that have no floating address."""
        edge, zone, here = wanted["edge"], router["zone"], router["node"] == bridge.node
        to_router = {"eth_type": IPV4, "ipv4_dst": router["address"]}
        if here:
            self.public(bridge, edge, router["address"])
            back = bridge.track(zone, self.RETURNED, nat=())
            bridge.flow(self.ENTER, 10, to_router, back)
        for network, subnet in wanted["subnets"].items():
            if subnet["router"] != number:
                continue
            of_network = {"reg0": int(network), "eth_type": IPV4}
            if not here:
                self.to_network_node(bridge, wanted, int(network), router["node"])
                continue
            out = bridge.track(zone, self.OUTSIDE, commit=True, nat=("src", router["address"]))
            bridge.flow(self.ROUTE, 3, of_network, bridge.parser.OFPActionDecNwTtl(), out)
            # Only what answers one of its guests comes in.
            answer = {
                "ct_zone": zone, **state(ESTABLISHED), "eth_type": IPV4,
                "ipv4_dst": prefix(subnet["prefix"]),
            }  # fmt: skip
            load = bridge.load(int(network), "reg0")
            bridge.flow(self.RETURNED, 10, answer, load, bridge.resubmit(self.NEIGHBOUR))
            self.from_other_nodes(bridge, wanted, int(network))

    def to_network_node(self, bridge, wanted, network, node):
        """Over the trunk, from router to router."""
        macs = wanted["node_macs"]
        hop = bridge.set(eth_src=macs[str(bridge.node)], eth_dst=macs[str(node)])
        tag = bridge.tag(wanted["vlans"][str(network)])
        match = {"reg0": network, "eth_type": IPV4}
        bridge.flow(self.ROUTE, 3, match, hop, tag, bridge.output(wanted["trunk"]))

    def from_other_nodes(self, bridge, wanted, network):
        """What comes over the trunk for this node's router."""
        if "trunk" not in wanted:
            return
        tagged = TAGGED | wanted["vlans"][str(network)]
        own = wanted["node_macs"][str(bridge.node)]
        match = {"in_port": wanted["trunk"], "eth_dst": own, "vlan_vid": tagged}
        load = bridge.load(network, "reg0")
        bridge.flow(self.ADMIT, 20, match, bridge.untag(), load, goto=self.ROUTE)
