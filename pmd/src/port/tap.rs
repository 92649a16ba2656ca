//! The `internal` port: a TAP, which the host's own IP stack uses like any other netdev.
//!
//! Each frame is read and written with a virtio-net header before it (Linux tuntap.rst), so that
//! checksums and segmentation left to be done pass in both directions: TCP between two of these
//! moves frames of 64 KiB. The netdev lives as long as the port, is made in the network namespace
//! of the thread that opens it, and may be moved to another.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_uint};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use super::kernel::{self, BURST_MAX, Pace, RETRIES_MAX, Slot};
use super::netdev::{self, Netdev};
use super::staging::{self, Terms};
use super::{
    ControlKind, FRAME_OVERHEAD, Fault, Link, LiveCounters, LostReason, Options, Port, PortConfig,
    PortControl, PortCounters, PortError, RxKind, RxQueue, TxKind, TxQueue,
};
use crate::offload::packet::Can;
use crate::offload::virtio;
use crate::{Batch, Packet, Pools};

/// Opens an `internal` port.
pub(super) fn open(config: &PortConfig, pools: &Pools) -> Result<Port, PortError> {
    let mac = mac_wanted(config)?;
    let failed = |error: io::Error| PortError::Device {
        port: config.name.clone(),
        device: format!("TAP {}", config.name),
        reason: reason(&error),
    };
    let tap = Arc::new(Tap::new(config, mac).map_err(failed)?);
    let tx = |queue| {
        TxQueue::new(TxKind::Tap(Tx {
            tap: tap.clone(),
            queue,
            pools: pools.clone(),
            ready: Batch::new(),
        }))
    };
    Ok(Port {
        rx: vec![RxQueue::new(RxKind::Tap(Rx {
            tap: tap.clone(),
            pools: pools.clone(),
            slot: Slot::new(),
            pace: Pace::default(),
        }))],
        tx: (0..config.tx_queues.max(1)).map(tx).collect(),
        control: PortControl::new(ControlKind::Tap(Control { tap: tap.clone() })),
    })
}

pub(super) fn check(config: &PortConfig) -> Result<(), PortError> {
    mac_wanted(config).map(drop)
}

fn mac_wanted(config: &PortConfig) -> Result<Option<[u8; 6]>, PortError> {
    let options = Options::of(config, &[MAC])?;
    let text = options.text(MAC);
    text.map(|text| parse_mac(&options, text)).transpose()
}

fn parse_mac(options: &Options<'_>, text: &str) -> Result<[u8; 6], PortError> {
    let bytes = || {
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            *byte = u8::from_str_radix(parts.next().filter(|part| part.len() == 2)?, 16).ok()?;
        }
        let multicast = mac[0] & 1 != 0;
        (parts.next().is_none() && !multicast && mac != [0; 6]).then_some(mac)
    };
    bytes()
        .ok_or_else(|| options.bad_value(MAC, text, "an address such as 02:00:00:00:00:01".into()))
}

fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EBUSY) => "a netdev of this name exists already".into(),
        Some(libc::EBADFD | libc::ENODEV) => "the netdev was removed by somebody else".into(),
        Some(libc::EPERM | libc::EACCES) => "needs the right to administer the network".into(),
        _ => error.to_string(),
    }
}

/// A TAP that is open.
#[derive(Debug)]
struct Tap {
    file: File,
    name: String,
    mtu: AtomicU16,
    admin_up: AtomicBool,
    /// Somebody removed the netdev.
    gone: AtomicBool,
    rx_counters: Box<[LiveCounters]>,
    tx_counters: Box<[LiveCounters]>,
}

impl Tap {
    fn new(config: &PortConfig, mac: Option<[u8; 6]>) -> io::Result<Tap> {
        let netdev = Netdev::new(&config.name)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")?;
        attach(&file, &config.name)?;
        if let Some(mac) = mac {
            netdev.set_mac(mac)?;
        }
        netdev.set_mtu(config.mtu)?;
        netdev.set_up(true)?;
        Ok(Tap {
            file,
            name: config.name.clone(),
            mtu: AtomicU16::new(config.mtu),
            admin_up: AtomicBool::new(true),
            gone: AtomicBool::new(false),
            rx_counters: LiveCounters::several(1),
            tx_counters: LiveCounters::several(config.tx_queues.max(1)),
        })
    }

    #[inline]
    fn is_usable(&self) -> bool {
        self.admin_up.load(Ordering::Relaxed) && !self.gone.load(Ordering::Relaxed)
    }

    /// Writes what the kernel takes of a batch, and counts all of it.
    fn write(&self, counters: &LiveCounters, batch: &mut Batch) {
        let (mut packets, mut bytes) = (0, 0);
        for packet in batch.drain() {
            match self.write_one(&packet) {
                Ok(()) => {
                    packets += 1;
                    bytes += packet.len() as u64;
                }
                Err(reason) => counters.lost(reason, 1),
            }
        }
        counters.add(packets, bytes);
    }

    fn write_one(&self, packet: &Packet) -> Result<(), LostReason> {
        let frame = packet.data();
        let mut header = [0; virtio::HEADER_LEN];
        if packet.owes() {
            header = virtio::encode(&packet.offload(), frame);
        }
        let parts = [kernel::readable(&header), kernel::readable(frame)];
        for _ in 0..=RETRIES_MAX {
            // SAFETY: both parts are readable and outlive the call, which only reads them.
            let written = unsafe { libc::writev(self.file.as_raw_fd(), parts.as_ptr(), 2) };
            if written >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) {
                return Err(self.note(&error));
            }
        }
        Err(LostReason::Full)
    }

    /// Remembers when an error says that the netdev is gone.
    fn note(&self, error: &io::Error) -> LostReason {
        if kernel::is_gone(error) {
            self.gone.store(true, Ordering::Relaxed);
        }
        kernel::refusal(error)
    }

    /// Its netdev by the name and in the namespace that it has now.
    fn netdev_now(&self) -> io::Result<Netdev> {
        // SAFETY: any bytes make an ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        let fd = self.file.as_raw_fd();
        // SAFETY: writes an ifreq.
        netdev::checked(unsafe { libc::ioctl(fd, TUNGETIFF, &mut request) })?;
        // SAFETY: takes no argument; a descriptor it returns is new and ours.
        let namespace = unsafe {
            let namespace = libc::ioctl(fd, TUNGETDEVNETNS, 0);
            OwnedFd::from_raw_fd(netdev::checked(namespace)?)
        };
        Netdev::new_in(namespace, request.ifr_name)
    }

    fn mac(&self) -> [u8; 6] {
        netdev::hardware_of(&self.file)
            .map(|(_, mac)| mac)
            .unwrap_or_default()
    }

    fn failed(&self, error: io::Error) -> PortError {
        PortError::Device {
            port: self.name.clone(),
            device: format!("TAP {}", self.name),
            reason: reason(&error),
        }
    }

    /// Whether its netdev is up, in whatever namespace it is: a TAP can be written to just then.
    fn is_writable(&self) -> bool {
        let fd = self.file.as_raw_fd();
        let mut poll = libc::pollfd {
            fd,
            events: libc::POLLOUT,
            revents: 0,
        };
        // SAFETY: one pollfd, which outlives the call.
        let ready = unsafe { libc::poll(&mut poll, 1, 0) };
        if ready == 1 && poll.revents & libc::POLLERR != 0 {
            self.gone.store(true, Ordering::Relaxed);
        }
        ready == 1 && poll.revents & libc::POLLOUT != 0
    }
}

/// Makes the netdev that the file stands for, with every offload that the kernel knows.
fn attach(file: &File, name: &str) -> io::Result<()> {
    // SAFETY: any bytes make an ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name = netdev::name_of(name)?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | IFF_TUN_EXCL;
    request.ifr_ifru.ifru_flags = flags as i16;
    let fd = file.as_raw_fd();
    // SAFETY: the first reads and writes an ifreq, the second takes an integer.
    unsafe {
        netdev::checked(libc::ioctl(fd, TUNSETIFF, &mut request))?;
        // Segmentation of UDP is known since Linux 6.2; and it needs both of its flags.
        let all = libc::ioctl(fd, TUNSETOFFLOAD, OFFLOADS | OFFLOADS_UDP);
        if all < 0 {
            netdev::checked(libc::ioctl(fd, TUNSETOFFLOAD, OFFLOADS))?;
        }
    }
    Ok(())
}

/// What the host's stack sends.
#[derive(Debug)]
pub(crate) struct Rx {
    tap: Arc<Tap>,
    pools: Pools,
    slot: Slot,
    pace: Pace,
}

impl Rx {
    pub(super) fn receive(&mut self, batch: &mut Batch) {
        if self.is_gone() || !self.pace.is_due() {
            return;
        }
        let admin_up = self.tap.admin_up.load(Ordering::Relaxed);
        let (mut packets, mut bytes) = (0, 0);
        for _ in 0..batch.room().min(BURST_MAX) {
            let packet = match self.read() {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(reason) => {
                    self.tap.rx_counters[0].lost(reason, 1);
                    continue;
                }
            };
            if !admin_up {
                self.tap.rx_counters[0].lost(LostReason::Down, 1);
                continue;
            }
            packets += 1;
            bytes += packet.len() as u64;
            drop(batch.push(packet));
        }
        if packets > 0 {
            self.pace.found();
            self.tap.rx_counters[0].add(packets, bytes);
        } else if self.pace.found_nothing() {
            self.slot.rest();
        }
    }

    /// The next packet, if there is one.
    fn read(&mut self) -> Result<Option<Packet>, LostReason> {
        let Some(parts) = self.slot.arm(&self.pools) else {
            // What waits in the kernel may wait for a buffer.
            return Ok(None);
        };
        // SAFETY: the slot's parts are writable until it is touched again.
        let read = unsafe {
            libc::readv(
                self.tap.file.as_raw_fd(),
                parts.as_ptr(),
                parts.len() as c_int,
            )
        };
        if let Ok(length) = usize::try_from(read) {
            return self.slot.take(length, &self.pools).map(Some);
        }
        let error = io::Error::last_os_error();
        match self.tap.note(&error) {
            // The kernel had a frame that its header cannot describe, and dropped it.
            LostReason::Malformed => Err(LostReason::Malformed),
            _ => Ok(None),
        }
    }

    #[inline]
    pub(super) fn is_gone(&self) -> bool {
        self.tap.gone.load(Ordering::Relaxed)
    }

    pub(super) fn poll_fd(&self) -> BorrowedFd<'_> {
        self.tap.file.as_fd()
    }
}

/// What goes to the host's stack. All queues write to one file, which the kernel allows.
#[derive(Debug)]
pub(crate) struct Tx {
    tap: Arc<Tap>,
    queue: usize,
    pools: Pools,
    /// Packets made ready where those to be sent are not, else empty.
    ready: Batch,
}

impl Tx {
    pub(super) fn send(&mut self, batch: &mut Batch) {
        let Tx {
            tap,
            queue,
            pools,
            ready,
        } = self;
        let counters = &tap.tx_counters[*queue];
        if !tap.is_usable() {
            counters.lost(LostReason::Down, batch.len() as u64);
            return batch.clear();
        }
        let terms = Terms {
            can: Can::ALL,
            longest: usize::from(tap.mtu.load(Ordering::Relaxed)) + FRAME_OVERHEAD,
        };
        let lost = |reason| counters.lost(reason, 1);
        staging::send_ready(batch, ready, terms, pools, lost, |batch| {
            tap.write(counters, batch)
        });
    }
}

/// Control of a TAP.
#[derive(Debug)]
pub(crate) struct Control {
    tap: Arc<Tap>,
}

impl Control {
    pub(super) fn link(&self) -> Link {
        let up = self.tap.is_usable() && self.tap.is_writable();
        Link {
            up,
            speed_mbps: 0,
            full_duplex: true,
        }
    }

    pub(super) fn set_admin_up(&mut self, up: bool) -> Result<(), PortError> {
        self.tap.admin_up.store(up, Ordering::Relaxed);
        let set = self.tap.netdev_now().and_then(|netdev| netdev.set_up(up));
        set.map_err(|error| self.tap.failed(error))
    }

    pub(super) fn set_mtu(&mut self, mtu: u16) -> Result<(), PortError> {
        let set = self.tap.netdev_now().and_then(|netdev| netdev.set_mtu(mtu));
        set.map_err(|error| self.tap.failed(error))?;
        self.tap.mtu.store(mtu, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        let gone = self.tap.gone.load(Ordering::Relaxed);
        gone.then_some(Fault::Removed)
    }

    pub(super) fn mac(&self) -> [u8; 6] {
        self.tap.mac()
    }

    pub(super) fn mtu(&self) -> u16 {
        self.tap.mtu.load(Ordering::Relaxed)
    }

    pub(super) fn counters(&self) -> PortCounters {
        PortCounters::of(&self.tap.rx_counters, &self.tap.tx_counters)
    }

    pub(super) fn status(&self) -> BTreeMap<String, String> {
        let rows = [
            ("driver_name", "tun"),
            ("tx_checksum_offload", "true"),
            ("tx_tso_offload", "true"),
        ];
        rows.map(|(name, value)| (name.to_string(), value.to_string()))
            .into()
    }
}

const MAC: &str = "mac";

/// Fail rather than take a TAP that another process left behind.
const IFF_TUN_EXCL: c_int = 0x8000;
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
const TUNGETIFF: libc::Ioctl = 0x8004_54d2;
const TUNGETDEVNETNS: libc::Ioctl = 0x54e3;
const TUNSETOFFLOAD: libc::Ioctl = 0x4004_54d0;
/// TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 and TUN_F_TSO_ECN.
const OFFLOADS: c_uint = 0x0f;
/// TUN_F_USO4 and TUN_F_USO6.
const OFFLOADS_UDP: c_uint = 0x60;
