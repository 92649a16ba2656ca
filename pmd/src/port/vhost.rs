//! The `dpdkvhostuserclient` and `dpdkvhostuser` ports: a guest, by vhost-user.
//!
//! # What
//! The hypervisor and we share the guest's memory, in which virtio rings lie (virtio 1.2 §2.7,
//! §2.8). A Unix socket says where (QEMU's vhost-user specification). `dpdkvhostuserclient`
//! connects to a socket that the hypervisor serves, and keeps trying, so that it may appear late,
//! vanish and return; `dpdkvhostuser` serves one. DPDK's vhost library speaks the protocol, on two
//! threads for all ports together; packets we copy in and out of rings ourselves.
//!
//! # How
//! `driver` registers sockets and takes the library's callbacks; `guest` is what is known of the
//! guest and who may touch its rings; `rings` moves frames through a ring, `ring` lets several
//! workers send to one; `queue` does it for the worker.
//! A guest enables as many pairs of rings as it likes. Its sending rings are dealt out to the
//! port's receive queues, the port's transmit queues to its receiving rings.
//!
//! # Offloads
//! Checksums and segmentation left to be done are negotiated in both directions; a guest that did
//! not take them gets finished frames. Datagrams to be cut (USO) the library does not know, and
//! fragmentation of one (UFO) we do not, so neither is offered.
//!
//! # Why not the library's own functions for rings
//! They take a ring's lock for each burst, which its event thread holds while it handles a message,
//! receive a frame of more than 2 KiB into memory from DPDK's heap, and cost more a packet.
//!
//! # Why not one lock, or the guest's device behind an `Arc`
//! The library frees a device when its callback returns, so a worker inside a burst must be waited
//! for; see `guest`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    ControlKind, FRAME_OVERHEAD, Link, Options, Port, PortConfig, PortControl, PortCounters,
    PortError, PortKind, RxKind, RxQueue, TxKind, TxQueue,
};
use crate::Pools;

mod driver;
mod guest;
mod queue;
mod ring;
mod rings;

use driver::Driver;
use guest::Guest;
pub(crate) use queue::{Rx, Tx};

/// Opens a port of either kind.
pub(super) fn open(config: &PortConfig, pools: &Pools) -> Result<Port, PortError> {
    let settings = Settings::of(config)?;
    let guest = Arc::new(Guest::new(config, &settings));
    let driver = Arc::new(Driver::start(config, &settings, guest)?);
    let rx = |queue| RxQueue::new(RxKind::Vhost(Rx::new(driver.clone(), queue, pools.clone())));
    let tx = |queue| TxQueue::new(TxKind::Vhost(Tx::new(driver.clone(), queue, pools.clone())));
    Ok(Port {
        rx: (0..settings.rx_queues).map(rx).collect(),
        tx: (0..settings.tx_queues).map(tx).collect(),
        control: PortControl::new(ControlKind::Vhost(Control {
            driver: driver.clone(),
        })),
    })
}

pub(super) fn check(config: &PortConfig) -> Result<(), PortError> {
    Settings::of(config).map(drop)
}

/// What the options mean.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    /// The socket.
    path: String,
    /// The hypervisor serves it.
    client: bool,
    rx_queues: usize,
    tx_queues: usize,
    /// Pairs of rings of the guest's that are served.
    pairs_max: usize,
    /// How often a ring that took some of a burst is offered the rest.
    retries_max: u32,
    /// Longest frame to send.
    longest: usize,
}

impl Settings {
    fn of(config: &PortConfig) -> Result<Settings, PortError> {
        let options = Options::of(config, &[PATH, N_RXQ, PAIRS_MAX, RETRIES_MAX])?;
        let path = options.required(PATH, "path of the guest's vhost-user socket")?;
        if path.len() > PATH_LEN_MAX || !path.starts_with('/') {
            let allowed = format!("an absolute path of at most {PATH_LEN_MAX} bytes");
            return Err(options.bad_value(PATH, path, allowed));
        }
        let pairs_max = options.number(PAIRS_MAX, 1..=guest::PAIRS, guest::PAIRS)?;
        let tx_queues = config.tx_queues.max(1);
        let rx_queues = options.number(N_RXQ, 1..=pairs_max, tx_queues.min(pairs_max))?;
        Ok(Settings {
            path: path.into(),
            client: config.kind == PortKind::DpdkVhostUserClient,
            rx_queues,
            tx_queues,
            pairs_max,
            retries_max: options.number(RETRIES_MAX, 0..=RETRIES_MOST, RETRIES)?,
            longest: usize::from(config.mtu) + FRAME_OVERHEAD,
        })
    }
}

/// Control of a guest's port.
#[derive(Debug)]
pub(crate) struct Control {
    driver: Arc<Driver>,
}

impl Control {
    fn guest(&self) -> &Guest {
        self.driver.guest()
    }

    pub(super) fn link(&self) -> Link {
        self.guest().tell_broken();
        Link {
            up: self.guest().is_running(),
            speed_mbps: 0,
            full_duplex: true,
        }
    }

    pub(super) fn set_admin_up(&mut self, up: bool) {
        self.guest().set_admin_up(up);
    }

    pub(super) fn set_mtu(&mut self, mtu: u16) {
        self.guest().set_longest(usize::from(mtu) + FRAME_OVERHEAD);
    }

    pub(super) fn mtu(&self) -> u16 {
        (self.guest().longest() - FRAME_OVERHEAD) as u16
    }

    pub(super) fn numa(&self) -> usize {
        self.guest().numa()
    }

    pub(super) fn counters(&self) -> PortCounters {
        self.guest().counters()
    }

    pub(super) fn status(&self) -> BTreeMap<String, String> {
        let mut status = self.guest().status();
        let mode = if self.driver.is_client() {
            "client"
        } else {
            "server"
        };
        status.insert("mode".into(), mode.into());
        status.insert("socket".into(), self.driver.path().into());
        status
    }
}

const PATH: &str = "vhost-server-path";
const N_RXQ: &str = "n_rxq";
const PAIRS_MAX: &str = "vhost-max-queue-pairs";
const RETRIES_MAX: &str = "tx-retries-max";

/// What fits the address of a Unix socket beside its end (unix(7)).
const PATH_LEN_MAX: usize = 107;
/// As in Open vSwitch.
const RETRIES: u32 = 8;
/// As in Open vSwitch: more only keeps a worker with a guest that is too slow.
const RETRIES_MOST: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn config(kind: PortKind, options: &[(&str, &str)]) -> PortConfig {
        let options = options
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        PortConfig {
            name: "vm".into(),
            kind,
            options: options.collect(),
            mtu: 9000,
            tx_queues: 2,
        }
    }

    fn error(options: &[(&str, &str)]) -> String {
        Settings::of(&config(PortKind::DpdkVhostUserClient, options))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn options_have_defaults() {
        let client = config(PortKind::DpdkVhostUserClient, &[(PATH, "/a")]);
        let settings = Settings::of(&client).unwrap();
        assert!(settings.client);
        assert_eq!(
            (settings.rx_queues, settings.tx_queues, settings.pairs_max),
            (2, 2, 128)
        );
        assert_eq!((settings.retries_max, settings.longest), (8, 9022));
        let options = [
            (PATH, "/a"),
            (N_RXQ, "3"),
            (PAIRS_MAX, "4"),
            (RETRIES_MAX, "0"),
        ];
        let settings = Settings::of(&config(PortKind::DpdkVhostUser, &options)).unwrap();
        assert!(!settings.client);
        assert_eq!(
            (settings.rx_queues, settings.pairs_max, settings.retries_max),
            (3, 4, 0)
        );
    }

    #[test]
    fn errors_name_what_is_allowed() {
        assert!(error(&[]).contains("needs the option vhost-server-path"));
        assert!(error(&[(PATH, "relative")]).contains("only an absolute path of at most 107"));
        assert!(error(&[(PATH, &format!("/{}", "x".repeat(107)))]).contains("107"));
        assert!(error(&[(PATH, "/a"), (RETRIES_MAX, "33")]).contains("only 0 to 32"));
        assert!(error(&[(PATH, "/a"), (PAIRS_MAX, "129")]).contains("only 1 to 128"));
        let too_many = error(&[(PATH, "/a"), (PAIRS_MAX, "2"), (N_RXQ, "3")]);
        assert!(
            too_many.contains("n_rxq cannot be \"3\", only 1 to 2"),
            "{too_many}"
        );
        assert!(error(&[(PATH, "/a"), ("dpdk-devargs", "x")]).contains("no option dpdk-devargs"));
    }
}
