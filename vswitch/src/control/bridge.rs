//! A bridge as the control task keeps it: its agent, its controllers, and what it does without
//! them (OpenFlow 1.3.5 §6.4).

use std::collections::BTreeMap;

use openflow::{Action, FlowMod, FlowModCommand, GroupId, Instructions, OfPort, Role, TableId};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::agent::{Agent, PeerId};
use super::config::{self, FailMode};
use super::outbox::Dropped;
use super::peer::Connection;
use super::target::Target;
use crate::pipeline::Switch;

/// A bridge.
#[derive(Debug)]
pub struct Bridge {
    /// As it is configured, without its ports.
    pub settings: config::Bridge,
    /// Its OpenFlow side.
    pub agent: Agent,
    /// Controllers by target.
    pub controllers: BTreeMap<String, Controller>,
    /// The tasks that dial and listen, by what they dial or listen on.
    pub tasks: BTreeMap<String, Task>,
    /// Why it does not listen where it should.
    pub listener_errors: BTreeMap<String, String>,
    /// Ports that could not be opened, and why.
    pub failed: Vec<FailedPort>,
    owner: Option<Owner>,
    /// Since when no controller is there.
    alone_since_ms: Option<u64>,
    standalone: bool,
}

/// A task that ends when it is dropped.
#[derive(Debug)]
pub struct Task(JoinSet<()>);

impl Task {
    /// Starts a task.
    pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Task {
        let mut set = JoinSet::new();
        set.spawn(task);
        Task(set)
    }

    /// Ends it and waits until it has.
    pub async fn end(mut self) {
        self.0.shutdown().await;
    }
}

/// A port that could not be opened.
#[derive(Clone, Debug)]
pub struct FailedPort {
    /// As it is configured.
    pub settings: config::Port,
    /// The number that it is to have, kept for it.
    pub number: Option<OfPort>,
    /// Why it does not work.
    pub error: String,
}

/// A controller that the switch dials.
#[derive(Clone, Debug)]
pub struct Controller {
    /// Where.
    pub target: Target,
    /// The connection, while there is one.
    pub peer: Option<PeerId>,
    /// Since when there is or is not.
    pub since_ms: u64,
    /// Why the last connection ended or failed.
    pub error: Option<String>,
    /// Asynchronous messages that earlier connections dropped.
    pub dropped: Dropped,
}

/// Whose the flows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Controllers,
    OperatorOfStandalone,
    OperatorOfSecure,
}

impl Bridge {
    /// A bridge without ports and connections.
    pub fn new(settings: config::Bridge, agent: Agent) -> Bridge {
        Bridge {
            settings,
            agent,
            controllers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            listener_errors: BTreeMap::new(),
            failed: Vec::new(),
            owner: None,
            alone_since_ms: None,
            standalone: false,
        }
    }

    /// Takes a connection.
    pub fn connect(&mut self, id: PeerId, peer: &Connection, switch: &mut Switch, now_ms: u64) {
        self.agent.connect(id, peer.kind, peer.outbox.clone());
        let Some(target) = &peer.target else { return };
        if let Some(controller) = self.controllers.get_mut(&target.to_string()) {
            info!(bridge = self.settings.name, %target, "controller connected");
            controller.peer = Some(id);
            controller.since_ms = now_ms;
            controller.error = None;
        }
        self.check_controllers(switch, now_ms);
    }

    /// Forgets a connection.
    pub fn disconnect(&mut self, id: PeerId, switch: &mut Switch, now_ms: u64) {
        let dropped = self.agent.dropped(id);
        self.agent.disconnect(id, switch);
        if let Some(controller) = self.controller_of(id) {
            controller.dropped += dropped;
            let (target, error) = (controller.target.to_string(), controller.error.clone());
            controller.peer = None;
            controller.since_ms = now_ms;
            let reason = error.unwrap_or_default();
            warn!(
                bridge = self.settings.name,
                target, reason, "controller disconnected"
            );
        }
        self.check_controllers(switch, now_ms);
    }

    /// Notes why a connection ends.
    pub fn note_end(&mut self, id: PeerId, reason: String) {
        if let Some(controller) = self.controller_of(id) {
            controller.error = Some(reason);
        }
    }

    /// Notes why a controller could not be reached.
    pub fn note_failure(&mut self, target: &Target, error: String) {
        if let Some(controller) = self.controllers.get_mut(&target.to_string())
            && controller.error.as_ref() != Some(&error)
        {
            warn!(bridge = self.settings.name, %target, error, "controller not reached");
            controller.error = Some(error);
        }
    }

    /// The role of a controller.
    pub fn role(&self, controller: &Controller) -> Role {
        controller
            .peer
            .and_then(|peer| self.agent.role(peer))
            .unwrap_or_default()
    }

    /// Asynchronous messages for a controller that were dropped.
    pub fn dropped(&self, controller: &Controller) -> Dropped {
        let mut dropped = controller.dropped;
        if let Some(peer) = controller.peer {
            dropped += self.agent.dropped(peer);
        }
        dropped
    }

    fn controller_of(&mut self, id: PeerId) -> Option<&mut Controller> {
        self.controllers
            .values_mut()
            .find(|controller| controller.peer == Some(id))
    }

    /// Takes over settings. When the flows change hands, between controllers and the operator,
    /// those that were there go, as OVS has it. The operator of a standalone bridge begins with one
    /// flow that sends everything to NORMAL.
    pub fn configure(&mut self, settings: config::Bridge, switch: &mut Switch, now_ms: u64) {
        self.settings = settings;
        self.agent.limit_ports(self.settings.packet_ins_of_port);
        let owner = match (
            self.settings.controllers.is_empty(),
            self.settings.fail_mode,
        ) {
            (false, _) => Owner::Controllers,
            (true, FailMode::Standalone) => Owner::OperatorOfStandalone,
            (true, FailMode::Secure) => Owner::OperatorOfSecure,
        };
        if self.owner.replace(owner) != Some(owner) {
            self.agent.clear(switch);
            if owner == Owner::OperatorOfStandalone {
                self.add_normal_flow(switch, now_ms);
            }
        }
        self.alone_since_ms = None;
        self.check_controllers(switch, now_ms);
    }

    fn add_normal_flow(&self, switch: &mut Switch, now_ms: u64) {
        let normal = Action::Output {
            port: OfPort::NORMAL,
            max_len: 0,
        };
        let flow = FlowMod {
            command: FlowModCommand::Add,
            cookie: 0,
            cookie_mask: 0,
            table: TableId(0),
            idle_timeout_s: 0,
            hard_timeout_s: 0,
            priority: 0,
            buffer_id: None,
            out_port: OfPort::ANY,
            out_group: GroupId::ANY,
            flags: Default::default(),
            matching: Default::default(),
            instructions: Instructions {
                apply: Some([normal].into()),
                ..Default::default()
            },
        };
        if let Err(code) = switch.flow_mod(self.agent.bridge, &flow, now_ms) {
            warn!(bridge = self.settings.name, %code, "no NORMAL flow");
        }
    }

    /// Becomes a learning switch once its controllers have been away for too long, and ceases to
    /// be one when one is back.
    pub fn check_controllers(&mut self, switch: &mut Switch, now_ms: u64) {
        let controllers = &self.settings.controllers;
        let may = !controllers.is_empty() && self.settings.fail_mode == FailMode::Standalone;
        let alone = may && !self.agent.has_controller();
        if !alone {
            self.alone_since_ms = None;
        }
        let since = alone.then(|| *self.alone_since_ms.get_or_insert(now_ms));
        let probes_s = controllers
            .iter()
            .map(|it| it.inactivity_probe_s)
            .max()
            .unwrap_or(0);
        let patience_s = match probes_s {
            0 => PATIENCE_S_DEFAULT,
            probe => PATIENCE_PROBES * u64::from(probe),
        };
        let standalone = since.is_some_and(|since| now_ms - since >= patience_s * 1000);
        if standalone != self.standalone {
            self.standalone = standalone;
            switch.set_standalone(self.agent.bridge, standalone);
            let name = &self.settings.name;
            match standalone {
                true => warn!(bridge = name, "no controller: learning switch"),
                false => info!(bridge = name, "a controller is back, or none is wanted"),
            }
        }
    }
}

/// Probes without an answer before a controller counts as away, as OVS has it.
const PATIENCE_PROBES: u64 = 3;
/// The same for controllers that are not probed.
const PATIENCE_S_DEFAULT: u64 = 15;
