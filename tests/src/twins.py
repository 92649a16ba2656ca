"""Sends frames one by one into a device and writes down what comes out of the others.

The next frame is sent when as many as wanted of the last have come, or when what was sent after it
to mark its end has. A record is the number of the frame sent, the number of the device and a length,
four bytes each, then the frame. Frames tell their number by the last four bytes of their source.

A length of 2^31 or more stands before an order: what an end does about what came of an earlier
frame (see twins_answers.py). Nothing is done about what has not come."""

import json
import select
import socket
import sys

import twins_answers

frames, record, wanted = open(sys.argv[1], "rb").read(), open(sys.argv[2], "wb"), int(sys.argv[3])
SOURCE = bytes.fromhex("065e")
FENCE = bytes.fromhex("0200000000ee") + bytes.fromhex("065fffffffff") + bytes.fromhex("88b5")
PATIENCE_S, END_S = 0.05, 60
ORDER = 1 << 31
# By number of the frame sent, what first left for the other end.
arrived = {}


def device(name):
    """What passes a device."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    opened.bind((name, 3))
    return opened


inside, outsides = device("e1"), {device("e2"): 2, device("e3"): 3}


def received(patience_s):
    """What has come out meanwhile, at once if there is any."""
    ready, _, _ = select.select(list(outsides), [], [], patience_s)
    for opened in ready:
        frame, address = opened.recvfrom(65536)
        if address[2] != socket.PACKET_OUTGOING:
            yield outsides[opened], frame


def write(port, frame):
    """Writes one frame down; whether it was one of those sent."""
    if frame[6:8] != SOURCE or frame[6:14] == FENCE[6:14]:
        return False
    head = frame[8:12] + port.to_bytes(4, "big") + len(frame).to_bytes(4, "big")
    record.write(head + frame)
    if port == 2:
        arrived.setdefault(int.from_bytes(frame[8:12], "big"), frame)
    return True


def drain():
    """Writes down what has come out by the other port before the end of a frame."""
    while came := list(received(PATIENCE_S)):
        for port, out in came:
            write(port, out)


def send(frame):
    """Sends one frame and waits for all that becomes of it, and for its mark if that was sent."""
    inside.send(frame)
    count, waited_s, ended = 0, 0, False
    while not ended and (count < wanted or waited_s):
        came = list(received(PATIENCE_S))
        for port, out in came:
            ended |= out[6:14] == FENCE[6:14]
            # What an earlier one still becomes, like pieces with the last of them, is not its own.
            count += write(port, out) and out[8:12] == frame[8:12]
        if not came:
            if not waited_s:
                inside.send(FENCE)
            waited_s += PATIENCE_S
            if waited_s > END_S:
                sys.exit("the end of a frame has not come")
    if ended:
        drain()


at = 0
while at < len(frames):
    length = int.from_bytes(frames[at : at + 4], "big")
    is_order, length = length & ORDER, length & ~ORDER
    content = frames[at + 4 : at + 4 + length]
    at += 4 + length
    if is_order:
        order = json.loads(content)
        if order["of"] not in arrived:
            continue
        content = twins_answers.frame(order, arrived[order["of"]])
    send(content)
drain()
record.close()
