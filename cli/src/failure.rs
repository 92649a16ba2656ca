//! Why a command failed: what is printed on standard error, and the exit code.

use std::io;

use openflow::text::SyntaxError;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The switch understood and said no.
    Refused(String),
    /// What was typed, or what a file holds, makes no sense.
    Usage(String),
    /// The switch cannot be reached, or it does not answer.
    Unreachable(String),
    /// Our own output could not be written.
    Output(io::Error),
}

impl Failure {
    /// What scripts can rely on.
    pub fn exit_code(&self) -> u8 {
        match self {
            // Whoever reads our output has seen enough: `vsctl flow dump br0 | head`.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Failure::Refused(_) | Failure::Output(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Unreachable(_) => 3,
        }
    }

    /// What to tell, if anything.
    pub fn text(&self) -> Option<String> {
        match self {
            Failure::Refused(text) | Failure::Usage(text) | Failure::Unreachable(text) => {
                Some(text.clone())
            }
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Failure::Output(error) => Some(format!("cannot write the output: {error}")),
        }
    }
}

impl From<SyntaxError> for Failure {
    fn from(error: SyntaxError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

impl From<io::Error> for Failure {
    /// Of output alone: errors of sockets and files say what was tried.
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}
