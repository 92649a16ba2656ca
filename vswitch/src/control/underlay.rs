//! The network that tunnels go through, kept as the kernel has it.
//!
//! A task of its own listens to the kernel (rtnetlink(7)) and reads addresses, routes and
//! neighbours whenever one of them changed, at most once in [`SPACING`]; the control task makes of
//! them what concerns ports of the switch, and publishes it at once if it is news. Why not follow
//! each event: the kernel drops events when there are too many, and what it dumps is right
//! whatever was missed.
//!
//! Neighbours are the kernel's to ask for: it is told that one is used ([`Wish::Use`]), asks on the
//! link, out of the bridge's own port and through the switch, and the answer is an event. Those in
//! use are told to it again every [`REFRESH`], since it does not see the packets: so it notices
//! when one ceases to answer, or answers from elsewhere.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use super::actor::{Actor, Gone, Handle};
use super::config::PortKind;
use super::paths::Paths;
use super::provision::mtu_of;
use crate::action::PortNo;
use crate::pipeline::{self, Network, Unresolved};

mod kernel;

use kernel::{Kernel, Tables};

/// What the control task wants of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To look again: ports came or went.
    Look,
    /// To ask for a neighbour on a device, and to keep asking.
    Use(String, IpAddr),
}

/// The control task's side.
#[derive(Debug, Default)]
pub struct Underlay {
    wishes: Option<mpsc::Sender<Wish>>,
    /// Next hops of tunnels that the kernel was told of.
    told: BTreeSet<Unresolved>,
    /// What routers told of paths.
    pub paths: Paths,
}

impl Underlay {
    /// Wishes are dropped when too many wait: what was not asked for is asked for by the next
    /// packet, and the kernel is looked at anyway.
    fn wish(&self, wish: Wish) {
        if let Some(wishes) = &self.wishes {
            let _ = wishes.try_send(wish);
        }
    }

    /// Ports came or went.
    pub fn look(&self) {
        self.wish(Wish::Look);
    }
}

impl Actor {
    /// Has the kernel ask for a neighbour, or the endpoint behind whose port it is.
    pub(super) fn resolve(&mut self, unresolved: Unresolved) {
        if self.endpoints.has(unresolved.port) {
            return self.ask(unresolved);
        }
        if let Some(port) = self.ports.get(&unresolved.port) {
            let name = port.settings.name.clone();
            self.underlay.wish(Wish::Use(name, unresolved.address));
        }
    }

    /// Takes over what the kernel says, and tells it which neighbours are used.
    fn take_tables(&mut self, tables: &Tables) {
        let mut network = self.network_of(tables);
        network.paths = self.underlay.paths.list(self.clock.now_ms());
        self.switch.set_network(network);
        let hops = next_hops(self.switch.state());
        self.underlay.told.retain(|told| hops.contains(told));
        for hop in hops {
            if self.underlay.told.insert(hop) {
                self.resolve(hop);
            }
        }
    }

    /// What concerns the ports that the host uses, and the switch's own addresses, which come
    /// first where both have a way.
    fn network_of(&self, tables: &Tables) -> Network {
        let internal = |(number, port): (&PortNo, &super::ports::Port)| {
            let name = port.settings.name.clone();
            (port.settings.kind == PortKind::Internal).then_some((name, *number))
        };
        let ports: HashMap<String, PortNo> = self.ports.iter().filter_map(internal).collect();
        let mtu = |number| {
            let port = self.ports.get(&number);
            port.map_or(u32::MAX, |port| mtu_of(&port.settings).into())
        };
        let mut network = self.endpoints.network(mtu);
        let of_host = tables.of_ports(&ports);
        network.hosts.extend(of_host.hosts);
        network.routes.extend(of_host.routes);
        network.neighbours.extend(of_host.neighbours);
        network
    }

    fn has_tunnels(&self) -> bool {
        let mut ports = self.ports.values();
        ports.any(|port| port.settings.kind.of_tunnel().is_some())
    }
}

/// Next hops of tunnels whose other end is configured.
fn next_hops(state: &pipeline::State) -> BTreeSet<Unresolved> {
    let ports = state.bridges().flat_map(|bridge| bridge.ports());
    let remotes = ports.filter_map(|port| port.tunnel.as_ref()?.remote);
    let hops = remotes.filter_map(|remote| state.underlay().next_hop(remote, None));
    let unresolved = hops.map(|hop| Unresolved {
        port: hop.port,
        address: hop.neighbour,
    });
    unresolved.take(USED_MAX).collect()
}

/// Keeps the control task's picture of the network; ends with the control task.
pub async fn run(handle: Handle) {
    let (wishes, mut wished) = mpsc::channel(WISHES_MAX);
    let listen = move |actor: &mut Actor| actor.underlay.wishes = Some(wishes);
    if handle.with(listen).await.is_err() {
        return;
    }
    let mut used = BTreeSet::new();
    loop {
        match watch(&handle, &mut wished, &mut used).await {
            Ok(Gone) => return,
            Err(error) => warn!(error, "no tables of the kernel: tunnels have no routes"),
        }
        sleep(RETRY_PAUSE).await;
    }
}

/// Follows the kernel until it cannot be asked any more, or the control task is gone.
async fn watch(
    handle: &Handle,
    wished: &mut mpsc::Receiver<Wish>,
    used: &mut BTreeSet<(String, IpAddr)>,
) -> Result<Gone, String> {
    let mut kernel = Kernel::open()?;
    let mut refresh_at = Instant::now() + REFRESH;
    loop {
        let Ok(is_wanted) = handle.with(|actor| actor.has_tunnels()).await else {
            return Ok(Gone);
        };
        let mut tables = Tables::default();
        if is_wanted {
            tables = kernel.read().await?;
            let news = tables.clone();
            if let Err(gone) = handle.with(move |actor| actor.take_tables(&news)).await {
                return Ok(gone);
            }
        }
        let looked_at = Instant::now();
        loop {
            tokio::select! {
                event = kernel.changed() => {
                    event?;
                    break;
                }
                wish = wished.recv() => match wish {
                    None => return Ok(Gone),
                    Some(Wish::Look) => break,
                    Some(Wish::Use(device, address)) => {
                        kernel.use_neighbour(&tables, &device, address).await;
                        if used.len() < USED_MAX {
                            used.insert((device, address));
                        }
                    }
                },
                () = sleep_until(refresh_at) => {
                    used.retain(|(device, _)| tables.has_device(device));
                    for (device, address) in used.iter() {
                        kernel.use_neighbour(&tables, device, *address).await;
                    }
                    refresh_at = Instant::now() + REFRESH;
                    break;
                }
            }
        }
        sleep_until(looked_at + SPACING).await;
        kernel.forget_events();
        debug!("looking at the kernel's tables");
    }
}

/// Neighbours in use: next hops of tunnels, of which a host has one for each other host at most.
const USED_MAX: usize = 4096;
/// Wishes that wait.
const WISHES_MAX: usize = 1024;
/// Between two looks at the kernel's tables: a change takes effect within that, and a storm of
/// changes takes a few hundredths of a thread.
const SPACING: Duration = Duration::from_millis(10);
/// As often as the kernel itself looks whether a neighbour in use still answers
/// (`base_reachable_time_ms`).
const REFRESH: Duration = Duration::from_secs(15);
/// Before the kernel is asked again after it refused.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
