"""Metadata: what guests ask of 169.254.169.254 goes to a proxy on the node, which sees by the source
address, one for each guest of whatever tenant, who asks.
"""

from bridge import ARP, IPV4, TCP
from networks import Networks

METADATA, HTTP = "169.254.169.254", 80
METADATA_MAC = "02:00:00:00:ff:a9"


class Metadata(Networks):
    """Intent besides that of Networks: "proxy" with port, mac, address and tcp; a guest's "known_as",
    the address by which the proxy knows him."""

    def program(self, bridge, wanted):
        super().program(bridge, wanted)
        proxy = wanted["proxy"]
        answers = {"in_port": proxy["port"], "eth_src": proxy["mac"], "eth_type": IPV4}
        answers = {**answers, "ip_proto": TCP, "ipv4_src": proxy["address"], "tcp_src": proxy["tcp"]}
        for guest in wanted["guests"]:
            network = {"reg0": guest["network"], "in_port": guest["port"]}
            request = {
                **network, "eth_dst": METADATA_MAC, "eth_type": IPV4, "ip_proto": TCP,
                "ipv4_dst": METADATA, "tcp_dst": HTTP,
            }  # fmt: skip
            bridge.flow(
                self.NEXT, 30, request,
                bridge.set(eth_dst=proxy["mac"], ipv4_src=guest["known_as"]),
                bridge.set(ipv4_dst=proxy["address"], tcp_dst=proxy["tcp"]),
                bridge.output(proxy["port"]),
            )  # fmt: skip
            bridge.flow(
                self.ADMIT, 30, {**answers, "ipv4_dst": guest["known_as"]},
                bridge.set(eth_src=METADATA_MAC, eth_dst=guest["mac"]),
                bridge.set(ipv4_src=METADATA, ipv4_dst=guest["address"], tcp_src=HTTP),
                bridge.output(guest["port"]),
            )  # fmt: skip
            bridge.answer_arp(
                self.ADMIT, 30, {"in_port": proxy["port"]}, guest["known_as"], METADATA_MAC
            )
        for network in sorted({guest["network"] for guest in wanted["guests"]}):
            bridge.answer_arp(self.NEXT, 30, {"reg0": network}, METADATA, METADATA_MAC)
        bridge.flow(self.ADMIT, 5, {"in_port": proxy["port"], "eth_type": ARP})
