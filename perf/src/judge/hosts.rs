//! Hosts at port 2: each sends its frame now and then, so that the switch learns where it is, and
//! all take what they are sent. Runs beside the generator, on the same CPU.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::generator::precede_others;
use super::memif::{DESCRIPTOR, Memif, frame_descriptor};

/// A thread that is all of them.
#[derive(Debug)]
pub struct Hosts {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Hosts {
    /// Connects to the switch's end; each frame is that of a host.
    pub fn start(path: &Path, rings: u16, frames: &[Vec<u8>], cpu: usize) -> Result<Hosts> {
        let (mut bytes, mut descriptors) = (Vec::new(), Vec::new());
        for frame in frames {
            let place = bytes.len() as u32;
            descriptors.extend(frame_descriptor(place, frame.len() as u32));
            bytes.extend_from_slice(frame);
        }
        let mut memif = Memif::connect(path, rings, bytes.len() as u64)?;
        memif.write_frames(&bytes, 0)?;
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let thread = std::thread::Builder::new().name("hosts".into());
        let thread = thread.spawn(move || {
            precede_others(cpu)?;
            let mut turns = descriptors.chunks(HOSTS_AT_ONCE * DESCRIPTOR).cycle();
            let mut pause = 0;
            while !until.load(Ordering::Relaxed) {
                memif.receive()?;
                pause += 1;
                if pause % PAUSES == 0 && memif.free_slots()?.free > 1 << 10 {
                    memif.send(turns.next().unwrap_or_default())?;
                }
                std::thread::sleep(PAUSE);
            }
            Ok(())
        })?;
        Ok(Hosts { stop, thread })
    }

    /// Ends them.
    pub fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("the hosts panicked"))?
    }
}

/// Between two looks at what came.
const PAUSE: Duration = Duration::from_micros(30);
/// After so many of them some hosts send: all do several times a second.
const PAUSES: u32 = 20;
const HOSTS_AT_ONCE: usize = 8;
