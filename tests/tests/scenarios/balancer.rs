//! Load balancing: connections to one address spread over the servers that are up, each to one
//!
//! ```text
//!    c 10.0.0.100 ── 10 ┐                   ┌ 1 ── s1 10.0.0.1
//!                       ├─ br-int, node 1 ──┼ 2 ── s2 10.0.0.2   service 10.0.0.80:80
//!   vm 10.0.0.101 ── 11 ┘                   └ 3 ── s3 10.0.0.3
//! ```
//!
//! A select group chooses for new connections; its buckets watch the servers' ports. Connections
//! stay with the server that was chosen for them. `vm` is a virtual machine. Controller:
//! `balancer.py`.

use std::collections::BTreeMap;

use super::*;
use tests::{Capture, Cloud, Plan};

/// Which server answers connections from each of these ports of the client. It asks again if none
/// does: what was on its way when a server went is lost.
fn answers(client: &Netns) -> BTreeMap<u32, String> {
    let ask = |port: u32| {
        let from = port.to_string();
        let words = ["curl", "-s", "--max-time", "5", "--local-port", &from];
        let words = [&words[..], &["http://10.0.0.80/"]].concat();
        let told = eventually("a server answers", 60, || {
            Some(client.run(&words).stdout).filter(|told| !told.is_empty())
        });
        (port, told)
    };
    (20_000..20_024).map(ask).collect()
}

/// Says its name to everybody who asks, whenever he does.
fn serve_patiently(server: &Netns, name: &str, folder: &Path) -> Background {
    let script = "
import http.server, sys
class Name(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 100
Server(('', 80), Name).serve_forever()";
    let log = folder.join(format!("{name}.log"));
    server.serve(&["python3", "-c", script, name], "-t", 80, &log)
}

/// Connections from these ports of the client, over which nothing is asked before the file `go` is
/// there; then the answers are printed, one a line, "lost" for a connection that has ended.
fn hold(client: &Netns, first_port: u32, folder: &Path) -> Background {
    let script = "
import os, socket, sys, time
first, go = int(sys.argv[1]), sys.argv[2]
def connect(port):
    return socket.create_connection(('10.0.0.80', 80), 60, ('10.0.0.100', port))
held = [connect(port) for port in range(first, first + 24)]
print('held', flush=True)
while not os.path.exists(go):
    time.sleep(0.05)
for session in held:
    try:
        session.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
        told = b''
        while data := session.recv(1000):
            told += data
        print(told.split()[-1].decode(), flush=True)
    except OSError:
        print('lost', flush=True)";
    let go = folder.join("go").display().to_string();
    let words = client.words(&["python3", "-c", script, &first_port.to_string(), &go]);
    let held = Background::start(&words, &folder.join(format!("held-{first_port}.log")));
    eventually("the connections are there", 60, || {
        held.output().contains("held").then_some(())
    });
    held
}

/// Who answers over connections that were held.
#[track_caller]
fn told(mut held: Background) -> Vec<String> {
    let ended = held.wait(120);
    assert!(ended.success(), "{}", held.output());
    held.output().lines().skip(1).map(str::to_string).collect()
}

#[test]
fn s15_load_balancing_by_a_select_group() {
    let mut plan = Plan::new(1);
    plan.bridge("br-int");
    let client = plan.guest("c", 10, &mac(100), "10.0.0.100/24");
    let servers = [1, 2, 3].map(|number| {
        let address = format!("10.0.0.{number}/24");
        plan.guest(&format!("s{number}"), number, &mac(number), &address)
    });
    let one = |port: u32, number: u32| {
        let address = format!("10.0.0.{number}");
        json!({ "port": port, "mac": mac(number), "address": address })
    };
    let wanted = json!({
        "service": { "address": "10.0.0.80", "mac": "02:00:00:00:00:80", "tcp": 80 },
        "servers": [one(1, 1), one(2, 2), one(3, 3)],
        "clients": [one(10, 100), machine(one(11, 101))],
    });
    plan.machine("vm", 11, "");
    let cloud = Cloud::start("balancer", [plan], &wanted);
    let folder = cloud.scratch();
    let mut vm = power_on(&cloud, 1, "10.0.0.101/24");
    let _pages: Vec<_> = servers
        .iter()
        .zip(["s1", "s2", "s3"])
        .map(|(server, name)| serve_patiently(server, name, folder))
        .collect();
    let at_client = Capture::start(&client, "eth0", folder);
    let first = answers(&client);
    for name in ["s1", "s2", "s3"] {
        assert!(first.values().any(|told| told == name), "{first:?}");
    }
    assert_eq!(
        answers(&client),
        first,
        "a connection's addresses and ports choose its server"
    );
    at_client.wait("http.response", &["ip.src"]);
    let others = at_client.count("ip && ip.addr != 10.0.0.80 && ip.addr != 10.0.0.100");
    assert_eq!(others, 0, "the client sees the service alone");
    assert_eq!(
        browse(&client, "10.0.0.1"),
        "",
        "servers are not reached by their own address"
    );

    let name = browse_by(&mut vm, "10.0.0.80", 20);
    assert!(["s1", "s2", "s3"].contains(&&*name), "a machine: {name}");
    assert_eq!(
        browse_by(&mut vm, "10.0.0.1", 3),
        "",
        "a machine and a server itself"
    );
    drop(vm);

    // A server whose link goes down gets nothing, and again its share when it comes back.
    let before = hold(&client, 21_000, folder);
    servers[1].ip("link set dev eth0 down");
    eventually("the link is down", 30, || {
        let ports = cloud.node(1).json(&["port", "list"]).to_string();
        ports.contains("\"link_up\":false").then_some(())
    });
    let without = answers(&client);
    assert!(
        without.values().all(|told| told == "s1" || told == "s3"),
        "{without:?}"
    );
    let mut others = first.iter().filter(|(_, told)| *told != "s2");
    assert!(
        others.all(|(port, told)| without[port] == *told),
        "those of the others stay with them: {first:?} {without:?}"
    );
    let meanwhile = hold(&client, 22_000, folder);
    servers[1].ip("link set dev eth0 up");
    eventually("the link is up", 30, || {
        (answers(&client) == first).then_some(())
    });
    // Whoever was connected stays where he was.
    std::fs::write(folder.join("go"), "").expect("room for a file");
    let before = told(before);
    for name in ["s1", "s2", "s3"] {
        assert!(before.iter().any(|told| told == name), "{before:?}");
    }
    assert!(!before.iter().any(|told| told == "lost"), "{before:?}");
    let meanwhile = told(meanwhile);
    let stayed = |told: &String| told == "s1" || told == "s3";
    assert!(meanwhile.iter().all(stayed), "{meanwhile:?}");
    let flow = "in_port=10,eth_src=02:00:00:00:00:64,eth_dst=02:00:00:00:00:80,\
                tcp,nw_src=10.0.0.100,nw_dst=10.0.0.80,tp_src=20000,tp_dst=80";
    cloud.document("15", include_str!("balancer.rs"), &[(1, "br-int")], flow);
    cloud.stop();
}
