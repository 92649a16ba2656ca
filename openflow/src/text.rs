//! Flows, groups and meters as text, in the syntax of `ovs-ofctl`, both ways.
//!
//! `vsctl` reads what operators type and prints what the switch answers; tests write their flows
//! in it. What is printed can be read again and gives the same value. `docs/flow-syntax.md`
//! describes the language and the few places where we say no to what stock `ovs-ofctl` lets pass.

use std::fmt::{self, Write};
use std::time::Duration;

mod action;
mod ct;
pub mod flow;
pub mod group;
mod instruction;
mod matching;
pub mod meter;
mod name;
mod nicira;
mod option;
mod port;
pub mod tlv;
mod token;
mod value;

pub use action::write as write_actions;
pub use port::Ports;

/// Why a text is not a flow, group or meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The piece of the text that is at fault.
    pub token: String,
    /// What is wrong with it.
    pub problem: String,
    /// What could stand there instead; may be empty.
    pub allowed: String,
}

impl SyntaxError {
    fn new(token: &str, problem: impl Into<String>, allowed: impl Into<String>) -> SyntaxError {
        SyntaxError {
            token: shorten(token),
            problem: problem.into(),
            allowed: allowed.into(),
        }
    }

    /// The same error, told of the larger piece that the faulty one is in.
    fn within(mut self, token: &str) -> SyntaxError {
        self.token = shorten(token);
        self
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SyntaxError {
            token,
            problem,
            allowed,
        } = self;
        if !token.is_empty() {
            write!(f, "{token}: ")?;
        }
        f.write_str(problem)?;
        if !allowed.is_empty() {
            write!(f, "; allowed: {allowed}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SyntaxError {}

/// Appends a duration in seconds, with as many decimals as it takes, and its unit.
fn write_duration(out: &mut String, duration: Duration) {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    // Writing to a String cannot fail.
    let _ = match nanoseconds {
        0 => write!(out, "{seconds}s"),
        n if n % 1_000_000 == 0 => write!(out, "{seconds}.{:03}s", n / 1_000_000),
        n if n % 1_000 == 0 => write!(out, "{seconds}.{:06}s", n / 1_000),
        n => write!(out, "{seconds}.{n:09}s"),
    };
}

/// Cuts what is too long to be read in an error message.
fn shorten(token: &str) -> String {
    match token.char_indices().nth(TOKEN_SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &token[..end]),
        None => token.to_owned(),
    }
}

/// Characters of a faulty token that are shown: longer ones fill the operator's screen.
const TOKEN_SHOWN_MAX: usize = 120;
