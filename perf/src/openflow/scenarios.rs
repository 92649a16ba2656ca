//! What is measured of one switch, each by itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use openflow::{FlowModCommand, Message, MultipartReply, MultipartRequest, OfPort, v13};

use super::client::Client;
use super::peer::Peer;
use super::rules;

/// Adds from a streaming client.
#[derive(Clone, Copy, Debug)]
pub struct Adds {
    /// Flows added each second, the last of them in force.
    pub per_second: f64,
    /// Packets forwarded each second meanwhile, over those forwarded before.
    pub forwarding: f64,
}

/// Adds `count` flows from the `first` on, while packets run.
pub fn adds(peer: &Peer, first: u32, count: u32) -> Result<Adds> {
    let bytes = rules::adds(first, count)?;
    let (mut client, mut watcher) = (peer.connect()?, peer.connect()?);
    let before = rate(&mut watcher, Duration::from_secs(1))?;
    let (sent, start) = (sent_packets(&mut watcher)?, Instant::now());
    client.write(&bytes)?;
    client.barrier()?;
    let took = start.elapsed();
    let during = (sent_packets(&mut watcher)? - sent) as f64 / start.elapsed().as_secs_f64();
    ensure!(client.errors == 0, "{} adds were refused", client.errors);
    Ok(Adds {
        per_second: f64::from(count) / took.as_secs_f64(),
        forwarding: during / before,
    })
}

/// Lets packets from port 1 out by port 2, below all other rules.
pub fn forward(peer: &Peer) -> Result<()> {
    let mut client = peer.connect()?;
    let rule = rules::encoded("priority=1,in_port=1,actions=output:2", FlowModCommand::Add)?;
    client.write(&rule)?;
    client.barrier()
}

/// Packets a second that leave by port 2.
fn rate(client: &mut Client, time: Duration) -> Result<f64> {
    let (before, start) = (sent_packets(client)?, Instant::now());
    std::thread::sleep(time);
    let sent = sent_packets(client)? - before;
    Ok(sent as f64 / start.elapsed().as_secs_f64())
}

fn sent_packets(client: &mut Client) -> Result<u64> {
    let request = MultipartRequest::PortStats(OfPort(2));
    client.send(&Message::MultipartRequest {
        more: false,
        request,
    })?;
    let mut sent = None;
    client.drain_multipart(|bytes| {
        if let Ok((_, Message::MultipartReply { reply, .. })) = v13::decode(bytes)
            && let MultipartReply::PortStats(ports) = reply
        {
            sent = ports.first().map(|port| port.tx_packets);
        }
    })?;
    sent.context("no statistics of port 2")
}
