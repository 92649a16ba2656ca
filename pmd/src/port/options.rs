//! Options of a port: text by name, read as what they mean.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{PortConfig, PortError, PortKind};

/// Options of a port, each known to its type.
pub(crate) struct Options<'config> {
    config: &'config PortConfig,
}

impl<'config> Options<'config> {
    /// The options of `config`, which may have those in `allowed`.
    pub(crate) fn of(
        config: &'config PortConfig,
        allowed: &[&str],
    ) -> Result<Options<'config>, PortError> {
        // A netdev that exists may keep its own.
        if (config.kind, config.mtu) != (PortKind::System, 0) {
            PortError::check_mtu(&config.name, config.mtu)?;
        }
        match config
            .options
            .keys()
            .find(|option| !allowed.contains(&option.as_str()))
        {
            None => Ok(Options { config }),
            Some(option) => Err(PortError::UnknownOption {
                port: config.name.clone(),
                kind: config.kind,
                option: option.clone(),
                allowed: if allowed.is_empty() {
                    "none".into()
                } else {
                    allowed.join(", ")
                },
            }),
        }
    }

    /// An option's text.
    pub(crate) fn text(&self, option: &str) -> Option<&'config str> {
        self.config.options.get(option).map(String::as_str)
    }

    /// The text of an option that must be there.
    pub(crate) fn required(&self, option: &str, meaning: &str) -> Result<&'config str, PortError> {
        let text = self.text(option).filter(|text| !text.is_empty());
        text.ok_or_else(|| PortError::MissingOption {
            port: self.config.name.clone(),
            kind: self.config.kind,
            option: option.into(),
            meaning: meaning.into(),
        })
    }

    /// A number, or `default` without the option.
    pub(crate) fn number<T: FromStr + PartialOrd + Display>(
        &self,
        option: &str,
        allowed: RangeInclusive<T>,
        default: T,
    ) -> Result<T, PortError> {
        let Some(text) = self.text(option) else {
            return Ok(default);
        };
        let number = text.parse().ok().filter(|number| allowed.contains(number));
        number.ok_or_else(|| {
            let allowed = format!("{} to {}", allowed.start(), allowed.end());
            self.bad_value(option, text, allowed)
        })
    }

    /// The error for a value that an option cannot have.
    pub(crate) fn bad_value(&self, option: &str, value: &str, allowed: String) -> PortError {
        PortError::BadValue {
            port: self.config.name.clone(),
            option: option.into(),
            value: value.into(),
            allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(options: &[(&str, &str)]) -> PortConfig {
        PortConfig {
            name: "p1".into(),
            kind: PortKind::Dpdk,
            options: options
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            mtu: 1500,
            tx_queues: 1,
        }
    }

    #[test]
    fn reads_what_is_there_and_defaults() {
        let config = config(&[("n_rxq", "4"), ("flag", "false")]);
        let options = Options::of(&config, &["n_rxq", "flag", "path"]).unwrap();
        assert_eq!(options.number("n_rxq", 1..=8, 1).unwrap(), 4);
        assert_eq!(options.number("absent", 1..=8, 7).unwrap(), 7);
    }

    #[test]
    fn errors_name_the_option_and_what_is_allowed() {
        let config = config(&[("n_rxq", "0"), ("flag", "yes")]);
        let error = |result: Result<(), PortError>| result.unwrap_err().to_string();
        assert_eq!(
            error(Options::of(&config, &["n_rxq", "path"]).map(drop)),
            "port p1: type dpdk has no option flag; it has n_rxq, path"
        );
        let options = Options::of(&config, &["n_rxq", "flag"]).unwrap();
        assert_eq!(
            error(options.number("n_rxq", 1..=8, 1).map(drop)),
            "port p1: option n_rxq cannot be \"0\", only 1 to 8"
        );
        assert_eq!(
            error(options.required("path", "a socket").map(drop)),
            "port p1: type dpdk needs the option path: a socket"
        );
    }

    #[test]
    fn an_mtu_out_of_range_is_refused() {
        let config = PortConfig {
            mtu: 9001,
            ..config(&[])
        };
        let error = Options::of(&config, &[]).map(drop).unwrap_err().to_string();
        assert_eq!(error, "port p1: MTU cannot be 9001, only 68 to 9000");
    }
}
