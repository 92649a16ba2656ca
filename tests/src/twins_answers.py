"""What an end does about a frame that it has received: answers it, reports an error about it, or
opens the connection that its text announces. So it sees addresses and ports as translated."""

import ipaddress
import re
import struct

FIN, SYN, ACK = 1, 2, 16
TCP, UDP, SCTP, FRAGMENT = 6, 17, 132, 44
FIRST_SEQ = 7000
# More than any payload here: Open vSwitch wants the end of a segment in it, netfilter its start.
WINDOW = 8000
IDENTIFICATION = 9
EMBEDDED_MAX = 128


class Packet:
    """An IP packet with a header without options."""

    def __init__(self, frame):
        self.is_v6 = frame[12:14] == b"\x86\xdd"
        size = 16 if self.is_v6 else 4
        at = 14 + (8 if self.is_v6 else 12)
        self.src, self.dst = frame[at : at + size], frame[at + size : at + 2 * size]
        self.proto = frame[20] if self.is_v6 else frame[23]
        length = int.from_bytes(frame[18:20] if self.is_v6 else frame[16:18], "big")
        start = 54 if self.is_v6 else 34
        end = start + length if self.is_v6 else 14 + length
        self.body, self.whole = frame[start:end], frame[14:end]


def checksum(data):
    """The Internet checksum of bytes (RFC 1071)."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def crc32c(data):
    """The checksum of SCTP (RFC 9260 appendix A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return struct.pack("<I", crc ^ 0xFFFFFFFF)


def wrap(is_v6, src, dst, proto, body):
    """An Ethernet frame without addresses around a body, checksums filled in."""
    pseudo = src + dst + struct.pack(">II" if is_v6 else ">HH", *pseudo_end(is_v6, proto, body))
    place = {TCP: 16, UDP: 6, 1: 2, 58: 2}.get(proto)
    if place:
        body = body[:place] + bytes(2) + body[place + 2 :]
        covered = body if proto == 1 else pseudo + body
        body = body[:place] + struct.pack(">H", checksum(covered)) + body[place + 2 :]
    if proto == SCTP:
        body = body[:8] + crc32c(body[:8] + bytes(4) + body[12:]) + body[12:]
    return enclose(is_v6, src, dst, proto, body)


def enclose(is_v6, src, dst, proto, body, fragment=0):
    """The same around a body as it is; flags and fragment offset are of IPv4."""
    if is_v6:
        head = struct.pack(">IHBB", 6 << 28, len(body), proto, 64) + src + dst
        return b"\x86\xdd" + head + body
    fields = 0x45, 0, 20 + len(body), IDENTIFICATION, fragment, 64, proto, 0
    head = struct.pack(">BBHHHBBH", *fields) + src + dst
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return b"\x08\x00" + head + body


def piece(whole, number, size):
    """One of the fragments of so many bytes that a frame is cut into (RFC 791, RFC 8200 §4.5)."""
    packet = Packet(bytes(12) + whole)
    start, end = number * size, (number + 1) * size
    part, has_more = packet.body[start:end], end < len(packet.body)
    ends = packet.is_v6, packet.src, packet.dst
    if packet.is_v6:
        head = struct.pack(">BBHI", packet.proto, 0, start | has_more, IDENTIFICATION)
        return enclose(*ends, FRAGMENT, head + part)
    return enclose(*ends, packet.proto, part, start // 8 | has_more << 13)


def pseudo_end(is_v6, proto, body):
    """What follows the addresses in a pseudo header."""
    return (len(body), proto) if is_v6 else (proto, len(body))


def tcp(src, dst, seq, ack, flags, payload):
    """A TCP segment."""
    return struct.pack(">HHIIHHHH", src, dst, seq, ack, 5 << 12 | flags, WINDOW, 0, 0) + payload


def answer(packet, order):
    """What the receiver sends back: the next segment, datagram or chunk."""
    src, dst = struct.unpack(">HH", packet.body[2:4] + packet.body[:2])
    payload = bytes.fromhex(order.get("payload", ""))
    if packet.proto == UDP:
        src = order.get("from", src)
        body = struct.pack(">HHHH", src, dst, 8 + len(payload), 0) + payload
    elif packet.proto == SCTP:
        body = struct.pack(">HHII", src, dst, order["tag"], 0) + payload
    else:
        seq, ack, offset = struct.unpack(">IIH", packet.body[4:14])
        length = len(packet.body) - (offset >> 12) * 4 + bool(offset & (SYN | FIN))
        first = ack if offset & ACK else FIRST_SEQ
        body = tcp(src, dst, first, seq + length, order["flags"], payload)
    return wrap(packet.is_v6, packet.dst, packet.src, packet.proto, body)


def error(packet, _order):
    """That nobody is at the port."""
    kind, code, proto = (1, 4, 58) if packet.is_v6 else (3, 3, 1)
    body = bytes([kind, code, 0, 0, 0, 0, 0, 0]) + packet.whole[:EMBEDDED_MAX]
    return wrap(packet.is_v6, packet.dst, packet.src, proto, body)


def announced(packet, order):
    """The first segment of the connection that a line of FTP announces."""
    text = packet.body[20:].decode()
    address, port = packet.src, None
    if found := re.search(r"(\d+),(\d+),(\d+),(\d+),(\d+),(\d+)", text):
        numbers = bytes(int(number) for number in found.groups())
        address, port = numbers[:4], int.from_bytes(numbers[4:], "big")
    elif found := re.search(r"\|\|\|(\d+)\|", text):
        port = int(found[1])
    elif found := re.search(r"\|\d\|([^|]+)\|(\d+)\|", text):
        address, port = ipaddress.ip_address(found[1]).packed, int(found[2])
    body = tcp(order["from"], port, FIRST_SEQ, 0, SYN, b"")
    return wrap(packet.is_v6, packet.dst, address, TCP, body)


def frame(order, seen):
    """The frame that an order asks for, of what was received of another."""
    ways = {"answer": answer, "error": error, "announced": announced}
    inside = ways[order["what"]](Packet(seen), order)
    if "piece" in order:
        inside = piece(inside, order["piece"], order["size"])
    return bytes.fromhex(order["head"]) + inside
