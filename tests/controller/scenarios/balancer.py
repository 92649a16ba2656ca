"""One address, several servers: a select group chooses for each new connection by its hash, among
the servers whose ports are up. What was chosen is kept by the connection tracker: a connection stays
with its server whatever becomes of the others.
"""

from bridge import ESTABLISHED, INVALID, IPV4, NEW, REPLY, TCP
from intent import Intent
from security import state

SERVERS, ZONE = 1, 1


class Balancer(Intent):
    """Intent: "service" with address, mac and tcp port; "servers" and "clients", each with port,
    mac and address; a server may have a "weight"."""

    # Tables: what may come in, what is asked of the service, and to whom it goes.
    ADMIT, ASKED, TO_SERVER, TO_CLIENT = 0, 1, 2, 3

    def program(self, bridge, wanted):
        service, servers, clients = wanted["service"], wanted["servers"], wanted["clients"]
        bridge.group(SERVERS, "select", *(self.bucket(bridge, server) for server in servers))
        new = {"eth_type": IPV4, **state(NEW), "ipv4_dst": service["address"]}
        bridge.flow(self.ASKED, 10, new, bridge.to_group(SERVERS))
        bridge.flow(self.ASKED, 20, {"eth_type": IPV4, **state(INVALID)})
        bridge.flow(self.ASKED, 0, {}, goto=self.TO_SERVER)
        for client in clients:
            self.serve(bridge, service, client)
        for server in servers:
            self.hear(bridge, service, server)
            # Servers find clients by this switch alone.
            for client in clients:
                bridge.answer_arp(
                    self.ADMIT, 20, {"in_port": server["port"]}, client["address"], service["mac"]
                )

    def bucket(self, bridge, server):
        """To a server, as long as its port is up."""
        target = ("dst", server["address"])
        track = bridge.track(ZONE, self.TO_SERVER, commit=True, nat=target)
        # Not last in the list: os-ken leaves off the padding of nat() at the end of a message. It is
        # done last all the same, as a bucket is an action set.
        actions = [track, bridge.set(eth_dst=server["mac"])]
        return actions, server["port"], server.get("weight", 1)

    def serve(self, bridge, service, client):
        """Both ways between a client and the service."""
        source = {"in_port": client["port"], "eth_src": client["mac"]}
        bridge.answer_arp(self.ADMIT, 20, source, service["address"], service["mac"])
        asks = {
            **source, "eth_type": IPV4, "ip_proto": TCP, "ipv4_src": client["address"],
            "ipv4_dst": service["address"], "tcp_dst": service["tcp"],
        }  # fmt: skip
        bridge.flow(self.ADMIT, 10, asks, bridge.track(ZONE, self.ASKED, nat=()))
        answer = {
            "eth_type": IPV4, **state(ESTABLISHED | REPLY), "ipv4_src": service["address"],
            "ipv4_dst": client["address"],
        }  # fmt: skip
        rewrite = bridge.set(eth_src=service["mac"], eth_dst=client["mac"])
        bridge.flow(self.TO_CLIENT, 10, answer, rewrite, bridge.output(client["port"]))

    def hear(self, bridge, service, server):
        """Both ways between a server and whoever was sent to it."""
        to_server = {"eth_type": IPV4, "ipv4_dst": server["address"]}
        rewrite = bridge.set(eth_src=service["mac"], eth_dst=server["mac"])
        bridge.flow(self.TO_SERVER, 10, to_server, rewrite, bridge.output(server["port"]))
        answers = {
            "in_port": server["port"], "eth_src": server["mac"], "eth_type": IPV4, "ip_proto": TCP,
            "ipv4_src": server["address"], "tcp_src": service["tcp"],
        }  # fmt: skip
        bridge.flow(self.ADMIT, 10, answers, bridge.track(ZONE, self.TO_CLIENT, nat=()))
