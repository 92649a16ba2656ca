//! The parameters of every method, as docs/management.md lists them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::error::CallError;

/// The one object in `params`.
#[derive(Clone, Debug)]
pub struct Params(Map<String, Value>);

impl Params {
    /// Takes `params` apart.
    pub fn new(params: Value) -> Result<Params, CallError> {
        let object = match params {
            Value::Null => Value::Object(Map::new()),
            Value::Array(mut values) if values.len() <= 1 => {
                values.pop().unwrap_or_else(|| Value::Object(Map::new()))
            }
            other => other,
        };
        match object {
            Value::Object(members) => Ok(Params(members)),
            _ => {
                let message = "params is an array with one object, or empty".to_owned();
                Err(CallError::bad_params(message))
            }
        }
    }

    /// Reads the members; an unknown one is an error.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, CallError> {
        let read = serde_path_to_error::deserialize(Value::Object(self.0));
        read.map_err(|error| {
            let (path, why) = (error.path().to_string(), error.inner());
            CallError::bad_params(match path.as_str() {
                "." => why.to_string(),
                member => format!("{member}: {why}"),
            })
        })
    }
}

/// No members.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// One bridge, or all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Of {
    pub bridge: Option<String>,
}

/// One bridge.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfBridge {
    pub bridge: String,
}

/// Something by name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub name: String,
}

/// A port by name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedPort {
    pub name: String,
    pub bridge: Option<String>,
}

/// `bridge/add` and `bridge/set`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    pub name: String,
    pub fail_mode: Option<String>,
    pub datapath_id: Option<String>,
    pub controllers: Option<Vec<String>>,
    pub listeners: Option<Vec<String>>,
}

/// `port/add`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortAdd {
    pub bridge: String,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub number: Option<u32>,
    pub options: Option<BTreeMap<String, String>>,
    pub tag: Option<u16>,
    pub trunks: Option<Vec<u16>>,
    pub mtu: Option<u32>,
}

/// `port/set`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortSet {
    pub name: String,
    pub bridge: Option<String>,
    #[serde(default, deserialize_with = "there")]
    pub tag: Option<Option<u16>>,
    pub trunks: Option<Vec<u16>>,
    pub mtu: Option<u32>,
    pub admin_up: Option<bool>,
    pub options: Option<BTreeMap<String, String>>,
}

/// `controller/set`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerSet {
    pub bridge: String,
    pub targets: Vec<String>,
}

/// `controller/del`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerDel {
    pub bridge: String,
    pub target: Option<String>,
}

/// `trace`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    pub bridge: String,
    pub flow: Option<String>,
    pub packet: Option<String>,
    pub in_port: Option<Value>,
    #[serde(default)]
    pub ct_next: Vec<String>,
}

/// `log/set`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSet {
    pub filter: Option<String>,
}

/// Tells null from absent.
pub fn there<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}
