"""A tenant's network that learns addresses by itself, so that a router's address may move; what
only a router may say is heard from routers' ports alone. The bridge to the outside, br-ex, learns.
"""

from bridge import ARP, IPV4, TAGGED
from intent import Intent

VRRP = 112


class Redundancy(Intent):
    """Intent: "routers", ports of network nodes by node; "gateway" with address and mac; "trunk",
    the port that joins nodes, and its "vlan"."""

    def program(self, bridge, wanted):
        gateway, trunk = wanted["gateway"], wanted["trunk"]
        normal = bridge.output("NORMAL")
        if bridge.name == "br-ex":
            bridge.flow(0, 0, {}, normal)
            return
        trusted = [{"in_port": port} for port in wanted["routers"].get(str(bridge.node), [])]
        trusted.append({"in_port": trunk, "vlan_vid": TAGGED | wanted["vlan"]})
        for match in trusted:
            bridge.flow(0, 20, match, normal)
        bridge.flow(0, 15, {"in_port": trunk})
        bridge.flow(0, 10, {"eth_type": IPV4, "ip_proto": VRRP})
        bridge.flow(0, 10, {"eth_type": ARP, "arp_spa": gateway["address"]})
        bridge.flow(0, 10, {"eth_src": gateway["mac"]})
        bridge.flow(0, 0, {}, normal)
