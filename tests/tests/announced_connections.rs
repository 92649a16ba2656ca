//! Connections that another one announces, with real programs at the ends: FTP (vsftpd and curl)
//! and TFTP (dnsmasq and curl). Who is inside may ask outside on the port that is watched; all
//! else that begins must have been announced.
//!
//! ```text
//!   inside  (10.0.0.1, fd00::1) eth0 ── p1 ┐
//!                                          ├ vswitchd, bridge br0, ct(alg=...)
//!   outside (10.0.0.2, fd00::2) eth0 ── p2 ┘
//! ```

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tests::{Background, Daemon, Netns};

/// A folder of the daemon's that anybody may read, with a file of many packets in it.
fn offer(daemon: &Daemon) -> PathBuf {
    let folder = daemon.scratch().join("offered");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("file"), content()).expect("a file");
    for path in folder.ancestors().take(3) {
        let readable = std::fs::Permissions::from_mode(0o755);
        if path.starts_with(daemon.scratch()) {
            std::fs::set_permissions(path, readable).expect("our own folder");
        }
    }
    folder
}

/// What is fetched: 100 kB.
fn content() -> String {
    (0..10_000).map(|number| format!("{number:9}\n")).collect()
}

/// An FTP server for everybody.
fn ftp_server(host: &Netns, port: u16, daemon: &Daemon) -> Background {
    let folder = offer(daemon);
    let jail = daemon.scratch().join("jail");
    std::fs::create_dir_all(&jail).expect("a folder");
    let settings = daemon.scratch().join(format!("ftp-{port}.conf"));
    let text = format!(
        "listen_ipv6=YES\nlisten_port={port}\nbackground=NO\nanonymous_enable=YES\n\
         local_enable=NO\nno_anon_password=YES\nanon_root={}\nsecure_chroot_dir={}\n\
         connect_from_port_20=YES\nport_enable=YES\npasv_enable=YES\nseccomp_sandbox=NO\n\
         connect_timeout=3\n",
        folder.display(),
        jail.display()
    );
    std::fs::write(&settings, text).expect("a file");
    let log = daemon.scratch().join(format!("ftp-{port}.log"));
    let settings = settings.to_str().expect("a path in UTF-8");
    host.serve(&["vsftpd", settings], "-t", port, &log)
}

/// Whether curl gets the file whole from this URL.
fn fetches(host: &Netns, options: &[&str], url: &str, folder: &Path) -> bool {
    let file = tempfile::NamedTempFile::new_in(folder).expect("a file");
    let path = file.path().to_str().expect("a path in UTF-8");
    let always = [
        "curl",
        "-sS",
        "--connect-timeout",
        "4",
        "--max-time",
        "60",
        "-o",
        path,
    ];
    let output = host.run(&[&always, options, &[url]].concat());
    let is_whole = std::fs::read_to_string(file.path()).is_ok_and(|text| text == content());
    assert_eq!(output.status.success(), is_whole, "{}", output.stderr);
    is_whole
}

/// Ways to ask for a file: the server opens a port (EPSV, PASV), or the client (EPRT, PORT).
const WAYS: [&[&str]; 4] = [
    &[],
    &["--disable-epsv"],
    &["--ftp-port", "-"],
    &["--ftp-port", "-", "--disable-eprt"],
];

/// What begins inside at the watched port, and what that announces, may pass.
const WALL: [&str; 10] = [
    "priority=100,arp,actions=NORMAL",
    "priority=100,icmp6,actions=NORMAL",
    "priority=90,ip,actions=ct(table=1,zone=5)",
    "priority=90,ipv6,actions=ct(table=1,zone=5)",
    "table=1,priority=100,ct_state=+inv+trk,actions=drop",
    "table=1,priority=90,in_port=1,ct_state=+est+trk,actions=output:2",
    "table=1,priority=90,in_port=2,ct_state=+est+trk,actions=output:1",
    "table=1,priority=80,in_port=1,ip,ct_state=+new+rel,actions=ct(commit,zone=5),output:2",
    "table=1,priority=80,in_port=2,ip,ct_state=+new+rel,actions=ct(commit,zone=5),output:1",
    "table=1,priority=70,in_port=1,tcp,tp_dst=2121,ct_state=+new-rel,\
     actions=ct(commit,zone=5),output:2",
];

#[test]
fn ftp_data_passes_a_wall_that_hears_of_it() {
    let (daemon, hosts) = Daemon::start_between_dual_stack_hosts(&WALL);
    for flow in [
        "table=1,priority=80,in_port=1,ipv6,ct_state=+new+rel,actions=ct(commit,zone=5),output:2",
        "table=1,priority=80,in_port=2,ipv6,ct_state=+new+rel,actions=ct(commit,zone=5),output:1",
        "table=1,priority=70,in_port=1,tcp,tp_dst=21,ct_state=+new-rel,\
         actions=ct(commit,zone=5,alg=ftp),output:2",
        "table=1,priority=70,in_port=1,tcp6,tp_dst=21,ct_state=+new-rel,\
         actions=ct(commit,zone=5,alg=ftp),output:2",
    ] {
        daemon.ofctl("add-flow", "br0", &[flow]).expect_success();
    }
    let [inside, outside] = &hosts;
    let _servers = [21, 2121].map(|port| ftp_server(outside, port, &daemon));
    let folder = daemon.scratch();
    for way in WAYS {
        let url = "ftp://10.0.0.2/file";
        assert!(fetches(inside, way, url, folder), "{way:?}");
    }
    for way in [WAYS[0], WAYS[2]] {
        let url = "ftp://[fd00::2]/file";
        assert!(fetches(inside, way, url, folder), "{way:?} over IPv6");
    }
    // Nobody listens to what is said there: all wait in vain, side by side.
    std::thread::scope(|scope| {
        for way in WAYS {
            let url = "ftp://10.0.0.2:2121/file";
            scope.spawn(move || assert!(!fetches(inside, way, url, folder), "{way:?} unwatched"));
        }
    });
    daemon.stop();
}

#[test]
fn ftp_data_finds_a_client_that_is_hidden() {
    let hide = "nat(src=10.0.0.100)";
    let flows = [
        "priority=100,arp,actions=NORMAL",
        "priority=90,ip,actions=ct(table=1,zone=5,nat)",
        "table=1,priority=100,ct_state=+inv+trk,actions=drop",
        "table=1,priority=90,in_port=1,ct_state=+est+trk,actions=output:2",
        "table=1,priority=90,in_port=2,ct_state=+est+trk,actions=output:1",
        &format!(
            "table=1,priority=80,in_port=1,ip,ct_state=+new+rel,\
             actions=ct(commit,zone=5,{hide}),output:2"
        ),
        "table=1,priority=80,in_port=2,ip,ct_state=+new+rel,actions=ct(commit,zone=5,nat),output:1",
        &format!(
            "table=1,priority=70,in_port=1,tcp,tp_dst=21,ct_state=+new-rel,\
             actions=ct(commit,zone=5,alg=ftp,{hide}),output:2"
        ),
    ];
    let (daemon, hosts) = Daemon::start_between_dual_stack_hosts(&flows);
    let [inside, outside] = &hosts;
    let link = inside.ip("-br link show eth0");
    let mac = link.split_whitespace().nth(2).expect("an address");
    outside.ip(&format!("neigh add 10.0.0.100 lladdr {mac} dev eth0"));
    // It refuses to send data elsewhere than to its client: the address told must be the one seen.
    let _server = ftp_server(outside, 21, &daemon);
    for way in WAYS {
        let is_whole = fetches(inside, way, "ftp://10.0.0.2/file", daemon.scratch());
        assert!(
            is_whole,
            "{way:?}: {}",
            daemon.vsctl(&["ct", "dump"]).stdout
        );
    }
    daemon.stop();
}

#[test]
fn tftp_data_passes_a_wall_that_hears_of_it() {
    let (daemon, hosts) = Daemon::start_between_dual_stack_hosts(&WALL);
    let watched = "table=1,priority=70,in_port=1,udp,tp_dst=69,ct_state=+new-rel,actions=";
    let [inside, outside] = &hosts;
    let folder = offer(&daemon);
    let root = format!("--tftp-root={}", folder.display());
    let log = daemon.scratch().join("tftp.log");
    let server = [
        "dnsmasq",
        "--keep-in-foreground",
        "--port=0",
        "--enable-tftp",
        &root,
    ];
    let plain = ["--user=root", "--conf-file=/dev/null", "--pid-file="];
    let words = [&server[..], &plain].concat();
    let _server = outside.serve(&words, "-u", 69, &log);
    for (actions, passes) in [
        ("ct(commit,zone=5),output:2", false),
        ("ct(commit,zone=5,alg=tftp),output:2", true),
    ] {
        let flow = format!("{watched}{actions}");
        daemon.ofctl("add-flow", "br0", &[&flow]).expect_success();
        daemon.vsctl(&["ct", "flush"]).expect_success();
        let url = "tftp://10.0.0.2/file";
        let is_whole = fetches(inside, &["--max-time", "8"], url, daemon.scratch());
        assert_eq!(is_whole, passes, "{actions}");
    }
    daemon.stop();
}
