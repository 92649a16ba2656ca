"""Networks without layer 2: each guest has its address alone, all have the same gateway, which the
switch is, and what is for no guest of the node goes to the node's kernel, which has the routes.
"""

from bridge import ARP, IPV4
from intent import Intent

GATEWAY, GATEWAY_MAC = "169.254.1.1", "ee:ee:ee:ee:ee:ee"
ROUTE = 1


class Fabric(Intent):
    """Intent: "guests", each with node, port, mac and address; "node_mac" of every LOCAL port."""

    def program(self, bridge, wanted):
        local = {"in_port": bridge.ofproto.OFPP_LOCAL}
        bridge.flow(0, 10, {**local, "eth_type": IPV4}, goto=ROUTE)
        for guest in wanted["guests"]:
            if guest["node"] != bridge.node:
                continue
            source = {"in_port": guest["port"], "eth_src": guest["mac"]}
            own = {**source, "eth_type": ARP, "arp_spa": guest["address"]}
            bridge.answer_arp(0, 20, own, GATEWAY, GATEWAY_MAC)
            bridge.answer_arp(0, 20, local, guest["address"], GATEWAY_MAC)
            own = {**source, "eth_type": IPV4, "ipv4_src": guest["address"]}
            bridge.flow(0, 10, {**own, "eth_dst": GATEWAY_MAC}, goto=ROUTE)
            to_guest = {"eth_type": IPV4, "ipv4_dst": guest["address"]}
            hop = bridge.route(GATEWAY_MAC, guest["mac"])
            bridge.flow(ROUTE, 10, to_guest, hop, bridge.output(guest["port"]))
            # The kernel is a hop of its own.
            rewrite = bridge.set(eth_src=GATEWAY_MAC, eth_dst=guest["mac"])
            bridge.flow(ROUTE, 20, {**local, **to_guest}, rewrite, bridge.output(guest["port"]))
        bridge.flow(ROUTE, 15, local)
        to_kernel = bridge.set(eth_src=GATEWAY_MAC, eth_dst=wanted["node_mac"])
        bridge.flow(ROUTE, 1, {}, to_kernel, bridge.output("LOCAL"))
