//! Makes a running switch what the configuration says, one step after the other: opens and
//! closes ports, starts and ends dialling and listening.
//!
//! Opening a device may take long, and a port may go only when no worker holds anything of it.
//! Such things are waited for here, on a task of whoever asks; the control task only notes what
//! has become of them. One step at a time: the numbers of a port are never in use twice.

use std::sync::Arc;
use std::time::Duration;

use openflow::OfPort;
use pmd::{Pools, PortControl};
use tracing::{debug, error, info};

use super::actor::{Actor, Gone, Handle};
use super::agent::{Identity, PeerKind};
use super::bridge::{FailedPort, Task};
use super::config::{self, Change, PortKind};
use super::connection::Link;
use super::conntrack::Connections;
use super::dial;
use super::identity::{Machine, mac_text};
use super::ports::Port;
use super::run_dir::RunDir;
use super::target::Listener;
use super::tls::Tls;
use crate::action::{BridgeId, PortNo};
use crate::datapath::{Datapath, Queues};

mod listeners;
mod steps;

use steps::NewPort;

/// Carries out changes of the configuration.
#[derive(Debug)]
pub struct Provisioner {
    handle: Handle,
    datapath: Arc<Datapath>,
    pools: Pools,
    run_dir: Arc<RunDir>,
    machine: Machine,
    tls: Option<Arc<Tls>>,
    connections: Arc<Connections>,
}

/// What to do about what cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Note it, show it, try again later.
    Keep,
    /// Undo the step and tell.
    Refuse,
}

/// A step that could not be carried out, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl From<Gone> for Failure {
    fn from(gone: Gone) -> Failure {
        Failure(gone.to_string())
    }
}

impl Provisioner {
    /// A provisioner for a switch without bridges.
    pub fn new(
        handle: Handle,
        datapath: Arc<Datapath>,
        pools: Pools,
        run_dir: Arc<RunDir>,
        tls: Option<Arc<Tls>>,
        connections: Arc<Connections>,
    ) -> Provisioner {
        Provisioner {
            handle,
            datapath,
            pools,
            run_dir,
            machine: Machine::this(),
            tls,
            connections,
        }
    }

    /// Carries out one step.
    pub async fn apply(&self, change: Change, on_failure: OnFailure) -> Result<(), Failure> {
        match change {
            Change::SetConntrack(conntrack) => {
                self.connections.configure(&conntrack);
                Ok(())
            }
            Change::SetCollectors(sets) => {
                self.handle
                    .with(move |actor| actor.set_collectors(&sets))
                    .await?;
                Ok(())
            }
            Change::AddBridge(bridge) => self.add_bridge(*bridge, on_failure).await,
            Change::SetBridge(bridge) => self.set_bridge(*bridge, on_failure).await,
            Change::RemoveBridge(name) => self.remove_bridge(&name).await,
            Change::AddPort { bridge, port } => {
                let id = self.bridge(&bridge).await?;
                let number = (port.name == bridge).then_some(OfPort::LOCAL);
                self.add_port(id, *port, number, on_failure).await
            }
            Change::RemovePort { bridge, port } => {
                let id = self.bridge(&bridge).await?;
                self.remove_port(id, &port).await
            }
            Change::SetPort { bridge, port } => {
                let id = self.bridge(&bridge).await?;
                self.set_port(id, *port, on_failure).await
            }
        }
    }

    async fn bridge(&self, name: &str) -> Result<BridgeId, Failure> {
        let name = name.to_owned();
        let find = move |actor: &mut Actor| actor.bridge_id(&name).ok_or(name);
        let found = self.handle.with(find).await?;
        found.map_err(|name| Failure(format!("no bridge \"{name}\"")))
    }

    async fn add_bridge(
        &self,
        settings: config::Bridge,
        on_failure: OnFailure,
    ) -> Result<(), Failure> {
        let identity = Identity {
            name: settings.name.clone(),
            datapath_id: self.datapath_id(&settings),
            description: settings.description.clone(),
        };
        let local = settings.local.clone();
        let (name, mut ports) = (settings.name.clone(), settings.ports.clone());
        // Those with a number first: the others take what is left.
        ports.sort_by_key(|port| port.number.is_none());
        let bare = config::Bridge {
            ports: Vec::new(),
            ..settings
        };
        let first = config::Bridge {
            controllers: Vec::new(),
            ..bare.clone()
        };
        let add = move |actor: &mut Actor| actor.add_bridge(first, identity);
        let id = self.handle.with(add).await??;
        if let Err(failure) = self
            .add_port(id, local, Some(OfPort::LOCAL), on_failure)
            .await
        {
            self.take_down(id).await?;
            return Err(failure);
        }
        for port in ports {
            self.add_port(id, port, None, OnFailure::Keep).await?;
        }
        if let Err(failure) = self.set_bridge(bare, on_failure).await {
            self.take_down(id).await?;
            return Err(failure);
        }
        info!(bridge = name, "bridge added");
        Ok(())
    }

    fn datapath_id(&self, settings: &config::Bridge) -> u64 {
        settings
            .datapath_id
            .unwrap_or_else(|| self.machine.datapath_id(&settings.name))
    }

    /// Takes over a bridge's keys: what is new is dialled and listened on first, so that nothing
    /// changes if it cannot be.
    async fn set_bridge(
        &self,
        settings: config::Bridge,
        on_failure: OnFailure,
    ) -> Result<(), Failure> {
        let id = self.bridge(&settings.name).await?;
        let there = self.handle.with(move |actor| actor.task_names(id)).await?;
        let service = Listener::Unix(self.run_dir.bridge_socket(&settings.name));
        let listeners = settings.listeners.iter().cloned();
        let mut wanted: Vec<_> = listeners.map(|at| (at, PeerKind::Listener)).collect();
        wanted.push((service, PeerKind::Service));
        let mut tasks = self
            .listen(id, &settings.name, &wanted, &there, on_failure)
            .await?;
        for controller in &settings.controllers {
            let name = format!("{controller:?}");
            let task = (!there.contains(&name)).then(|| {
                let mut link = self.link(id, &settings.name, PeerKind::Controller);
                link.target = Some(controller.target.clone());
                let probe = Duration::from_secs(controller.inactivity_probe_s.into());
                link.inactivity_probe = (!probe.is_zero()).then_some(probe);
                link.packet_ins = controller.packet_ins;
                link.auxiliaries = controller.auxiliary_connections;
                let backoff_max = Duration::from_secs(controller.max_backoff_s.into());
                Task::spawn(dial::run(controller.target.clone(), backoff_max, link))
            });
            tasks.insert(name, task);
        }
        let datapath_id = self.datapath_id(&settings);
        let set = move |actor: &mut Actor| actor.set_bridge(id, settings, datapath_id, tasks);
        for task in self.handle.with(set).await? {
            task.end().await;
        }
        Ok(())
    }

    fn link(&self, bridge: BridgeId, name: &str, kind: PeerKind) -> Link {
        Link {
            handle: self.handle.clone(),
            bridge,
            bridge_name: name.into(),
            kind,
            target: None,
            inactivity_probe: Some(PROBE_OF_GUESTS),
            tls: self.tls.clone(),
            packet_ins: None,
            auxiliaries: 0,
        }
    }

    /// Removes a bridge, if it is there.
    async fn remove_bridge(&self, name: &str) -> Result<(), Failure> {
        if let Ok(id) = self.bridge(name).await {
            self.take_down(id).await?;
            info!(bridge = name, "bridge removed");
        }
        Ok(())
    }

    async fn take_down(&self, id: BridgeId) -> Result<(), Failure> {
        let tasks = self.handle.with(move |actor| actor.take_tasks(id)).await?;
        for task in tasks {
            task.end().await;
        }
        let ports = self
            .handle
            .with(move |actor| actor.remove_bridge(id))
            .await?;
        for (number, port) in ports {
            self.let_go(number, port).await;
        }
        self.handle.with(Actor::check_patches).await?;
        Ok(())
    }

    async fn add_port(
        &self,
        bridge: BridgeId,
        settings: config::Port,
        number: Option<OfPort>,
        on_failure: OnFailure,
    ) -> Result<(), Failure> {
        let name = settings.name.clone();
        let Err(failure) = self.try_port(bridge, settings.clone(), number).await else {
            return Ok(());
        };
        if on_failure == OnFailure::Refuse {
            return Err(failure);
        }
        let failed = FailedPort {
            settings,
            number,
            error: failure.0.clone(),
        };
        let is_news = self
            .handle
            .with(move |actor| actor.note_failed(bridge, failed))
            .await?;
        match is_news {
            true => error!(port = name, error = failure.0, "port does not work"),
            false => debug!(port = name, error = failure.0, "port still does not work"),
        }
        Ok(())
    }

    async fn try_port(
        &self,
        bridge: BridgeId,
        settings: config::Port,
        number: Option<OfPort>,
    ) -> Result<(), Failure> {
        let name = settings.name.clone();
        let (queues, device) = match self.open(bridge, &settings).await? {
            Some(pmd::Port { rx, tx, control }) => (Some(Queues { rx, tx }), Some(control)),
            None => (None, None),
        };
        let mac = self.mac_of(&settings, device.as_ref());
        let new = NewPort {
            bridge,
            settings,
            number,
            device,
            mac,
        };
        let number = match self.handle.with(move |actor| actor.add_port(new)).await? {
            Ok(number) => number,
            Err((failure, device)) => {
                close(queues, device).await;
                return Err(failure);
            }
        };
        let given = match queues {
            Some(queues) => self.datapath.add_port(number, queues).await,
            // Workers count by it what they drop of packets that came in by it.
            None => self.datapath.add_port_within(number).await,
        };
        if let Err(error) = given {
            if let Some(port) = self
                .handle
                .with(move |actor| actor.drop_port(number))
                .await?
            {
                self.let_go(number, port).await;
            }
            return Err(Failure(format!("port {name}: {error}")));
        }
        self.handle
            .with(move |actor| actor.announce_port(number))
            .await?;
        info!(port = name, "port added");
        Ok(())
    }

    /// Opens the device of a port; a patch port has none.
    async fn open(
        &self,
        bridge: BridgeId,
        settings: &config::Port,
    ) -> Result<Option<pmd::Port>, Failure> {
        let Some(kind) = settings.kind.of_device() else {
            return Ok(None);
        };
        let mut options = settings.options.clone();
        if settings.kind == PortKind::Internal && !options.contains_key(MAC) {
            let mac = self.internal_mac(bridge, &settings.name).await?;
            options.insert(MAC.to_owned(), mac_text(mac));
        }
        let wanted = pmd::PortConfig {
            name: settings.name.clone(),
            kind,
            options,
            mtu: mtu_of(settings),
            tx_queues: self.datapath.workers(),
        };
        let (pools, up) = (self.pools.clone(), settings.admin_up);
        let open = move || {
            let mut port = pmd::port::open(&wanted, &pools)?;
            if !up {
                port.control.set_admin_up(false)?;
            }
            Ok::<_, pmd::PortError>(port)
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let opened = opened.map_err(|error| Failure(error.to_string()))?;
        opened.map(Some).map_err(|error| Failure(error.to_string()))
    }

    fn mac_of(&self, settings: &config::Port, device: Option<&PortControl>) -> [u8; 6] {
        let configured = || match settings.kind {
            PortKind::Endpoint => config::endpoint::mac_of(&settings.options),
            _ => None,
        };
        let mac = device.map(PortControl::mac).filter(|mac| *mac != [0; 6]);
        let mac = mac.or_else(configured);
        mac.unwrap_or_else(|| self.machine.mac(&settings.name))
    }

    /// The address of an `internal` port for which none is configured: it stays over restarts.
    async fn internal_mac(&self, bridge: BridgeId, name: &str) -> Result<[u8; 6], Failure> {
        let identity = move |actor: &mut Actor| {
            let bridge = actor.bridges.get(&bridge)?;
            let datapath_id = bridge.agent.identity.datapath_id;
            Some((bridge.settings.name.clone(), datapath_id))
        };
        Ok(match self.handle.with(identity).await? {
            Some((bridge, datapath_id)) if bridge != name => {
                self.machine.internal_mac(datapath_id, name)
            }
            _ => self.machine.mac(name),
        })
    }

    /// Removes a port, if it is there.
    async fn remove_port(&self, id: BridgeId, port: &str) -> Result<(), Failure> {
        let name = port.to_owned();
        let has_failed = move |actor: &mut Actor| actor.forget_failed(id, &name);
        if self.handle.with(has_failed).await? {
            info!(port, "port removed");
        }
        let name = port.to_owned();
        let removed = self
            .handle
            .with(move |actor| actor.remove_port(id, &name))
            .await?;
        if let Some((number, removed)) = removed {
            self.let_go(number, removed).await;
            self.handle.with(Actor::check_patches).await?;
            info!(port, "port removed");
        }
        Ok(())
    }

    /// Waits until no worker holds anything of a port, then closes it.
    async fn let_go(&self, number: PortNo, port: Port) {
        let queues = self.datapath.remove_port(number).await;
        close(queues, port.device).await;
    }

    async fn set_port(
        &self,
        id: BridgeId,
        settings: config::Port,
        on_failure: OnFailure,
    ) -> Result<(), Failure> {
        let (name, wanted) = (settings.name.clone(), settings.clone());
        let set = move |actor: &mut Actor| actor.set_port(id, wanted);
        if let Some(number) = self.handle.with(set).await?? {
            self.remove_port(id, &name).await?;
            return self.add_port(id, settings, Some(number), on_failure).await;
        }
        info!(port = name, "port changed");
        Ok(())
    }

    /// Takes a port's device up or down, even if it is configured so already.
    pub async fn set_admin(&self, port: &str, up: bool) -> Result<(), Failure> {
        let name = port.to_owned();
        let set = move |actor: &mut Actor| actor.set_admin(&name, up);
        self.handle.with(set).await?
    }

    /// Tries ports again that could not be opened, and opens those anew whose device is gone: what
    /// they need may have come.
    pub async fn retry(&self) -> Result<(), Failure> {
        for (bridge, settings, number) in self.handle.with(|actor| actor.lost_ports()).await? {
            self.remove_port(bridge, &settings.name).await?;
            self.add_port(bridge, settings, Some(number), OnFailure::Keep)
                .await?;
        }
        for (bridge, failed) in self.handle.with(|actor| actor.failed_ports()).await? {
            let name = failed.settings.name.clone();
            self.add_port(bridge, failed.settings, failed.number, OnFailure::Keep)
                .await?;
            debug!(port = name, "tried again");
        }
        Ok(())
    }
}

/// Closes a port; a device may take its time.
async fn close(queues: Option<Queues>, device: Option<PortControl>) {
    let close = move || {
        drop(queues);
        drop(device);
    };
    if let Err(error) = tokio::task::spawn_blocking(close).await {
        error!(%error, "port not closed");
    }
}

/// Longest IP packet of a port; 0 for what its netdev has.
pub(super) fn mtu_of(settings: &config::Port) -> u16 {
    match (settings.mtu, settings.kind) {
        (Some(mtu), _) => mtu,
        (None, PortKind::System) => MTU_OF_NETDEV,
        (None, _) => MTU_DEFAULT,
    }
}

impl PortKind {
    /// What opens its device; a patch port has none.
    pub fn of_device(self) -> Option<pmd::PortKind> {
        self.label().parse().ok()
    }
}

/// Silence after which a controller or tool that dialled the switch is probed, and again after
/// which it is given up: its socket may be half open, and there are so many places only. Open
/// vSwitch's for its management sockets.
const PROBE_OF_GUESTS: Duration = Duration::from_secs(60);
/// The option that gives an `internal` port its address.
const MAC: &str = "mac";
/// What `pmd` leaves as it is.
const MTU_OF_NETDEV: u16 = 0;
/// Ethernet's.
const MTU_DEFAULT: u16 = 1500;
