//! Which sockets a bridge listens on: what is new is bound before what is old goes, so that
//! nothing changes if it cannot be; only where the old one is in the way, on the same port under
//! another address, it goes first, and comes back if the new one fails.

use std::collections::BTreeMap;

use tracing::warn;

use super::{Failure, OnFailure, Provisioner};
use crate::action::BridgeId;
use crate::control::actor::Actor;
use crate::control::agent::PeerKind;
use crate::control::bridge::Task;
use crate::control::connection::Link;
use crate::control::listen::{self, Socket};
use crate::control::target::Listener;

/// Tasks by name; none for a task that is there already.
pub(super) type Tasks = BTreeMap<String, Option<Task>>;

impl Provisioner {
    /// Listens on what is wanted and not yet listened on.
    pub(super) async fn listen(
        &self,
        id: BridgeId,
        name: &str,
        wanted: &[(Listener, PeerKind)],
        there: &[String],
        on_failure: OnFailure,
    ) -> Result<Tasks, Failure> {
        let is_there = |at: &Listener| there.contains(&at.to_string());
        let new = || wanted.iter().filter(|(at, _)| !is_there(at));
        let mut tasks: Tasks = wanted
            .iter()
            .filter(|(at, _)| is_there(at))
            .map(|(at, _)| (at.to_string(), None))
            .collect();
        let in_the_way: Vec<Listener> = there
            .iter()
            .filter(|name| !tasks.contains_key(*name))
            .filter_map(|name| name.parse().ok())
            .filter(|old: &Listener| new().any(|(at, _)| at.port() == old.port()))
            .filter(|old| old.port().is_some())
            .collect();
        self.end_listening(id, &in_the_way).await?;
        for (at, kind) in new() {
            match listen_task(at, self.link(id, name, *kind), on_failure).await {
                Ok(task) => {
                    tasks.insert(at.to_string(), Some(task));
                }
                Err(failure) => {
                    for task in tasks.into_values().flatten() {
                        task.end().await;
                    }
                    self.listen_again(id, name, in_the_way).await?;
                    return Err(failure);
                }
            }
        }
        Ok(tasks)
    }

    async fn end_listening(&self, id: BridgeId, at: &[Listener]) -> Result<(), Failure> {
        let names: Vec<_> = at.iter().map(Listener::to_string).collect();
        let take = move |actor: &mut Actor| {
            let bridge = actor.bridges.get_mut(&id);
            let tasks = bridge.map(|bridge| &mut bridge.tasks);
            let taken = tasks.map(|tasks| names.iter().filter_map(|name| tasks.remove(name)));
            taken.into_iter().flatten().collect::<Vec<_>>()
        };
        for task in self.handle.with(take).await? {
            task.end().await;
        }
        Ok(())
    }

    async fn listen_again(
        &self,
        id: BridgeId,
        name: &str,
        before: Vec<Listener>,
    ) -> Result<(), Failure> {
        for at in before {
            let link = self.link(id, name, PeerKind::Listener);
            let task = listen_task(&at, link, OnFailure::Keep).await?;
            let put = move |actor: &mut Actor| {
                if let Some(bridge) = actor.bridges.get_mut(&id) {
                    bridge.tasks.insert(at.to_string(), task);
                }
            };
            self.handle.with(put).await?;
        }
        Ok(())
    }
}

async fn listen_task(at: &Listener, link: Link, on_failure: OnFailure) -> Result<Task, Failure> {
    match Socket::bind(at).await {
        Ok(socket) => Ok(Task::spawn(socket.serve(link))),
        Err(error) if on_failure == OnFailure::Refuse => Err(Failure(format!("{at}: {error}"))),
        Err(error) => {
            warn!(bridge = %link.bridge_name, at = %at, %error, "cannot listen yet");
            Ok(Task::spawn(listen::insist(at.clone(), link, error)))
        }
    }
}
