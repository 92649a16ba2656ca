//! Dials a controller, again and again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsStream;
use tracing::debug;

use super::connection::{self, End, Link};
use super::target::Target;

/// Keeps a connection to a controller for as long as the task lives.
pub async fn run(target: Target, backoff_max: Duration, link: Link) {
    let mut backoff = Backoff::new(backoff_max);
    loop {
        let end = once(&target, &link).await;
        if end.established {
            backoff = Backoff::new(backoff_max);
        } else {
            let (bridge, target) = (link.bridge, target.clone());
            let note = move |actor: &mut super::actor::Actor| {
                if let Some(bridge) = actor.bridges.get_mut(&bridge) {
                    bridge.note_failure(&target, end.reason);
                }
            };
            if link.handle.with(note).await.is_err() {
                return;
            }
        }
        sleep(vary(backoff.next_pause())).await;
    }
}

/// How long to wait before a controller is dialled again: each time twice as long.
struct Backoff {
    pause: Duration,
    max: Duration,
}

impl Backoff {
    /// After a connection that worked, or before the first.
    fn new(max: Duration) -> Backoff {
        let pause = BACKOFF_MIN.min(max);
        Backoff { pause, max }
    }

    fn next_pause(&mut self) -> Duration {
        let next = (self.pause * 2).min(self.max);
        std::mem::replace(&mut self.pause, next)
    }
}

/// Keeps an auxiliary connection for as long as the task lives, which is that of the main one.
/// Boxed, since a main connection begins what dials another connection.
pub fn auxiliary(target: Target, link: Link) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        loop {
            let end = once(&target, &link).await;
            debug!(bridge = %link.bridge_name, %target, end.reason, "no auxiliary connection");
            sleep(vary(AUXILIARY_PAUSE)).await;
        }
    })
}

/// One connection, from dialling to its end.
async fn once(target: &Target, link: &Link) -> End {
    match timeout(CONNECT_TIME_MAX, dial(target, link)).await {
        Ok(Ok(Stream::Tcp(stream))) => connection::run(stream, link.clone()).await,
        Ok(Ok(Stream::Tls(stream))) => connection::run(stream, link.clone()).await,
        Ok(Ok(Stream::Unix(stream))) => connection::run(stream, link.clone()).await,
        Ok(Err(error)) => End {
            established: false,
            reason: error.to_string(),
        },
        Err(_) => End {
            established: false,
            reason: "no answer".to_owned(),
        },
    }
}

enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

async fn dial(target: &Target, link: &Link) -> io::Result<Stream> {
    match target {
        Target::Tcp { host, port } => dial_tcp(host, *port).await.map(Stream::Tcp),
        Target::Tls { host, port } => {
            let no_files = || io::Error::other("there is no [tls] in the configuration");
            let tls = link.tls.as_ref().ok_or_else(no_files)?;
            let stream = tls.connect(dial_tcp(host, *port).await?).await?;
            Ok(Stream::Tls(Box::new(stream)))
        }
        Target::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
    }
}

async fn dial_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A quarter more or less, so that a thousand switches do not dial in step.
fn vary(pause: Duration) -> Duration {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    pause.mul_f64(0.75 + 0.5 * (bits as f64 / (1u64 << 53) as f64))
}

/// The first pause, and the one after a connection that worked.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Between attempts at an auxiliary connection: a controller that has none for us is not pressed.
const AUXILIARY_PAUSE: Duration = Duration::from_secs(4);
/// How long a host may take to answer.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_secs(8));
        let pauses = [1, 2, 4, 8, 8, 8].map(Duration::from_secs);
        assert_eq!(pauses.map(|_| backoff.next_pause()), pauses);
        let mut short = Backoff::new(Duration::from_millis(300));
        assert_eq!(short.next_pause(), Duration::from_millis(300));
    }

    #[test]
    fn no_two_switches_dial_in_step() {
        let second = Duration::from_secs(1);
        let pauses: std::collections::BTreeSet<_> = (0..100).map(|_| vary(second)).collect();
        let range = Duration::from_millis(750)..Duration::from_millis(1250);
        assert!(pauses.len() > 90, "{pauses:?}");
        assert!(
            pauses.iter().all(|pause| range.contains(pause)),
            "{pauses:?}"
        );
    }
}
