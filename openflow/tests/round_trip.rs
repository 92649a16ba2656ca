//! Properties of the OpenFlow 1.3 codec: what is encoded decodes to the same, and what is broken
//! is refused and nothing worse.

use openflow::{BundleAdd, BundleFlags, BundleId, Message, Xid, v13};
use proptest::prelude::*;

#[path = "strategies/messages.rs"]
mod messages;

fn encode(xid: u32, message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    v13::encode(Xid(xid), message, &mut bytes).expect("short enough");
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn decoding_undoes_encoding(xid: u32, message in messages::message()) {
        let bytes = encode(xid, &message);
        prop_assert_eq!(usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), bytes.len());
        prop_assert_eq!(v13::decode(&bytes), Ok((Xid(xid), message)));
    }

    #[test]
    fn what_a_bundle_holds_comes_out_as_it_went_in(xid: u32, held in messages::flow_mod()) {
        let held = Message::FlowMod(Box::new(held));
        let add = Message::BundleAdd(BundleAdd {
            bundle: BundleId(3),
            flags: BundleFlags::ORDERED,
            message: encode(xid, &held),
        });
        let (added_xid, added) = v13::decode(&encode(xid, &add)).expect("whole and right");
        prop_assert_eq!((added_xid, &added), (Xid(xid), &add));
        let Message::BundleAdd(added) = added else { unreachable!("compared above") };
        prop_assert_eq!(v13::decode(&added.message), Ok((Xid(xid), held)));
    }

    #[test]
    fn what_a_broken_message_decodes_to_is_sound(
        message in messages::message(),
        breaks in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut: prop::sample::Index,
        whole: bool,
    ) {
        let mut bytes = encode(7, &message);
        for (at, value) in breaks {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if !whole {
            bytes.truncate(8 + cut.index(bytes.len() - 7));
        }
        let len = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        if let Ok((xid, message)) = v13::decode(&bytes) {
            // Once, because text that is no UTF-8 and nanoseconds beyond a second become sound.
            let sound = v13::decode(&encode(xid.0, &message));
            prop_assert!(sound.is_ok());
            let (xid, message) = sound.expect("checked");
            let again = encode(xid.0, &message);
            prop_assert_eq!(v13::decode(&again), Ok((xid, message)));
        }
    }

    #[test]
    fn a_message_without_its_end_is_another_or_refused(
        message in messages::message(),
        cut: prop::sample::Index,
    ) {
        let whole = encode(7, &message);
        let short = &whole[..cut.index(whole.len())];
        // The header still says how long it should be.
        prop_assert!(v13::decode(short).is_err());
    }
}
