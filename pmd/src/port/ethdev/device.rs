//! One device of DPDK's: attached, configured, started; removed when dropped.
//!
//! DPDK's control calls are not meant to run beside each other: `OPEN` is held over each.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::settings::Settings;
use crate::error::describe;
use crate::offload::packet::Can;
use crate::pool::Reservation;
use crate::port::{FRAME_OVERHEAD, LiveCounters, PortConfig, PortError};
use crate::{Pools, eal, ffi};

/// A device on its bus, known to DPDK as a port.
#[derive(Debug)]
pub(super) struct Attached {
    port: u16,
    bus: &'static str,
    name: CString,
}

impl Attached {
    /// Adds the device.
    pub(super) fn new(config: &PortConfig, settings: &Settings) -> Result<Attached, PortError> {
        let failed = |reason: String| device_error(config, &settings.name, reason);
        let text = |text: &str| CString::new(text).map_err(|_| failed("holds a NUL byte".into()));
        let (bus, name) = (text(settings.bus)?, text(&settings.name)?);
        let arguments = text(&settings.arguments)?;
        let mut open = open_ports();
        let present = port_of(&name);
        if present.is_some_and(|port| open.contains(&port)) {
            return Err(failed("is in use already".into()));
        }
        // SAFETY: takes nothing.
        if present.is_none() && usize::from(unsafe { ffi::rte_eth_dev_count_total() }) >= PORTS_MAX
        {
            return Err(PortError::TooManyDevices {
                port: config.name.clone(),
                most: PORTS_MAX,
            });
        }
        // SAFETY: EAL runs: there are pools. It copies the strings. A device that is known
        // already, found on the PCI bus when EAL started, stays as it is.
        let (added, said) = eal::errors_during(|| unsafe {
            ffi::rte_eal_hotplug_add(bus.as_ptr(), name.as_ptr(), arguments.as_ptr())
        });
        let port = match (added, port_of(&name)) {
            (0, Some(port)) => port,
            (0, None) => return Err(failed("is not a network device".into())),
            (error, _) if said.is_empty() => return Err(failed(describe(error))),
            _ => return Err(failed(said)),
        };
        open.insert(port);
        Ok(Attached {
            port,
            bus: settings.bus,
            name,
        })
    }

    fn info(&self) -> Result<ffi::rte_eth_dev_info, i32> {
        let mut info = ffi::rte_eth_dev_info::default();
        // SAFETY: `info` outlives the call.
        match unsafe { ffi::rte_eth_dev_info_get(self.port, &mut info) } {
            0 => Ok(info),
            error => Err(error),
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut open = open_ports();
        let bus = if self.bus == "pci" { c"pci" } else { c"vdev" };
        // SAFETY: nobody polls the port: its queues hold the device that holds this.
        unsafe {
            ffi::rte_eth_dev_stop(self.port);
            ffi::rte_eth_dev_close(self.port);
            ffi::rte_eal_hotplug_remove(bus.as_ptr(), self.name.as_ptr());
        }
        open.remove(&self.port);
    }
}

/// A device that receives and sends.
#[derive(Debug)]
pub(super) struct Device {
    attached: Attached,
    /// After `attached`: closing gives the buffers back first.
    _buffers: Reservation,
    pub mtu: u16,
    pub node: usize,
    pub driver: String,
    pub mac: [u8; 6],
    /// Transmit offloads that it does, as `RTE_ETH_TX_OFFLOAD_*`.
    pub offloads: u64,
    pub admin_up: AtomicBool,
    pub rx_counters: Box<[LiveCounters]>,
    pub tx_counters: Box<[LiveCounters]>,
    pub rx_descriptors: u16,
    pub tx_descriptors: u16,
}

impl Device {
    /// Configures and starts an attached device.
    pub(super) fn start(
        attached: Attached,
        config: &PortConfig,
        settings: &Settings,
        pools: &Pools,
    ) -> Result<Device, PortError> {
        let failed = |what: &str, error: i32| {
            device_error(
                config,
                &settings.name,
                format!("{what}: {}", describe(error)),
            )
        };
        let info = attached
            .info()
            .map_err(|error| failed("cannot be asked", error))?;
        check_limits(config, settings, &info)?;
        let tx_queues = config
            .tx_queues
            .clamp(1, usize::from(info.max_tx_queues.max(1))) as u16;
        let plan = Plan {
            port: attached.port,
            rx_queues: settings.rx_queues,
            tx_queues,
        };
        let _alone = open_ports();
        let offloads = plan
            .configure(&info, config.mtu)
            .map_err(|error| failed("cannot be configured", error))?;
        let (rx_descriptors, tx_descriptors) = plan.descriptors(settings);
        // SAFETY: takes an integer; -1 where there is no node.
        let node = usize::try_from(unsafe { ffi::rte_eth_dev_socket_id(plan.port) }).unwrap_or(0);
        let buffers = plan.buffers(rx_descriptors, tx_descriptors);
        let reservation = pools
            .reserve(node, usize::from(config.mtu) + FRAME_OVERHEAD, buffers)
            .map_err(|source| PortError::Memory {
                port: config.name.clone(),
                source,
            })?;
        let (started, said) = eal::errors_during(|| {
            plan.start(node, rx_descriptors, tx_descriptors, reservation.mempool())
        });
        if let Err(error) = started {
            let reason = if said.is_empty() {
                describe(error)
            } else {
                said
            };
            return Err(device_error(config, &settings.name, reason));
        }
        Ok(Device {
            mac: plan.mac(),
            attached,
            _buffers: reservation,
            mtu: config.mtu,
            node,
            driver: driver_name(&info),
            offloads,
            admin_up: AtomicBool::new(true),
            rx_counters: LiveCounters::several(usize::from(plan.rx_queues)),
            tx_counters: LiveCounters::several(usize::from(tx_queues)),
            rx_descriptors,
            tx_descriptors,
        })
    }

    /// DPDK's number of it.
    #[inline]
    pub(super) fn port(&self) -> u16 {
        self.attached.port
    }

    /// Whether it is administratively up.
    #[inline]
    pub(super) fn is_up(&self) -> bool {
        self.admin_up.load(Ordering::Relaxed)
    }

    /// Whether it does all of these transmit offloads.
    #[inline]
    pub(super) fn does(&self, offloads: u64) -> bool {
        self.offloads & offloads == offloads
    }

    /// What it does for a packet that owes something.
    pub(super) fn can(&self) -> Can {
        let checksum = self.does(ffi::SHIM_TX_CHECKSUM);
        let tcp = checksum && self.does(ffi::SHIM_TX_TCP_SEGMENT);
        Can {
            checksum,
            tcp4: tcp,
            tcp6: tcp,
            ecn: tcp,
            udp: false,
            within: false,
            laid_out: true,
        }
    }

    /// Longest frame to be sent.
    #[inline]
    pub(super) fn frame_max(&self) -> usize {
        usize::from(self.mtu) + FRAME_OVERHEAD
    }
}

/// A device while it is being set up.
struct Plan {
    port: u16,
    rx_queues: u16,
    tx_queues: u16,
}

impl Plan {
    /// Returns the transmit offloads that were turned on.
    fn configure(&self, info: &ffi::rte_eth_dev_info, mtu: u16) -> Result<u64, i32> {
        let mut conf = ffi::rte_eth_conf::default();
        conf.rxmode.mtu = u32::from(mtu);
        conf.rxmode.offloads = info.rx_offload_capa & RX_OFFLOADS;
        conf.txmode.offloads = info.tx_offload_capa & TX_OFFLOADS;
        let spread = info.flow_type_rss_offloads & ffi::SHIM_RSS_SPREAD;
        if self.rx_queues > 1 && spread != 0 {
            conf.rxmode.mq_mode = ffi::RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = spread;
            conf.rxmode.offloads |= info.rx_offload_capa & ffi::SHIM_RX_RSS_HASH;
        }
        // SAFETY: `conf` outlives the call.
        let status =
            unsafe { ffi::rte_eth_dev_configure(self.port, self.rx_queues, self.tx_queues, &conf) };
        ok(status)?;
        Ok(conf.txmode.offloads)
    }

    /// Ring sizes as near to what was asked for as the device can.
    fn descriptors(&self, settings: &Settings) -> (u16, u16) {
        let (mut rx, mut tx) = (settings.rx_descriptors, settings.tx_descriptors);
        // SAFETY: both integers outlive the call.
        unsafe { ffi::rte_eth_dev_adjust_nb_rx_tx_desc(self.port, &mut rx, &mut tx) };
        (rx, tx)
    }

    /// What full rings hold, and what is on its way between them.
    fn buffers(&self, rx_descriptors: u16, tx_descriptors: u16) -> usize {
        let rings = usize::from(self.rx_queues) * usize::from(rx_descriptors)
            + usize::from(self.tx_queues) * usize::from(tx_descriptors);
        rings + usize::from(self.rx_queues.max(self.tx_queues)) * ON_THE_WAY
    }

    fn start(
        &self,
        node: usize,
        rx_descriptors: u16,
        tx_descriptors: u16,
        pool: *mut ffi::rte_mempool,
    ) -> Result<(), i32> {
        let (port, socket) = (self.port, node as u32);
        // SAFETY: the queues are within what was configured; the pool is never freed; null asks
        // for the device's own defaults.
        unsafe {
            for queue in 0..self.rx_queues {
                let conf = std::ptr::null();
                ok(ffi::rte_eth_rx_queue_setup(
                    port,
                    queue,
                    rx_descriptors,
                    socket,
                    conf,
                    pool,
                ))?;
            }
            for queue in 0..self.tx_queues {
                let conf = std::ptr::null();
                ok(ffi::rte_eth_tx_queue_setup(
                    port,
                    queue,
                    tx_descriptors,
                    socket,
                    conf,
                ))?;
            }
            ok(ffi::rte_eth_dev_start(port))?;
            // Virtual devices take every frame without being asked, and may know neither call.
            ffi::rte_eth_promiscuous_enable(port);
            ffi::rte_eth_allmulticast_enable(port);
        }
        Ok(())
    }

    fn mac(&self) -> [u8; 6] {
        let mut address = ffi::rte_ether_addr::default();
        // SAFETY: `address` outlives the call; where it fails it stays zero.
        unsafe { ffi::rte_eth_macaddr_get(self.port, &mut address) };
        address.addr_bytes
    }
}

fn check_limits(
    config: &PortConfig,
    settings: &Settings,
    info: &ffi::rte_eth_dev_info,
) -> Result<(), PortError> {
    if settings.rx_queues > info.max_rx_queues {
        return Err(PortError::BadValue {
            port: config.name.clone(),
            option: "n_rxq".into(),
            value: settings.rx_queues.to_string(),
            allowed: format!("1 to {} with {}", info.max_rx_queues, settings.name),
        });
    }
    let most = info.max_mtu.min(super::super::MTU_MAX);
    if !(info.min_mtu..=most).contains(&config.mtu) {
        return Err(PortError::Mtu {
            port: config.name.clone(),
            mtu: config.mtu,
            least: info.min_mtu,
            most,
        });
    }
    Ok(())
}

fn driver_name(info: &ffi::rte_eth_dev_info) -> String {
    if info.driver_name.is_null() {
        return String::new();
    }
    // SAFETY: a driver's name is a NUL-terminated constant of the driver.
    unsafe { CStr::from_ptr(info.driver_name) }
        .to_string_lossy()
        .into_owned()
}

fn device_error(config: &PortConfig, device: &str, reason: String) -> PortError {
    PortError::Device {
        port: config.name.clone(),
        device: device.into(),
        reason,
    }
}

/// DPDK's number of the device of this name.
fn port_of(name: &CStr) -> Option<u16> {
    let mut port = 0;
    // SAFETY: `port` and `name` outlive the call.
    let status = unsafe { ffi::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut port) };
    (status == 0).then_some(port)
}

fn ok(status: i32) -> Result<(), i32> {
    if status < 0 { Err(status) } else { Ok(()) }
}

/// The ports in use, locked while DPDK is asked to change anything.
pub(super) fn open_ports() -> MutexGuard<'static, BTreeSet<u16>> {
    static OPEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As many as DPDK was built for.
const PORTS_MAX: usize = ffi::RTE_MAX_ETHPORTS as usize;
const RX_OFFLOADS: u64 = ffi::SHIM_RX_L4_CHECKSUM;
const TX_OFFLOADS: u64 =
    ffi::SHIM_TX_CHECKSUM | ffi::SHIM_TX_IPV4_CHECKSUM | ffi::SHIM_TX_TCP_SEGMENT;
/// A worker's full cache of the pool, and batches staged or in other ports' rings.
const ON_THE_WAY: usize = 1024;
