"""Sends frames by a device at a steady rate: sender.py DEVICE FRAMES_A_SECOND SECONDS

Frames come as a JSON list of hexadecimal text on standard input and are sent in turn, again from
the first after the last. At the end prints for how many seconds it sent. A process of its own,
since the tool that asks for it has other things to do between two frames.
"""

import itertools
import json
import socket
import sys
import time

# How often frames are sent that are due, and how many at once: a packet socket of Open vSwitch
# holds about 90.
INTERVAL_S = 0.0005
FRAMES_MAX = 64


def main():
    device, rate, duration_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    frames = itertools.cycle([bytes.fromhex(text) for text in json.load(sys.stdin)])
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((device, 0))
    sent, sent_s, before = 0, 0.0, time.monotonic()
    while sent_s < duration_s:
        now = time.monotonic()
        # While the machine does something else nothing is sent, nor made up for later.
        sent_s += min(now - before, FRAMES_MAX / rate)
        before = now
        while sent < sent_s * rate:
            link.send(next(frames))
            sent += 1
        time.sleep(INTERVAL_S)
    print(sent_s)


main()
