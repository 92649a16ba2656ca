//! Addresses and datapath ids that nobody configured: made from the machine and a name, so that
//! they stay over restarts and differ between machines.

use std::fs;

/// What tells this machine from others.
#[derive(Clone, Debug)]
pub struct Machine {
    id: String,
}

impl Machine {
    /// This machine.
    pub fn this() -> Machine {
        let sources = [
            "/etc/machine-id",
            "/var/lib/dbus/machine-id",
            "/etc/hostname",
        ];
        let mut ids = sources
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok());
        let id = ids.find(|id| !id.trim().is_empty()).unwrap_or_default();
        Machine {
            id: id.trim().to_owned(),
        }
    }

    /// The Ethernet address of a bridge's LOCAL port, and of a port without a device: locally
    /// administered, unicast.
    pub fn mac(&self, port: &str) -> [u8; 6] {
        address(fnv1a(self.id.bytes().chain([0]).chain(port.bytes())))
    }

    /// The Ethernet address of an `internal` port of the bridge that has this datapath id.
    pub fn internal_mac(&self, datapath_id: u64, port: &str) -> [u8; 6] {
        let id = self.id.bytes().chain([0]);
        address(fnv1a(
            id.chain(datapath_id.to_be_bytes()).chain(port.bytes()),
        ))
    }

    /// The datapath id of a bridge: the address of its LOCAL port (OpenFlow 1.3.5 §7.3.1).
    pub fn datapath_id(&self, bridge: &str) -> u64 {
        self.mac(bridge)
            .iter()
            .fold(0, |id, byte| id << 8 | u64::from(*byte))
    }
}

fn address(hash: u64) -> [u8; 6] {
    let [.., a, b, c, d, e, f] = hash.to_be_bytes();
    [a & !0x01 | 0x02, b, c, d, e, f]
}

/// FNV-1a, 64 bits: small, and the same in every version of the switch.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// An Ethernet address as people write it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_machines_differ_and_nothing_else() {
        let machine = |id: &str| Machine { id: id.to_owned() };
        let mac = machine("a").mac("br0");
        assert_eq!(mac, machine("a").mac("br0"));
        assert_ne!(mac, machine("b").mac("br0"));
        assert_ne!(mac, machine("a").mac("br1"));
        assert_eq!(mac[0] & 0x03, 0x02);
        let internal = machine("a").internal_mac(1, "p");
        assert_eq!(internal, machine("a").internal_mac(1, "p"));
        assert_eq!(internal[0] & 0x03, 0x02);
        for other in [(2, "p"), (1, "q")] {
            assert_ne!(internal, machine("a").internal_mac(other.0, other.1));
        }
        assert_eq!(machine("a").datapath_id("br0") >> 40, u64::from(mac[0]));
        assert_eq!(mac_text([0x52, 0x54, 0, 0, 0, 0xff]), "52:54:00:00:00:ff");
    }
}
