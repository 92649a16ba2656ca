//! A controller that changes flows at a steady rate while packets run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::openflow::client::Client;

/// A thread with a connection to a bridge.
#[derive(Debug)]
pub struct Controller {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<f64>>,
}

impl Controller {
    /// Connects and begins to send these messages, so many a second, from the start again after
    /// the last.
    pub fn start(bridge: &Path, messages: Vec<Vec<u8>>, rate: f64) -> Result<Controller> {
        let mut client = Client::connect(bridge)?;
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let thread = std::thread::Builder::new().name("controller".into());
        let thread = thread.spawn(move || {
            let (start, mut sent) = (Instant::now(), 0_usize);
            let mut messages = messages.iter().cycle();
            while !until.load(Ordering::Relaxed) {
                let due = (start.elapsed().as_secs_f64() * rate) as usize;
                let some = messages.by_ref().take(due.saturating_sub(sent));
                let bytes: Vec<u8> = some.flatten().copied().collect();
                client.write(&bytes)?;
                sent = sent.max(due);
                std::thread::sleep(Duration::from_millis(1));
            }
            client.barrier().context("no answer to the last change")?;
            let reached = sent as f64 / start.elapsed().as_secs_f64();
            ensure!(client.errors == 0, "{} changes were refused", client.errors);
            Ok(reached)
        })?;
        Ok(Controller { stop, thread })
    }

    /// Ends it, once all is done: changes a second that the switch has made.
    pub fn stop(self) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("the controller panicked"))?
    }
}
