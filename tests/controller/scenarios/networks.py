"""Tenants' networks on nodes that a VLAN trunk joins: who is in a network reaches its members.

The first table knows a guest by its port and addresses, the trunk's packets by their tag, and
writes the network into reg0. The last delivers within the network, tagged over the trunk.
"""

from bridge import ARP, GROUP_BIT, IPV4, IPV6, TAGGED, UDP
from intent import Intent

DHCP_SERVER, DHCP_CLIENT = 67, 68


class Networks(Intent):
    """Intent: "guests", each with node, port, network, mac and address; "vlans" by network and the
    port "trunk" if nodes are joined. A guest with "dhcp_server" may answer who has no address."""

    # Tables: what may come in, what follows, and who gets it.
    ADMIT, NEXT, DELIVER = 0, 1, 1
    # What follows for packets of guests, if it is something else.
    GUEST = None
    # What kinds of broadcast and multicast there are.
    FLOODED = ({},)

    def program(self, bridge, wanted):
        trunk = wanted.get("trunk")
        for guest in wanted["guests"]:
            if guest["node"] == bridge.node:
                self.admit(bridge, guest)
            self.deliver(bridge, guest, trunk, wanted)
        for network in sorted({guest["network"] for guest in wanted["guests"]}):
            self.flood(bridge, network, trunk, wanted)

    def admit(self, bridge, guest):
        """What a guest may send."""
        source = {"in_port": guest["port"], "eth_src": guest["mac"]}
        network = self.known(bridge, guest)
        own = [(IPV4, "ipv4_src", guest["address"])]
        own += [(IPV6, "ipv6_src", address) for address in guest.get("ipv6", [])]
        for kind, field, address in own:
            match = {**source, "eth_type": kind, field: address}
            bridge.flow(self.ADMIT, 10, match, network, goto=self.GUEST or self.NEXT)
        says = {"eth_type": ARP, "arp_spa": guest["address"], "arp_sha": guest["mac"]}
        bridge.flow(self.ADMIT, 10, {**source, **says}, network, goto=self.GUEST or self.NEXT)
        dhcp = {**source, "eth_type": IPV4, "ip_proto": UDP}
        ask = {"ipv4_src": "0.0.0.0", "udp_src": DHCP_CLIENT, "udp_dst": DHCP_SERVER}
        bridge.flow(self.ADMIT, 10, {**dhcp, **ask}, network, goto=self.NEXT)
        if not guest.get("dhcp_server"):
            bridge.flow(self.ADMIT, 20, {**dhcp, "udp_src": DHCP_SERVER})

    def known(self, bridge, guest):
        """What is written down of a packet that a guest sends."""
        return [bridge.load(guest["network"], "reg0")]

    def deliver(self, bridge, guest, trunk, wanted):
        """To a guest, here or on another node."""
        match = {"reg0": guest["network"], "eth_dst": guest["mac"]}
        if guest["node"] == bridge.node:
            self.hand_over(bridge, match, guest)
        elif trunk:
            tag = bridge.tag(wanted["vlans"][str(guest["network"])])
            bridge.flow(self.DELIVER, 10, match, tag, self.leave(bridge, trunk))

    def hand_over(self, bridge, match, guest):
        """To a guest of this node."""
        bridge.flow(self.DELIVER, 10, match, bridge.output(guest["port"]))

    def flood(self, bridge, network, trunk, wanted):
        """Broadcast and multicast: to each member here, and once over the trunk."""
        members = [
            guest["port"]
            for guest in wanted["guests"]
            if guest["network"] == network and guest["node"] == bridge.node
        ]
        actions = bridge.outputs(members)
        if trunk:
            vlan = wanted["vlans"][str(network)]
            match = {"in_port": trunk, "vlan_vid": TAGGED | vlan}
            bridge.flow(self.ADMIT, 10, match, bridge.untag(), bridge.load(network, "reg0"), goto=self.NEXT)
            actions += [bridge.tag(vlan), self.leave(bridge, trunk)]
        match = {"reg0": network, "eth_dst": (GROUP_BIT, GROUP_BIT)}
        for kind in self.FLOODED:
            bridge.flow(self.DELIVER, 5, {**match, **kind}, actions)

    def leave(self, bridge, trunk):
        """By the trunk."""
        return bridge.output(trunk)
