"""What the controllers of the scenarios share: a file says what is wanted, and switches are kept so.

The file that SCENARIO_INTENT names is JSON, written anew with a higher "generation" when something
is wanted that was not. An application says in `program` which flows and groups a bridge needs for
it. What a bridge has and what it needs are compared, the difference is sent, new flows before old
ones go, and when the bridge has answered a barrier the generation is in force. The file beside it,
with the suffix ".done", tells the generation that is in force on every bridge.
"""

import json
import os

from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.lib import hub
from os_ken.ofproto import ofproto_v1_3

from bridge import Bridge

PAUSE_S = 0.05


class Intent(app_manager.OSKenApp):
    """One controller for all bridges of all nodes."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.path = os.environ["SCENARIO_INTENT"]
        self.wanted = None
        self.datapaths = {}
        self.present = {}
        self.barriers = {}
        self.in_force = {}
        self.refused = 0
        hub.spawn(self.watch)

    def program(self, bridge, wanted):
        """Says what `bridge` needs for `wanted`; each scenario's own."""
        raise NotImplementedError

    def watch(self):
        """Takes over what is written into the file."""
        while True:
            try:
                with open(self.path, encoding="utf-8") as file:
                    wanted = json.load(file)
            except (OSError, ValueError):
                wanted = self.wanted
            if wanted != self.wanted:
                self.wanted = wanted
                for datapath in list(self.datapaths.values()):
                    self.adjust(datapath)
            hub.sleep(PAUSE_S)

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def on_state(self, event):
        """A bridge came, whose flows are not known, or went."""
        datapath = event.datapath
        if event.state == DEAD_DISPATCHER:
            if self.datapaths.get(datapath.id) is datapath:
                del self.datapaths[datapath.id]
            return
        self.datapaths[datapath.id] = datapath
        self.present[datapath.id] = {}
        for message in Bridge(datapath, None).clear():
            datapath.send_msg(message)
        if self.wanted:
            self.adjust(datapath)

    def adjust(self, datapath):
        """Sends what lacks and takes away what is too much."""
        described = self.wanted["bridges"].get(str(datapath.id))
        if described is None:
            return
        bridge = Bridge(datapath, described)
        self.program(bridge, self.wanted)
        needed, present = bridge.needed, self.present[datapath.id]
        changes = [
            change.message(present.get(key))
            for key, change in needed.items()
            if key not in present or present[key].bytes() != change.bytes()
        ]
        changes += [
            change.removal() for key, change in reversed(present.items()) if key not in needed
        ]
        for message in changes:
            datapath.send_msg(message)
        self.present[datapath.id] = needed
        barrier = datapath.ofproto_parser.OFPBarrierRequest(datapath)
        datapath.set_xid(barrier)
        self.barriers[datapath.id] = (barrier.xid, self.wanted["generation"])
        datapath.send_msg(barrier)

    @set_ev_cls(ofp_event.EventOFPBarrierReply, MAIN_DISPATCHER)
    def on_barrier(self, event):
        """What was sent is in force; if so everywhere it is told."""
        datapath = event.msg.datapath
        xid, generation = self.barriers.get(datapath.id, (None, None))
        if event.msg.xid != xid:
            return
        self.in_force[datapath.id] = generation
        all_of = [self.in_force.get(int(key)) for key in self.wanted["bridges"]]
        if all(generation is not None for generation in all_of) and not self.refused:
            with open(self.path + ".new", "w", encoding="utf-8") as file:
                file.write(str(min(all_of)))
            os.rename(self.path + ".new", self.path + ".done")

    @set_ev_cls(ofp_event.EventOFPErrorMsg, MAIN_DISPATCHER)
    def on_error(self, event):
        """A refusal is a mistake of the application or of the switch: nothing is in force."""
        self.refused += 1
        message = event.msg
        self.logger.error("refused: type %d code %d %r", message.type, message.code, message.data)
