"""Networks that the provider's switches carry: VLANs, or none, on br-ex; local VLANs on br-int.

br-int tags by the ports' own settings and learns; what crosses to br-ex gets the provider's VLAN
for the local one, and the other way; what is in no VLAN that the node knows does not cross.
"""

from bridge import TAGGED
from intent import Intent

# Both ends of the patch between the bridges, and the physical port of br-ex.
PATCH, UPLINK = 100, 1


class Provider(Intent):
    """Intent: "networks", each with its "local" VLAN and the provider's "vlan", 0 for none."""

    def program(self, bridge, wanted):
        bridge.flow(0, 0, {}, bridge.output("NORMAL"))
        bridge.flow(0, 2, {"in_port": PATCH})
        for network in wanted["networks"]:
            local, vlan = TAGGED | network["local"], TAGGED | network["vlan"]
            flat = network["vlan"] == 0
            if bridge.name == "br-int":
                match = {"in_port": PATCH, "vlan_vid": 0 if flat else vlan}
                change = bridge.tag(network["local"]) if flat else bridge.set(vlan_vid=local)
            else:
                match = {"in_port": PATCH, "vlan_vid": local}
                change = bridge.untag() if flat else bridge.set(vlan_vid=vlan)
            bridge.flow(0, 4, match, change, bridge.output("NORMAL"))
