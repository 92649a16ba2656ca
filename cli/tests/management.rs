//! `vsctl` against a daemon that is not one: what it sends on the management socket, what it makes
//! of the answers, and how it fails.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

/// A socket that answers with what `answer` says and tells what it was asked.
struct Fake {
    folder: TempDir,
    asked: Receiver<Value>,
}

impl Fake {
    fn start(answer: impl Fn(&str, &Value) -> Value + Send + 'static) -> Fake {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = UnixListener::bind(folder.path().join("vswitchd.sock")).expect("a socket");
        let (told, asked) = channel();
        thread::spawn(move || {
            for stream in socket.incoming().map_while(Result::ok) {
                let mut writer = stream.try_clone().expect("a second handle");
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let request: Value = serde_json::from_str(&line).expect("a request in JSON");
                    let method = request["method"].as_str().expect("a method").to_owned();
                    let mut reply = answer(&method, &request["params"][0]);
                    reply["id"] = request["id"].clone();
                    let sent = writeln!(writer, "{reply}");
                    if told.send(request).is_err() || sent.is_err() {
                        return;
                    }
                }
            }
        });
        Fake { folder, asked }
    }

    fn run(&self, words: &[&str]) -> Done {
        run(self.folder.path(), words)
    }

    /// The next request: method and parameters.
    fn asked(&self) -> (String, Value) {
        let request = self.asked.recv().expect("a request");
        (
            request["method"].as_str().expect("a method").to_owned(),
            request["params"].clone(),
        )
    }
}

struct Done {
    code: u8,
    out: String,
    errors: String,
}

fn run(run_dir: &Path, words: &[&str]) -> Done {
    let run_dir = run_dir.to_str().expect("text");
    let prefix = ["vsctl", "--run-dir", run_dir];
    let words = prefix.iter().chain(words);
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = cli::run(words.map(Into::into), false, &mut out, &mut errors);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Done {
        code,
        out: text(out),
        errors: text(errors),
    }
}

fn result(value: Value) -> Value {
    json!({ "result": value, "error": null })
}

fn error(kind: &str, message: &str, known: &[&str]) -> Value {
    json!({ "result": null, "error": {"kind": kind, "message": message, "known": known} })
}

fn port(name: &str, number: Value, error: Value) -> Value {
    json!({
        "bridge": "br0", "name": name, "number": number, "type": "dpdkvhostuserclient",
        "options": {"n_rxq": "1"}, "tag": 10, "trunks": [], "mtu": 1500,
        "mac": "52:54:00:00:00:01", "admin_up": true, "link_up": true, "speed_mbps": 10000,
        "status": {}, "error": error,
    })
}

fn controller(connected: bool, error: Value) -> Value {
    json!({
        "bridge": "br0", "target": "tcp:127.0.0.1:6653", "connected": connected,
        "role": "equal", "since_s": 75, "error": error,
    })
}

#[test]
fn show_tells_the_switch_on_a_page() {
    let show = json!({
        "version": "0.1.0", "pid": 42, "uptime_s": 3725, "run_dir": "/run/vswitch",
        "config_file": null, "hugepages": true, "memory_mib": 1024, "worker_cpus": [1, 2],
        "bridges": [{
            "name": "br0", "datapath_id": "000000000000002a", "fail_mode": "secure",
            "listeners": ["ptcp:6654:127.0.0.1"], "controllers": [controller(true, Value::Null)],
            "ports": [
                port("vm1", json!(1), Value::Null),
                port("br0", json!(4294967294u32), Value::Null),
                port("vm9", Value::Null, json!("no such device")),
            ],
            "flows": 3, "groups": 0, "meters": 1, "macs": 2,
        }],
    });
    let answer = show.clone();
    let fake = Fake::start(move |_, _| result(answer.clone()));
    let done = fake.run(&["show"]);
    assert_eq!((done.code, done.errors.as_str()), (0, ""));
    let wanted = "\
vswitchd 0.1.0, pid 42, up 1 h 2 min
    configuration  built-in default
    run folder     /run/vswitch
    workers        on CPU 1, 2
    packet memory  1024 MiB in hugepages

bridge br0
    datapath id  000000000000002a
    fail mode    secure
    tables       flows 3, groups 0, meters 1, addresses 2
    controller   tcp:127.0.0.1:6653: connected for 1 min 15 s, role equal
    listener     ptcp:6654:127.0.0.1
    NUMBER  NAME  TYPE                 LINK    VLAN        MTU  ADDRESS
         1  vm1   dpdkvhostuserclient  up 10G  access 10  1500  52:54:00:00:00:01
     LOCAL  br0   dpdkvhostuserclient  up 10G  access 10  1500  52:54:00:00:00:01
         -  vm9   dpdkvhostuserclient  error   access 10  1500  52:54:00:00:00:01
    port vm9: no such device
";
    assert_eq!(done.out, wanted);
    assert_eq!(fake.asked(), ("show".into(), json!([])));

    let done = fake.run(&["--json", "show", "br0"]);
    assert_eq!(
        serde_json::from_str::<Value>(&done.out).expect("one document"),
        show
    );
    assert_eq!(fake.asked(), ("show".into(), json!([{"bridge": "br0"}])));
}

/// A command line, the method it calls and the parameters.
type Case<'a> = (&'a [&'a str], &'a str, Value);

/// Runs each command line against a daemon that agrees to everything.
#[track_caller]
fn call(cases: &[Case<'_>]) {
    let fake = Fake::start(|_, _| result(json!({"done": true})));
    for (words, method, params) in cases {
        let done = fake.run(words);
        assert_eq!(
            (done.code, done.out.as_str(), done.errors.as_str()),
            (0, "", ""),
            "{words:?}"
        );
        assert_eq!(
            fake.asked(),
            ((*method).into(), json!([params])),
            "{words:?}"
        );
        let done = fake.run(&[&["--json"], *words].concat());
        let document: Value = serde_json::from_str(&done.out).expect("one document");
        assert_eq!(document, json!({"done": true}), "{words:?}");
        fake.asked();
    }
}

#[test]
fn changes_of_bridges_say_what_was_typed_and_nothing_else() {
    let add = [
        "bridge",
        "add",
        "br1",
        "--fail-mode",
        "secure",
        "--controller",
        "tcp:10.0.0.1:1",
    ];
    let set = [
        "bridge",
        "set",
        "br1",
        "--datapath-id",
        "2a",
        "--listener",
        "ptcp:6654",
    ];
    call(&[
        (
            &add,
            "bridge/add",
            json!({"name": "br1", "fail_mode": "secure", "controllers": ["tcp:10.0.0.1:1"]}),
        ),
        (
            &set,
            "bridge/set",
            json!({"name": "br1", "datapath_id": "2a", "listeners": ["ptcp:6654"]}),
        ),
        (
            &["bridge", "del", "br1"],
            "bridge/del",
            json!({"name": "br1"}),
        ),
        (
            &["controller", "set", "br0", "tcp:1.2.3.4:1", "unix:/x"],
            "controller/set",
            json!({"bridge": "br0", "targets": ["tcp:1.2.3.4:1", "unix:/x"]}),
        ),
        (
            &["controller", "del", "br0"],
            "controller/del",
            json!({"bridge": "br0"}),
        ),
        (
            &["controller", "del", "br0", "unix:/x"],
            "controller/del",
            json!({"bridge": "br0", "target": "unix:/x"}),
        ),
    ]);
}

#[test]
fn changes_of_ports_say_what_was_typed_and_nothing_else() {
    let vhost = [
        "port",
        "add",
        "br0",
        "vm3",
        "--type",
        "dpdkvhostuserclient",
        "--number",
        "7",
    ];
    let options = ["--option", "vhost-server-path=/x=y", "--option", "n_rxq=2"];
    let rest = ["--tag", "10", "--mtu", "9000"];
    call(&[
        (
            &[&vhost[..], &options, &rest].concat(),
            "port/add",
            json!({
                "bridge": "br0", "name": "vm3", "type": "dpdkvhostuserclient", "number": 7,
                "options": {"vhost-server-path": "/x=y", "n_rxq": "2"}, "tag": 10, "mtu": 9000,
            }),
        ),
        (
            &["port", "add", "br0", "veth0"],
            "port/add",
            json!({"bridge": "br0", "name": "veth0", "type": "system"}),
        ),
        (
            &[
                "port", "set", "br0", "vm3", "--tag", "none", "--trunks", "all", "--down",
            ],
            "port/set",
            json!({"bridge": "br0", "name": "vm3", "tag": null, "trunks": [], "admin_up": false}),
        ),
        (
            &["port", "set", "br0", "vm3", "--trunks", "1,2", "--up"],
            "port/set",
            json!({"bridge": "br0", "name": "vm3", "trunks": [1, 2], "admin_up": true}),
        ),
        (
            &["port", "del", "br0", "vm3"],
            "port/del",
            json!({"bridge": "br0", "name": "vm3"}),
        ),
    ]);
}

#[test]
fn what_would_change_nothing_is_wrong_usage() {
    let fake = Fake::start(|_, _| result(json!({})));
    let wrong: &[&[&str]] = &[
        &["bridge", "set", "br0"],
        &["port", "set", "br0", "vm1"],
        &["port", "set", "br0", "vm1", "--up", "--down"],
        &["port", "add", "br0", "vm1", "--tag", "4096"],
        &["port", "add", "br0", "vm1", "--option", "novalue"],
        &["bridge", "add", "br0", "--fail-mode", "open"],
        &["--timeout", "never", "show"],
        &["nonsense"],
        &[],
    ];
    for words in wrong {
        let done = fake.run(words);
        assert_eq!(done.code, 2, "{words:?}");
        assert!(!done.errors.is_empty(), "{words:?}");
    }
    assert!(fake.asked.try_recv().is_err(), "nothing was sent");
}

#[test]
fn a_refusal_is_told_with_what_there_is() {
    let fake = Fake::start(|_, _| error("no-such-bridge", "no bridge \"br9\"", &["br0", "br1"]));
    let done = fake.run(&["port", "list", "br9"]);
    assert_eq!(done.code, 1);
    assert_eq!(done.errors, "vsctl: no bridge \"br9\"; there is br0, br1\n");
    assert_eq!(done.out, "");
}

#[test]
fn scripts_may_ask_for_what_is_so_already() {
    let fake = Fake::start(|method, _| match method {
        "bridge/add" => error("exists", "bridge \"br0\" exists", &[]),
        "bridge/del" => error("no-such-bridge", "no bridge \"br9\"", &[]),
        "port/del" => error("no-such-port", "no port \"vm9\"", &[]),
        "port/list" => result(json!({"ports": [port("vm1", json!(1), Value::Null)]})),
        _ => error("exists", "port \"vm2\" exists", &[]),
    });
    let code = |words: &[&str]| fake.run(words).code;
    assert_eq!(code(&["bridge", "add", "br0"]), 1);
    assert_eq!(code(&["bridge", "add", "br0", "--may-exist"]), 0);
    assert_eq!(code(&["bridge", "del", "br9"]), 1);
    assert_eq!(code(&["bridge", "del", "br9", "--if-exists"]), 0);
    assert_eq!(code(&["port", "del", "br0", "vm9"]), 1);
    assert_eq!(code(&["port", "del", "br0", "vm9", "--if-exists"]), 0);
    assert_eq!(code(&["port", "add", "br0", "vm1", "--may-exist"]), 0);
    assert_eq!(
        code(&["port", "add", "br0", "vm2", "--may-exist"]),
        1,
        "on another bridge"
    );
}

#[test]
fn lists_are_tables() {
    let fake = Fake::start(|method, _| match method {
        "port/list" => result(json!({"ports": [port("vm1", json!(1), Value::Null)]})),
        "controller/list" => result(json!({"controllers": [
            controller(false, json!("connection refused")),
        ]})),
        "mac/flush" => result(json!({"flushed": 7})),
        "mac/dump" => result(json!({"entries": [
            {"port": "vm1", "number": 1, "vlan": 10, "mac": "52:54:00:00:00:01", "age_s": 3},
        ]})),
        _ => result(json!({"filter": "info"})),
    });
    let out = |words: &[&str]| fake.run(words).out;
    assert_eq!(
        out(&["port", "list"]),
        "BRIDGE  NUMBER  NAME  TYPE                 LINK    VLAN        MTU  ADDRESS\n\
         br0          1  vm1   dpdkvhostuserclient  up 10G  access 10  1500  52:54:00:00:00:01\n"
    );
    assert_eq!(
        out(&["controller", "list"]),
        "BRIDGE  CONTROLLER          STATE\n\
         br0     tcp:127.0.0.1:6653  not connected for 1 min 15 s: connection refused\n"
    );
    assert_eq!(
        out(&["mac", "dump", "br0"]),
        "NUMBER  PORT  VLAN  ADDRESS            AGE\n\
         \u{20}    1  vm1     10  52:54:00:00:00:01  3 s\n"
    );
    assert_eq!(out(&["mac", "flush", "br0"]), "7 forgotten\n");
    assert_eq!(out(&["log", "set"]), "info\n");
    assert_eq!(out(&["log", "set", "debug"]), "");
}

#[test]
fn a_trace_is_a_tree() {
    let fake = Fake::start(|_, _| {
        result(json!({
            "flow": "tcp,in_port=1",
            "steps": [
                {"text": "bridge br0", "children": [
                    {"text": "table 0: priority 10, tcp", "children": [
                        {"text": "output:2", "children": []},
                    ]},
                ]},
            ],
            "final_flow": "tcp,in_port=1", "mask": "in_port,eth_type", "actions": ["output vm2"],
            "drop": null,
        }))
    });
    let done = fake.run(&["trace", "br0", "tcp,in_port=1"]);
    let wanted = "\
Packet: tcp,in_port=1

bridge br0
    table 0: priority 10, tcp
        output:2

Afterwards: tcp,in_port=1
Looked at: in_port,eth_type
Datapath actions: output vm2
";
    assert_eq!(done.out, wanted);
    let (method, params) = fake.asked();
    assert_eq!(method, "trace");
    assert_eq!(params, json!([{"bridge": "br0", "flow": "tcp,in_port=1"}]));
}

#[test]
fn a_watch_ends_after_its_count() {
    let stats = json!({"now_ns": 1, "ports": [], "pools": []});
    let answer = stats.clone();
    let fake = Fake::start(move |_, _| result(answer.clone()));
    let words = ["--json", "stats", "--watch=0.01", "--count", "2"];
    let done = fake.run(&words);
    let lines: Vec<Value> = done
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines, [stats.clone(), stats.clone(), stats]);
}

#[test]
fn who_does_not_answer_is_out_of_reach() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("vswitchd.sock");
    let absent = run(folder.path(), &["show"]);
    assert_eq!(absent.code, 3);
    let path_text = path.to_str().expect("text");
    assert!(absent.errors.contains(path_text), "{}", absent.errors);
    assert!(
        absent.errors.contains("start vswitchd"),
        "{}",
        absent.errors
    );

    let listener = UnixListener::bind(&path).expect("a socket");
    let silent = run(folder.path(), &["--timeout", "0.05", "show"]);
    assert_eq!(silent.code, 3);
    assert!(silent.errors.contains("--timeout"), "{}", silent.errors);
    drop(listener);

    let stale = run(folder.path(), &["show"]);
    assert_eq!(stale.code, 3);
    assert!(stale.errors.contains("start vswitchd"), "{}", stale.errors);
}

#[test]
fn strange_answers_are_told_as_such() {
    for reply in [
        "null",
        "[]",
        "{\"id\":1}",
        "{\"id\":7,\"result\":{},\"error\":null}",
        "x",
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("vswitchd.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut line = String::new();
            BufReader::new(stream.try_clone().expect("a handle"))
                .read_line(&mut line)
                .ok();
            writeln!(stream, "{reply}").ok();
        });
        let done = run(folder.path(), &["show"]);
        server.join().expect("the server ends");
        assert_eq!(done.code, 3, "{reply}: {}", done.errors);
        assert!(
            done.errors.contains("of one version?"),
            "{reply}: {}",
            done.errors
        );
    }
}

#[test]
fn help_and_completions_need_no_daemon() {
    let nowhere = Path::new("/nonexistent");
    let help = run(nowhere, &["flow", "add", "--help"]);
    assert_eq!(help.code, 0);
    assert!(
        help.out.contains("Examples:") && help.out.contains("vsctl flow add br0"),
        "{}",
        help.out
    );
    let completions = run(nowhere, &["completions", "bash"]);
    assert_eq!(completions.code, 0);
    assert!(completions.out.contains("vsctl"));
    let version = run(nowhere, &["version"]);
    assert_eq!(version.code, 0);
    assert!(version.out.starts_with("vsctl "), "{}", version.out);
}
