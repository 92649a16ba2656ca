//! TCP between hosts and guests.

use super::no_frames;
use crate::judge::figure::Figure;
use crate::judge::scenario::{Course, Rules, Scenario, Wanted};
use crate::judge::tcp::Between;

pub(super) fn scenarios() -> Vec<Scenario> {
    [
        ("guests", "between two QEMU guests", Between::Guests, 2.5),
        (
            "guest-internal",
            "from a QEMU guest to the host by an internal port",
            Between::GuestAndInternal,
            2.5,
        ),
        (
            "internals",
            "between two namespaces on internal ports",
            Between::Internals,
            5.0,
        ),
        (
            "systems",
            "between two hosts behind system ports",
            Between::Systems,
            2.5,
        ),
    ]
    .map(|(name, about, between, wanted)| {
        let mut scenario = Scenario::new(
            format!("tcp-{name}"),
            format!("TCP by iperf3 {about}, NORMAL"),
            no_frames,
            Rules::default,
            &[Wanted::TimesOvs(wanted)],
        );
        scenario.course = Course::Tcp(between);
        scenario.figures = vec![Figure::Mbps];
        scenario
    })
    .into()
}
