//! The switch daemon.

fn main() {}
