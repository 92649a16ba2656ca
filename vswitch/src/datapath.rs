//! Moves packets: workers, execution of programs, sending.

pub mod rewrite;
