//! The switch: `datapath` moves packets, `pipeline` decides, `control` talks to people and
//! controllers.
//!
//! A module knows only those after it: control → datapath → pipeline → action.
#![forbid(unsafe_code)]

pub mod action;
pub mod control;
pub mod datapath;
pub mod pipeline;
