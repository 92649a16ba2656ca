//! Methods that change the configuration: bridges, ports, controllers.

use serde_json::{Value, json};
use toml_edit::{Array, InlineTable};

use super::super::config::{Bridge, Config, Keys};
use super::super::configurator::ChangeError;
use super::params::{self, Params};
use super::{CallError, Service};

impl Service {
    pub(super) async fn bridge_add(&self, params: Params) -> Result<Value, CallError> {
        let params: params::Bridge = params.read()?;
        let name = params.name.clone();
        let mut configurator = self.configurator.lock().await;
        check_free(configurator.config(), &name)?;
        if let Some(id) = &params.datapath_id {
            self.check_datapath_id(id, None).await?;
        }
        let mut keys: Keys = vec![("name", Some(name.as_str().into()))];
        keys.extend(bridge_keys(params));
        configurator.change(|file| file.add_bridge(keys)).await?;
        self.bridge_json(&name).await
    }

    pub(super) async fn bridge_del(&self, params: Params) -> Result<Value, CallError> {
        let params: params::Named = params.read()?;
        let mut configurator = self.configurator.lock().await;
        check_bridge(configurator.config(), &params.name)?;
        configurator
            .change(|file| file.remove_bridge(&params.name))
            .await?;
        Ok(json!({}))
    }

    pub(super) async fn bridge_set(&self, params: Params) -> Result<Value, CallError> {
        let params: params::Bridge = params.read()?;
        let name = params.name.clone();
        let mut configurator = self.configurator.lock().await;
        check_bridge(configurator.config(), &name)?;
        if params.controllers.is_some() {
            let message = "controllers are set by controller/set".to_owned();
            return Err(CallError::bad_params(message));
        }
        if let Some(id) = &params.datapath_id {
            self.check_datapath_id(id, Some(&name)).await?;
        }
        let keys = bridge_keys(params);
        configurator
            .change(|file| file.set_bridge(&name, keys))
            .await?;
        self.bridge_json(&name).await
    }

    pub(super) async fn port_add(&self, params: Params) -> Result<Value, CallError> {
        let params: params::PortAdd = params.read()?;
        let (bridge, name) = (params.bridge.clone(), params.name.clone());
        let mut configurator = self.configurator.lock().await;
        check_bridge(configurator.config(), &bridge)?;
        check_free(configurator.config(), &name)?;
        if let Some(number) = params.number {
            self.check_number(&bridge, number).await?;
        }
        let keys = port_keys(params);
        configurator
            .change(|file| file.add_port(&bridge, keys))
            .await?;
        self.port_json(&name).await
    }

    pub(super) async fn port_del(&self, params: Params) -> Result<Value, CallError> {
        let params: params::NamedPort = params.read()?;
        let mut configurator = self.configurator.lock().await;
        let bridge = find_port(
            configurator.config(),
            &params.name,
            params.bridge.as_deref(),
        )?;
        if bridge == params.name {
            let message = format!("\"{bridge}\" is a bridge's own port: it goes with it");
            return Err(CallError::bad_params(message));
        }
        configurator
            .change(|file| file.remove_port(&bridge, &params.name))
            .await?;
        Ok(json!({}))
    }

    pub(super) async fn port_set(&self, params: Params) -> Result<Value, CallError> {
        let params: params::PortSet = params.read()?;
        let mut configurator = self.configurator.lock().await;
        let bridge = find_port(
            configurator.config(),
            &params.name,
            params.bridge.as_deref(),
        )?;
        let (name, admin_up) = (params.name.clone(), params.admin_up);
        let keys = changed_port_keys(params);
        configurator
            .change(|file| file.set_port(&bridge, &name, keys))
            .await?;
        if let Some(up) = admin_up {
            configurator.set_admin(&name, up).await?;
        }
        self.port_json(&name).await
    }

    pub(super) async fn controller_set(&self, params: Params) -> Result<Value, CallError> {
        let params: params::ControllerSet = params.read()?;
        self.set_controllers(&params.bridge, params.targets).await
    }

    pub(super) async fn controller_del(&self, params: Params) -> Result<Value, CallError> {
        let params: params::ControllerDel = params.read()?;
        let Some(target) = params.target else {
            return self.set_controllers(&params.bridge, Vec::new()).await;
        };
        let configurator = self.configurator.lock().await;
        let bridge = check_bridge(configurator.config(), &params.bridge)?;
        let targets = configurator.config().bridges[bridge].controllers.iter();
        let mut targets: Vec<_> = targets.map(|it| it.target.to_string()).collect();
        let wanted = target
            .parse::<super::super::target::Target>()
            .map(|it| it.to_string());
        let wanted =
            wanted.map_err(|why| CallError::bad_params(format!("target = \"{target}\": {why}")))?;
        let before = targets.len();
        targets.retain(|target| *target != wanted);
        if targets.len() == before {
            let message = format!("bridge \"{}\" has no controller {wanted}", params.bridge);
            return Err(CallError::bad_params(message));
        }
        drop(configurator);
        self.set_controllers(&params.bridge, targets).await
    }

    /// These targets and no others. A target that stays keeps its timers.
    async fn set_controllers(
        &self,
        bridge: &str,
        targets: Vec<String>,
    ) -> Result<Value, CallError> {
        let mut configurator = self.configurator.lock().await;
        check_bridge(configurator.config(), bridge)?;
        let targets = (!targets.is_empty()).then_some(targets);
        configurator
            .change(|file| file.set_controllers(bridge, targets))
            .await?;
        self.controllers_json(Some(bridge)).await
    }

    async fn check_datapath_id(&self, id: &str, but: Option<&str>) -> Result<(), CallError> {
        let digits = id.strip_prefix("0x").unwrap_or(id);
        let Ok(id) = u64::from_str_radix(digits, 16) else {
            return Ok(());
        };
        let but = but.map(str::to_owned);
        let holder = self.handle.with(move |actor| {
            let mut bridges = actor.bridges.values();
            let holds = bridges.find(|bridge| {
                let name = &bridge.settings.name;
                bridge.agent.identity.datapath_id == id && Some(name) != but.as_ref()
            });
            holds.map(|bridge| bridge.settings.name.clone())
        });
        match holder.await? {
            Some(name) => {
                let message = format!("datapath_id {id:016x} is that of bridge \"{name}\"");
                Err(CallError::exists(message))
            }
            None => Ok(()),
        }
    }

    async fn check_number(&self, bridge: &str, number: u32) -> Result<(), CallError> {
        let bridge = bridge.to_owned();
        let holder = self.handle.with(move |actor| {
            let id = actor.bridge_id(&bridge)?;
            let mut ports = actor.ports.values();
            let port = ports.find(|port| port.bridge == id && port.of_port.0 == number);
            let failed = || {
                let mut failed = actor.bridges.get(&id)?.failed.iter();
                let kept = failed.find(|it| it.number.is_some_and(|kept| kept.0 == number))?;
                Some(&kept.settings)
            };
            let settings = port.map(|port| &port.settings).or_else(failed)?;
            Some(settings.name.clone())
        });
        match holder.await? {
            Some(name) => Err(CallError::exists(format!(
                "number {number} is that of \"{name}\""
            ))),
            None => Ok(()),
        }
    }
}

impl From<ChangeError> for CallError {
    fn from(error: ChangeError) -> CallError {
        match error {
            ChangeError::NotAllowed(error) => error.into(),
            ChangeError::Edited(error) => CallError::failed(error.to_string()),
            ChangeError::Failed(failure) => failure.into(),
        }
    }
}

/// Its place among the bridges.
fn check_bridge(config: &Config, name: &str) -> Result<usize, CallError> {
    let found = config.bridges.iter().position(|bridge| bridge.name == name);
    let known = || {
        config
            .bridges
            .iter()
            .map(|bridge| bridge.name.clone())
            .collect()
    };
    found.ok_or_else(|| CallError::no_such_bridge(name, known()))
}

fn check_free(config: &Config, name: &str) -> Result<(), CallError> {
    for bridge in &config.bridges {
        if bridge.name == name {
            return Err(CallError::exists(format!("\"{name}\" is a bridge")));
        }
        if bridge.ports.iter().any(|port| port.name == name) {
            let message = format!("\"{name}\" is a port of bridge \"{}\"", bridge.name);
            return Err(CallError::exists(message));
        }
    }
    Ok(())
}

/// The bridge that a port is in.
fn find_port(config: &Config, name: &str, bridge: Option<&str>) -> Result<String, CallError> {
    if let Some(bridge) = bridge {
        check_bridge(config, bridge)?;
    }
    let bridges = || {
        config
            .bridges
            .iter()
            .filter(|it| bridge.is_none_or(|name| it.name == name))
    };
    let mut found = bridges().filter(|bridge| bridge.all_ports().any(|port| port.name == name));
    let known = || {
        bridges()
            .flat_map(Bridge::all_ports)
            .map(|port| port.name.clone())
            .collect()
    };
    match found.next() {
        Some(bridge) => Ok(bridge.name.clone()),
        None => Err(CallError::no_such_port(name, known())),
    }
}

fn bridge_keys(params: params::Bridge) -> Keys {
    let mut keys = Keys::new();
    if let Some(mode) = params.fail_mode {
        keys.push(("fail_mode", Some(mode.into())));
    }
    if let Some(id) = params.datapath_id {
        keys.push(("datapath_id", Some(id.into())));
    }
    for (key, list) in [
        ("controllers", params.controllers),
        ("listeners", params.listeners),
    ] {
        if let Some(list) = list {
            let list: Array = list.into_iter().collect();
            keys.push((key, (!list.is_empty()).then(|| list.into())));
        }
    }
    keys
}

fn port_keys(params: params::PortAdd) -> Keys {
    let kind = params.kind.unwrap_or_else(|| "system".to_owned());
    let mut keys: Keys = vec![("name", Some(params.name.into()))];
    if let Some(number) = params.number {
        keys.push(("number", Some(i64::from(number).into())));
    }
    keys.push(("type", Some(kind.into())));
    if let Some(options) = params.options.filter(|options| !options.is_empty()) {
        keys.push((
            "options",
            Some(options.into_iter().collect::<InlineTable>().into()),
        ));
    }
    if let Some(tag) = params.tag {
        keys.push(("tag", Some(i64::from(tag).into())));
    }
    keys.extend(
        params
            .trunks
            .filter(|trunks| !trunks.is_empty())
            .map(trunks_key),
    );
    if let Some(mtu) = params.mtu {
        keys.push(("mtu", Some(i64::from(mtu).into())));
    }
    keys
}

/// A tag takes the place of trunks, and the other way round, unless both are given.
fn changed_port_keys(params: params::PortSet) -> Keys {
    let mut keys = Keys::new();
    if let Some(options) = params.options {
        let table: InlineTable = options.into_iter().collect();
        keys.push(("options", (!table.is_empty()).then(|| table.into())));
    }
    if let Some(tag) = params.tag {
        keys.push(("tag", tag.map(|tag| i64::from(tag).into())));
        if tag.is_some() && params.trunks.is_none() {
            keys.push(("trunks", None));
        }
    }
    if let Some(trunks) = params.trunks {
        if !trunks.is_empty() && params.tag.is_none() {
            keys.push(("tag", None));
        }
        keys.push(trunks_key(trunks));
    }
    if let Some(mtu) = params.mtu {
        keys.push(("mtu", Some(i64::from(mtu).into())));
    }
    if let Some(up) = params.admin_up {
        keys.push(("admin_up", (!up).then_some(false.into())));
    }
    keys
}

fn trunks_key(trunks: Vec<u16>) -> (&'static str, Option<toml_edit::Value>) {
    let list: Array = trunks.into_iter().map(i64::from).collect();
    ("trunks", (!list.is_empty()).then(|| list.into()))
}
