//! Doing in software what a packet owes, for ports that cannot and for those who look inside.

use super::segment::Segments;
use super::{Gso, GsoKind, checksum, headers};
use crate::port::LostReason;
use crate::{Packet, Pools};

impl Packet {
    /// Finishes the checksum that the packet owes, if it owes one and is no super-frame.
    #[inline]
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
    pub fn segment(self, pools: &Pools, emit: impl FnMut(Packet)) -> Result<(), LostReason> {
        self.segment_first(usize::MAX, pools, emit)
    }

    /// What a super-frame stands for.
    fn segments(&self) -> Option<Segments<'_>> {
        let offload = self.offload();
        Segments::new(self.data(), offload.gso?, offload.checksum?)
    }

    /// How many packets [`Packet::segment`] makes of it.
    pub fn segment_count(&self) -> usize {
        let segments = self.segments();
        segments.map_or(1, |segments| segments.count())
    }

    /// Bytes of the longest frame that [`Packet::segment`] makes of it.
    pub fn frame_len_max(&self) -> usize {
        let segments = self.segments();
        segments.map_or(self.len(), |segments| segments.frame_len(0))
    }

    /// As [`Packet::segment`], but of the first `most` segments only: the others cost nothing.
    pub fn segment_first(
        self,
        most: usize,
        pools: &Pools,
        mut emit: impl FnMut(Packet),
    ) -> Result<(), LostReason> {
        if self.offload().gso.is_none() {
            emit(self);
            return Ok(());
        }
        let segments = self.segments().ok_or(LostReason::Malformed)?;
        for index in 0..segments.count().min(most) {
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

    /// What is to become of the packet at a port that `can` do this much, and whose frames are at
    /// most `longest` bytes long.
    #[inline]
    pub(crate) fn fate(&mut self, can: Can, longest: usize) -> Fate {
        if self.owes() {
            return self.fate_of_owing(can, longest);
        }
        if self.len() <= longest {
            Fate::Ready
        } else {
            Fate::Lost(LostReason::TooLong)
        }
    }

    /// Length of all headers of a super-frame, and whether a port that `can` do this much cuts it:
    /// only behind headers that kernels and guests know.
    fn before_payload(&self, gso: Gso, can: Can) -> Option<(usize, bool)> {
        let found = headers::locate(self.data());
        let start = self.offload().checksum.map(|sum| sum.start);
        match (found, start) {
            (Some(found), _) if found.tcp == gso.kind.is_tcp() => {
                Some((found.payload, found.plain && can.cut(gso)))
            }
            (_, Some(start)) if headers::is_tunnelled(self.data(), start) => {
                let header = self.transport_header_len(start, gso.kind)?;
                Some((
                    usize::from(start) + usize::from(header),
                    can.within && can.cut(gso),
                ))
            }
            _ => None,
        }
    }

    fn fate_of_owing(&mut self, can: Can, longest: usize) -> Fate {
        let (length, able) = match self.offload().gso {
            None => (self.len(), can.checksum),
            Some(gso) => {
                let Some((before, is_able)) = self.before_payload(gso, can) else {
                    return Fate::Lost(LostReason::Malformed);
                };
                let segment_len = before + usize::from(gso.size);
                (segment_len.min(self.len()), is_able)
            }
        };
        if length > longest {
            return Fate::Lost(LostReason::TooLong);
        }
        if able && (!can.laid_out || self.tell_header_lengths()) {
            Fate::Ready
        } else {
            Fate::Unready
        }
    }

    /// Makes a packet ready whose fate is `Unready`.
    pub(crate) fn settle(
        mut self,
        can: Can,
        pools: &Pools,
        mut emit: impl FnMut(Packet),
    ) -> Result<(), LostReason> {
        if self.offload().gso.is_none() {
            self.complete_checksum();
            emit(self);
            return Ok(());
        }
        self.segment(pools, |mut segment| {
            if !can.checksum || (can.laid_out && !segment.tell_header_lengths()) {
                segment.complete_checksum();
            }
            emit(segment);
        })
    }
}

/// What is to become of a packet at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The port takes it as it is.
    Ready,
    /// It owes what the port cannot do.
    Unready,
    /// The port never takes it.
    Lost(LostReason),
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
    /// Cuts TCP with CWR set.
    pub ecn: bool,
    /// Cuts UDP.
    pub udp: bool,
    /// Takes TCP within a tunnel whole: it is its other end.
    pub within: bool,
    /// Wants the length of each header.
    pub laid_out: bool,
}

impl Can {
    /// The kernel does it all. What it cannot cut, an old kernel, it never left to be cut; what it
    /// wrapped itself it unwraps.
    pub(crate) const ALL: Can = Can {
        checksum: true,
        tcp4: true,
        tcp6: true,
        ecn: true,
        udp: true,
        within: true,
        laid_out: false,
    };

    fn cut(self, gso: Gso) -> bool {
        let kind = match gso.kind {
            GsoKind::Tcp4 => self.tcp4,
            GsoKind::Tcp6 => self.tcp6,
            GsoKind::Udp4 | GsoKind::Udp6 => self.udp,
        };
        kind && (self.ecn || !gso.ecn)
    }
}

#[cfg(test)]
mod tests {
    use super::super::headers::tests::frame;
    use super::*;
    use crate::testing::pools;
    use crate::{Offload, PartialChecksum};

    fn gso(kind: GsoKind, size: u16) -> Option<Gso> {
        Some(Gso {
            kind,
            size,
            ecn: false,
        })
    }

    fn packet(pools: &Pools, gso: Option<Gso>) -> Packet {
        let mut packet = Packet::from_bytes(pools, &frame(&[], false, 6, 3000)).unwrap();
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

    fn settled(mut packet: Packet, can: Can, pools: &Pools) -> Vec<(usize, Offload)> {
        let mut out = Vec::new();
        assert_eq!(packet.fate(can, 1522), Fate::Unready);
        let emit = |packet: Packet| out.push((packet.len(), packet.offload()));
        packet.settle(can, pools, emit).unwrap();
        out
    }

    #[test]
    fn a_port_is_given_what_it_can_do() {
        let pools = pools();
        let whole = || packet(&pools, gso(GsoKind::Tcp4, 1400));
        let offload = whole().offload();
        let owing = Offload {
            gso: None,
            ..offload
        };
        let none = Offload::default();
        assert_eq!(
            whole().fate(
                Can {
                    ecn: false,
                    ..Can::ALL
                },
                1522
            ),
            Fate::Ready
        );
        let cut = settled(
            whole(),
            Can {
                tcp4: false,
                ..Can::ALL
            },
            &pools,
        );
        assert_eq!(cut, [(1466, owing), (1466, owing), (266, owing)]);
        let cut = settled(whole(), Can::default(), &pools);
        assert_eq!(cut, [(1466, none), (1466, none), (266, none)]);
        let mut congested = whole();
        let ecn = gso(GsoKind::Tcp4, 2000).map(|gso| Gso { ecn: true, ..gso });
        assert!(congested.set_offload(Offload {
            gso: ecn,
            ..offload
        }));
        assert_eq!(congested.fate(Can::ALL, 3000), Fate::Ready);
        assert_eq!(
            congested.fate(
                Can {
                    ecn: false,
                    ..Can::ALL
                },
                3000
            ),
            Fate::Unready
        );
        drop(congested);
        let mut short = Packet::from_bytes(&pools, &frame(&[], false, 6, 500)).unwrap();
        assert!(short.set_offload(owing));
        assert_eq!(short.fate(Can::ALL, 1522), Fate::Ready);
        assert_eq!(settled(short, Can::default(), &pools), [(566, none)]);
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn super_frames_behind_labels_are_cut_here() {
        let pools = pools();
        let mut whole = packet(&pools, gso(GsoKind::Tcp4, 1400));
        whole.push_front(4).unwrap();
        whole.data_mut().copy_within(4..16, 0);
        whole.data_mut()[12..18].copy_from_slice(&[0x88, 0x47, 0, 1, 1, 64]);
        let cut = settled(whole, Can::ALL, &pools);
        assert_eq!(
            cut.iter().map(|(len, _)| *len).collect::<Vec<_>>(),
            [1470, 1470, 270]
        );
    }

    /// A super-frame that a kernel wrapped in VXLAN goes whole to a kernel, which is its other end,
    /// and in segments to anybody else.
    #[test]
    fn super_frames_within_a_tunnel_are_cut_here() {
        let pools = pools();
        let inner = frame(&[], false, 6, 3000);
        let mut outer = frame(&[], false, 17, 8 + inner.len());
        let at = outer.len() - inner.len();
        outer[at - 8..at].copy_from_slice(&[8, 0, 0, 0, 0, 0, 42, 0]);
        outer[at..].copy_from_slice(&inner);
        let whole = || {
            let mut packet = Packet::from_bytes(&pools, &outer).unwrap();
            let checksum = Some(PartialChecksum {
                start: at as u16 + 34,
                offset: 16,
            });
            assert!(packet.set_offload(Offload {
                checksum,
                gso: gso(GsoKind::Tcp4, 1400),
                valid: false
            }));
            packet
        };
        assert_eq!(whole().fate(Can::ALL, 1522), Fate::Ready);
        assert_eq!(
            (whole().segment_count(), whole().frame_len_max()),
            (3, 1516)
        );
        let done = Offload::default();
        for can in [
            Can::default(),
            Can {
                within: false,
                ..Can::ALL
            },
            Can {
                laid_out: true,
                ..Can::ALL
            },
        ] {
            let cut = settled(whole(), can, &pools);
            assert_eq!(cut, [(1516, done), (1516, done), (316, done)]);
        }
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn what_cannot_be_laid_out_is_done_here() {
        let pools = pools();
        let can = Can {
            laid_out: true,
            ..Can::ALL
        };
        assert_eq!(
            packet(&pools, gso(GsoKind::Tcp4, 1400)).fate(can, 1522),
            Fate::Ready
        );
        let mut odd = Packet::from_bytes(&pools, &frame(&[], false, 6, 500)).unwrap();
        let checksum = Some(PartialChecksum {
            start: 30,
            offset: 16,
        });
        assert!(odd.set_offload(Offload {
            checksum,
            ..Offload::default()
        }));
        assert_eq!(settled(odd, can, &pools), [(566, Offload::default())]);
    }

    #[test]
    fn what_is_too_long_is_told_by_what_goes_on_the_wire() {
        let pools = pools();
        let too_long = Fate::Lost(LostReason::TooLong);
        assert_eq!(
            packet(&pools, gso(GsoKind::Tcp4, 1400)).fate(Can::ALL, 1466),
            Fate::Ready
        );
        assert_eq!(
            packet(&pools, gso(GsoKind::Tcp4, 1401)).fate(Can::ALL, 1466),
            too_long
        );
        assert_eq!(
            packet(&pools, gso(GsoKind::Tcp4, 9000)).fate(Can::ALL, 3066),
            Fate::Ready
        );
        assert_eq!(packet(&pools, None).fate(Can::ALL, 3065), too_long);
        let mut plain = Packet::from_bytes(&pools, &[0; 1523]).unwrap();
        assert_eq!(plain.fate(Can::ALL, 1522), too_long);
        assert_eq!(plain.fate(Can::ALL, 1523), Fate::Ready);
    }

    #[test]
    fn what_cannot_be_cut_is_lost_by_reason() {
        let pools = pools();
        let mut lying = packet(&pools, gso(GsoKind::Tcp4, 1400));
        lying.data_mut()[14] = 0;
        assert_eq!(
            lying.fate(Can::default(), 1522),
            Fate::Lost(LostReason::Malformed)
        );
        assert_eq!(lying.segment(&pools, drop), Err(LostReason::Malformed));
        let whole = packet(&pools, gso(GsoKind::Tcp4, 1400));
        let mut held = Vec::new();
        while let Some(packet) = pools.allocate(0) {
            held.push(packet);
        }
        assert_eq!(whole.segment(&pools, drop), Err(LostReason::NoBuffer));
        drop(held);
        assert_eq!(pools.in_use(), 0);
    }
}
