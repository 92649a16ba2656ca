//! What the scenarios with a way out share: an outside that says who asks.

use super::*;
use tests::Plan;

/// Guests' routers lead to 203.0.113.0/24; beyond is 198.51.100.1.
pub struct Outside {
    /// The provider's network, whose gateway it is.
    pub netns: Netns,
}

pub const GATEWAY_MAC: &str = "02:00:00:00:ee:01";
pub const EDGE_MACS: [&str; 2] = ["02:00:00:00:ed:01", "02:00:00:00:ed:02"];
pub const NODE_MACS: [&str; 2] = ["02:00:00:00:fe:01", "02:00:00:00:fe:02"];

impl Outside {
    pub fn new() -> Outside {
        let netns = Netns::silent("outside");
        netns.ip("link add name out type bridge");
        netns.ip(&format!("link set dev out address {GATEWAY_MAC}"));
        netns.ip("link set dev out up");
        netns.ip("addr add 203.0.113.1/24 dev out");
        netns.ip("addr add 198.51.100.1/32 dev lo");
        Outside { netns }
    }

    /// Joins a node by its port 200.
    pub fn join(&self, plan: &mut Plan, name: &str) {
        plan.join("edge", 200, &self.netns, name);
        self.netns.ip(&format!("link set dev {name} master out"));
    }

    /// A web server that says to each who asks by what address it knows him.
    #[track_caller]
    pub fn serve(&self, folder: &Path) -> Background {
        let script = "
import http.server
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.client_address[0].encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('', 80), Echo).serve_forever()";
        let log = folder.join("outside.log");
        self.netns.serve(&["python3", "-c", script], "-t", 80, &log)
    }
}

/// The edge in words of an intent.
pub fn edge() -> Value {
    let macs = json!({ "1": EDGE_MACS[0], "2": EDGE_MACS[1] });
    json!({ "port": 200, "macs": macs, "gateway": GATEWAY_MAC })
}

/// A guest with a floating address.
pub fn floating(mut guest: Value, address: &str, zone: u32) -> Value {
    guest["floating"] = address.into();
    guest["floating_zone"] = zone.into();
    guest
}

/// A guest of network N with the address 10.N.0.HOST, whose router is its way out.
pub fn guest(
    plan: &mut Plan,
    name: &str,
    port: u32,
    number: u32,
    network: u32,
    host: u32,
) -> Netns {
    let guest = plan.guest(
        name,
        port,
        &mac(number),
        &format!("10.{network}.0.{host}/24"),
    );
    guest.ip(&format!("route add default via 10.{network}.0.254"));
    guest
}
