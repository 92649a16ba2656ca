"""A switch as os-ken's messages reach it by a Unix socket."""

import socket
import struct

from os_ken.ofproto import ofproto_parser, ofproto_protocol
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

DATAPATH = ofproto_protocol.ProtocolDesc(version=ofp.OFP_VERSION)


class Switch:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.xid = 0
        self.send(parser.OFPHello(DATAPATH))
        assert isinstance(self.receive(), parser.OFPHello)

    def send(self, message):
        self.xid += 1
        message.set_xid(self.xid)
        message.serialize()
        self.socket.sendall(message.buf)

    def read(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            assert part, "the switch closed the connection"
            data += part
        return data

    def receive(self):
        head = self.read(8)
        version, kind, length, xid = struct.unpack("!BBHI", head)
        data = head + self.read(length - 8)
        return ofproto_parser.msg(DATAPATH, version, kind, length, xid, data)

    def ask(self, message):
        """Has the switch carry something out; the error, if there is one."""
        self.send(message)
        self.send(parser.OFPBarrierRequest(DATAPATH))
        error = None
        while True:
            message = self.receive()
            if isinstance(message, parser.OFPErrorMsg):
                of_experimenter = message.type == ofp.OFPET_EXPERIMENTER
                error = message.type, message.exp_type if of_experimenter else message.code
            if isinstance(message, parser.OFPBarrierReply):
                return error
