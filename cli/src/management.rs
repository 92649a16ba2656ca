//! The client of the management socket: JSON-RPC 1.0, one object on a line each way
//! (`docs/management.md`).

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::failure::Failure;

pub mod reply;

/// A connection to the daemon.
pub struct Management {
    reader: BufReader<UnixStream>,
    path: PathBuf,
    last_id: u64,
}

impl Management {
    /// Connects; an answer may take `timeout`.
    pub fn connect(run_dir: &Path, timeout: Duration) -> Result<Management, Failure> {
        let path = run_dir.join(SOCKET_NAME);
        let stream = connect(&path, timeout)?;
        Ok(Management {
            reader: BufReader::new(stream),
            path,
            last_id: 0,
        })
    }

    /// Calls a method with one object of parameters; `Value::Null` for none.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        let result = self.exchange(method, params)?;
        result.map_err(ErrorReply::failure)
    }

    /// The same; `None` if it is refused for the reason that is `excused`.
    pub fn call_unless(
        &mut self,
        method: &str,
        params: Value,
        excused: Option<&str>,
    ) -> Result<Option<Value>, Failure> {
        match self.exchange(method, params)? {
            Ok(result) => Ok(Some(result)),
            Err(error) if excused == Some(error.kind.as_str()) => Ok(None),
            Err(error) => Err(error.failure()),
        }
    }

    fn exchange(
        &mut self,
        method: &str,
        params: Value,
    ) -> Result<Result<Value, ErrorReply>, Failure> {
        self.last_id += 1;
        let params = match params {
            Value::Null => json!([]),
            params => json!([params]),
        };
        let request = json!({"id": self.last_id, "method": method, "params": params});
        let line = format!("{request}\n");
        let sent = self.reader.get_mut().write_all(line.as_bytes());
        sent.map_err(|error| lost(&self.path, &error))?;
        let mut text = String::new();
        let read = (&mut self.reader)
            .take(REPLY_BYTES_MAX)
            .read_line(&mut text);
        match read {
            Ok(_) if text.ends_with('\n') => self.result(&text),
            Ok(_) => Err(Failure::Unreachable(format!(
                "{}: the daemon closed the connection before it answered; see its log",
                self.path.display()
            ))),
            Err(error) => Err(lost(&self.path, &error)),
        }
    }

    /// Calls a method and takes its result apart.
    pub fn query<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: Value,
    ) -> Result<(Value, T), Failure> {
        let value = self.call(method, params)?;
        match T::deserialize(&value) {
            Ok(reply) => Ok((value, reply)),
            Err(error) => Err(self.strange(&format!("the result of {method}: {error}"))),
        }
    }

    fn result(&self, text: &str) -> Result<Result<Value, ErrorReply>, Failure> {
        let reply: Reply = serde_json::from_str(text).map_err(|e| self.strange(&e.to_string()))?;
        match reply.error {
            Some(error) => Ok(Err(error)),
            None if reply.id == json!(self.last_id) => Ok(Ok(reply.result)),
            None => Err(self.strange(&format!("an answer to request {}", reply.id))),
        }
    }

    fn strange(&self, what: &str) -> Failure {
        Failure::Unreachable(format!(
            "{}: not the answer that vsctl {} expects ({what}); are both of one version?",
            self.path.display(),
            env!("CARGO_PKG_VERSION"),
        ))
    }
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Option<ErrorReply>,
}

#[derive(Deserialize)]
struct ErrorReply {
    kind: String,
    message: String,
    #[serde(default)]
    known: Vec<String>,
}

impl ErrorReply {
    /// What was typed makes no sense, or it does and was refused.
    fn failure(self) -> Failure {
        match self.kind.as_str() {
            "bad-params" => Failure::Usage(self.text()),
            _ => Failure::Refused(self.text()),
        }
    }

    fn text(&self) -> String {
        match self.known.as_slice() {
            [] => self.message.clone(),
            known => format!("{}; there is {}", self.message, known.join(", ")),
        }
    }
}

/// Connects to one of the daemon's sockets.
pub fn connect(path: &Path, timeout: Duration) -> Result<UnixStream, Failure> {
    let unreachable = |text: String| Failure::Unreachable(format!("{}: {text}", path.display()));
    let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => unreachable(
            "no daemon answers: start vswitchd, or say --run-dir DIR if it runs elsewhere".into(),
        ),
        ErrorKind::PermissionDenied => unreachable(
            "permission denied: run vsctl as root, or as the user that vswitchd runs as".into(),
        ),
        _ => unreachable(error.to_string()),
    })?;
    let set = stream.set_read_timeout(Some(timeout));
    let set = set.and_then(|()| stream.set_write_timeout(Some(timeout)));
    set.map_err(|error| unreachable(error.to_string()))?;
    Ok(stream)
}

/// The failure for a connection that went.
pub fn lost(path: &Path, error: &std::io::Error) -> Failure {
    let text = match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            "no answer in time: the daemon may be busy; try a longer --timeout".into()
        }
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
            "the daemon closed the connection; see its log".into()
        }
        _ => error.to_string(),
    };
    Failure::Unreachable(format!("{}: {text}", path.display()))
}

/// Name of the management socket in the run folder.
pub const SOCKET_NAME: &str = "vswitchd.sock";
/// Far beyond the answer of a switch with a thousand ports; an end to one that never stops.
const REPLY_BYTES_MAX: u64 = 256 << 20;
