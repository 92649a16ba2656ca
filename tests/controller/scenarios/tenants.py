"""Tenants' networks of every kind, in the tables of Neutron's agent.

On br-int a network is a VLAN that the node chose; ports are in it by their own settings. br-ex gives
it the provider's VLAN, or none, and br-tun the key of a tunnel network. br-tun sends what it does not
know to every other node, and what came by a tunnel to br-int alone.
"""

from bridge import ARP, BROADCAST, GROUP_BIT, TAGGED
from intent import Intent

# Ports of br-int, br-tun and br-ex.
TO_TUNNELS, TO_PROVIDER = 100, 101
TO_GUESTS = 1
TO_INTEGRATION, UPLINK = 100, 1
# Tunnel ports to a node have this number and the node's; what comes by them enters here.
TUNNELS = {"gre": 200, "vxlan": 100, "geneve": 300}
ENTER = {"gre": 3, "vxlan": 4, "geneve": 6}
UNICAST = ("00:00:00:00:00:00", GROUP_BIT)
MULTICAST = (GROUP_BIT, GROUP_BIT)
LEARNED_S = 300


class Tenants(Intent):
    """Intent: "nodes"; "networks" by number, each with its "kind", its "segment" (VLAN or key, 0 for
    none) and its "local" VLAN by node; "guests" with node, network, mac and address. With
    "prepopulated" br-tun is told who is where, and learns nothing."""

    # br-int.
    LIMIT_PACKETS, LIMIT_BANDWIDTH, SWITCH, DEAD_VLAN = 58, 59, 60, TAGGED | 0xFFF
    # br-tun.
    FROM_GUESTS, LEARN, KNOWN, RESPOND, FLOOD = 2, 10, 20, 21, 22

    def program(self, bridge, wanted):
        networks = [
            {**network, "number": int(number), "tag": network["local"][str(bridge.node)]}
            for number, network in wanted["networks"].items()
        ]
        provider = [network for network in networks if network["kind"] not in TUNNELS]
        tunnelled = [network for network in networks if network["kind"] in TUNNELS]
        if bridge.name == "br-int":
            self.integrate(bridge, provider)
        elif bridge.name == "br-ex":
            self.provide(bridge, provider)
        elif bridge.name == "br-tun":
            self.tunnel(bridge, tunnelled, wanted)
        else:
            bridge.flow(0, 0, {}, bridge.output("NORMAL"))

    def integrate(self, bridge, provider):
        """br-int: local VLANs for those of the provider; what no network has does not come in."""
        bridge.flow(0, 65535, {"vlan_vid": self.DEAD_VLAN})
        bridge.flow(0, 2, {"in_port": TO_PROVIDER})
        for network in provider:
            tagged = network["segment"] and TAGGED | network["segment"]
            match = {"in_port": TO_PROVIDER, "vlan_vid": tagged}
            local = bridge.set(vlan_vid=TAGGED | network["tag"])
            change = local if tagged else bridge.tag(network["tag"])
            bridge.flow(0, 3, match, change, goto=self.LIMIT_PACKETS)
        bridge.flow(0, 0, {}, goto=self.LIMIT_PACKETS)
        bridge.flow(self.LIMIT_PACKETS, 0, {}, goto=self.LIMIT_BANDWIDTH)
        bridge.flow(self.LIMIT_BANDWIDTH, 0, {}, goto=self.SWITCH)
        bridge.flow(self.SWITCH, 3, {}, bridge.output("NORMAL"))

    def provide(self, bridge, provider):
        """br-ex: the provider's VLANs for local ones; no other leaves."""
        bridge.flow(0, 0, {}, bridge.output("NORMAL"))
        bridge.flow(0, 2, {"in_port": TO_INTEGRATION})
        for network in provider:
            match = {"in_port": TO_INTEGRATION, "vlan_vid": TAGGED | network["tag"]}
            segment = network["segment"]
            change = bridge.set(vlan_vid=TAGGED | segment) if segment else bridge.untag()
            bridge.flow(0, 4, match, change, bridge.output("NORMAL"))

    def tunnel(self, bridge, networks, wanted):
        """br-tun: from guests to tunnels and back, never from tunnel to tunnel."""
        others = [node for node in wanted["nodes"] if node != bridge.node]
        bridge.flow(0, 1, {"in_port": TO_GUESTS}, goto=self.FROM_GUESTS)
        bridge.flow(0, 0, {})
        bridge.flow(self.FROM_GUESTS, 0, {"eth_dst": UNICAST}, goto=self.KNOWN)
        bridge.flow(self.FROM_GUESTS, 0, {"eth_dst": MULTICAST}, goto=self.FLOOD)
        for kind, table in ENTER.items():
            for node in others:
                bridge.flow(0, 1, {"in_port": TUNNELS[kind] + node}, goto=table)
            bridge.flow(table, 0, {})
        bridge.flow(self.KNOWN, 0, {}, goto=self.FLOOD)
        bridge.flow(self.FLOOD, 0, {})
        learn = [] if wanted["prepopulated"] else self.learn(bridge)
        bridge.flow(self.LEARN, 1, {}, learn, bridge.output(TO_GUESTS))
        for network in networks:
            enter = bridge.tag(network["tag"])
            match = {"tunnel_id": network["segment"]}
            bridge.flow(ENTER[network["kind"]], 1, match, enter, goto=self.LEARN)
            members = [
                guest for guest in wanted["guests"]
                if guest["network"] == network["number"] and guest["node"] != bridge.node
            ]  # fmt: skip
            there = others
            if wanted["prepopulated"]:
                there = sorted({guest["node"] for guest in members})
                for guest in members:
                    self.populate(bridge, network, guest)
            self.leave(bridge, self.FLOOD, 1, network, {}, there)
        if wanted["prepopulated"]:
            asked = {"eth_type": ARP, "eth_dst": BROADCAST}
            bridge.flow(self.FROM_GUESTS, 1, asked, goto=self.RESPOND)
            bridge.flow(self.RESPOND, 0, {}, goto=self.FLOOD)

    def leave(self, bridge, table, priority, network, match, nodes):
        """To nodes by the network's tunnels, without its local VLAN and with its key."""
        match = {"vlan_vid": TAGGED | network["tag"], **match}
        ports = [TUNNELS[network["kind"]] + node for node in nodes]
        change = [bridge.untag(), bridge.set(tunnel_id=network["segment"])]
        bridge.flow(table, priority, match, change if ports else [], bridge.outputs(ports))

    def populate(self, bridge, network, guest):
        """Where a guest of another node is, and what his node would answer who asks for him."""
        to_guest = {"eth_dst": guest["mac"]}
        self.leave(bridge, self.KNOWN, 2, network, to_guest, [guest["node"]])
        of_network = {"vlan_vid": TAGGED | network["tag"]}
        bridge.answer_arp(self.RESPOND, 1, of_network, guest["address"], guest["mac"])

    def learn(self, bridge):
        """Who sent this is reached by the tunnel it came by."""
        parser = bridge.parser
        load = parser.NXFlowSpecLoad
        match = parser.NXFlowSpecMatch
        specs = [
            match(src=("vlan_tci", 0), dst=("vlan_tci", 0), n_bits=12),
            match(src=("eth_src", 0), dst=("eth_dst", 0), n_bits=48),
            load(src=0, dst=("vlan_tci", 0), n_bits=16),
            load(src=("tunnel_id", 0), dst=("tunnel_id", 0), n_bits=64),
            parser.NXFlowSpecOutput(src=("in_port", 0), dst="", n_bits=32),
        ]
        return parser.NXActionLearn(
            table_id=self.KNOWN, specs=specs, hard_timeout=LEARNED_S, priority=1
        )
