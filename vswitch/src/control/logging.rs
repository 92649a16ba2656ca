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

/// Keeps one kind of line from filling the log: so many a minute are written, of the others the
/// number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Throttle {
    since_ms: u64,
    written: u32,
    left_out: u64,
}

impl Throttle {
    /// Whether a line may be written: how many were left out since the last one.
    pub fn admits(&mut self, now_ms: u64) -> Option<u64> {
        if now_ms.saturating_sub(self.since_ms) >= MINUTE_MS {
            (self.since_ms, self.written) = (now_ms, 0);
        }
        if self.written >= LINES_A_MINUTE {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// A level, or directives such as `info,vswitch::control=debug`; the error says what is allowed.
pub fn check_level(text: &str) -> Result<String, String> {
    filter(text).map(|_| text.to_owned())
}

fn filter(text: &str) -> Result<EnvFilter, String> {
    // The parser knows more than this, and panics at some text that is not ASCII.
    let right = text.len() <= LEVEL_BYTES_MAX && text.split(',').all(is_directive);
    let parsed = right.then(|| EnvFilter::builder().parse(text).ok());
    parsed.flatten().ok_or_else(|| {
        format!(
            "allowed are {}, also as MODULE=LEVEL, separated by commas",
            LEVELS.join(", ")
        )
    })
}

/// Whether a text is LEVEL or MODULE=LEVEL.
fn is_directive(text: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let (module, level) = text.rsplit_once('=').unwrap_or(("", text));
    let level = level.trim().to_ascii_lowercase();
    LEVELS.contains(&level.as_str()) && module.trim().chars().all(is_of_name)
}

const MINUTE_MS: u64 = 60_000;
/// More of one kind nobody reads; and no stranger fills a disk with them.
const LINES_A_MINUTE: u32 = 30;
/// What `tracing` knows.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// A few dozen directives; beyond that it is no level.
const LEVEL_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_a_minute_are_written_and_the_others_counted() {
        let mut throttle = Throttle::default();
        let first = (0..100).filter_map(|ms| throttle.admits(ms));
        assert_eq!(first.collect::<Vec<_>>(), [0; LINES_A_MINUTE as usize]);
        assert_eq!(throttle.admits(MINUTE_MS - 1), None);
        assert_eq!(throttle.admits(MINUTE_MS), Some(71));
        assert_eq!(throttle.admits(MINUTE_MS + 1), Some(0));
    }

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
        // The last one made the parser of `tracing_subscriber` panic.
        for text in [
            "",
            "loud",
            "info,",
            "pmd=loud",
            "pmd",
            "[span]=info",
            &"info,".repeat(300),
            "  00000#\u{83dc}0#\u{83dc}[0\u{83dc}info",
        ] {
            let error = check_level(text).unwrap_err();
            assert!(error.contains("trace"), "{text}: {error}");
        }
    }
}
