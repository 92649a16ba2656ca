"""A wire between two devices that loses, repeats and reorders frames, and writes down what an
observer in its middle sees: a length of four bytes, then the frame. Frames may be harmed before
they come to the observer and after."""

import random
import select
import socket
import sys
import time

devices, path = sys.argv[1:3], sys.argv[3]
loss, repeat, reorder = (float(share) for share in sys.argv[4:7])
sockets = []
for device in devices:
    receiver = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    receiver.bind((device, 3))
    receiver.setblocking(False)
    sockets.append(receiver)
record = open(path, "wb", buffering=0)
chance = random.Random(7)
# (when, number, stage, side, frame), stage 0 being before the observer.
waiting = []
number = 0


def put(stage, side, frame):
    """Sends a frame through half of the wire."""
    global number
    if chance.random() < loss:
        return
    for _ in range(2 if chance.random() < repeat else 1):
        late = 0.004 * chance.random() if chance.random() < reorder else 0.0
        number += 1
        waiting.append((time.monotonic() + 0.001 + late, number, stage, side, frame))


def observe(side, frame):
    record.write(len(frame).to_bytes(4, "big") + frame)
    put(1, side, frame)


print("ready", flush=True)
while True:
    waiting.sort(reverse=True)
    pause = max(0.0, waiting[-1][0] - time.monotonic()) if waiting else 1.0
    for ready in select.select(sockets, [], [], pause)[0]:
        side = sockets.index(ready)
        while True:
            try:
                frame, address = ready.recvfrom(65536)
            except BlockingIOError:
                break
            if address[2] != socket.PACKET_OUTGOING:
                put(0, side, frame)
    waiting.sort(reverse=True)
    while waiting and waiting[-1][0] <= time.monotonic():
        _, _, stage, side, frame = waiting.pop()
        if stage == 0:
            observe(side, frame)
            waiting.sort(reverse=True)
        else:
            try:
                sockets[1 - side].send(frame)
            except BlockingIOError:
                pass
