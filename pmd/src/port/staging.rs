//! Making packets ready for a port that takes some of them only after work.

use super::LostReason;
use crate::offload::packet::{Can, Fate};
use crate::{Batch, Packet, Pools};

/// What a port takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// What it does for a packet.
    pub can: Can,
    /// Longest frame.
    pub longest: usize,
}

/// Hands a batch to `send` as it is if all of it is ready, else, in order, what becomes of it, as
/// many batches as that makes. What the port never takes is `lost`. `ready` is empty before and
/// after; `send` empties what it is given.
#[inline]
pub(super) fn send_ready(
    batch: &mut Batch,
    ready: &mut Batch,
    terms: Terms,
    pools: &Pools,
    lost: impl FnMut(LostReason),
    mut send: impl FnMut(&mut Batch),
) {
    let Terms { can, longest } = terms;
    if batch
        .iter_mut()
        .all(|packet| packet.fate(can, longest) == Fate::Ready)
    {
        send(batch);
    } else {
        send_settled(batch, ready, terms, pools, lost, send);
    }
}

#[cold]
fn send_settled(
    batch: &mut Batch,
    ready: &mut Batch,
    terms: Terms,
    pools: &Pools,
    mut lost: impl FnMut(LostReason),
    mut send: impl FnMut(&mut Batch),
) {
    let Terms { can, longest } = terms;
    let mut stage = |packet: Packet| {
        if let Err(packet) = ready.push(packet) {
            send(ready);
            drop(ready.push(packet));
        }
    };
    for mut packet in batch.drain() {
        match packet.fate(can, longest) {
            Fate::Ready => stage(packet),
            Fate::Lost(reason) => lost(reason),
            Fate::Unready => {
                if let Err(reason) = packet.settle(can, pools, &mut stage) {
                    lost(reason);
                }
            }
        }
    }
    if !ready.is_empty() {
        send(ready);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::headers::tests::frame;
    use crate::testing::pools;
    use crate::{Gso, GsoKind, Offload, PartialChecksum};

    fn packet(pools: &Pools, bytes: &[u8], size: u16) -> Packet {
        let mut packet = Packet::from_bytes(pools, bytes).unwrap();
        let gso = (size > 0).then_some(Gso {
            kind: GsoKind::Tcp4,
            size,
            ecn: false,
        });
        let checksum = gso.map(|_| PartialChecksum {
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

    /// Lengths of the packets of each batch sent, and what was lost.
    fn sent(batch: &mut Batch, can: Can, pools: &Pools) -> (Vec<Vec<usize>>, Vec<LostReason>) {
        let (mut batches, mut reasons) = (Vec::new(), Vec::new());
        let (mut ready, terms) = (Batch::new(), Terms { can, longest: 1522 });
        let send = |batch: &mut Batch| {
            batches.push(batch.iter().map(Packet::len).collect());
            batch.clear();
        };
        send_ready(
            batch,
            &mut ready,
            terms,
            pools,
            |reason| reasons.push(reason),
            send,
        );
        assert!(ready.is_empty());
        (batches, reasons)
    }

    #[test]
    fn order_is_kept_and_losses_are_told() {
        let pools = pools();
        let mut batch = Batch::new();
        let tcp = frame(&[], false, 6, 3000);
        for (bytes, size) in [
            (&[0; 60][..], 0),
            (&[0; 1523], 0),
            (&tcp, 1400),
            (&[0; 61], 0),
            (&tcp, 1),
        ] {
            batch.push(packet(&pools, bytes, size)).unwrap();
        }
        let (batches, reasons) = sent(&mut batch, Can::default(), &pools);
        assert_eq!(batches, [[60, 1466, 1466, 266, 61]]);
        assert_eq!(reasons, [LostReason::TooLong, LostReason::Malformed]);
        assert!(batch.is_empty());
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn many_segments_make_many_batches() {
        let pools = pools();
        let mut batch = Batch::new();
        batch
            .push(packet(&pools, &frame(&[], false, 6, 7000), 100))
            .unwrap();
        let (batches, reasons) = sent(&mut batch, Can::default(), &pools);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [64, 6]);
        assert_eq!(reasons, []);
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn what_is_ready_goes_as_it_is() {
        let pools = pools();
        let mut batch = Batch::new();
        let tcp = frame(&[], false, 6, 3000);
        batch.push(packet(&pools, &tcp, 1400)).unwrap();
        batch.push(packet(&pools, &[0; 60], 0)).unwrap();
        assert_eq!(
            sent(&mut batch, Can::ALL, &pools),
            (vec![vec![3066, 60]], vec![])
        );
    }
}
