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
    let mut pause = BACKOFF_MIN;
    loop {
        let end = once(&target, &link).await;
        if end.established {
            pause = BACKOFF_MIN;
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
        sleep(vary(pause)).await;
        pause = (pause * 2).min(backoff_max);
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
