//! Ports: where packets come in and leave, behind one type for every kind.
//!
//! Types and options are named as in Open vSwitch's `Interface.type` and `Interface.options`.
//! [`open`] makes a [`Port`]: its queues go to workers, its control stays with the control thread.
//! Each kind has a file of its own with an `open` and types `Rx`, `Tx` and `Control`; the enums
//! here are closed over them. A kind's device lives until its control and all its queues are
//! dropped.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::str::FromStr;

use crate::{Batch, Pools};

mod counters;
mod error;
mod ethdev;
mod kernel;
mod netdev;
mod null;
mod options;
mod socket;
mod staging;
mod tap;
mod vhost;

pub(crate) use counters::LiveCounters;
pub use counters::{Drops, LostReason, PortCounters, QueueCounters};
pub use error::PortError;
pub(crate) use options::Options;

/// What to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Name of the port; the netdev's, for kernel ports.
    pub name: String,
    /// Its type.
    pub kind: PortKind,
    /// Its options, by their names in Open vSwitch.
    pub options: BTreeMap<String, String>,
    /// Longest packet in bytes, Ethernet header and tags not counted.
    pub mtu: u16,
    /// Transmit queues wanted: the number of workers.
    pub tx_queues: usize,
}

/// Type of a port. `patch` is not one: nothing goes in or out there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortKind {
    /// A DPDK device: a NIC by its PCI address, or a virtual device.
    Dpdk,
    /// A guest whose hypervisor serves the vhost-user socket.
    DpdkVhostUserClient,
    /// A guest whose vhost-user socket is served here.
    DpdkVhostUser,
    /// A TAP for the host's own IP stack.
    Internal,
    /// A netdev that exists.
    System,
    /// Receives nothing and drops what is sent.
    Null,
}

impl PortKind {
    /// Every type with its name.
    pub const ALL: &[(&str, PortKind)] = &[
        ("dpdk", PortKind::Dpdk),
        ("dpdkvhostuserclient", PortKind::DpdkVhostUserClient),
        ("dpdkvhostuser", PortKind::DpdkVhostUser),
        ("internal", PortKind::Internal),
        ("system", PortKind::System),
        ("null", PortKind::Null),
    ];
}

impl FromStr for PortKind {
    type Err = PortError;

    fn from_str(name: &str) -> Result<PortKind, PortError> {
        let found = PortKind::ALL.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, kind)| *kind)
            .ok_or_else(|| PortError::UnknownType { name: name.into() })
    }
}

impl fmt::Display for PortKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = PortKind::ALL.iter().find(|(_, kind)| kind == self);
        formatter.pad(found.map_or("", |(name, _)| name))
    }
}

/// An open port.
#[derive(Debug)]
pub struct Port {
    /// Queues to receive from.
    pub rx: Vec<RxQueue>,
    /// Queues to send to; fewer than were asked for where the device has no more.
    pub tx: Vec<TxQueue>,
    /// Everything but packets.
    pub control: PortControl,
}

/// Opens a port.
pub fn open(config: &PortConfig, pools: &Pools) -> Result<Port, PortError> {
    match config.kind {
        PortKind::Dpdk => ethdev::open(config, pools),
        PortKind::DpdkVhostUserClient | PortKind::DpdkVhostUser => vhost::open(config, pools),
        PortKind::Internal => tap::open(config, pools),
        PortKind::System => socket::open(config, pools),
        PortKind::Null => null::open(config),
    }
}

/// Whether the options are ones that a port of its type can have, as far as that can be told
/// without opening it.
pub fn check(config: &PortConfig) -> Result<(), PortError> {
    match config.kind {
        PortKind::Dpdk => ethdev::check(config),
        PortKind::DpdkVhostUserClient | PortKind::DpdkVhostUser => vhost::check(config),
        PortKind::Internal => tap::check(config),
        PortKind::System => socket::check(config),
        PortKind::Null => null::check(config),
    }
}

/// A queue of received packets. It moves to the worker that polls it.
#[derive(Debug)]
pub struct RxQueue {
    kind: RxKind,
    unshared: PhantomData<Cell<()>>,
}

#[derive(Debug)]
pub(crate) enum RxKind {
    Ethdev(ethdev::Rx),
    Vhost(vhost::Rx),
    Tap(tap::Rx),
    Socket(socket::Rx),
    Null,
}

impl RxQueue {
    pub(crate) fn new(kind: RxKind) -> RxQueue {
        RxQueue {
            kind,
            unshared: PhantomData,
        }
    }

    /// Adds what has arrived to the batch, as far as there is room. Never waits.
    #[inline]
    pub fn receive(&mut self, batch: &mut Batch) {
        match &mut self.kind {
            RxKind::Ethdev(rx) => rx.receive(batch),
            RxKind::Vhost(rx) => rx.receive(batch),
            RxKind::Tap(rx) => rx.receive(batch),
            RxKind::Socket(rx) => rx.receive(batch),
            RxKind::Null => {}
        }
    }

    /// Whether nothing will ever come again, and the descriptor of [`RxQueue::poll_fd`] is in
    /// error for good.
    #[inline]
    pub fn is_gone(&self) -> bool {
        match &self.kind {
            RxKind::Tap(rx) => rx.is_gone(),
            RxKind::Ethdev(_) | RxKind::Vhost(_) | RxKind::Socket(_) | RxKind::Null => false,
        }
    }

    /// A descriptor that becomes readable when packets arrive, for a worker that sleeps; `None`
    /// where only polling tells.
    pub fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            RxKind::Ethdev(_) | RxKind::Vhost(_) | RxKind::Null => None,
            RxKind::Tap(rx) => Some(rx.poll_fd()),
            RxKind::Socket(rx) => Some(rx.poll_fd()),
        }
    }
}

/// A queue of packets to send. It moves to the worker that fills it.
#[derive(Debug)]
pub struct TxQueue {
    kind: TxKind,
    unshared: PhantomData<Cell<()>>,
}

#[derive(Debug)]
pub(crate) enum TxKind {
    Ethdev(ethdev::Tx),
    Vhost(vhost::Tx),
    Tap(tap::Tx),
    Socket(socket::Tx),
    Null(null::Tx),
}

impl TxQueue {
    pub(crate) fn new(kind: TxKind) -> TxQueue {
        TxQueue {
            kind,
            unshared: PhantomData,
        }
    }

    /// Sends all packets of the batch, which is empty afterwards: what the device does not take,
    /// after the retries configured, is dropped and counted.
    #[inline]
    pub fn send(&mut self, batch: &mut Batch) {
        match &mut self.kind {
            TxKind::Ethdev(tx) => tx.send(batch),
            TxKind::Vhost(tx) => tx.send(batch),
            TxKind::Tap(tx) => tx.send(batch),
            TxKind::Socket(tx) => tx.send(batch),
            TxKind::Null(tx) => tx.send(batch),
        }
    }
}

/// Everything about a port but its packets. Dropped after its queues, it closes the port and
/// removes what opening it had made.
#[derive(Debug)]
pub struct PortControl {
    kind: ControlKind,
}

#[derive(Debug)]
pub(crate) enum ControlKind {
    Ethdev(ethdev::Control),
    Vhost(vhost::Control),
    Tap(tap::Control),
    Socket(socket::Control),
    Null(null::Control),
}

impl PortControl {
    pub(crate) fn new(kind: ControlKind) -> PortControl {
        PortControl { kind }
    }

    /// The link as it is now. Cheap enough to be asked many times a second.
    pub fn link(&self) -> Link {
        match &self.kind {
            ControlKind::Ethdev(control) => control.link(),
            ControlKind::Vhost(control) => control.link(),
            ControlKind::Tap(control) => control.link(),
            ControlKind::Socket(control) => control.link(),
            ControlKind::Null(control) => control.link(),
        }
    }

    /// Takes the port up or down administratively, a kernel port's netdev with it; it opens up.
    /// Where the netdev cannot be changed the port is as asked all the same.
    pub fn set_admin_up(&mut self, up: bool) -> Result<(), PortError> {
        match &mut self.kind {
            ControlKind::Ethdev(control) => control.set_admin_up(up),
            ControlKind::Vhost(control) => control.set_admin_up(up),
            ControlKind::Tap(control) => return control.set_admin_up(up),
            ControlKind::Socket(control) => return control.set_admin_up(up),
            ControlKind::Null(control) => control.set_admin_up(up),
        }
        Ok(())
    }

    /// Changes the MTU while packets pass. False where the port has to be opened anew for that:
    /// a DPDK device, whose rings and buffers are made for one MTU.
    pub fn set_mtu(&mut self, mtu: u16) -> Result<bool, PortError> {
        match &mut self.kind {
            ControlKind::Ethdev(control) => return Ok(control.mtu() == mtu),
            ControlKind::Vhost(control) => control.set_mtu(mtu),
            ControlKind::Tap(control) => control.set_mtu(mtu)?,
            ControlKind::Socket(control) => control.set_mtu(mtu)?,
            ControlKind::Null(control) => control.set_mtu(mtu),
        }
        Ok(true)
    }

    /// What has become of the device since it was opened, if it is no more.
    pub fn fault(&self) -> Option<Fault> {
        match &self.kind {
            ControlKind::Tap(control) => control.fault(),
            ControlKind::Socket(control) => control.fault(),
            ControlKind::Ethdev(_) | ControlKind::Vhost(_) | ControlKind::Null(_) => None,
        }
    }

    /// Ethernet address of the port, zero where it has none.
    pub fn mac(&self) -> [u8; 6] {
        match &self.kind {
            ControlKind::Ethdev(control) => control.mac(),
            ControlKind::Tap(control) => control.mac(),
            ControlKind::Socket(control) => control.mac(),
            ControlKind::Vhost(_) | ControlKind::Null(_) => [0; 6],
        }
    }

    /// Longest packet in bytes, Ethernet header and tags not counted.
    pub fn mtu(&self) -> u16 {
        match &self.kind {
            ControlKind::Ethdev(control) => control.mtu(),
            ControlKind::Vhost(control) => control.mtu(),
            ControlKind::Tap(control) => control.mtu(),
            ControlKind::Socket(control) => control.mtu(),
            ControlKind::Null(control) => control.mtu(),
        }
    }

    /// NUMA node of the device.
    pub fn numa(&self) -> usize {
        match &self.kind {
            ControlKind::Ethdev(control) => control.numa(),
            ControlKind::Vhost(control) => control.numa(),
            ControlKind::Tap(_) | ControlKind::Socket(_) | ControlKind::Null(_) => 0,
        }
    }

    /// What went through and what was lost, since the port was opened.
    pub fn counters(&self) -> PortCounters {
        match &self.kind {
            ControlKind::Ethdev(control) => control.counters(),
            ControlKind::Vhost(control) => control.counters(),
            ControlKind::Tap(control) => control.counters(),
            ControlKind::Socket(control) => control.counters(),
            ControlKind::Null(control) => control.counters(),
        }
    }

    /// What else there is to know, by names as in Open vSwitch's `Interface.status`.
    pub fn status(&self) -> BTreeMap<String, String> {
        match &self.kind {
            ControlKind::Ethdev(control) => control.status(),
            ControlKind::Vhost(control) => control.status(),
            ControlKind::Tap(control) => control.status(),
            ControlKind::Socket(control) => control.status(),
            ControlKind::Null(_) => BTreeMap::new(),
        }
    }
}

/// What has become of a device that was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Somebody removed the TAP: only another one can take its place.
    #[error("the netdev was removed by somebody else")]
    Removed,
    /// The netdev is gone: the port uses it again once it is back.
    #[error("the netdev is gone from this network namespace")]
    Absent,
}

/// State of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether packets can pass.
    pub up: bool,
    /// Speed, 0 where unknown.
    pub speed_mbps: u32,
    /// Whether both directions at once.
    pub full_duplex: bool,
}

/// Ethernet header and two VLAN tags: what a frame may be longer than the MTU.
pub(crate) const FRAME_OVERHEAD: usize = 14 + 2 * 4;
/// Longest MTU of any port.
pub const MTU_MAX: u16 = 9_000;
/// Shortest MTU of any port: what IPv4 demands (RFC 791 §3.2).
pub const MTU_MIN: u16 = 68;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_names_of_open_vswitch() {
        for (name, kind) in PortKind::ALL {
            assert_eq!(name.parse::<PortKind>().unwrap(), *kind);
            assert_eq!(kind.to_string(), *name);
        }
        let error = "dpdkr".parse::<PortKind>().unwrap_err().to_string();
        assert!(
            error.contains("dpdkr") && error.contains("dpdkvhostuserclient"),
            "{error}"
        );
    }
}
