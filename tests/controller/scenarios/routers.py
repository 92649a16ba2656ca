"""Networks joined by routers that every node has: DVR, east to west.

A packet for the gateway's MAC is routed where it comes in. What is routed and leaves by the trunk
has the node's own MAC for its source, so that switches between see each MAC at one place; the node
where it arrives gives it the gateway's MAC again. The node of the target's guest answers for
nothing: the way back is routed at its own end.
"""

from bridge import IPV4, TAGGED, TIME_EXCEEDED, UNREACHABLE
from errors import Errors
from networks import Networks

GATEWAY_MAC = "02:00:00:00:ff:fe"


class Routers(Networks, Errors):
    """Intent besides that of Networks: "subnets" by network, each with its "prefix" and "gateway",
    its "router", and "absent", a list of nodes that do not have it; "node_macs" by node."""

    ADMIT, NEXT, ROUTE, NEIGHBOUR, DELIVER, LEAVE = 0, 10, 11, 12, 15, 30

    def program(self, bridge, wanted):
        super().program(bridge, wanted)
        subnets = {int(network): subnet for network, subnet in wanted["subnets"].items()}
        here = {
            network: subnet
            for network, subnet in subnets.items()
            if bridge.node not in subnet.get("absent", [])
        }
        bridge.flow(self.NEXT, 0, {}, goto=self.DELIVER)
        for network, subnet in here.items():
            self.gateway(bridge, network, subnet["gateway"])
            for target, other in here.items():
                if other["router"] == subnet["router"]:
                    self.route(bridge, network, target, other)
        self.neighbours(bridge, here, wanted)
        self.between_nodes(bridge, wanted)

    def gateway(self, bridge, network, gateway):
        """A network's router as its guests see it."""
        of_network, mac = {"reg0": network}, GATEWAY_MAC
        bridge.answer_arp(self.NEXT, 30, of_network, gateway, mac)
        bridge.answer_ping(self.NEXT, 30, of_network, gateway, mac)
        to_router = {**of_network, "eth_dst": mac, "eth_type": IPV4}
        for ttl in (0, 1):
            # NXM's fields come first in a match, and what they need before them in NXM's spelling.
            exceeded = {**of_network, "eth_dst": mac, "eth_type_nxm": IPV4, "nw_ttl": ttl}
            bridge.answer_error(self.NEXT, 20, exceeded, *TIME_EXCEEDED, gateway)
        bridge.flow(self.NEXT, 10, to_router, goto=self.ROUTE)
        bridge.answer_error(self.ROUTE, 1, of_network, *UNREACHABLE, gateway)

    def route(self, bridge, network, target, subnet):
        """From a network to another, or back into the same; who is there is seen later."""
        match = {"reg0": network, "eth_type": IPV4, "ipv4_dst": prefix(subnet["prefix"])}
        # Whoever answers that there is no such guest answers in the name of the first router.
        bridge.flow(
            self.ROUTE, 10, match, bridge.load(network, "reg1"), bridge.load(target, "reg0"),
            goto=self.NEIGHBOUR,
        )  # fmt: skip

    def neighbours(self, bridge, here, wanted):
        """The last hop: a guest's MAC by its address, or nobody."""
        for guest in wanted["guests"]:
            if guest["network"] in here:
                match = {"reg0": guest["network"], "eth_type": IPV4, "ipv4_dst": guest["address"]}
                hop = bridge.route(GATEWAY_MAC, guest["mac"])
                bridge.flow(self.NEIGHBOUR, 10, match, hop, goto=self.DELIVER)
        for network, subnet in here.items():
            match = {"reg1": network}
            bridge.answer_error(self.NEIGHBOUR, 1, match, *UNREACHABLE, subnet["gateway"])

    def between_nodes(self, bridge, wanted):
        """The gateway's MAC stays on its node."""
        trunk, macs = wanted.get("trunk"), wanted.get("node_macs", {})
        if not trunk:
            return
        own = macs[str(bridge.node)]
        bridge.flow(
            self.LEAVE, 10, {"eth_src": GATEWAY_MAC}, bridge.set(eth_src=own), bridge.output(trunk)
        )
        bridge.flow(self.LEAVE, 0, {}, bridge.output(trunk))
        for node, mac in macs.items():
            if int(node) == bridge.node:
                continue
            for network, vlan in wanted["vlans"].items():
                match = {"in_port": trunk, "eth_src": mac, "vlan_vid": TAGGED | vlan}
                enter = [bridge.untag(), bridge.set(eth_src=GATEWAY_MAC)]
                reg = bridge.load(int(network), "reg0")
                bridge.flow(self.ADMIT, 15, match, enter, reg, goto=self.DELIVER)

    def leave(self, bridge, _trunk):
        """By the trunk, with the node's MAC if it was routed."""
        return bridge.resubmit(self.LEAVE)


def prefix(text):
    """A prefix for a match."""
    address, length = text.split("/")
    ones = (0xFFFFFFFF << (32 - int(length))) & 0xFFFFFFFF
    return address, ".".join(str(ones >> shift & 0xFF) for shift in (24, 16, 8, 0))
