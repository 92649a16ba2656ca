//! Options of `endpoint` ports: the addresses that the switch itself answers for.

use std::collections::BTreeMap;

use super::reader::{ConfigError, Section};
use crate::local::Settings;

/// Refuses options that make no endpoint.
pub(super) fn check(
    section: &Section<'_>,
    options: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    if let Some(unknown) = options.keys().find(|key| !OPTIONS.contains(&key.as_str())) {
        let allowed = OPTIONS.join(", ");
        let why = format!("unknown option of type endpoint; allowed are {allowed}");
        return Err(section.wrong_option(unknown, "", &why));
    }
    let Some(addresses) = options.get(ADDRESSES) else {
        let why = "give the addresses, each with the length of its prefix, parted by commas";
        return Err(section.wrong_option(ADDRESSES, " is missing", why));
    };
    if let Some(text) = options.get(MAC).filter(|text| mac(text).is_none()) {
        let why = "allowed is an address such as 02:00:00:00:00:01";
        return Err(section.wrong_option(MAC, &format!(" = \"{text}\""), why));
    }
    let wrong = |option: &str, text: &str, why: &str| {
        section.wrong_option(option, &format!(" = \"{text}\""), why)
    };
    Settings::parse(0, addresses, "").map_err(|why| wrong(ADDRESSES, addresses, &why))?;
    let gateways = options.get(GATEWAYS).map_or("", String::as_str);
    let settings = Settings::parse(0, addresses, gateways);
    settings.map_err(|why| wrong(GATEWAYS, gateways, &why))?;
    Ok(())
}

/// The endpoint of a port with these options; `mac_default` is for who gives no address.
pub fn settings(options: &BTreeMap<String, String>, mac_default: [u8; 6]) -> Option<Settings> {
    let [a, b, c, d, e, f] = mac_of(options).unwrap_or(mac_default);
    let text = |option| options.get(option).map_or("", String::as_str);
    let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    Settings::parse(mac, text(ADDRESSES), text(GATEWAYS)).ok()
}

/// The Ethernet address that options give.
pub fn mac_of(options: &BTreeMap<String, String>) -> Option<[u8; 6]> {
    mac(options.get(MAC)?)
}

/// That of one host.
fn mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next().filter(|part| part.len() == 2)?, 16).ok()?;
    }
    let is_one = mac[0] & 1 == 0 && mac != [0; 6];
    (parts.next().is_none() && is_one).then_some(mac)
}

const OPTIONS: [&str; 3] = [ADDRESSES, GATEWAYS, MAC];
const ADDRESSES: &str = "addresses";
const GATEWAYS: &str = "gateways";
const MAC: &str = "mac";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    fn parsed(options: &str) -> Result<Settings, String> {
        let text = format!(
            "[[bridge]]\nname='b'\n[[bridge.port]]\nname='gw'\ntype='endpoint'\noptions={options}\n"
        );
        let config = Config::parse(&text, Path::new("f.toml"), None);
        let config = config.map_err(|error| error.to_string())?;
        Ok(settings(&config.bridges[0].ports[0].options, [2, 0, 0, 0, 0, 9]).expect("checked"))
    }

    #[test]
    fn an_endpoint_has_addresses_and_maybe_more() {
        let all = "{mac='02:00:00:00:00:01',addresses='10.0.0.1/24,fd00::1/64',\
                   gateways='10.0.0.254'}";
        let settings = parsed(all).unwrap();
        assert_eq!(
            (settings.mac, settings.addresses.len()),
            (0x0200_0000_0001, 2)
        );
        assert_eq!(settings.gateways.len(), 1);
        assert_eq!(
            parsed("{addresses='10.0.0.1'}").unwrap().mac,
            0x0200_0000_0009
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (options, expected) in [
            ("{}", "options.addresses is missing: give "),
            (
                "{addresses=''}",
                "options.addresses = \"\": 1 to 64 addresses",
            ),
            (
                "{addresses='x'}",
                "options.addresses = \"x\": \"x\" is no address",
            ),
            (
                "{addresses='10.0.0.1',gateways='y'}",
                "options.gateways = \"y\": \"y\" is no IP",
            ),
            (
                "{addresses='10.0.0.1',mac='01:00:00:00:00:00'}",
                "options.mac = \"01:00",
            ),
            (
                "{addresses='10.0.0.1',peer='z'}",
                "options.peer: unknown option of type endpoint",
            ),
        ] {
            let error = parsed(options).expect_err(options);
            assert!(error.contains(expected), "{options}: {error}");
        }
    }
}
