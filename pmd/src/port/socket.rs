//! The `system` port: a netdev that exists, such as a veth or a NIC with a kernel driver.
//!
//! # What
//! A packet socket (packet(7)) that sees every frame the netdev receives, and sends by it. Each
//! frame has a virtio-net header before it (`PACKET_VNET_HDR`), so that checksums and segmentation
//! left to be done pass in both directions and nobody need switch offloads off.
//!
//! # Why not AF_XDP
//! It was measured. TCP between two network namespaces through two veths, one polling thread, two
//! cores shared with other work, iperf3, in turns, best of three: 6.3 Gb/s by packet sockets, 2.1
//! by AF_XDP (DPDK's net_af_xdp, copy mode), and the latter only with transmit offloads switched
//! off in both namespaces, without which no TCP connection comes about: XDP has no place for what
//! is left to be done, so every frame is finished and an MTU long. With the machine to itself the
//! former is 10.8 Gb/s. Datagrams of 64 bytes: some 100,000 a second received by either, the two
//! stacks being what limits them. A driver with zero copy would tell otherwise for small frames;
//! such NICs are better off with DPDK's own driver.
//!
//! # VLAN tags
//! The kernel takes the outer tag off a received frame and hands it over beside it
//! (`PACKET_AUXDATA`); it is put back here. What the virtio-net header says counts from the frame
//! without it and moves by its length. On the way out tags are ordinary bytes.
//!
//! # The host beside the switch
//! The host goes on receiving by the netdev what the switch receives. By default it would answer
//! ARP there for addresses that it has on LOCAL, with the netdev's own MAC, and often before LOCAL
//! does: who believes that sends past the switch. So the netdev's `arp_ignore` (the kernel's
//! ip-sysctl) is set to 1 as long as it is a port: the host answers by it for the netdev's own
//! addresses alone, as IPv6 has it anyway.
//!
//! # A netdev that goes and returns
//! Its socket then fails with ENETDOWN once and hears nothing any more. `link`, which control asks
//! often, notices that the name has another index, and binds the socket anew.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::kernel::{self, BURST_MAX, Pace, Parts, RETRIES_MAX, Slot};
use super::netdev::{Netdev, checked};
use super::staging::{self, Terms};
use super::{
    ControlKind, FRAME_OVERHEAD, Fault, Link, LiveCounters, LostReason, Options, Port, PortConfig,
    PortControl, PortCounters, PortError, RxKind, RxQueue, TxKind, TxQueue,
};
use crate::offload::packet::Can;
use crate::offload::virtio;
use crate::{BATCH_MAX, Batch, Packet, Pools};

mod quiet;

use quiet::Quiet;

/// Opens a `system` port.
pub(super) fn open(config: &PortConfig, pools: &Pools) -> Result<Port, PortError> {
    check(config)?;
    let failed = |error: io::Error| PortError::Device {
        port: config.name.clone(),
        device: format!("netdev {}", config.name),
        reason: reason(&error),
    };
    let socket = Arc::new(Socket::new(config).map_err(failed)?);
    let tx = |queue| {
        TxQueue::new(TxKind::Socket(Tx {
            socket: socket.clone(),
            queue,
            pools: pools.clone(),
            ready: Batch::new(),
        }))
    };
    Ok(Port {
        rx: vec![RxQueue::new(RxKind::Socket(Rx::new(
            socket.clone(),
            pools.clone(),
        )))],
        tx: (0..config.tx_queues.max(1)).map(tx).collect(),
        control: PortControl::new(ControlKind::Socket(Control {
            socket: socket.clone(),
        })),
    })
}

pub(super) fn check(config: &PortConfig) -> Result<(), PortError> {
    Options::of(config, &[]).map(drop)
}

fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENODEV) => "there is none in this network namespace".into(),
        Some(libc::EPERM | libc::EACCES) => "needs the right to use packet sockets".into(),
        _ => error.to_string(),
    }
}

/// A packet socket and its netdev.
#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    netdev: Netdev,
    name: String,
    /// As it was last seen.
    mac: AtomicU64,
    driver: String,
    /// What is put back once the netdev is no port any more.
    quiet: Mutex<Option<Quiet>>,
    /// Index of the netdev that the socket is bound to.
    index: AtomicI32,
    mtu: AtomicI32,
    admin_up: AtomicBool,
    /// The netdev was removed, and did not return so far.
    gone: AtomicBool,
    /// Link as `link` last saw it: up, and its speed, asked for when it came up.
    seen_up: AtomicBool,
    speed: AtomicU64,
    /// Frames that came faster than they were fetched.
    missed: AtomicU64,
    rx_counters: Box<[LiveCounters]>,
    tx_counters: Box<[LiveCounters]>,
}

impl Socket {
    fn new(config: &PortConfig) -> io::Result<Socket> {
        let netdev = Netdev::new(&config.name)?;
        let index = netdev.index()?;
        let (hardware, mac) = netdev.hardware()?;
        if !matches!(hardware, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK) {
            return Err(io::Error::other("is not an Ethernet device"));
        }
        if config.mtu != 0 {
            netdev.set_mtu(config.mtu)?;
        }
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: takes integers only; a descriptor it returns is new and ours. Protocol 0 hears
        // nothing until it is bound.
        let fd = unsafe { OwnedFd::from_raw_fd(checked(libc::socket(libc::AF_PACKET, kind, 0))?) };
        prepare(&fd)?;
        bind(&fd, index)?;
        Ok(Socket {
            fd,
            mtu: AtomicI32::new(netdev.mtu()?),
            driver: netdev.driver(),
            netdev,
            name: config.name.clone(),
            quiet: Mutex::new(Quiet::new(&config.name)),
            mac: AtomicU64::new(number(mac)),
            index: AtomicI32::new(index),
            admin_up: AtomicBool::new(true),
            gone: AtomicBool::new(false),
            seen_up: AtomicBool::new(false),
            speed: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            rx_counters: LiveCounters::several(1),
            tx_counters: LiveCounters::several(config.tx_queues.max(1)),
        })
    }

    #[inline]
    fn is_usable(&self) -> bool {
        self.admin_up.load(Ordering::Relaxed) && !self.gone.load(Ordering::Relaxed)
    }

    fn note(&self, error: &io::Error) -> LostReason {
        if kernel::is_gone(error) {
            self.gone.store(true, Ordering::Relaxed);
        }
        kernel::refusal(error)
    }

    /// Whether the netdev is there, bound anew if it was not.
    fn is_present(&self) -> bool {
        let Ok(index) = self.netdev.index() else {
            self.gone.store(true, Ordering::Relaxed);
            return false;
        };
        if index != self.index.load(Ordering::Relaxed) || self.gone.load(Ordering::Relaxed) {
            if bind(&self.fd, index).is_err() {
                return false;
            }
            self.keep_host_quiet();
            tracing::info!(port = self.name, "netdev is back");
            self.index.store(index, Ordering::Relaxed);
            self.gone.store(false, Ordering::Relaxed);
        }
        true
    }

    /// Quietens the host by a netdev that came back. One that was never gone is quiet.
    fn keep_host_quiet(&self) {
        if let (Some(changed), Ok(mut quiet)) = (Quiet::new(&self.name), self.quiet.lock()) {
            *quiet = Some(changed);
        }
    }

    /// Whether it is present, up, and has a carrier.
    fn is_running(&self) -> bool {
        let all = libc::IFF_UP | libc::IFF_RUNNING;
        self.is_present() && self.netdev.flags().is_ok_and(|flags| flags & all == all)
    }

    /// Its Ethernet address, or the one it had.
    fn mac(&self) -> [u8; 6] {
        if let Ok((_, mac)) = self.netdev.hardware() {
            self.mac.store(number(mac), Ordering::Relaxed);
        }
        let [_, _, mac @ ..] = self.mac.load(Ordering::Relaxed).to_be_bytes();
        mac
    }

    fn failed(&self, error: io::Error) -> PortError {
        PortError::Device {
            port: self.name.clone(),
            device: format!("netdev {}", self.name),
            reason: reason(&error),
        }
    }

    fn frame_max(&self) -> usize {
        self.mtu.load(Ordering::Relaxed) as usize + FRAME_OVERHEAD
    }
}

fn number(mac: [u8; 6]) -> u64 {
    mac.iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// Options that hold wherever the socket is bound.
fn prepare(fd: &OwnedFd) -> io::Result<()> {
    set(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1)?;
    // Without the right to pass the system's limit, as much as the limit allows.
    for (forced, plain) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        set(fd, libc::SOL_SOCKET, forced, &BUFFER_BYTES)
            .or_else(|_| set(fd, libc::SOL_SOCKET, plain, &BUFFER_BYTES))?;
    }
    Ok(())
}

/// Hears every frame that the netdev of this index receives.
fn bind(fd: &OwnedFd, index: c_int) -> io::Result<()> {
    // SAFETY: any bytes make a sockaddr_ll and a packet_mreq.
    let (mut address, mut member) = unsafe {
        (
            std::mem::zeroed::<libc::sockaddr_ll>(),
            std::mem::zeroed::<libc::packet_mreq>(),
        )
    };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address outlives the call, which reads as much as `length` says.
    checked(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) })?;
    member.mr_ifindex = index;
    member.mr_type = libc::PACKET_MR_PROMISC as u16;
    // Ends with the socket, or with the netdev.
    set(fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &member)
}

fn set<T>(fd: &OwnedFd, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    let value = (&raw const *value).cast::<c_void>();
    // SAFETY: the value outlives the call, which reads as much as `length` says.
    checked(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value, length) }).map(drop)
}

/// What the netdev received.
#[derive(Debug)]
pub(crate) struct Rx {
    socket: Arc<Socket>,
    pools: Pools,
    slots: Vec<Slot>,
    /// So many slots from the first on are offered to the kernel.
    armed: usize,
    messages: Box<Messages>,
    pace: Pace,
}

impl Rx {
    fn new(socket: Arc<Socket>, pools: Pools) -> Rx {
        let slots = (0..BURST_MAX).map(|_| Slot::new()).collect();
        Rx {
            socket,
            pools,
            slots,
            armed: 0,
            messages: Messages::new(),
            pace: Pace::default(),
        }
    }

    pub(super) fn receive(&mut self, batch: &mut Batch) {
        if self.socket.gone.load(Ordering::Relaxed) || !self.pace.is_due() {
            return;
        }
        let wanted = batch.room().min(BURST_MAX);
        while self.armed < wanted {
            // What waits in the kernel may wait for a buffer.
            let Some(parts) = self.slots[self.armed].arm(&self.pools) else {
                break;
            };
            self.messages.offer(self.armed, parts);
            self.armed += 1;
        }
        let count = self.armed.min(wanted);
        match self.messages.receive(&self.socket.fd, count) {
            Ok(received) => {
                self.pace.found();
                self.take(received, batch);
            }
            Err(error) => {
                if self.pace.found_nothing() {
                    self.slots.iter_mut().for_each(Slot::rest);
                    self.armed = 0;
                }
                // The kernel had a frame that its header cannot describe, and dropped it.
                if self.socket.note(&error) == LostReason::Malformed {
                    self.socket.rx_counters[0].lost(LostReason::Malformed, 1);
                }
            }
        }
    }

    /// Moves the first `received` frames to the batch.
    fn take(&mut self, received: usize, batch: &mut Batch) {
        let counters = &self.socket.rx_counters[0];
        if !self.socket.admin_up.load(Ordering::Relaxed) {
            counters.lost(LostReason::Down, received as u64);
            return self.rearm(received);
        }
        let (mut packets, mut bytes) = (0, 0);
        for index in 0..received {
            let (length, tag) = self.messages.received(index);
            match self.slots[index]
                .take(length, &self.pools)
                .and_then(|packet| tagged(packet, tag))
            {
                Ok(packet) => {
                    packets += 1;
                    bytes += packet.len() as u64;
                    drop(batch.push(packet));
                }
                Err(reason) => counters.lost(reason, 1),
            }
        }
        counters.add(packets, bytes);
        self.rearm(received);
    }

    /// Offers used slots anew.
    fn rearm(&mut self, used: usize) {
        for index in 0..used {
            match self.slots[index].arm(&self.pools) {
                Some(parts) => self.messages.offer(index, parts),
                None => {
                    self.armed = index;
                    return;
                }
            }
        }
    }

    pub(super) fn poll_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd.as_fd()
    }
}

/// Puts a VLAN tag back where the kernel took it from.
fn tagged(mut packet: Packet, tag: Option<[u8; 4]>) -> Result<Packet, LostReason> {
    let Some(tag) = tag else { return Ok(packet) };
    if packet.len() < ADDRESSES_LEN {
        return Err(LostReason::Malformed);
    }
    packet.push_front(tag.len()).ok_or(LostReason::NoBuffer)?;
    let frame = packet.data_mut();
    frame.copy_within(tag.len()..tag.len() + ADDRESSES_LEN, 0);
    frame[ADDRESSES_LEN..ADDRESSES_LEN + tag.len()].copy_from_slice(&tag);
    Ok(packet)
}

/// Argument of recvmmsg(2): points into itself and at slots.
struct Messages {
    headers: [libc::mmsghdr; BURST_MAX],
    parts: [Parts; BURST_MAX],
    beside: [Beside; BURST_MAX],
}

// SAFETY: what it points at belongs to the same `Rx`, and moves with it to another thread only as
// far as ownership goes: boxes and packet buffers stay where they are.
unsafe impl Send for Messages {}

impl std::fmt::Debug for Messages {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Messages")
    }
}

impl Messages {
    fn new() -> Box<Messages> {
        // SAFETY: any bytes make these.
        let mut messages: Box<Messages> = Box::new(unsafe { std::mem::zeroed() });
        let Messages {
            headers,
            parts,
            beside,
        } = &mut *messages;
        for ((header, parts), beside) in headers.iter_mut().zip(parts).zip(beside) {
            header.msg_hdr.msg_iov = parts.as_mut_ptr();
            header.msg_hdr.msg_iovlen = parts.len();
            header.msg_hdr.msg_control = (&raw mut *beside).cast();
        }
        messages
    }

    fn offer(&mut self, index: usize, parts: Parts) {
        self.parts[index] = parts;
        self.headers[index].msg_hdr.msg_controllen = size_of::<Beside>();
    }

    /// Fills up to `count` messages, each of which was offered. Returns how many.
    fn receive(&mut self, fd: &OwnedFd, count: usize) -> io::Result<usize> {
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: the first `count` headers point at parts that their slots keep writable until
        // they are armed or taken from, which happens after this call, and at `beside`.
        let received = unsafe {
            let headers = self.headers.as_mut_ptr();
            libc::recvmmsg(
                fd.as_raw_fd(),
                headers,
                count as c_uint,
                flags,
                std::ptr::null_mut(),
            )
        };
        checked(received).map(|received| received as usize)
    }

    /// Length of a message that was received, and the VLAN tag that was beside it.
    fn received(&self, index: usize) -> (usize, Option<[u8; 4]>) {
        let header = &self.headers[index];
        let beside = &self.beside[index];
        let whole = header.msg_hdr.msg_controllen >= size_of::<libc::cmsghdr>() + BESIDE_DATA;
        let tag = if whole { beside.tag() } else { None };
        (header.msg_len as usize, tag)
    }
}

/// The one control message that the kernel sends along.
#[repr(C)]
struct Beside {
    header: libc::cmsghdr,
    data: libc::tpacket_auxdata,
    padding: u32,
}

impl Beside {
    fn tag(&self) -> Option<[u8; 4]> {
        let header = &self.header;
        let ours =
            header.cmsg_level == libc::SOL_PACKET && header.cmsg_type == libc::PACKET_AUXDATA;
        if !ours || self.data.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
            return None;
        }
        let told = self.data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
        let tpid = if told { self.data.tp_vlan_tpid } else { TPID };
        let ([a, b], [c, d]) = (tpid.to_be_bytes(), self.data.tp_vlan_tci.to_be_bytes());
        Some([a, b, c, d])
    }
}

/// What the netdev is to send. All queues use one socket, which the kernel allows.
#[derive(Debug)]
pub(crate) struct Tx {
    socket: Arc<Socket>,
    queue: usize,
    pools: Pools,
    /// Packets made ready where those to be sent are not, else empty.
    ready: Batch,
}

impl Tx {
    pub(super) fn send(&mut self, batch: &mut Batch) {
        let Tx {
            socket,
            queue,
            pools,
            ready,
        } = self;
        let counters = &socket.tx_counters[*queue];
        if !socket.is_usable() {
            counters.lost(LostReason::Down, batch.len() as u64);
            return batch.clear();
        }
        let terms = Terms {
            can: CAN,
            longest: socket.frame_max(),
        };
        let lost = |reason| counters.lost(reason, 1);
        staging::send_ready(batch, ready, terms, pools, lost, |batch| {
            send_all(socket, counters, batch)
        });
    }
}

/// Sends what the kernel takes of the batch and counts all of it.
fn send_all(socket: &Socket, counters: &LiveCounters, batch: &mut Batch) {
    // SAFETY: any bytes make these.
    let mut headers: [libc::mmsghdr; BATCH_MAX] = unsafe { std::mem::zeroed() };
    let mut parts = [[NO_PART; 2]; BATCH_MAX];
    let mut before = [[0; virtio::HEADER_LEN]; BATCH_MAX];
    for (index, packet) in batch.iter().enumerate() {
        let frame = packet.data();
        if packet.owes() {
            before[index] = virtio::encode(&packet.offload(), frame);
        }
        parts[index] = [kernel::readable(&before[index]), kernel::readable(frame)];
        headers[index].msg_hdr.msg_iov = parts[index].as_mut_ptr();
        headers[index].msg_hdr.msg_iovlen = parts[index].len();
    }
    let (mut next, mut retries) = (0, 0);
    while next < batch.len() {
        let rest = &mut headers[next..batch.len()];
        // SAFETY: each header points at two parts, which point at bytes that outlive the call
        // and are only read.
        let sent = checked(unsafe {
            let (fd, count) = (socket.fd.as_raw_fd(), rest.len() as c_uint);
            libc::sendmmsg(fd, rest.as_mut_ptr(), count, libc::MSG_DONTWAIT)
        });
        let error = match sent {
            Ok(sent) => {
                let sent = sent as usize;
                let bytes = batch
                    .iter()
                    .skip(next)
                    .take(sent)
                    .map(|packet| packet.len() as u64);
                counters.add(sent as u64, bytes.sum());
                next += sent;
                continue;
            }
            Err(error) => error,
        };
        match socket.note(&error) {
            // That it was down once is told even when it is up again.
            LostReason::Full | LostReason::Down if retries < RETRIES_MAX => retries += 1,
            reason @ (LostReason::Full | LostReason::Down) => {
                counters.lost(reason, (batch.len() - next) as u64);
                break;
            }
            reason => {
                counters.lost(reason, 1);
                next += 1;
            }
        }
    }
    batch.clear();
}

/// Control of a packet socket.
#[derive(Debug)]
pub(crate) struct Control {
    socket: Arc<Socket>,
}

impl Control {
    pub(super) fn link(&self) -> Link {
        let socket = &self.socket;
        let up = socket.is_running();
        if up && !socket.seen_up.load(Ordering::Relaxed) {
            let (speed, full_duplex) = socket.netdev.speed().unwrap_or((0, true));
            socket.speed.store(
                u64::from(speed) << 1 | u64::from(full_duplex),
                Ordering::Relaxed,
            );
        }
        socket.seen_up.store(up, Ordering::Relaxed);
        if let Ok(mtu) = socket.netdev.mtu() {
            socket.mtu.store(mtu, Ordering::Relaxed);
        }
        let speed = socket.speed.load(Ordering::Relaxed);
        Link {
            up: up && socket.admin_up.load(Ordering::Relaxed),
            speed_mbps: (speed >> 1) as u32,
            full_duplex: speed & 1 != 0,
        }
    }

    pub(super) fn set_admin_up(&mut self, up: bool) -> Result<(), PortError> {
        self.socket.admin_up.store(up, Ordering::Relaxed);
        let set = self.socket.netdev.set_up(up);
        set.map_err(|error| self.socket.failed(error))
    }

    pub(super) fn set_mtu(&mut self, mtu: u16) -> Result<(), PortError> {
        let set = self.socket.netdev.set_mtu(mtu);
        set.map_err(|error| self.socket.failed(error))?;
        self.socket.mtu.store(i32::from(mtu), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        let gone = self.socket.gone.load(Ordering::Relaxed);
        gone.then_some(Fault::Absent)
    }

    pub(super) fn mac(&self) -> [u8; 6] {
        self.socket.mac()
    }

    pub(super) fn mtu(&self) -> u16 {
        self.socket
            .mtu
            .load(Ordering::Relaxed)
            .clamp(0, i32::from(u16::MAX)) as u16
    }

    pub(super) fn counters(&self) -> PortCounters {
        let socket = &self.socket;
        let mut counters = PortCounters::of(&socket.rx_counters, &socket.tx_counters);
        counters.rx.drops.add(LostReason::Missed, self.missed());
        counters
    }

    /// Frames missed so far: the kernel tells those since it was last asked.
    fn missed(&self) -> u64 {
        let mut stats = libc::tpacket_stats {
            tp_packets: 0,
            tp_drops: 0,
        };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the statistics outlive the call, which writes as much as `length` says.
        let told = checked(unsafe {
            let fd = self.socket.fd.as_raw_fd();
            let stats = (&raw mut stats).cast();
            libc::getsockopt(
                fd,
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                stats,
                &mut length,
            )
        });
        let new = if told.is_ok() {
            u64::from(stats.tp_drops)
        } else {
            0
        };
        self.socket.missed.fetch_add(new, Ordering::Relaxed) + new
    }

    pub(super) fn status(&self) -> BTreeMap<String, String> {
        let socket = &self.socket;
        let rows = [
            ("driver_name", socket.driver.clone()),
            ("ifindex", socket.index.load(Ordering::Relaxed).to_string()),
            ("tx_checksum_offload", "true".into()),
            ("tx_tso_offload", "true".into()),
        ];
        rows.map(|(name, value)| (name.to_string(), value)).into()
    }
}

/// All that the kernel does, but for frames that another kernel wrapped for a tunnel: what it was
/// told of them would not let it, or a NIC, cut them on their way.
const CAN: Can = Can {
    within: false,
    ..Can::ALL
};

const NO_PART: libc::iovec = libc::iovec {
    iov_base: std::ptr::null_mut(),
    iov_len: 0,
};

/// Destination and source, after which a tag comes.
const ADDRESSES_LEN: usize = 12;

/// Of a tag whose kind an old kernel does not tell.
const TPID: u16 = 0x8100;

const BESIDE_DATA: usize = size_of::<libc::tpacket_auxdata>();

/// What the kernel holds for the port in either direction: a worker that is away for 1 ms while
/// 64 KiB frames come at 40 Gb/s, each of which the kernel accounts with its overhead.
const BUFFER_BYTES: c_int = 8 << 20;
