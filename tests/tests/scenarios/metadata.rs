//! Metadata: every guest asks 169.254.169.254, and a proxy sees which guest asks
//!
//! ```text
//!    a 10.0.0.1, network 1, known as 192.168.100.11 ── 1 ┐
//!    b 10.0.0.1, network 2, known as 192.168.100.12 ── 2 ┼ br-int ── 50 ── proxy
//!    c 10.0.0.3, network 2, known as 192.168.100.13 ── 3 ┤           192.168.100.1:8775
//!   vm 10.0.0.4, network 1, known as 192.168.100.14 ── 4 ┘
//! ```
//!
//! `a` and `b` have the same address; `vm` is a virtual machine. Controller: `metadata.py`.

use super::*;
use tests::{Capture, Cloud, Plan};

/// Says to each who asks by what address it knows him.
const PROXY: &str = "
import http.server

class Proxy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ('you are ' + self.client_address[0]).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(('192.168.100.1', 8775), Proxy).serve_forever()
";

#[test]
fn s11_metadata_by_a_proxy() {
    let mut plan = Plan::new(1);
    plan.bridge("br-int");
    let guests = [("a", 1, 1), ("b", 2, 1), ("c", 3, 3)].map(|(name, port, number)| {
        let guest = plan.guest(name, port, &mac(number), &format!("10.0.0.{number}/24"));
        guest.ip("route add 169.254.169.254 dev eth0");
        guest
    });
    plan.machine("vm", 4, "");
    let proxy = plan.guest("proxy", 50, &mac(50), "192.168.100.1/24");
    let known = |port, network, number, address: &str| {
        let mut guest = member(1, port, network, number);
        guest["known_as"] = address.into();
        guest
    };
    let all = [
        known(1, 1, 1, "192.168.100.11"),
        known(2, 2, 1, "192.168.100.12"),
        known(3, 2, 3, "192.168.100.13"),
        machine(known(4, 1, 4, "192.168.100.14")),
    ];
    let there = json!({ "port": 50, "mac": mac(50), "address": "192.168.100.1", "tcp": 8775 });
    let cloud = Cloud::start(
        "metadata",
        [plan],
        &json!({ "guests": all, "proxy": there }),
    );
    let mut vm = power_on(&cloud, 1, "10.0.0.4/24");
    let log = cloud.scratch().join("proxy.log");
    let _proxy = proxy.serve(&["python3", "-c", PROXY], "-t", 8775, &log);
    let at_a = Capture::start(&guests[0], "eth0", cloud.scratch());
    let at_proxy = Capture::start(&proxy, "eth0", cloud.scratch());
    for (guest, number) in guests.iter().zip([11, 12, 13]) {
        let told = browse(guest, "169.254.169.254");
        assert_eq!(told, format!("you are 192.168.100.{number}"));
    }
    let told = at_a.wait("http.response", &["ip.src", "tcp.srcport", "ip.dst"]);
    assert_eq!(told, [["169.254.169.254", "80", "10.0.0.1"]]);
    let asked = at_proxy.wait("http.request", &["ip.src", "tcp.dstport"]);
    let expected = [11, 12, 13].map(|n| [format!("192.168.100.{n}"), "8775".to_string()]);
    assert_eq!(asked, expected);

    // No other port is redirected, and nobody speaks to the proxy as somebody else.
    assert_eq!(
        browse(&guests[0], "169.254.169.254:8775"),
        "",
        "another port"
    );
    guests[0].ip("route add 192.168.100.0/24 dev eth0");
    assert_eq!(
        browse(&guests[0], "192.168.100.1:8775"),
        "",
        "by its own address"
    );
    guests[0].ip("addr add 10.0.0.9/24 dev eth0");
    let forged = ["curl", "-s", "--max-time", "2", "--interface", "10.0.0.9"];
    let forged = [&forged[..], &["http://169.254.169.254/"]].concat();
    assert_eq!(guests[0].run(&forged).stdout, "", "from a foreign address");
    assert_eq!(
        browse(&guests[1], "169.254.169.254"),
        "you are 192.168.100.12"
    );
    vm.succeed("ip route add 169.254.169.254 dev eth0", 60);
    let told = browse_by(&mut vm, "169.254.169.254", 10);
    assert_eq!(told, "you are 192.168.100.14", "a machine");
    assert_eq!(browse_by(&mut vm, "169.254.169.254:8775", 1), "");
    drop(vm);
    assert_eq!(
        at_proxy.wait("http.request", &["ip.src"]).len(),
        5,
        "nothing else came"
    );
    let flow = "in_port=2,eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:ff:a9,\
                tcp,nw_src=10.0.0.1,nw_dst=169.254.169.254,tp_dst=80";
    cloud.document("11", include_str!("metadata.rs"), &[(1, "br-int")], flow);
    cloud.stop();
}
