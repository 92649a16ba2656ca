//! Changes the configuration of a running switch: file and switch change together or not at all.

use tracing::{error, info, warn};

use super::config::{Change, Config, ConfigError, ConfigFile, difference};
use super::provision::{Failure, OnFailure, Provisioner};

/// The configuration in force and what carries it out.
#[derive(Debug)]
pub struct Configurator {
    file: ConfigFile,
    provisioner: Provisioner,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It is not allowed.
    #[error(transparent)]
    NotAllowed(#[from] ConfigError),
    /// Somebody edited the file, and the change would undo that.
    #[error(transparent)]
    Edited(ConfigError),
    /// It could not be carried out.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Configurator {
    /// A configurator of a switch without bridges.
    pub fn new(file: ConfigFile, provisioner: Provisioner) -> Configurator {
        Configurator { file, provisioner }
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        self.file.config()
    }

    /// Where it was read from.
    pub fn file(&self) -> &ConfigFile {
        &self.file
    }

    /// Brings up everything that the file names. What fails leaves the rest running.
    pub async fn start(&self) -> Result<(), Failure> {
        let conntrack = Box::new(self.config().conntrack.clone());
        let change = Change::SetConntrack(conntrack);
        self.provisioner.apply(change, OnFailure::Keep).await?;
        let change = Change::SetCollectors(self.config().ipfix.clone());
        self.provisioner.apply(change, OnFailure::Keep).await?;
        for bridge in &self.config().bridges {
            let change = Change::AddBridge(Box::new(bridge.clone()));
            self.provisioner.apply(change, OnFailure::Keep).await?;
        }
        Ok(())
    }

    /// Tries again what failed.
    pub async fn retry(&self) -> Result<(), Failure> {
        self.provisioner.retry().await
    }

    /// Takes down everything.
    pub async fn stop(&self) -> Result<(), Failure> {
        for bridge in &self.config().bridges {
            let change = Change::RemoveBridge(bridge.name.clone());
            if let Err(failure) = self.provisioner.apply(change, OnFailure::Refuse).await {
                error!(bridge = bridge.name, error = %failure, "bridge not removed");
            }
        }
        Ok(())
    }

    /// Makes a change to the file and the switch. If any part of it fails the rest is undone.
    pub async fn change(
        &mut self,
        edit: impl FnOnce(&ConfigFile) -> Result<ConfigFile, ConfigError>,
    ) -> Result<(), ChangeError> {
        if let Some(fresh) = self.file.reread().map_err(ChangeError::Edited)? {
            self.file = fresh;
        }
        let wanted = edit(&self.file)?;
        if let Err(failure) = self.carry_out(&wanted).await {
            warn!(error = %failure, "change not made");
            self.undo(wanted.config()).await;
            return Err(failure.into());
        }
        self.file = wanted;
        Ok(())
    }

    /// Takes a port's device up or down, even if it is configured so already.
    pub async fn set_admin(&self, port: &str, up: bool) -> Result<(), Failure> {
        self.provisioner.set_admin(port, up).await
    }

    async fn carry_out(&self, wanted: &ConfigFile) -> Result<(), Failure> {
        for change in difference(self.config(), wanted.config()) {
            self.provisioner.apply(change, OnFailure::Refuse).await?;
        }
        let Some(path) = wanted.path() else {
            return Ok(());
        };
        let text = wanted.clone();
        let saved = tokio::task::spawn_blocking(move || text.save()).await;
        let saved = saved.map_err(|error| Failure(error.to_string()))?;
        saved.map_err(|error| Failure(format!("{}: {error}", path.display())))?;
        info!(file = %path.display(), "configuration written");
        Ok(())
    }

    async fn undo(&self, wanted: &Config) {
        for change in difference(wanted, self.config()) {
            if let Err(failure) = self.provisioner.apply(change, OnFailure::Keep).await {
                error!(error = %failure, "change not undone");
            }
        }
    }
}
