//! The OpenFlow 1.3 patterns of os-ken's switch test tool, run against a switch.
//!
//! What: a pattern installs flows, groups and meters, sends packets and says what comes of them.
//! The tool's own documentation draws the topology: the switch under test and a tester switch with
//! three links between them, and the tool as the controller of both. Here a pair is these two
//! switches in namespaces of their own; several run side by side, each with a share of the
//! patterns. The tester switch is always Open vSwitch: what is judged and what judges have no
//! code in common.
//!
//! Who: `make conformance` (all patterns, beside Open vSwitch) and `tests/conformance.rs` (some).
//! docs/conformance.md says how the score comes about.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::process::target_dir;

mod pair;
mod patterns;
mod score;

pub use pair::Target;
pub use patterns::{Category, Kind, Pattern, all_patterns};
pub use score::{Outcome, Score};

use pair::Pair;

/// How patterns are run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which switch.
    pub target: Target,
    /// Pause between the barrier reply and the packet.
    pub settle_s: f64,
    /// How long a rate is measured; what the pattern says if not given.
    pub rate_s: Option<u32>,
    /// How long to wait for a packet; whoever does not send it costs so much each time.
    pub packet_s: u32,
    /// Pairs side by side.
    pub pairs: usize,
    /// Whether to make the tool's own defects good.
    pub mend: bool,
}

/// Runs patterns against a switch. `progress` counts those that are done.
pub fn run_patterns(patterns: &[Pattern], options: &Options, progress: &AtomicUsize) -> Score {
    let mut outcomes = vec![Outcome::NotRun("the pair of switches failed".into()); patterns.len()];
    let shares = patterns::shares(patterns, options.pairs);
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .iter()
            .map(|share| scope.spawn(|| run_share(patterns, share, options, progress)))
            .collect();
        for (share, thread) in shares.iter().zip(threads) {
            // A thread that panicked has said why; its patterns count as not run.
            for (index, outcome) in share.iter().zip(thread.join().unwrap_or_default()) {
                outcomes[*index] = outcome;
            }
        }
    });
    Score::new(patterns, outcomes)
}

/// As [`run_patterns`], one pair at a time and before all else that the machine has to do: the
/// tool measures rates by its own clock, and whoever is late is found too slow. For the same
/// reason what fails is measured again, `ATTEMPTS` times in all.
pub fn run_alone(patterns: &[Pattern], options: &Options, progress: &AtomicUsize) -> Score {
    let options = Options {
        pairs: 1,
        ..options.clone()
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Without the right to do so it is measured all the same.
            let _ = rustix::process::nice(PRIORITY);
            let mut score = run_patterns(patterns, &options, progress);
            for _ in 1..ATTEMPTS {
                let failed = score.failed_patterns();
                if failed.is_empty() {
                    break;
                }
                let fewer = |count: usize| Some(count.saturating_sub(failed.len()));
                let _ = progress.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
                score.update(run_patterns(&failed, &options, progress));
            }
            score
        });
        thread.join().unwrap_or_default()
    })
}

fn run_share(
    patterns: &[Pattern],
    share: &[usize],
    options: &Options,
    progress: &AtomicUsize,
) -> Vec<Outcome> {
    let share: Vec<&Pattern> = share.iter().map(|index| &patterns[*index]).collect();
    let pair = Pair::start(options.target);
    pair.run(&share, options, &|count| {
        progress.fetch_add(count, Ordering::Relaxed);
    })
}

/// How often a rate is measured before it counts as missed.
const ATTEMPTS: u32 = 3;

/// What is added to the niceness, for this thread and all that it starts.
const PRIORITY: i32 = -10;

/// The Python environment that `make setup` installs the tool into.
fn python_dir() -> std::path::PathBuf {
    target_dir().join("controller")
}
