//! The control task: the one owner of the switch's model, its ports and its connections.
//!
//! What: everything that changes or asks the switch happens here, one thing after the other:
//! messages of OpenFlow peers, commands of the management socket and the provisioner, events of
//! the workers, timers.
//! How: peers that have something to say stand in a queue and are served in turn, a bounded
//! number of messages each; after every turn the new state is published, then what depends on it
//! is done ([`Actor::settle`]). What needs the workers is asked of them by [`quiesce`], what
//! blocks is done by the provisioner: nothing here waits.
//! Why not locks: no order of locks to keep, and a peer's requests are carried out in order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use openflow::{Action, OfPort, PortReason};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tracing::debug;

use super::agent::{PeerId, Turn, Work};
use super::bridge::Bridge;
use super::clock::Clock;
use super::conntrack::{Connections, Filter};
use super::endpoints::Endpoints;
use super::ipfix::Exporter;
use super::pace::{Limit, Pace};
use super::peer::{Connection, Signal};
use super::ports::Ports;
use super::quiesce::{self, Then};
use super::underlay::Underlay;
use crate::action::{BridgeId, PortNo};
use crate::datapath::{Datapath, Event, Events, PacketOut};
use crate::pipeline::{State, Switch};

/// The state of control.
#[derive(Debug)]
pub struct Actor {
    /// The switch.
    pub switch: Switch,
    /// The workers.
    pub datapath: Arc<Datapath>,
    /// The connections that workers track.
    pub tracked: Arc<Connections>,
    /// Time.
    pub clock: Clock,
    /// Bridges.
    pub bridges: BTreeMap<BridgeId, Bridge>,
    /// Ports that work.
    pub ports: Ports,
    /// The switch's own addresses.
    pub endpoints: Endpoints,
    /// The way to the kernel's tables.
    pub underlay: Underlay,
    /// Who is told of samples.
    pub exporter: Exporter,
    connections: HashMap<PeerId, Connection>,
    published: Arc<State>,
    published_ms: u64,
    /// How often to publish what nobody waits for.
    pace: Pace,
    /// When to publish what has changed, if something has and it was put off.
    publish_at: Option<Instant>,
    /// What changed in this turn is not to be put off.
    is_urgent: bool,
    work: Work,
    waits: Vec<Then>,
    quiesce: mpsc::UnboundedSender<Then>,
    signal: mpsc::UnboundedSender<PeerId>,
    injections_dropped: u64,
    may_expire_more: bool,
    /// Flows that went can be freed at once.
    may_free_more: bool,
    is_ending: bool,
}

/// Something to be done by the control task.
type Command = Box<dyn FnOnce(&mut Actor) + Send>;

/// Reaches the control task from other tasks.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

/// The control task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the switch is ending")]
pub struct Gone;

impl Handle {
    /// Lets the control task do something and tell its result.
    pub async fn with<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Actor) -> R + Send + 'static,
    ) -> Result<R, Gone> {
        let (tell, told) = oneshot::channel();
        let command: Command = Box::new(move |actor| {
            let _ = tell.send(act(actor));
        });
        self.commands.send(command).await.map_err(|_| Gone)?;
        told.await.map_err(|_| Gone)
    }
}

/// What the control task listens to.
#[derive(Debug)]
struct Inlets {
    commands: mpsc::Receiver<Command>,
    ready: mpsc::UnboundedReceiver<PeerId>,
    done: mpsc::UnboundedReceiver<Then>,
    events: Events,
    links: Interval,
    sweeps: Interval,
}

/// Starts the control task; it ends when the last [`Handle`] is gone, or on [`Actor::end`].
pub fn start(
    datapath: Arc<Datapath>,
    tracked: Arc<Connections>,
    events: Events,
    switch: Switch,
    published: Arc<State>,
    clock: Clock,
) -> (Handle, tokio::task::JoinHandle<()>) {
    let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
    let (signal, ready) = mpsc::unbounded_channel();
    let (waits, waiting) = mpsc::unbounded_channel();
    let (done, done_in) = mpsc::unbounded_channel();
    tokio::spawn(quiesce::run(Arc::clone(&datapath), waiting, done));
    let actor = Actor {
        switch,
        datapath,
        tracked,
        clock,
        bridges: BTreeMap::new(),
        ports: Ports::new(),
        endpoints: Endpoints::default(),
        underlay: Underlay::default(),
        exporter: Exporter::default(),
        connections: HashMap::new(),
        published,
        published_ms: 0,
        pace: Pace::new(UNAWAITED),
        publish_at: None,
        is_urgent: false,
        work: Work::default(),
        waits: Vec::new(),
        quiesce: waits,
        signal,
        injections_dropped: 0,
        may_expire_more: false,
        may_free_more: false,
        is_ending: false,
    };
    let inlets = Inlets {
        commands: commands_in,
        ready,
        done: done_in,
        events,
        links: every(LINK_POLL),
        sweeps: every(SWEEP),
    };
    (Handle { commands }, tokio::spawn(run(actor, inlets)))
}

async fn run(mut actor: Actor, mut inlets: Inlets) {
    loop {
        tokio::select! {
            command = inlets.commands.recv() => match command {
                Some(command) => {
                    command(&mut actor);
                    actor.is_urgent = true;
                }
                None => return,
            },
            Some(peer) = inlets.ready.recv() => actor.serve(peer),
            Some(then) = inlets.done.recv() => actor.finish(then),
            () = until(actor.publish_at) => {}
            event = inlets.events.receive() => {
                actor.take(event);
                let more = std::iter::from_fn(|| inlets.events.try_receive());
                more.take(EVENTS_PER_TURN).for_each(|event| actor.take(event));
            }
            _ = inlets.links.tick() => {
                actor.poll_links();
                actor.poll_endpoints();
            }
            _ = inlets.sweeps.tick() => actor.sweep(),
            () = std::future::ready(()), if actor.is_behind() && inlets.ready.is_empty() => {
                actor.catch_up();
            }
        }
        actor.settle();
        if actor.is_ending {
            return;
        }
        // Connections write what this turn made before the next one makes more: they may share a
        // thread with this task, which a port that floods keeps busy without end.
        tokio::task::yield_now().await;
    }
}

impl Actor {
    /// Serves one peer: what it has waited for, then some of its messages.
    fn serve(&mut self, id: PeerId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Some(bridge) = self.bridges.get_mut(&connection.bridge) else {
            self.connections.remove(&id);
            return;
        };
        let mut turn = Turn {
            switch: &mut self.switch,
            ports: &mut self.ports,
            now_ms: self.clock.now_ms(),
            work: &mut self.work,
        };
        if !connection.serve(id, bridge, &mut turn, &mut self.waits) {
            self.connections.remove(&id);
            bridge.disconnect(id, turn.switch, turn.now_ms);
        }
    }

    /// Does what had to wait for the workers.
    fn finish(&mut self, then: Then) {
        match then {
            Then::Barrier { peer, xid, reply } => {
                if let Some((connection, bridge)) = self.peer(peer) {
                    bridge.agent.reply(peer, xid, &reply);
                    connection.go_on();
                }
            }
            Then::Answer {
                peer,
                xid,
                request,
                bytes,
            } => {
                let Some(connection) = self.connections.get_mut(&peer) else {
                    return;
                };
                let Some(bridge) = self.bridges.get_mut(&connection.bridge) else {
                    return;
                };
                let mut turn = Turn {
                    switch: &mut self.switch,
                    ports: &mut self.ports,
                    now_ms: self.clock.now_ms(),
                    work: &mut self.work,
                };
                match bridge.agent.answer(&mut turn, peer, xid, &request) {
                    Ok(Some(dump)) => connection.send(dump),
                    Ok(None) => connection.go_on(),
                    Err(code) => {
                        bridge.agent.refuse(peer, xid, code, &bytes);
                        connection.go_on();
                    }
                }
            }
            Then::Removed(flows) => {
                for removed in flows {
                    if let Some(bridge) = self.bridges.get(&removed.bridge) {
                        bridge.agent.flow_removed(&removed);
                    }
                }
            }
            Then::Expire => {
                let (removed, more) = self.switch.expire(self.clock.now_ms());
                self.work.removed.extend(removed);
                self.may_expire_more = more;
            }
        }
    }

    fn peer(&mut self, peer: PeerId) -> Option<(&mut Connection, &mut Bridge)> {
        let connection = self.connections.get_mut(&peer)?;
        let bridge = self.bridges.get_mut(&connection.bridge)?;
        Some((connection, bridge))
    }

    /// Takes what a worker tells.
    fn take(&mut self, event: Event) {
        let now_ms = self.clock.now_ms();
        match event {
            Event::Learn(learn) => self.switch.learn(learn, now_ms),
            Event::Wish(wish) => {
                let removed = self.switch.grant(&wish, now_ms);
                self.work.removed.extend(removed);
            }
            Event::Delivery(delivery) => self.receive(&delivery),
            Event::Resolve(unresolved) => self.resolve(unresolved),
            Event::Sampled(sampled) => self.exporter.add(&sampled, now_ms),
            Event::PacketIn(event) => {
                if let Some(bridge) = self.bridges.get_mut(&event.punt.bridge) {
                    bridge.agent.packet_in(
                        (&event.punt, &event.carried),
                        event.packet.data(),
                        now_ms,
                    );
                }
            }
        }
    }

    /// Looks at every port's device.
    fn poll_links(&mut self) {
        let mut changed = Vec::new();
        for (number, port) in &mut self.ports {
            if port.poll() {
                changed.push(*number);
            }
        }
        changed
            .into_iter()
            .for_each(|number| self.tell_link(number));
    }

    /// Tells pipeline and controllers of a link, an address or a configuration that changed.
    pub fn tell_link(&mut self, number: PortNo) {
        let Some(port) = self.ports.get(&number) else {
            return;
        };
        debug!(port = port.settings.name, up = port.link.up, "link");
        self.switch.set_link(number, port.link.up);
        self.is_urgent = true;
        let description = port.describe();
        if let Some(bridge) = self.bridges.get_mut(&port.bridge) {
            bridge.agent.port_status(PortReason::Modify, description);
        }
    }

    /// Whether there is something to do that can wait for others.
    fn is_behind(&self) -> bool {
        let mut bridges = self.bridges.values();
        self.may_free_more || bridges.any(|bridge| bridge.agent.is_telling())
    }

    /// Does some of what could wait.
    fn catch_up(&mut self) {
        if self.may_free_more {
            self.may_free_more = self.switch.maintain();
        }
        let now_ms = self.clock.now_ms();
        for bridge in self.bridges.values_mut() {
            bridge.agent.tell_gone(&self.switch, now_ms);
        }
    }

    /// What happens every second or so.
    fn sweep(&mut self) {
        self.waits.push(Then::Expire);
        self.datapath.free_retired();
        for remains in self.switch.take_remains() {
            tokio::task::spawn_blocking(move || drop(remains));
        }
        self.may_free_more |= self.switch.maintain();
        let now_ms = self.clock.now_ms();
        for bridge in self.bridges.values_mut() {
            bridge.check_controllers(&mut self.switch, now_ms);
            bridge.agent.expire_bundles(now_ms);
        }
    }

    /// The end of a turn: publishes what changed, then does what was to be done after that.
    fn settle(&mut self) {
        let now_ms = self.clock.now_ms();
        for bridge in self.bridges.values_mut() {
            bridge.agent.tell_changes(&mut self.switch, None, now_ms);
        }
        let (removed, more) = self.switch.forget_learned(now_ms);
        self.work.removed.extend(removed);
        self.may_expire_more |= more;
        self.publish();
        self.exporter.send(now_ms);
        for injection in self.work.injections.drain(..) {
            if let Err(error) = self.datapath.inject(injection) {
                self.injections_dropped += 1;
                debug!(%error, "packet-out dropped");
            }
        }
        for flush in self.work.flushes.drain(..) {
            self.tracked.flush(Filter::from(&flush));
        }
        if !self.work.removed.is_empty() {
            // Before the barriers of this turn: what came before a barrier is told before it.
            let removed = Then::Removed(std::mem::take(&mut self.work.removed));
            self.waits.insert(0, removed);
        }
        if std::mem::take(&mut self.may_expire_more) {
            self.waits.push(Then::Expire);
        }
        for then in self.waits.drain(..) {
            let _ = self.quiesce.send(then);
        }
    }

    /// Publishes what changed, at once if somebody waits for it. Every publication makes workers
    /// look at their cache entries anew, so what nobody waits for, as flows that packets teach, is
    /// put off if there were some just now, and longer while flows change in a stream.
    fn publish(&mut self) {
        let now_ms = self.clock.now_ms();
        let is_awaited = std::mem::take(&mut self.is_urgent)
            || !self.waits.is_empty()
            || self.work.injections.iter().any(uses_tables);
        if !is_awaited && self.switch.is_changed() {
            let due_ms = match self.switch.flow_changes() {
                ..STREAM_MIN => self.pace.due_ms(),
                _ => self.published_ms + STREAM_GAP_MS,
            };
            if let Some(wait_ms) = due_ms.checked_sub(now_ms).filter(|wait_ms| *wait_ms > 0) {
                self.publish_at = Some(Instant::now() + Duration::from_millis(wait_ms));
                return;
            }
        }
        self.publish_at = None;
        let state = self.switch.publish();
        if !Arc::ptr_eq(&state, &self.published) {
            self.published = Arc::clone(&state);
            self.datapath.publish(state);
            self.published_ms = now_ms;
            self.pace.take(now_ms);
        }
    }

    /// Takes a connection whose handshake is done.
    pub fn connect(&mut self, id: PeerId, connection: Connection) {
        let Some(bridge) = self.bridges.get_mut(&connection.bridge) else {
            return;
        };
        bridge.connect(id, &connection, &mut self.switch, self.clock.now_ms());
        self.connections.insert(id, connection);
    }

    /// Ends the control task.
    pub fn end(&mut self) {
        self.is_ending = true;
    }

    /// What raises a peer's hand.
    pub fn signal(&self, peer: PeerId) -> Arc<Signal> {
        Arc::new(Signal::new(peer, self.signal.clone()))
    }

    /// Packet-outs dropped because the workers could not keep up.
    pub fn injections_dropped(&self) -> u64 {
        self.injections_dropped
    }
}

/// Waits until then; for ever if never.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// Whether a packet-out goes through the tables, which are then to be as its controller left them.
fn uses_tables(out: &PacketOut) -> bool {
    let to_tables = |action: &Action| {
        let Action::Output { port, .. } = action else {
            return false;
        };
        *port == OfPort::TABLE
    };
    out.actions.iter().any(to_tables)
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Publications that nobody waits for. So few in the long run that workers spend little on
/// translating anew; and some at once, so that what one packet teaches the next ones meet.
const UNAWAITED: Limit = Limit {
    rate: 200,
    burst: 8,
};
/// Between two of them in milliseconds while flows change in a stream: a controller loads its
/// tables, or deletes many flows. With ten thousand flows in use a worker is busy with its cache
/// entries for a millisecond.
const STREAM_GAP_MS: u64 = 20;
/// Changes of flows since a publication from which on they are a stream: a hundred thousand a
/// second.
const STREAM_MIN: usize = 500;
/// Commands that wait: each is a person's or a connection's, and whoever sends one waits for it.
const COMMANDS_MAX: usize = 64;
/// Events of workers between two publications.
const EVENTS_PER_TURN: usize = 256;
/// How soon fast failover and controllers learn of a link.
const LINK_POLL: Duration = Duration::from_millis(50);
/// Timeouts are in whole seconds.
const SWEEP: Duration = Duration::from_millis(500);
