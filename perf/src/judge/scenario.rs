//! What a scenario is; [`super::scenarios`] has them all.

use std::fmt;

use super::generator::Traffic;

/// Frames, rules and what is to be reached.
pub struct Scenario {
    /// How it is called: `l3-100k`.
    pub name: String,
    /// What it is, in words.
    pub about: String,
    /// The frames that come in by port 1.
    pub traffic: Box<dyn Fn() -> Traffic>,
    /// What both switches are told.
    pub rules: Box<dyn Fn() -> Rules>,
    /// Share of the frames that leaves by port 2; both switches are held to it.
    pub delivered: f64,
    /// What is to be reached.
    pub wanted: Vec<Wanted>,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "Scenario({})", self.name)
    }
}

/// Flows, groups and meters in `ovs-ofctl`'s syntax.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// For `add-flows`.
    pub flows: Vec<String>,
    /// For `add-groups`.
    pub groups: Vec<String>,
    /// For `add-meter`.
    pub meters: Vec<String>,
}

impl Rules {
    /// Flows alone.
    pub fn flows(flows: Vec<String>) -> Rules {
        Rules {
            flows,
            ..Rules::default()
        }
    }
}

/// One condition on our rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted {
    /// So many times Open vSwitch's.
    TimesOvs(f64),
    /// So much of testpmd's.
    OfCeiling(f64),
}
