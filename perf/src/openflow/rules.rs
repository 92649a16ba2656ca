//! Flow modifications as bytes: rules on 5-tuples, as an access list or a security group has them.

use anyhow::{Context, Result, anyhow};
use openflow::{FlowMod, FlowModCommand, Message, Xid, text, v13};

/// The message that a rule in `ovs-ofctl`'s syntax stands for.
pub fn flow_mod(rule: &str, command: FlowModCommand) -> Result<FlowMod> {
    text::flow::parse(rule, command).map_err(|error| anyhow!("{rule}: {error}"))
}

/// The bytes of that message.
pub fn encoded(rule: &str, command: FlowModCommand) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let message = Message::FlowMod(Box::new(flow_mod(rule, command)?));
    v13::encode(Xid(7), &message, &mut bytes).context("a flow_mod fits")?;
    Ok(bytes)
}

/// `count` adds of rules on 5-tuples from the `first` on. The upper half of a cookie tells the
/// owner, one of [`OWNERS`]; the lower half the rule.
pub fn adds(first: u32, count: u32) -> Result<Vec<u8>> {
    stream((first..first + count).map(|rule| (rule, ADD)))
}

/// Deletions of those rules, one by one.
pub fn deletions(first: u32, count: u32) -> Result<Vec<u8>> {
    stream((first..first + count).map(|rule| (rule, DELETE_STRICT)))
}

/// `count` adds of rules, each followed by a deletion of the oldest, so that a table with `size`
/// rules from the `first` on keeps its size.
pub fn churn(first: u32, size: u32, count: u32) -> Result<Vec<u8>> {
    let oldest = first..first + count;
    stream(oldest.flat_map(|old| [(old + size, ADD), (old, DELETE_STRICT)]))
}

/// Commands about rules.
fn stream(changes: impl Iterator<Item = (u32, u8)>) -> Result<Vec<u8>> {
    let templates = (0..OUTPUTS).map(template).collect::<Result<Vec<_>>>()?;
    let mut bytes = Vec::new();
    for (rule, command) in changes {
        let start = bytes.len();
        templates[(rule % OUTPUTS) as usize].write(rule, &mut bytes);
        bytes[start + COMMAND] = command;
    }
    Ok(bytes)
}

/// A message and where in it that lies which tells rules apart.
struct Template {
    bytes: Vec<u8>,
    address: usize,
    port: usize,
}

impl Template {
    fn write(&self, rule: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let message = &mut out[start..];
        message[COOKIE..COOKIE + 4].copy_from_slice(&(rule % OWNERS).to_be_bytes());
        message[COOKIE + 4..COOKIE + 8].copy_from_slice(&rule.to_be_bytes());
        let address = &mut message[self.address..self.address + 4];
        address.copy_from_slice(&(0x0b00_0000 + rule / 16).to_be_bytes());
        let port = 1024 + (rule % 16) as u16;
        message[self.port..self.port + 2].copy_from_slice(&port.to_be_bytes());
    }
}

/// A rule that sends by one of a few ports.
fn template(output: u32) -> Result<Template> {
    let rule = format!(
        "priority=100,tcp,nw_src=171.205.239.1,nw_dst=10.9.8.7,tcp_src=65277,tcp_dst=443,\
         actions=output:{}",
        output + 10
    );
    let bytes = encoded(&rule, FlowModCommand::Add)?;
    let find = |wanted: &[u8]| bytes.windows(wanted.len()).position(|part| part == wanted);
    let address = find(&[171, 205, 239, 1]).context("the address is in the message")?;
    let port = find(&65277_u16.to_be_bytes()).context("the port is in the message")?;
    Ok(Template {
        address,
        port,
        bytes,
    })
}

/// Ports that the rules send by.
const OUTPUTS: u32 = 8;
/// Owners of rules, in the upper half of cookies.
pub const OWNERS: u32 = 100;
/// Where the cookie is in a flow_mod.
const COOKIE: usize = 8;
/// Where the command is.
const COMMAND: usize = 25;
/// `OFPFC_ADD`.
const ADD: u8 = 0;
/// `OFPFC_DELETE_STRICT`.
const DELETE_STRICT: u8 = 4;
