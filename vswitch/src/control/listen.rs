//! Waits for controllers and tools that dial the switch.

use std::future::pending;
use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::connection::{self, Link};
use super::run_dir::SocketFile;
use super::target::Listener;

/// A socket that is being listened on.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
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
            Listener::Unix(path) => {
                let (listener, file): (StdUnixListener, SocketFile) = SocketFile::bind(path)?;
                Ok(Socket::Unix(UnixListener::from_std(listener)?, file))
            }
        }
    }

    /// Serves whoever comes, until dropped.
    pub async fn serve(self, link: Link) {
        let mut served = JoinSet::new();
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
                    served.spawn(connection::run(stream, link.clone()));
                }),
                Socket::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                    served.spawn(connection::run(stream, link.clone()));
                }),
            };
            if let Err(error) = accepted {
                warn!(bridge = %link.bridge_name, %error, "connection not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Tries again and again to listen, then serves.
pub async fn insist(at: Listener, link: Link) {
    loop {
        sleep(BIND_PAUSE).await;
        if let Ok(socket) = Socket::bind(&at).await {
            socket.serve(link).await;
            return pending().await;
        }
    }
}

/// Connections of one listener: more than controllers and tools together need, few enough that
/// their buffers are no burden.
const CONNECTIONS_MAX: usize = 64;
/// When file descriptors are short, some may be free again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long an address that is taken may stay so.
const BIND_PAUSE: Duration = Duration::from_secs(8);
