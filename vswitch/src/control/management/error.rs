//! Why a call failed, as docs/management.md tells it.

use serde_json::{Value, json};

use super::super::actor::Gone;
use super::super::config::ConfigError;
use super::super::provision::Failure;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    kind: &'static str,
    message: String,
    known: Option<Vec<String>>,
}

impl CallError {
    /// Not a request.
    pub fn bad_request(message: String) -> CallError {
        CallError::new("bad-request", message)
    }

    /// No such method.
    pub fn unknown_method(method: &str, known: &[&str]) -> CallError {
        let known = known.iter().map(|known| (*known).to_owned()).collect();
        let message = format!("no method \"{method}\"");
        CallError {
            known: Some(known),
            ..CallError::new("unknown-method", message)
        }
    }

    /// A member that is missing, unknown or wrong.
    pub fn bad_params(message: String) -> CallError {
        CallError::new("bad-params", message)
    }

    /// No such bridge; these there are.
    pub fn no_such_bridge(bridge: &str, known: Vec<String>) -> CallError {
        let message = format!("no bridge \"{bridge}\"");
        CallError {
            known: Some(known),
            ..CallError::new("no-such-bridge", message)
        }
    }

    /// No such port; these there are.
    pub fn no_such_port(port: &str, known: Vec<String>) -> CallError {
        let message = format!("no port \"{port}\"");
        CallError {
            known: Some(known),
            ..CallError::new("no-such-port", message)
        }
    }

    /// Something of that name or number is there.
    pub fn exists(message: String) -> CallError {
        CallError::new("exists", message)
    }

    /// It could not be done.
    pub fn failed(message: String) -> CallError {
        CallError::new("failed", message)
    }

    fn new(kind: &'static str, message: String) -> CallError {
        CallError {
            kind,
            message,
            known: None,
        }
    }

    /// As it is sent.
    pub fn to_json(&self) -> Value {
        let mut error = json!({ "kind": self.kind, "message": self.message });
        if let Some(known) = &self.known {
            error["known"] = json!(known);
        }
        error
    }
}

impl From<Gone> for CallError {
    fn from(gone: Gone) -> CallError {
        CallError::failed(gone.to_string())
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> CallError {
        CallError::failed(failure.0)
    }
}

impl From<ConfigError> for CallError {
    fn from(error: ConfigError) -> CallError {
        CallError::bad_params(error.message().to_owned())
    }
}
