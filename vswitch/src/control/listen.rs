//! Waits for controllers and tools that dial the switch.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::connection::{self, Link};
use super::logging::Throttle;
use super::run_dir::SocketFile;
use super::target::Listener;

/// A socket that is being listened on.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// TLS over TCP.
    Tls(TcpListener),
    /// Unix, with its file.
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "removes the file when dropped")] SocketFile,
    ),
}

impl Socket {
    /// Begins to listen.
    pub async fn bind(at: &Listener) -> io::Result<Socket> {
        match at {
            Listener::Tcp(address) => TcpListener::bind(address).await.map(Socket::Tcp),
            Listener::Tls(address) => TcpListener::bind(address).await.map(Socket::Tls),
            Listener::Unix(path) => {
                let (listener, file): (StdUnixListener, SocketFile) = SocketFile::bind(path)?;
                Ok(Socket::Unix(UnixListener::from_std(listener)?, file))
            }
        }
    }

    /// Serves whoever comes, until dropped.
    pub async fn serve(self, link: Link) {
        let mut served = JoinSet::new();
        let complaints = Arc::new(Complaints::default());
        loop {
            while served.try_join_next().is_some() {}
            let accepted = match &self {
                _ if served.len() >= CONNECTIONS_MAX => {
                    served.join_next().await;
                    continue;
                }
                Socket::Tcp(listener) => listener.accept().await.map(|(stream, from)| {
                    debug!(bridge = %link.bridge_name, %from, "connection accepted");
                    let _ = stream.set_nodelay(true);
                    served.spawn(run(stream, link.clone()));
                }),
                Socket::Tls(listener) => listener.accept().await.map(|(stream, from)| {
                    debug!(bridge = %link.bridge_name, %from, "connection accepted");
                    let _ = stream.set_nodelay(true);
                    let complaints = Arc::clone(&complaints);
                    served.spawn(secure(stream, from, link.clone(), complaints));
                }),
                Socket::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                    served.spawn(run(stream, link.clone()));
                }),
            };
            if let Err(error) = accepted {
                complaints.utter(|left_out| {
                    let bridge = &*link.bridge_name;
                    warn!(bridge, %error, left_out, "connection not accepted");
                });
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn run<S: AsyncRead + AsyncWrite>(stream: S, link: Link) {
    connection::run(stream, link).await;
}

/// What a listener complains of, which any stranger can make it do as often as he likes.
#[derive(Debug)]
struct Complaints {
    start: Instant,
    throttle: Mutex<Throttle>,
}

impl Default for Complaints {
    fn default() -> Complaints {
        Complaints {
            start: Instant::now(),
            throttle: Mutex::default(),
        }
    }
}

impl Complaints {
    /// Writes a line if it is not one too many; it is told how many were, if any.
    fn utter(&self, write: impl FnOnce(Option<u64>)) {
        let now_ms = self.start.elapsed().as_millis() as u64;
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left_out) = throttle.admits(now_ms) {
            write((left_out > 0).then_some(left_out));
        }
    }
}

/// Serves whoever shows a certificate.
async fn secure(stream: TcpStream, from: SocketAddr, link: Link, complaints: Arc<Complaints>) {
    let Some(tls) = link.tls.clone() else { return };
    let error = match timeout(HANDSHAKE_TIME_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => return run(stream, link).await,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no handshake in time".to_owned(),
    };
    complaints.utter(|left_out| {
        let bridge = &*link.bridge_name;
        warn!(bridge, %from, %error, left_out, "connection not secured");
    });
}

/// Tries again and again to listen, then serves; tells why it does not yet.
pub async fn insist(at: Listener, link: Link, mut error: io::Error) {
    loop {
        note(&at, &link, Some(error.to_string())).await;
        sleep(BIND_PAUSE).await;
        match Socket::bind(&at).await {
            Ok(socket) => {
                info!(bridge = %link.bridge_name, %at, "listening");
                note(&at, &link, None).await;
                socket.serve(link).await;
                return pending().await;
            }
            Err(again) => error = again,
        }
    }
}

async fn note(at: &Listener, link: &Link, error: Option<String>) {
    let (id, at) = (link.bridge, at.to_string());
    let noted = link.handle.with(move |actor| {
        let Some(bridge) = actor.bridges.get_mut(&id) else {
            return;
        };
        match error {
            Some(error) => bridge.listener_errors.insert(at, error),
            None => bridge.listener_errors.remove(&at),
        };
    });
    if noted.await.is_err() {
        debug!(bridge = %link.bridge_name, "the switch is ending");
    }
}

/// Connections of one listener: more than controllers and tools together need, few enough that
/// their buffers are no burden.
const CONNECTIONS_MAX: usize = 64;
/// How long a peer may take to show who it is.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// When file descriptors are short, some may be free again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long an address that is taken may stay so.
const BIND_PAUSE: Duration = Duration::from_secs(8);
