//! Security groups: what comes in is refused but for what rules allow, while connections last
//!
//! ```text
//!   a 10.0.0.1, fd00::1, group default ── 1 ┐
//!   b 10.0.0.2, fd00::2, group default ── 2 ┤ br-int, node 1
//!   x 10.0.0.3, fd00::3, group other ──── 3 ┤
//!   vm 10.0.0.4, group default ────────── 4 ┘
//! ```
//!
//! Group default lets its own members in. SSH to `a` is opened for everybody, then closed again:
//! the connections that only this rule allowed end, others go on. `vm` is a virtual machine.
//! Controller: `security.py`.

use super::*;
use tests::{Capture, Cloud, Plan};

/// A guest of the network that the scenario is about, with the groups that it is in.
pub(super) fn secure(mut guest: Value, zone: u32, groups: &[&str], rules: &[Value]) -> Value {
    guest["zone"] = zone.into();
    guest["groups"] = json!(groups);
    guest["rules"] = json!(rules);
    guest
}

fn wanted(ssh: bool) -> Value {
    let default = [4, 6].map(|family| json!({ "family": family, "group": "default" }));
    let open = [4, 6].map(|family| json!({ "family": family, "protocol": 6, "port": 22 }));
    let range = [json!({ "protocol": 6, "ports": [7997, 8010] })];
    let open = if ssh { &open[..] } else { &[] };
    let of_a = [&default[..], &range, open].concat();
    let guest = |number: u32, groups: &[&str], rules: &[Value]| {
        let mut guest = member(1, number, 1, number);
        guest["ipv6"] = json!([format!("fd00::{number}"), format!("fe80::ff:fe00:{number}")]);
        secure(guest, 100 + number, groups, rules)
    };
    let vm = secure(machine(member(1, 4, 1, 4)), 104, &["default"], &default);
    json!({ "guests": [
        guest(1, &["default"], &of_a), guest(2, &["default"], &default), guest(3, &["other"], &[]),
        vm,
    ]})
}

/// A server that gives back what it gets, on port 22 of IPv4 and IPv6.
#[track_caller]
pub(super) fn echo(guest: &Netns, folder: &Path) -> Background {
    let script = "
import socket, socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(100):
            self.request.sendall(data)
class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    allow_reuse_address = daemon_threads = True
Server(('::' if socket.has_dualstack_ipv6() else '', 22), Echo).serve_forever()";
    let log = folder.join(format!("{}-echo.log", guest.name()));
    guest.serve(&["python3", "-c", script], "-t", 22, &log)
}

/// A connection to port 22 over which something goes both ways all the time; ends when nothing
/// comes back for two seconds.
#[track_caller]
pub(super) fn session(guest: &Netns, address: &str, folder: &Path) -> Background {
    let script = "
import socket, sys, time
session = socket.create_connection((sys.argv[1], 22), 5)
session.settimeout(2)
while True:
    session.sendall(b'x')
    session.recv(1)
    print('.', end='', flush=True)
    time.sleep(0.05)";
    let log = folder.join(format!(
        "{}-{}.log",
        guest.name(),
        address.replace(':', "-")
    ));
    Background::start(&guest.words(&["python3", "-c", script, address]), &log)
}

/// On which ports around a range `from` reaches `to`, who listens on all of them.
#[track_caller]
fn open_ports(from: &Netns, to: &Netns, folder: &Path) -> String {
    const PORTS: &str = "7996 7997 8000 8010 8011";
    let listen = "
import socket, sys, time
servers = [socket.create_server(('', int(port))) for port in sys.argv[1].split()]
time.sleep(600)";
    let log = folder.join("ports.log");
    let _server = to.serve(&["python3", "-c", listen, PORTS], "-t", 8011, &log);
    let connect = "
import socket, sys
def is_open(port):
    try:
        socket.create_connection((sys.argv[1], int(port)), 3).close()
        return True
    except TimeoutError:
        return False
print(*filter(is_open, sys.argv[2].split()))";
    let words = ["python3", "-c", connect, "10.0.0.1", PORTS];
    from.run(&words).expect_success().trim().to_string()
}

/// Waits until a session has gone on for some more exchanges.
#[track_caller]
pub(super) fn goes_on(what: &str, session: &mut Background) {
    let before = session.output().len();
    eventually(what, 30, || {
        assert!(session.is_running(), "{what}: {}", session.output());
        (session.output().len() > before + 5).then_some(())
    });
}

#[test]
fn s12_security_groups() {
    let mut plan = Plan::new(1);
    plan.bridge("br-int");
    let [a, b, x] = [("a", 1), ("b", 2), ("x", 3)].map(|(name, number)| {
        let guest = plan.guest(name, number, &mac(number), &format!("10.0.0.{number}/24"));
        let enable = "net.ipv6.conf.eth0.disable_ipv6=0";
        guest.run(&["sysctl", "-qw", enable]).expect_success();
        guest.ip(&format!("addr add fd00::{number}/64 dev eth0 nodad"));
        guest
    });
    plan.machine("vm", 4, "");
    let mut cloud = Cloud::start("security", [plan], &wanted(false));
    let folder = cloud.scratch().to_path_buf();
    let mut vm = power_on(&cloud, 1, "10.0.0.4/24");
    let [at_a, at_x] = [&a, &x].map(|guest| Capture::start(guest, "eth0", &folder));
    assert!(
        a.pings("10.0.0.2") && b.pings("10.0.0.1"),
        "within group default"
    );
    assert!(a.pings("fd00::2"), "by IPv6");
    assert!(x.is_cut_off_from("10.0.0.1"), "another group");
    assert!(x.is_cut_off_from("fd00::1"), "another group by IPv6");
    assert!(a.is_cut_off_from("10.0.0.3"), "nothing may come in");

    let _server = echo(&a, &folder);
    let mut of_b = session(&b, "10.0.0.1", &folder);
    goes_on("of the group's own", &mut of_b);
    assert!(
        !session(&x, "10.0.0.1", &folder).wait(30).success(),
        "SSH is closed"
    );
    assert_eq!(open_ports(&x, &a, &folder), "7997 8000 8010", "the range");
    let ports = at_a.wait("tcp && ip.src == 10.0.0.3", &["tcp.dstport"]);
    let allowed = |row: &Vec<String>| matches!(&*row[0], "7997" | "8000" | "8010");
    assert!(ports.iter().all(allowed), "{ports:?}");
    let others = "ip.src == 10.0.0.3 && !tcp || ipv6.src == fd00::3 && icmpv6.type == 128";
    assert_eq!(at_a.count(others), 0, "nothing else came to a");
    assert!(vm.pings("10.0.0.1", 30), "a machine of the group");
    assert!(b.pings("10.0.0.4"), "to a machine of the group");
    assert!(
        !vm.pings("10.0.0.3", 2),
        "nothing may come in, from a machine either"
    );
    assert!(x.is_cut_off_from("10.0.0.4"), "another group and a machine");
    drop(vm);
    at_x.wait("arp.src.proto_ipv4 == 10.0.0.3", &["arp"]);
    assert_eq!(
        at_x.count("icmp.type == 8 && ip.dst == 10.0.0.3"),
        0,
        "nothing came in"
    );
    cloud.want(&wanted(true));
    let mut of_x = session(&x, "10.0.0.1", &folder);
    goes_on("SSH is open", &mut of_x);
    let mut of_x6 = session(&x, "fd00::1", &folder);
    goes_on("SSH is open by IPv6", &mut of_x6);
    assert!(x.is_cut_off_from("10.0.0.1"), "SSH and nothing else");
    let flow = "in_port=2,eth_src=02:00:00:00:00:02,eth_dst=02:00:00:00:00:01,\
                tcp,nw_src=10.0.0.2,nw_dst=10.0.0.1,tp_dst=22";
    cloud.document("12", include_str!("security.rs"), &[(1, "br-int")], flow);

    cloud.want(&wanted(false));
    assert!(!of_x.wait(60).success(), "revoked: the connection ends");
    assert!(!of_x6.wait(60).success(), "revoked by IPv6, too");
    goes_on("not what another rule allows", &mut of_b);
    assert!(
        !session(&x, "10.0.0.1", &folder).wait(30).success(),
        "SSH is closed again"
    );

    // x has a's address, and answers who asks for it: nobody hears.
    let at_b = Capture::start(&b, "eth0", &folder);
    x.ip("addr add fd00::1/64 dev eth0 nodad");
    x.ip("addr add 10.0.0.1/24 dev eth0");
    assert!(
        x.is_cut_off_from("fd00::2"),
        "as x may not come in, nor from a foreign address"
    );
    b.ip("-6 neigh flush all");
    b.ip("neigh flush all");
    assert!(b.pings("fd00::1") && b.pings("10.0.0.1"), "the true one");
    let mend = format!("link set eth0 address {}", mac(1));
    x.ip(&mend);
    assert!(x.is_cut_off_from("10.0.0.2"), "nor by a foreign MAC");
    x.run(&["python3", "-c", ADVERTISE]).expect_success();
    at_x.wait("icmpv6.type == 134", &["ipv6.src"]);
    at_b.wait("icmpv6.type == 136", &["ipv6.src"]);
    let own = "icmpv6.type == 136 || ipv6.src == fd00::1 || arp.src.proto_ipv4 == 10.0.0.1";
    let forged = format!("eth.src == 02:00:00:00:00:03 && ({own})");
    assert_eq!(at_b.count(&forged), 0, "nothing of a's comes from x");
    assert_eq!(at_b.count("icmpv6.type == 134"), 0, "no guest is a router");
    at_b.wait(
        "arp.src.proto_ipv4 == 10.0.0.1 && arp.opcode == 2",
        &["arp"],
    );
    let by_mac = "arp.src.hw_mac == 02:00:00:00:00:01 && arp.src.proto_ipv4 != 10.0.0.1";
    assert_eq!(at_b.count(by_mac), 0, "nor with a's MAC");
    drop(of_b);
    cloud.stop();
}

/// A rule allows a port from the thousands of members of a group, and from nobody else.
#[test]
fn s12_a_remote_group_of_thousands() {
    let mut plan = Plan::new(1);
    plan.bridge("br-int");
    let [a, b, x] = [
        ("a", 1, "10.0.0.1"),
        ("b", 2, "10.0.15.250"),
        ("x", 3, "10.0.15.251"),
    ]
    .map(|(name, port, address)| plan.guest(name, port, &mac(port), &format!("{address}/20")));
    let guest = |number: u32, address: &str, rules: &[Value]| {
        let mut guest = member(1, number, 1, number);
        guest["address"] = address.into();
        secure(guest, 100 + number, &[], rules)
    };
    let rule = json!({ "group": "staff", "protocol": 6, "ports": [20, 23] });
    let guests = [
        guest(1, "10.0.0.1", &[rule]),
        guest(2, "10.0.15.250", &[]),
        guest(3, "10.0.15.251", &[]),
    ];
    let mut staff: Vec<_> = (0..MEMBERS)
        .map(|number| format!("10.0.{}.{}", 1 + number / 250, 1 + number % 250))
        .collect();
    let wanted = |staff: &[String]| json!({ "guests": guests, "elsewhere": { "staff": staff } });
    let mut cloud = Cloud::start("security", [plan], &wanted(&staff));
    let folder = cloud.scratch().to_path_buf();
    let at_a = Capture::start(&a, "eth0", &folder);
    let _server = echo(&a, &folder);
    assert!(
        !session(&b, "10.0.0.1", &folder).wait(30).success(),
        "not yet"
    );
    staff.push("10.0.15.250".to_string());
    cloud.want(&wanted(&staff));
    let mut of_b = session(&b, "10.0.0.1", &folder);
    goes_on("a member", &mut of_b);
    assert!(
        b.is_cut_off_from("10.0.0.1"),
        "the rule's ports and nothing else"
    );
    assert!(
        !session(&x, "10.0.0.1", &folder).wait(30).success(),
        "no member"
    );
    at_a.wait("tcp.dstport == 22 && ip.src == 10.0.15.250", &["ip.src"]);
    assert_eq!(at_a.count("ip.src == 10.0.15.251"), 0, "nothing of x");
    staff.pop();
    cloud.want(&wanted(&staff));
    assert!(
        !of_b.wait(60).success(),
        "a member no more: the connection ends"
    );
    cloud.stop();
}

const MEMBERS: u32 = 2_500;

/// Says to all on the link by RFC 4861 §4.2 that it is a router, for half an hour.
const ADVERTISE: &str = "
import socket
router = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
router.sendto(bytes((134, 0, 0, 0, 64, 0, 7, 8)) + bytes(8), ('ff02::1%eth0', 0))";
