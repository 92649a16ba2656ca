//! Decides: published OpenFlow state, and its translation into datapath programs.

/// A meter's token buckets, shared by all workers.
#[derive(Debug)]
pub struct Meter;
