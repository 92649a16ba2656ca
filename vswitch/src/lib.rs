//! The switch: `datapath` moves packets, `pipeline` decides, `control` talks to people and
//! controllers, `local` answers for the switch's own addresses.
//!
//! A module knows only those after it: control → datapath → pipeline → action; `local` is a leaf
//! that control and datapath use.
#![forbid(unsafe_code)]

pub mod action;
pub mod control;
pub mod datapath;
pub mod local;
pub mod pipeline;
