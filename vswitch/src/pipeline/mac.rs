//! What a bridge has learned: which port an address was heard on last.

use std::sync::Arc;

use crate::action::{Heard, PortNo};

/// A learned address.
#[derive(Clone, Debug)]
pub struct MacEntry {
    /// Where it was heard last.
    pub port: PortNo,
    /// When it was heard last.
    pub heard: Arc<Heard>,
}
