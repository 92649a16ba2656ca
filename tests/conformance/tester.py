"""The switch test tool of os-ken as the conformance runner starts it, an osken-manager application.

What a pattern demands of the switch is the tool's own business and stays as it is. Around it:
a line of JSON for each pattern, a pause of our choice before packets are sent, the tool's own
failed assertions as failed patterns, rates that are met and measured exactly, and two defects made
good.
docs/conformance.md says why for each.

The environment variable CONFORMANCE holds the options, see Options.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from os_ken.controller import handler, ofp_event
from os_ken.lib import hub
from os_ken.lib.packet import sctp
from os_ken.tests.switch import tester

# The tester switch, Open vSwitch, answers a barrier before its caches know of the change.
TESTER_SETTLE_S = 0.3
SENDER = pathlib.Path(__file__).with_name("sender.py")
# How long a switch may take for a reply. The tool's own 3 s are little on a busy machine.
REPLY_S = 20
# Open vSwitch tells what its flows counted after half a second at the latest, on an idle machine.
TESTER_COUNT_S = 1.5
# How often to look whether a stream has ended.
STREAM_INTERVAL_S = 0.05
# A frame on a wire is no shorter, without its checksum.
FRAME_BYTES_MIN = 60


class Options:
    """What the runner asks for."""

    def __init__(self, text):
        values = json.loads(text)
        # File for a line for each pattern.
        self.results = values["results"]
        # Pause between a change and the packet that tests it.
        self.settle_s = values["settle_s"]
        # How long a rate is measured, null for what the pattern says.
        self.rate_s = values["rate_s"]
        # The tester switch's device towards the switch under test.
        self.device = values["device"]
        # How long to wait for a packet.
        self.packet_s = values["packet_s"]
        # Whether to make the tool's defects good.
        self.mend = values["mend"]


def crc32c(_, data):
    """The checksum of SCTP (RFC 9260 appendix A) in the order of its bytes on the wire."""
    crc = 0xFFFFFFFF
    for byte in bytes(data):
        crc ^= byte
        for _bit in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return int.from_bytes((crc ^ 0xFFFFFFFF).to_bytes(4, "little"), "big")


class Conformance(tester.OfTester):
    """The tool, with what the runner needs of it."""

    def __init__(self):
        self._options = Options(os.environ["CONFORMANCE"])
        if self._options.mend:
            sctp.sctp._checksum = crc32c
        self._file = None           # description of the file, the name of a group of patterns
        self._number = 0            # of the pattern in its file
        self._reason = ""           # why the pattern failed
        self._tester_ready = False  # the tester switch has nothing but its default flow
        self._sent_s = 0.0          # how long packets have been sent at a rate
        super().__init__()

    def _test_file_execute(self, testfile):
        self._file, self._number = testfile.description, 0
        return super()._test_file_execute(testfile)

    def _test_execute(self, test, description):
        self._reason, self._sent_s = "", 0.0
        try:
            verdict = super()._test_execute(test, description)
        except Exception as error:
            verdict = "failed assertion"
            self._reason = f"the tester tripped: {error!r}"
            self.waiter = None
        line = {
            "file": self._file,
            "number": self._number,
            "passed": verdict == tester.TEST_OK,
            "reason": self._reason,
        }
        with open(self._options.results, "a", encoding="utf-8") as results:
            results.write(json.dumps(line) + "\n")
        self._number += 1
        return verdict

    def _test(self, state, *args):
        if state == tester.STATE_INIT_THROUGHPUT_FLOW and self._tester_ready:
            return None
        try:
            result = super()._test(state, *args)
        except tester.TestMessageBase as error:
            self._reason = str(error)
            raise
        if state == tester.STATE_INIT_THROUGHPUT_FLOW:
            self._tester_ready = True
            hub.sleep(TESTER_SETTLE_S)
        elif state == tester.STATE_THROUGHPUT_FLOW_EXIST_CHK:
            self._tester_ready = False
            hub.sleep(TESTER_SETTLE_S)
        return result

    def _wait(self):
        is_packet = self.state == tester.STATE_FLOW_MATCH_CHK
        tester.WAIT_TIMER = self._options.packet_s if is_packet else REPLY_S
        super()._wait()

    def _one_time_packet_send(self, pkt):
        hub.sleep(self._options.settle_s)
        super()._one_time_packet_send(pkt)

    def _continuous_packet_send(self, pkt):
        hub.sleep(self._options.settle_s)
        packets = pkt[tester.KEY_PACKETS]
        duration_s = self._options.rate_s or packets[tester.KEY_DURATION_TIME]
        self._sent_s = send_stream(self._options.device, packets, duration_s)
        hub.sleep(TESTER_COUNT_S)

    def _test_get_throughput(self):
        _, counts = super()._test_get_throughput()
        return self._sent_s, counts

    @handler.set_ev_cls(ofp_event.EventOFPPacketIn, handler.MAIN_DISPATCHER)
    def packet_in_handler(self, ev):
        if self._options.mend and ev.msg.total_len == len(ev.msg.data):
            ev.msg.data = ev.msg.data.ljust(FRAME_BYTES_MIN, b"\0")
        return super().packet_in_handler(ev)


def send_stream(device, packets, duration_s):
    """Sends a pattern's packets at its rate; returns for how many seconds they were sent."""
    rate = packets[tester.KEY_PKTPS]
    count = int(rate * duration_s) if packets["randomize"] else 1
    words = [sys.executable, str(SENDER), device, str(rate), str(duration_s)]
    with tempfile.TemporaryFile("w+") as frames, tempfile.TemporaryFile("w+") as sent:
        json.dump([frame(packets).hex() for _ in range(count)], frames)
        frames.seek(0)
        sender = subprocess.Popen(words, stdin=frames, stdout=sent)
        while sender.poll() is None:
            hub.sleep(STREAM_INTERVAL_S)
        sent.seek(0)
        return float(sent.read())


def frame(packets):
    """The next frame of a stream, new dice thrown for what is to be random."""
    if not packets["randomize"]:
        return bytes(packets["packet_binary"])
    packet = eval("/".join(packets["packet_text"]), vars(tester))
    packet.serialize()
    return bytes(packet.data)
