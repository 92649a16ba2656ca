//! Guests that reach themselves and each other by their public addresses: destination and source
//! are translated, in a zone each, and the packet may leave where it came in.
//!
//! ```text
//!   h1 (10.0.0.1, 203.0.113.1) eth0 ── p1 ┐
//!                                         ├ vswitchd, bridge br0, router 02:00:00:00:00:fe
//!   h2 (10.0.0.2, 203.0.113.2) eth0 ── p2 ┘
//! ```

use super::*;

/// Zone 1 translates destinations, zone 2 sources. What comes for a public address may be a reply,
/// whose source's translation is undone first, else is asked for anew.
const ROUTER: [&str; 13] = [
    "priority=100,arp,actions=NORMAL",
    "priority=90,ip,nw_dst=203.0.113.0/24,actions=ct(table=1,zone=2,nat)",
    "table=1,priority=90,ip,nw_dst=203.0.113.1,actions=\
     ct(commit,table=2,zone=1,nat(dst=10.0.0.1))",
    "table=1,priority=90,ip,nw_dst=203.0.113.2,actions=\
     ct(commit,table=2,zone=1,nat(dst=10.0.0.2))",
    "table=1,priority=80,ip,ct_state=+rpl,actions=ct(table=3,zone=1,nat)",
    "table=2,priority=90,ip,nw_src=10.0.0.1,actions=\
     ct(commit,table=3,zone=2,nat(src=203.0.113.1))",
    "table=2,priority=90,ip,nw_src=10.0.0.2,actions=\
     ct(commit,table=3,zone=2,nat(src=203.0.113.2))",
    "table=3,ip,nw_dst=10.0.0.1,actions=set_field:02:00:00:00:00:fe->eth_src,\
     set_field:02:00:00:00:00:01->eth_dst,dec_ttl,resubmit(,4)",
    "table=3,ip,nw_dst=10.0.0.2,actions=set_field:02:00:00:00:00:fe->eth_src,\
     set_field:02:00:00:00:00:02->eth_dst,dec_ttl,resubmit(,4)",
    "table=4,priority=90,in_port=1,ip,nw_dst=10.0.0.1,actions=in_port",
    "table=4,priority=90,in_port=2,ip,nw_dst=10.0.0.2,actions=in_port",
    "table=4,priority=80,ip,nw_dst=10.0.0.1,actions=output:1",
    "table=4,priority=80,ip,nw_dst=10.0.0.2,actions=output:2",
];

#[test]
fn guests_reach_themselves_and_each_other_by_public_addresses() {
    let (daemon, hosts) = Daemon::start_between_hosts::<2>(&ROUTER);
    for (host, number) in hosts.iter().zip(1..) {
        host.ip(&format!("link set eth0 address 02:00:00:00:00:0{number}"));
        host.ip("route add 203.0.113.0/24 via 10.0.0.254");
        host.ip("neigh add 10.0.0.254 lladdr 02:00:00:00:00:fe dev eth0");
    }
    let _servers = hosts
        .each_ref()
        .map(|host| server(host, "AF_INET", 80, &daemon));
    for (client, own) in hosts.iter().zip(["203.0.113.1", "203.0.113.2"]) {
        for public in ["203.0.113.1", "203.0.113.2"] {
            assert!(client.pings(public), "{own} to {public}: {}", daemon.log());
            // Each is seen by its public address, by itself, too.
            assert_eq!(
                ask(client, public, 80, 30).as_deref(),
                Some(own),
                "{public}"
            );
        }
    }
    // Where nobody listens the error comes back through both translations.
    for public in ["203.0.113.1", "203.0.113.2"] {
        assert!(is_refused(&hosts[0], public), "{public}");
    }
    daemon.stop();
}
