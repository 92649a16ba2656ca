//! OpenFlow over TLS: stock `ovs-ofctl`, Python's `ssl` and os-ken judge both sides of it, with
//! certificates of an authority that the test makes, and of Open vSwitch's `ovs-pki`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tests::netns::silent_hosts;
use tests::{Background, Controller, Daemon, Netns, Output, eventually};

/// An authority with its certificate in a folder.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new(folder: &Path) -> Authority {
        fs::create_dir_all(folder).expect("the folder is writable");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        let name = folder.display().to_string();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        let authority = Authority {
            issuer: Issuer::new(params, key),
            folder: folder.to_owned(),
        };
        fs::write(authority.path("ca.pem"), certificate.pem()).expect("the folder is writable");
        authority
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Signs a certificate: its key is in `NAME-key.pem`, itself in `NAME.pem`.
    fn sign(&self, name: &str, is_expired: bool) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        if is_expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 2);
        }
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let write = |file: String, text: String| fs::write(self.path(&file), text);
        write(format!("{name}.pem"), certificate.pem()).expect("the folder is writable");
        write(format!("{name}-key.pem"), key.serialize_pem()).expect("the folder is writable");
    }

    /// The switch's `[tls]`, and what is bridged.
    fn config(&self, bridge: &str) -> String {
        let path = |file| self.path(file).display().to_string();
        format!(
            "[tls]\nprivate_key = \"{}\"\ncertificate = \"{}\"\nca_cert = \"{}\"\n\
             [[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n{bridge}\n",
            path("switch-key.pem"),
            path("switch.pem"),
            path("ca.pem"),
        )
    }
}

/// Stock `ovs-ofctl show` over TLS.
fn ofctl(daemon: &Daemon, ours: &Authority, name: &str, theirs: &Authority, at: &str) -> Output {
    let key = ours.path(&format!("{name}-key.pem")).display().to_string();
    let certificate = ours.path(&format!("{name}.pem")).display().to_string();
    let authority = theirs.path("ca.pem").display().to_string();
    daemon.netns().run(&[
        "ovs-ofctl",
        "--timeout=20",
        "-O",
        "OpenFlow13",
        &format!("--private-key={key}"),
        &format!("--certificate={certificate}"),
        &format!("--ca-cert={authority}"),
        "show",
        at,
    ])
}

/// Python's `ssl` as a controller that dials: it prints the version of TLS and the type of the
/// first message, or what went wrong.
fn python(daemon: &Daemon, authority: &Authority, name: Option<&str>, version: &str) -> String {
    let script = "import socket, ssl, sys\n\
        folder, name, version = sys.argv[1:]\n\
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n\
        context.check_hostname = False\n\
        context.load_verify_locations(folder + '/ca.pem')\n\
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]\n\
        path = folder + '/' + name\n\
        if name: context.load_cert_chain(path + '.pem', path + '-key.pem')\n\
        try:\n\
        \x20   raw = socket.create_connection(('127.0.0.1', 6655), timeout=20)\n\
        \x20   stream = context.wrap_socket(raw)\n\
        \x20   print(stream.version(), stream.recv(8)[1:2].hex())\n\
        except (ssl.SSLError, OSError) as error:\n\
        \x20   print('refused', error)\n";
    let folder = authority.folder.display().to_string();
    let words = [
        "python3",
        "-c",
        script,
        &folder,
        name.unwrap_or(""),
        version,
    ];
    daemon
        .netns()
        .run(&words)
        .expect_success()
        .trim()
        .to_owned()
}

#[test]
fn strangers_with_certificates_are_served_and_others_refused() {
    let folder = tests::folder();
    let ours = Authority::new(&folder.path().join("ours"));
    let other = Authority::new(&folder.path().join("other"));
    ours.sign("switch", false);
    ours.sign("tool", false);
    ours.sign("late", true);
    other.sign("tool", false);
    let listeners = "listeners = [\"pssl:6655:127.0.0.1\", \"pssl:6656:[::1]\"]";
    let daemon = Daemon::start(&ours.config(listeners));
    let at = "ssl:127.0.0.1:6655";
    for address in [at, "ssl:[::1]:6656"] {
        let shown = ofctl(&daemon, &ours, "tool", &ours, address).expect_success();
        assert!(shown.contains("n_tables:254"), "{shown}");
    }
    for version in ["TLSv1_2", "TLSv1_3"] {
        let told = python(&daemon, &ours, Some("tool"), version);
        assert_eq!(told, format!("{} 00", version.replace('_', ".")), "a hello");
        let told = python(&daemon, &ours, None, version);
        assert!(told.contains("refused"), "no certificate: {told}");
    }
    let stranger = ofctl(&daemon, &other, "tool", &ours, at);
    assert!(
        !stranger.status.success(),
        "another authority's: {stranger:?}"
    );
    let late = ofctl(&daemon, &ours, "late", &ours, at);
    assert!(!late.status.success(), "expired: {late:?}");
    let mistrustful = ofctl(&daemon, &ours, "tool", &other, at);
    assert!(
        !mistrustful.status.success(),
        "the tool trusts others alone"
    );

    // Plain text, garbage and silence harm nobody.
    let plain = daemon.netns().run(&[
        "ovs-ofctl",
        "--timeout=20",
        "-O",
        "OpenFlow13",
        "show",
        "tcp:127.0.0.1:6655",
    ]);
    assert!(!plain.status.success());
    let silent = daemon.netns().enter(|| {
        let mut garbage = TcpStream::connect("127.0.0.1:6655").expect("it listens");
        garbage.write_all(&[0xff; 5000]).expect("it reads");
        let _ = garbage.read_to_end(&mut Vec::new());
        (0..8)
            .map(|_| TcpStream::connect("127.0.0.1:6655").expect("it listens"))
            .collect::<Vec<_>>()
    });
    ofctl(&daemon, &ours, "tool", &ours, at).expect_success();
    drop(silent);

    // The files change: the next connection is by the new ones.
    for file in ["switch.pem", "switch-key.pem", "ca.pem"] {
        if file == "switch.pem" {
            other.sign("switch", false);
        }
        fs::rename(ours.path(file), ours.path(&format!("old-{file}"))).expect("it is there");
        if file == "ca.pem" {
            let refused = ofctl(&daemon, &other, "tool", &other, at);
            assert!(!refused.status.success(), "half of the files");
        }
        fs::copy(other.path(file), ours.path(file)).expect("it is there");
    }
    ofctl(&daemon, &other, "tool", &other, at).expect_success();
    let outdated = ofctl(&daemon, &ours, "tool", &other, at);
    assert!(!outdated.status.success(), "of the old authority");
    for told in [
        "ca.pem\": No such file",
        "peer sent no certificates",
        "UnknownIssuer",
        "expired",
    ] {
        eventually(told, 30, || daemon.log().contains(told).then_some(()));
    }
    daemon.stop();
}

/// Python's `ssl` as a controller that is dialled: it prints what it was told.
const SERVER: &str = "import socket, ssl, sys\n\
    folder, name = sys.argv[1:]\n\
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
    context.load_verify_locations(folder + '/ca.pem')\n\
    context.verify_mode = ssl.CERT_REQUIRED\n\
    context.load_cert_chain(folder + '/' + name + '.pem', folder + '/' + name + '-key.pem')\n\
    listener = socket.create_server(('::1', 6653), family=socket.AF_INET6)\n\
    print('listening', flush=True)\n\
    while True:\n\
    \x20   raw, _ = listener.accept()\n\
    \x20   raw.settimeout(20)\n\
    \x20   try:\n\
    \x20       stream = context.wrap_socket(raw, server_side=True)\n\
    \x20       shown = stream.getpeercert()['serialNumber'] != ''\n\
    \x20       print('told', stream.recv(8)[1:2].hex(), shown, flush=True)\n\
    \x20   except (ssl.SSLError, OSError) as error:\n\
    \x20       print('refused', error, flush=True)\n";

#[test]
fn a_controller_is_dialled_and_has_to_show_who_it_is() {
    let folder = tests::folder();
    let ours = Authority::new(&folder.path().join("ours"));
    let other = Authority::new(&folder.path().join("other"));
    ours.sign("switch", false);
    ours.sign("controller", false);
    ours.sign("late", true);
    other.sign("controller", false);
    let target = "controllers = [{ target = \"ssl:[::1]:6653\", max_backoff_s = 1 }]";
    let daemon = Daemon::start(&ours.config(target));
    let controller = |authority: &Authority, name: &str| {
        let folder = authority.folder.display().to_string();
        let words = ["python3", "-c", SERVER, &folder, name];
        let log = daemon.scratch().join("controller.log");
        Background::start(&daemon.netns().words(&words), &log)
    };
    let error = || {
        let list = daemon.json(&["controller", "list"]);
        list["controllers"][0]["error"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    };
    for (authority, name, why) in [
        (&other, "controller", "UnknownIssuer"),
        (&ours, "late", "expired"),
    ] {
        let impostor = controller(authority, name);
        eventually("the impostor is found out", 60, || {
            error().contains(why).then_some(())
        });
        assert!(!impostor.output().contains("told"), "{}", impostor.output());
    }
    let controller = controller(&ours, "controller");
    eventually("the controller is told of a hello", 60, || {
        controller.output().contains("told 00 True").then_some(())
    });
    daemon.stop();
}

/// A real controller: os-ken's learning switch, which first trusts another authority than ours.
#[test]
fn os_ken_decides_over_tls_for_a_switch_that_it_trusts() {
    let folder = tests::folder();
    let ours = Authority::new(&folder.path().join("ours"));
    let other = Authority::new(&folder.path().join("other"));
    ours.sign("switch", false);
    ours.sign("controller", false);
    let port = |i| format!("[[bridge.port]]\nname = \"p{i}\"\nnumber = {i}\ntype = \"system\"\n");
    let target = "controllers = [{ target = \"ssl:127.0.0.1:6653\", max_backoff_s = 1 }]\n";
    let (switch, hosts) = silent_hosts::<2>();
    let bridge = format!("{target}{}{}", port(1), port(2));
    let daemon = Daemon::start_in(switch, &ours.config(&bridge));
    let os_ken = |trusted: &Authority| {
        let [key, certificate] = ["controller-key.pem", "controller.pem"].map(|it| ours.path(it));
        let files = [&*key, &*certificate, &*trusted.path("ca.pem")];
        let application = "os_ken.app.simple_switch_13";
        Controller::start_secure(daemon.netns(), application, 6653, files, daemon.scratch())
    };
    let mistrustful = os_ken(&other);
    eventually("the switch is told that it is not trusted", 60, || {
        let log = daemon.log();
        let mut lines = log.lines();
        let told = |line: &str| line.contains("controller not reached") && line.contains("alert");
        lines.any(told).then_some(())
    });
    assert!(hosts[0].is_cut_off_from("10.0.0.2"));
    drop(mistrustful);
    let controller = os_ken(&ours);
    eventually("the controller's flows connect the hosts", 60, || {
        hosts[0].pings("10.0.0.2").then_some(())
    });
    assert!(
        controller.log().contains("packet in"),
        "{}",
        controller.log()
    );
    let flows = daemon.ofctl("dump-flows", "br0", &[]).expect_success();
    assert!(flows.contains("actions=CONTROLLER:65535"), "{flows}");
    daemon.stop();
}

#[test]
fn a_peer_that_fails_again_and_again_does_not_fill_the_log() {
    const TIMES: usize = 300;
    let folder = tests::folder();
    let ours = Authority::new(folder.path());
    ours.sign("switch", false);
    ours.sign("tool", false);
    let start = Instant::now();
    let daemon = Daemon::start(&ours.config("listeners = [\"pssl:6655:127.0.0.1\"]"));
    daemon.netns().enter(|| {
        for _ in 0..TIMES {
            let mut stream = TcpStream::connect("127.0.0.1:6655").expect("it listens");
            stream.write_all(&[0xff; 64]).expect("it reads");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let at = "ssl:127.0.0.1:6655";
    ofctl(&daemon, &ours, "tool", &ours, at).expect_success();
    let lines = daemon.log().matches("connection not secured").count();
    let minutes = start.elapsed().as_secs() as usize / 60 + 1;
    assert!((1..=30 * minutes).contains(&lines), "{lines} lines");
    daemon.stop();
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tests::folder();
    let ours = Authority::new(folder.path());
    ours.sign("switch", false);
    ours.sign("other", false);
    let config = folder.path().join("vswitch.toml");
    fs::write(&config, ours.config("")).expect("the folder is writable");
    let check = || {
        let vswitchd = tests::binary("vswitchd").display().to_string();
        tests::run(&[
            &vswitchd,
            "--check",
            "--config",
            &config.display().to_string(),
        ])
    };
    check().expect_success();
    let refused = |file: &str, with: &str, why: &str| {
        let path = ours.path(file);
        let before = fs::read(&path).expect("it is there");
        fs::write(&path, with).expect("the folder is writable");
        let told = check();
        assert!(!told.status.success());
        assert!(
            told.stderr.contains(why) && told.stderr.contains(file),
            "{}",
            told.stderr
        );
        fs::write(&path, before).expect("the folder is writable");
    };
    refused("switch.pem", "", "tls.certificate");
    refused("ca.pem", "", "there is no certificate in it");
    refused("switch-key.pem", "x", "tls.private_key");
    let key = fs::read_to_string(ours.path("other-key.pem")).expect("it is there");
    refused("switch-key.pem", &key, "tls.private_key");
    fs::remove_file(ours.path("ca.pem")).expect("it is there");
    let told = check();
    assert!(
        told.stderr.contains("ca.pem\": No such file"),
        "{}",
        told.stderr
    );
}

#[test]
fn certificates_of_ovs_pki_do() {
    let folder = tests::folder();
    let folder = folder.path();
    let dir = format!("--dir={}/pki", folder.display());
    let log = format!("--log={}/log", folder.display());
    let pki = |words: &[&str]| {
        let script = format!("cd {} && exec ovs-pki {dir} {log} \"$@\"", folder.display());
        tests::run(&[&["sh", "-c", &script, "sh"], words].concat()).expect_success()
    };
    pki(&["--batch", "init"]);
    pki(&["--batch", "req+sign", "sc", "switch"]);
    pki(&["--batch", "req+sign", "ctl", "controller"]);
    let path = |file: &str| folder.join(file).display().to_string();
    let bridge = format!(
        "[tls]\nprivate_key = \"{}\"\ncertificate = \"{}\"\nca_cert = \"{}\"\n[[bridge]]\n\
         name = \"br0\"\nlisteners = [\"pssl:6655:127.0.0.1\"]\n",
        path("sc-privkey.pem"),
        path("sc-cert.pem"),
        path("pki/controllerca/cacert.pem"),
    );
    let daemon = Daemon::start_in(Netns::new("sw"), &bridge);
    let shown = daemon.netns().run(&[
        "ovs-ofctl",
        "--timeout=20",
        "-O",
        "OpenFlow13",
        &format!("--private-key={}", path("ctl-privkey.pem")),
        &format!("--certificate={}", path("ctl-cert.pem")),
        &format!("--ca-cert={}", path("pki/switchca/cacert.pem")),
        "show",
        "ssl:127.0.0.1:6655",
    ]);
    assert!(shown.expect_success().contains("n_tables:254"));
    daemon.stop();
}
