"""Cuts the tables of a switch down with os-ken's messages: argument 1 is a Unix socket."""

import sys

from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

from switch import DATAPATH, Switch


class Tables(Switch):
    def tables(self, wanted):
        """Asks for these tables, for none to read them; the answer, or an error."""
        self.send(parser.OFPTableFeaturesStatsRequest(DATAPATH, 0, wanted))
        tables = []
        while True:
            message = self.receive()
            if isinstance(message, parser.OFPErrorMsg):
                return message.type, message.code
            tables += message.body
            if not message.flags & ofp.OFPMPF_REPLY_MORE:
                return tables

    def flow(self, table, match):
        """Adds a flow; the error, if there is one."""
        return self.ask(parser.OFPFlowMod(DATAPATH, table_id=table, match=match))


def find(table, kind):
    return next(it for it in table.properties if it.type == kind)


def main():
    switch = Tables(sys.argv[1])
    everything = switch.tables([])
    assert [table.table_id for table in everything] == list(range(254))
    for table in everything:
        # One of each, those about the table-miss flow left out: it can do the same.
        kinds = sorted(it.type for it in table.properties)
        assert kinds == [0, 2, 4, 6, 8, 10, 12, 14], kinds

    first, second = everything[:2]
    first.name, second.name = b"acl", b"forward"
    find(first, ofp.OFPTFPT_NEXT_TABLES).table_ids = [1]
    find(second, ofp.OFPTFPT_NEXT_TABLES).table_ids = []
    matched = find(second, ofp.OFPTFPT_MATCH)
    matched.oxm_ids = [it for it in matched.oxm_ids if it.type in ("eth_dst", "vlan_vid")]
    now = switch.tables([first, second])
    assert isinstance(now, list), now
    assert [(table.table_id, table.name) for table in now] == [(0, b"acl"), (1, b"forward")]
    assert [it.type for it in find(now[1], ofp.OFPTFPT_MATCH).oxm_ids] == ["eth_dst", "vlan_vid"]
    assert [table.to_jsondict() for table in switch.tables([])] == [
        table.to_jsondict() for table in now
    ], "and so it is read"

    match = parser.OFPMatch
    assert switch.flow(1, match(eth_dst="02:00:00:00:00:01")) is None
    unsupported = ofp.OFPET_BAD_MATCH, ofp.OFPBMC_BAD_FIELD
    assert switch.flow(1, match(in_port=1)) == unsupported
    assert switch.flow(0, match(in_port=1)) is None
    gone = ofp.OFPET_FLOW_MOD_FAILED, ofp.OFPFMFC_BAD_TABLE_ID
    assert switch.flow(2, match()) == gone

    failed = ofp.OFPET_TABLE_FEATURES_FAILED
    assert switch.tables([second]) == (failed, ofp.OFPTFFC_BAD_TABLE), "without table 0"
    find(second, ofp.OFPTFPT_NEXT_TABLES).table_ids = [0]
    assert switch.tables([first, second]) == (failed, ofp.OFPTFFC_BAD_ARGUMENT), "backwards"
    print("the tables are as os-ken wants them")


main()
