"""One address, several servers: a select group chooses by the hash of the connection, among the
servers whose ports are up.
"""

from bridge import IPV4, TCP
from intent import Intent

SERVERS = 1


class Balancer(Intent):
    """Intent: "service" with address, mac and tcp port; "servers" and "clients", each with port,
    mac and address; a server may have a "weight"."""

    def program(self, bridge, wanted):
        service, servers, clients = wanted["service"], wanted["servers"], wanted["clients"]
        http = {"eth_type": IPV4, "ip_proto": TCP}
        bridge.group(SERVERS, "select", *(self.bucket(bridge, server) for server in servers))
        for client in clients:
            source = {"in_port": client["port"], "eth_src": client["mac"]}
            bridge.answer_arp(0, 20, source, service["address"], service["mac"])
            to_service = {
                **source, **http, "ipv4_src": client["address"],
                "ipv4_dst": service["address"], "tcp_dst": service["tcp"],
            }  # fmt: skip
            bridge.flow(0, 10, to_service, bridge.to_group(SERVERS))
            for server in servers:
                back = {
                    "in_port": server["port"], **http, "ipv4_src": server["address"],
                    "tcp_src": service["tcp"], "ipv4_dst": client["address"],
                }  # fmt: skip
                bridge.flow(
                    0, 10, back,
                    bridge.set(eth_src=service["mac"], eth_dst=client["mac"]),
                    bridge.set(ipv4_src=service["address"]), bridge.output(client["port"]),
                )  # fmt: skip
        # Servers find clients by this switch alone.
        for server in servers:
            for client in clients:
                bridge.answer_arp(
                    0, 20, {"in_port": server["port"]}, client["address"], service["mac"]
                )

    def bucket(self, bridge, server):
        """To a server, as long as its port is up."""
        actions = [
            bridge.set(eth_dst=server["mac"], ipv4_dst=server["address"]),
            bridge.output(server["port"]),
        ]
        return actions, server["port"], server.get("weight", 1)
