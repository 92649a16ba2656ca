//! What a scenario is; [`super::scenarios`] has them all.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::figure::Figure;
use super::generator::Traffic;
use super::guest::PairSpec;
use super::tcp::Between;
use super::tunnels::Tunnels;

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
    /// What is at port 2.
    pub beyond: Beyond,
    /// What comes on top, after a while.
    pub later: Later,
    /// How it is measured.
    pub course: Course,
    /// What is told of it: a row for each.
    pub figures: Vec<Figure>,
    /// Connections that the switches can track, where it is not what they have room for unasked.
    pub connections: Option<u32>,
    /// Tunnels, and a bridge of their underlay, with which port 1 or port 2 is.
    pub tunnels: Option<Tunnels>,
    /// Ports that the switch has besides, of guests that are not there.
    pub idle_ports: u32,
    /// Where on a curve it is, if it is there to show how cost grows.
    pub point: Option<Point>,
    /// What is to be reached.
    pub wanted: Vec<Wanted>,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "Scenario({})", self.name)
    }
}

impl Scenario {
    /// One whose frames all leave by port 2, where they are dropped.
    pub fn new(
        name: String,
        about: String,
        traffic: impl Fn() -> Traffic + 'static,
        rules: impl Fn() -> Rules + 'static,
        wanted: &[Wanted],
    ) -> Scenario {
        Scenario {
            name,
            about,
            traffic: Box::new(traffic),
            rules: Box::new(rules),
            delivered: 1.0,
            beyond: Beyond::Nothing,
            later: Later::Nothing,
            course: Course::Forwarding,
            figures: vec![Figure::Mpps],
            connections: None,
            tunnels: None,
            idle_ports: 0,
            point: None,
            wanted: wanted.to_vec(),
        }
    }
}

/// How a scenario is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Course {
    /// The generator keeps the switch busy.
    Forwarding,
    /// The same; then the connections are counted, and ended.
    Connections,
    /// The generator sends half of what the switch can take, and sees when it comes.
    Latency,
    /// Two guests send to each other; nothing is generated.
    Guests(PairSpec),
    /// Two hosts speak TCP; nothing is generated.
    Tcp(Between),
    /// So many workers beside each other, without devices; ours alone.
    Workers(usize),
}

impl Course {
    /// Whether frames of a generator are sent.
    pub fn has_frames(self) -> bool {
        matches!(
            self,
            Course::Forwarding | Course::Connections | Course::Latency
        )
    }
}

/// A place on a curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// What grows: `flows`.
    pub curve: String,
    /// How much of it there is.
    pub amount: f64,
}

/// What is at port 2.
pub enum Beyond {
    /// A device that drops what it is sent.
    Nothing,
    /// Hosts that each send their frame now and then, so that their addresses are learned.
    Hosts(fn() -> Vec<Vec<u8>>),
    /// A guest on vhost-user; packets count once it has them.
    Guest {
        /// With packed rings, else split ones.
        packed: bool,
    },
}

/// What comes on top once the rate without it is known.
pub enum Later {
    /// Nothing.
    Nothing,
    /// The second order of the frames, of which this share is as before.
    SecondOrder(f64),
    /// Changes of flows by a controller, so many a second: these in turn, then from the start.
    Changes(f64, fn() -> anyhow::Result<Vec<Vec<u8>>>),
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
    /// So much of what Open vSwitch reaches with one rule on the port and one flow.
    OfOvsPortForward(f64),
    /// So much of our own rate without what comes on top.
    Kept(f64),
    /// Of one figure at least so much, in its unit; of what costs at most.
    Absolute(Figure, f64),
}
