//! Logs: text or JSON on stderr, the level changeable while running.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::config::LogFormat;

/// Changes the level of a running daemon.
#[derive(Clone, Debug)]
pub struct LogLevel {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Starts logging; once per process.
pub fn start(level: &str, format: LogFormat) -> Result<LogLevel, String> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let lines = match format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(ansi)
                .boxed()
        }
        LogFormat::Json => fmt::layer().with_writer(std::io::stderr).json().boxed(),
    };
    let started = Registry::default().with(filter).with(lines).try_init();
    started.map_err(|error| error.to_string())?;
    Ok(LogLevel { filter: handle })
}

impl LogLevel {
    /// Replaces the level, in the words that [`check_level`] allows.
    pub fn set(&self, level: &str) -> Result<(), String> {
        let filter = filter(level)?;
        self.filter
            .reload(filter)
            .map_err(|error| error.to_string())
    }

    /// The level in force.
    pub fn level(&self) -> String {
        self.filter
            .with_current(ToString::to_string)
            .unwrap_or_default()
    }
}

/// A level, or directives such as `info,vswitch::control=debug`; the error says what is allowed.
pub fn check_level(text: &str) -> Result<String, String> {
    filter(text).map(|_| text.to_owned())
}

fn filter(text: &str) -> Result<EnvFilter, String> {
    let known = |part: &str| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        LEVELS.contains(&level.trim().to_ascii_lowercase().as_str())
    };
    let parsed = EnvFilter::builder().parse(text).ok();
    let right = text.len() <= LEVEL_BYTES_MAX && text.split(',').all(known);
    parsed.filter(|_| right).ok_or_else(|| {
        format!(
            "allowed are {}, also as MODULE=LEVEL, separated by commas",
            LEVELS.join(", ")
        )
    })
}

/// What `tracing` knows.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// A few dozen directives; beyond that it is no level.
const LEVEL_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_checked() {
        for text in [
            "info",
            "WARN",
            "off",
            "info,vswitch::control=debug",
            "pmd=trace",
        ] {
            assert_eq!(check_level(text).as_deref(), Ok(text));
        }
        for text in ["", "loud", "info,", "pmd=loud", "pmd", &"info,".repeat(300)] {
            let error = check_level(text).unwrap_err();
            assert!(error.contains("trace"), "{text}: {error}");
        }
    }
}
