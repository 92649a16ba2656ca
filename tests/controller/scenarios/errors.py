"""Errors of ICMP in a router's name, for packets that `Bridge.answer_error` has sent up."""

import ipaddress

from os_ken.controller import ofp_event
from os_ken.controller.handler import MAIN_DISPATCHER, set_ev_cls
from os_ken.lib.packet import ethernet, icmp, ipv4, packet

from bridge import ERROR
from intent import Intent

# RFC 792: the header and 64 bits of what follows.
QUOTED_BYTES = 8
ETHERNET_BYTES = 14


class Errors(Intent):
    """A controller that answers, by the port that a packet came in by."""

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def on_packet(self, event):
        """Answers what came because of a flow whose cookie says with what."""
        message = event.msg
        if message.cookie >> 60 != ERROR >> 60:
            return
        asked = packet.Packet(message.data)
        frame, header = asked.get_protocol(ethernet.ethernet), asked.get_protocol(ipv4.ipv4)
        kind, code = message.cookie >> 40 & 0xFF, message.cookie >> 32 & 0xFF
        datagram = message.data[ETHERNET_BYTES:]
        quoted = datagram[: header.header_length * 4 + QUOTED_BYTES]
        body = icmp.TimeExceeded if kind == icmp.ICMP_TIME_EXCEEDED else icmp.dest_unreach
        router = str(ipaddress.IPv4Address(message.cookie & 0xFFFFFFFF))
        answer = packet.Packet()
        answer.add_protocol(ethernet.ethernet(dst=frame.src, src=frame.dst))
        answer.add_protocol(ipv4.ipv4(src=router, dst=header.src, proto=1, ttl=64))
        answer.add_protocol(icmp.icmp(kind, code, 0, data=body(data=quoted)))
        answer.serialize()
        datapath = message.datapath
        ofproto, parser = datapath.ofproto, datapath.ofproto_parser
        port = message.match["in_port"]
        datapath.send_msg(
            parser.OFPPacketOut(
                datapath=datapath, buffer_id=ofproto.OFP_NO_BUFFER,
                in_port=ofproto.OFPP_CONTROLLER, actions=[parser.OFPActionOutput(port)],
                data=answer.data,
            )  # fmt: skip
        )
