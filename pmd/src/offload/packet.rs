//! Doing in software what a packet owes, for ports that cannot and for those who look inside.

use super::checksum;
use super::segment::Segments;
use crate::port::LostReason;
use crate::{GsoKind, Packet, Pools};

impl Packet {
    /// Finishes the checksum that the packet owes, if it owes one and is no super-frame.
    pub fn complete_checksum(&mut self) {
        let offload = self.offload();
        if let (Some(partial), None) = (offload.checksum, offload.gso) {
            checksum::complete(self.data_mut(), partial);
            self.offload_clear();
        }
    }

    /// Cuts a super-frame into its segments, each of which owes its checksum; any other packet
    /// comes out as it is.
    ///
    /// An error tells why the rest of it was lost: it is not what its metadata says, or there was
    /// no buffer.
    pub fn segment(self, pools: &Pools, mut emit: impl FnMut(Packet)) -> Result<(), LostReason> {
        let Some(gso) = self.offload().gso else {
            emit(self);
            return Ok(());
        };
        let segments = Segments::new(self.data(), gso).ok_or(LostReason::Malformed)?;
        for index in 0..segments.count() {
            let length = segments.frame_len(index);
            let mut segment = pools.allocate(length).ok_or(LostReason::NoBuffer)?;
            segments.write(index, segment.append(length).ok_or(LostReason::NoBuffer)?);
            if !segment.set_offload(segments.offload()) {
                return Err(LostReason::Malformed);
            }
            emit(segment);
        }
        Ok(())
    }

    /// Does what the packet owes as far as a port `can` not.
    pub(crate) fn settle(
        mut self,
        can: Can,
        pools: &Pools,
        mut emit: impl FnMut(Packet),
    ) -> Result<(), LostReason> {
        match self.offload().gso {
            Some(gso) if !can.segment(gso.kind) => self.segment(pools, |mut segment| {
                if !can.checksum {
                    segment.complete_checksum();
                }
                emit(segment);
            }),
            gso => {
                if gso.is_none() && !can.checksum {
                    self.complete_checksum();
                }
                emit(self);
                Ok(())
            }
        }
    }
}

/// What a port does for a packet that owes something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Can {
    /// Finishes checksums of TCP and UDP.
    pub checksum: bool,
    /// Cuts TCP over IPv4.
    pub tcp4: bool,
    /// Cuts TCP over IPv6.
    pub tcp6: bool,
}

impl Can {
    fn segment(self, kind: GsoKind) -> bool {
        match kind {
            GsoKind::Tcp4 => self.tcp4,
            GsoKind::Tcp6 => self.tcp6,
            // No device behind these ports takes datagrams to be cut.
            GsoKind::Udp4 | GsoKind::Udp6 => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::headers::tests::frame;
    use super::*;
    use crate::testing::pools;
    use crate::{Gso, Offload, PartialChecksum};

    fn packet(pools: &Pools, gso: bool) -> Packet {
        let mut packet = Packet::from_bytes(pools, &frame(&[], false, 6, 3000)).unwrap();
        let gso = gso.then_some(Gso {
            kind: GsoKind::Tcp4,
            size: 1400,
            ecn: false,
        });
        let checksum = Some(PartialChecksum {
            start: 34,
            offset: 16,
        });
        assert!(packet.set_offload(Offload {
            checksum,
            gso,
            valid: false
        }));
        packet
    }

    fn settled(packet: Packet, can: Can, pools: &Pools) -> Vec<(usize, Offload)> {
        let mut out = Vec::new();
        let emit = |packet: Packet| out.push((packet.len(), packet.offload()));
        packet.settle(can, pools, emit).unwrap();
        out
    }

    #[test]
    fn a_port_is_given_what_it_can_do() {
        let pools = pools();
        let all = Can {
            checksum: true,
            tcp4: true,
            tcp6: false,
        };
        let whole = packet(&pools, true);
        let offload = whole.offload();
        assert_eq!(settled(whole, all, &pools), [(3066, offload)]);
        let checksum_only = Can { tcp4: false, ..all };
        let owing = Offload {
            gso: None,
            ..offload
        };
        let cut = settled(packet(&pools, true), checksum_only, &pools);
        assert_eq!(cut, [(1466, owing), (1466, owing), (266, owing)]);
        let none = Offload::default();
        let cut = settled(packet(&pools, true), Can::default(), &pools);
        assert_eq!(cut, [(1466, none), (1466, none), (266, none)]);
        assert_eq!(settled(packet(&pools, false), all, &pools), [(3066, owing)]);
        assert_eq!(
            settled(packet(&pools, false), Can::default(), &pools),
            [(3066, none)]
        );
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn what_cannot_be_cut_is_lost_by_reason() {
        let pools = pools();
        let mut lying = packet(&pools, true);
        lying.data_mut()[14] = 0;
        assert_eq!(lying.segment(&pools, drop), Err(LostReason::Malformed));
        let whole = packet(&pools, true);
        let mut held = Vec::new();
        while let Some(packet) = pools.allocate(0) {
            held.push(packet);
        }
        assert_eq!(whole.segment(&pools, drop), Err(LostReason::NoBuffer));
        drop(held);
        assert_eq!(pools.in_use(), 0);
    }
}
