//! Where OpenFlow connections go to and come from, in the words of OVS: `tcp:HOST[:PORT]`,
//! `ssl:HOST[:PORT]` and `unix:PATH` are dialled, `ptcp:[PORT][:ADDRESS]`,
//! `pssl:[PORT][:ADDRESS]` and `punix:PATH` are listened on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// A controller to dial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// `tcp:HOST[:PORT]`.
    Tcp {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// `ssl:HOST[:PORT]`.
    Tls {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// `unix:PATH`.
    Unix(PathBuf),
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listener {
    /// `ptcp:[PORT][:ADDRESS]`.
    Tcp(SocketAddr),
    /// `pssl:[PORT][:ADDRESS]`.
    Tls(SocketAddr),
    /// `punix:PATH`.
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return path_of(path).map(Target::Unix).ok_or(TargetError::Target);
        }
        let (kind, rest) = text.split_once(':').ok_or(TargetError::Target)?;
        let (host, port) = split_host(rest).ok_or(TargetError::Target)?;
        let known = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(known) {
            return Err(TargetError::Target);
        }
        let port = match port {
            Some(port) => port_of(port).ok_or(TargetError::Target)?,
            None => DEFAULT_PORT,
        };
        let host = host.to_owned();
        match kind {
            "tcp" => Ok(Target::Tcp { host, port }),
            "ssl" => Ok(Target::Tls { host, port }),
            _ => Err(TargetError::Target),
        }
    }
}

impl FromStr for Listener {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Listener, TargetError> {
        if let Some(path) = text.strip_prefix("punix:") {
            return path_of(path)
                .map(Listener::Unix)
                .ok_or(TargetError::Listener);
        }
        let (kind, rest) = text.split_once(':').ok_or(TargetError::Listener)?;
        let (port, address) = match rest.split_once(':') {
            Some((port, address)) => (port, Some(address)),
            None => (rest, None),
        };
        let port = match port {
            "" => DEFAULT_PORT,
            port => port_of(port).ok_or(TargetError::Listener)?,
        };
        let address = match address {
            None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Some(address) => {
                let bare = address
                    .strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix(']'));
                bare.unwrap_or(address)
                    .parse()
                    .map_err(|_| TargetError::Listener)?
            }
        };
        let at = SocketAddr::new(address, port);
        match kind {
            "ptcp" => Ok(Listener::Tcp(at)),
            "pssl" => Ok(Listener::Tls(at)),
            _ => Err(TargetError::Listener),
        }
    }
}

impl Target {
    /// Whether it takes certificates.
    pub fn is_secure(&self) -> bool {
        matches!(self, Target::Tls { .. })
    }
}

impl Listener {
    /// Whether it takes certificates.
    pub fn is_secure(&self) -> bool {
        matches!(self, Listener::Tls(_))
    }

    /// The port, if it is one of IP.
    pub fn port(&self) -> Option<u16> {
        match self {
            Listener::Tcp(at) | Listener::Tls(at) => Some(at.port()),
            Listener::Unix(_) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, host, port) = match self {
            Target::Tcp { host, port } => ("tcp", host, port),
            Target::Tls { host, port } => ("ssl", host, port),
            Target::Unix(path) => return write!(f, "unix:{}", path.display()),
        };
        match host.contains(':') {
            true => write!(f, "{kind}:[{host}]:{port}"),
            false => write!(f, "{kind}:{host}:{port}"),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, at) = match self {
            Listener::Tcp(at) => ("ptcp", at),
            Listener::Tls(at) => ("pssl", at),
            Listener::Unix(path) => return write!(f, "punix:{}", path.display()),
        };
        match at.ip() {
            IpAddr::V4(address) => write!(f, "{kind}:{}:{address}", at.port()),
            IpAddr::V6(address) => write!(f, "{kind}:{}:[{address}]", at.port()),
        }
    }
}

/// What is allowed instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a controller.
    #[error("allowed are tcp:HOST[:PORT], ssl:HOST[:PORT] and unix:PATH, an absolute path")]
    Target,
    /// Not a listener.
    #[error(
        "allowed are ptcp:[PORT][:ADDRESS], pssl:[PORT][:ADDRESS] and punix:PATH, an absolute path"
    )]
    Listener,
}

/// OpenFlow's port at IANA (OpenFlow 1.3.5 §6.3.1).
const DEFAULT_PORT: u16 = 6653;

/// Longest path of a Unix socket: `sun_path` holds 108 bytes with the final zero.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

fn path_of(text: &str) -> Option<PathBuf> {
    let fits = text.starts_with('/') && text.len() <= SOCKET_PATH_BYTES_MAX;
    (fits && !text.contains('\0')).then(|| PathBuf::from(text))
}

fn port_of(text: &str) -> Option<u16> {
    text.parse().ok().filter(|&port: &u16| port != 0)
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
fn split_host(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest {
            "" => Some((host, None)),
            rest => rest.strip_prefix(':').map(|port| (host, Some(port))),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dialled() {
        for (text, shown) in [
            ("tcp:127.0.0.1:6633", "tcp:127.0.0.1:6633"),
            ("tcp:ctl.example", "tcp:ctl.example:6653"),
            ("tcp:[::1]:1", "tcp:[::1]:1"),
            ("tcp:[fe80::1%eth0]", "tcp:[fe80::1%eth0]:6653"),
            ("ssl:10.0.0.1", "ssl:10.0.0.1:6653"),
            ("ssl:[::1]:7", "ssl:[::1]:7"),
            ("unix:/run/c.sock", "unix:/run/c.sock"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "tcp:",
            "tcp::6653",
            "tcp:a:0",
            "tcp:a:65536",
            "tcp:::1",
            "tcp:a b",
        ] {
            assert_eq!(text.parse::<Target>(), Err(TargetError::Target), "{text}");
        }
        for text in [
            "unix:",
            "tls:1.2.3.4",
            "ptcp:1",
            "ssl",
            "tcp:[::1",
            "tcp:[::1]x",
        ] {
            assert_eq!(text.parse::<Target>(), Err(TargetError::Target), "{text}");
        }
    }

    #[test]
    fn what_is_listened_on() {
        for (text, shown) in [
            ("ptcp:", "ptcp:6653:0.0.0.0"),
            ("ptcp:6654", "ptcp:6654:0.0.0.0"),
            ("ptcp:6654:127.0.0.1", "ptcp:6654:127.0.0.1"),
            ("ptcp:6654:[::1]", "ptcp:6654:[::1]"),
            ("ptcp:6654:::1", "ptcp:6654:[::1]"),
            ("pssl:", "pssl:6653:0.0.0.0"),
            ("pssl:1:[::1]", "pssl:1:[::1]"),
            ("punix:/run/l.sock", "punix:/run/l.sock"),
        ] {
            assert_eq!(text.parse::<Listener>().unwrap().to_string(), shown);
        }
        let long = format!("punix:/{}", "x".repeat(SOCKET_PATH_BYTES_MAX));
        for text in [
            "",
            "ptcp:x",
            "ptcp:0",
            "ptcp:1:host",
            "tcp:1",
            "punix:",
            long.as_str(),
        ] {
            assert_eq!(
                text.parse::<Listener>(),
                Err(TargetError::Listener),
                "{text}"
            );
        }
    }
}
