//! How the daemon starts and ends: what it refuses and says then, signals, what it leaves behind,
//! the file that somebody else edits, listeners and patch ports that do not work yet.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::{Background, Daemon, Netns, Output, binary, eventually, run};

const BRIDGE: &str = "[[bridge]]\nname = \"br0\"\n";

/// A folder with a configuration whose run folder, `RUN_DIR`, is two levels deep in it.
fn folder(text: &str) -> (TempDir, PathBuf, PathBuf) {
    let folder = tests::folder();
    let run_dir = folder.path().join("a").join("b");
    let text = format!("run_dir = \"{}\"\n{text}", run_dir.display());
    let file = folder.path().join("vswitch.toml");
    std::fs::write(&file, text).expect("the folder is writable");
    (folder, file, run_dir)
}

fn words(file: &Path) -> Vec<String> {
    let vswitchd = binary("vswitchd").display().to_string();
    vec![vswitchd, "--config".into(), file.display().to_string()]
}

/// Starts a daemon that must refuse; what it says.
#[track_caller]
fn refused(text: &str, options: &[&str]) -> (String, Output) {
    let (folder, file, run_dir) = folder(text);
    let words = words(&file);
    let words = words
        .iter()
        .map(String::as_str)
        .chain(options.iter().copied());
    let output = run(&words.collect::<Vec<_>>());
    assert!(!output.status.success(), "accepted: {text}");
    assert!(!run_dir.exists(), "a run folder is left");
    drop(folder);
    (output.stderr.clone(), output)
}

#[test]
fn what_the_machine_does_not_have_is_refused_by_key() {
    for (text, options, said) in [
        (
            "[dpdk]\nmemory_mib = 1048576\n",
            &["--check"][..],
            "vswitch.toml:3: dpdk.memory_mib = 1048576: this machine has ",
        ),
        (
            "[workers]\ncpus = [4096]\n",
            &["--check"],
            "vswitch.toml:3: workers.cpus: no CPU 4096",
        ),
        (
            "[dpdk]\nmemory_mib = 64\n",
            &["--no-huge"],
            "vswitch.toml:3: dpdk.memory_mib = 64: too little for the packet buffers of 1 workers",
        ),
        (
            "",
            &["--log-level", "loud"],
            "--log-level loud: allowed are",
        ),
    ] {
        let (stderr, _) = refused(text, options);
        assert!(stderr.contains(said), "{said} not in: {stderr}");
    }
}

#[test]
fn wrong_arguments_of_dpdk_are_told_in_few_lines() {
    let (stderr, output) = refused("[dpdk]\nargs = [\"--foo\"]\n", &["--no-huge"]);
    assert!(
        stderr.contains("vswitch.toml:3: dpdk.args = [\"--foo\"]"),
        "{stderr}"
    );
    let lines = stderr.lines().count() + output.stdout.lines().count();
    assert!(lines <= 8, "{lines} lines: {stderr}{}", output.stdout);
}

#[test]
fn the_memory_that_is_told_will_do() {
    let (stderr, _) = refused("[dpdk]\nmemory_mib = 64\n", &["--no-huge"]);
    let told = stderr
        .split("give ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let told = told.expect("a number is told");
    let (_folder, file, run_dir) = folder(&format!("[dpdk]\nmemory_mib = {told}\n"));
    let log = run_dir
        .parent()
        .and_then(Path::parent)
        .expect("folders")
        .join("log");
    let words = [words(&file), vec!["--no-huge".into()]].concat();
    let mut daemon = Background::start(&words, &log);
    eventually("the daemon is ready", 60, || {
        assert!(daemon.is_running(), "{}", daemon.output());
        daemon.output().contains("ready: ").then_some(())
    });
    daemon.signal("TERM");
    assert!(daemon.wait(60).success(), "{}", daemon.output());
}

#[test]
fn every_signal_ends_it_cleanly_whenever_it_comes() {
    for (signal, moment) in [
        ("HUP", "ready: "),
        ("INT", "ready: "),
        ("TERM", "DPDK started"),
        ("HUP", "DPDK started"),
    ] {
        let netns = Netns::new("sw");
        let (folder, file, _) = folder(BRIDGE);
        // The test may itself run under nohup(1), which the daemon would heed.
        let words = [
            vec!["env".into(), "--default-signal=HUP".into()],
            words(&file),
        ]
        .concat();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let mut daemon = Background::start(&netns.words(&words), &folder.path().join("log"));
        eventually(moment, 60, || {
            assert!(daemon.is_running(), "{}", daemon.output());
            daemon.output().contains(moment).then_some(())
        });
        daemon.signal(signal);
        let status = daemon.wait(60);
        assert!(
            status.success(),
            "{signal} at {moment}: {}",
            daemon.output()
        );
        let log = daemon.output();
        assert!(log.contains(&format!("SIG{signal}")), "{log}");
        assert!(!folder.path().join("a").exists(), "folders are left: {log}");
    }
}

#[test]
fn a_common_start_warns_of_nothing() {
    let vm = "[[bridge.port]]\nname = \"vm1\"\ntype = \"dpdkvhostuserclient\"\n";
    let daemon = Daemon::start(&format!("{BRIDGE}{vm}"));
    let log = daemon.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    daemon.stop();
}

#[test]
fn without_its_hugepages_it_goes_on_with_ordinary_memory() {
    // DPDK is told to take more than there are, as if another process had taken some meanwhile.
    let pages = std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
    let pages: u64 = pages.map_or(0, |text| text.trim().parse().expect("a number"));
    let args = format!("args = [\"-m\", \"{}\"]\n", 2 * pages + 64);
    let (folder, file, _) = folder(&format!("[dpdk]\nmemory_mib = 256\n{args}"));
    let mut daemon = Background::start(&words(&file), &folder.path().join("log"));
    eventually("the daemon is ready", 60, || {
        assert!(daemon.is_running(), "{}", daemon.output());
        daemon.output().contains("ready: ").then_some(())
    });
    let log = daemon.output();
    assert!(log.contains("memory=\"ordinary memory\""), "{log}");
    daemon.signal("TERM");
    assert!(daemon.wait(60).success(), "{}", daemon.output());
}

#[test]
fn a_file_that_somebody_edited_is_not_overwritten() {
    let daemon = Daemon::start(BRIDGE);
    let text = std::fs::read_to_string(daemon.config_file()).expect("the file");
    let write = |text: &str| std::fs::write(daemon.config_file(), text).expect("it is writable");
    let add = |name: &str| daemon.vsctl(&["port", "add", "br0", name, "--type", "null"]);
    write(&format!("# a note\n{text}"));
    add("n1").expect_success();
    let noted = std::fs::read_to_string(daemon.config_file()).expect("the file");
    assert!(
        noted.contains("# a note") && noted.contains("n1"),
        "{noted}"
    );
    for edit in [noted.replace("n1", "n7"), "rubbish [".to_owned()] {
        write(&edit);
        let refused = add("n2");
        assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("was edited while"),
            "{}",
            refused.stderr
        );
        assert!(
            refused.stderr.contains("restart vswitchd"),
            "{}",
            refused.stderr
        );
        let kept = std::fs::read_to_string(daemon.config_file()).expect("the file");
        assert_eq!(kept, edit);
    }
    write(&noted);
    add("n2").expect_success();
    daemon.stop();
}

#[test]
fn a_listener_that_cannot_bind_is_shown() {
    let switch = Netns::new("sw");
    let holder = switch.enter(|| TcpListener::bind("127.0.0.1:6700").expect("a free port"));
    let listeners = "listeners = [\"ptcp:6700:127.0.0.1\", \"ptcp:6701:127.0.0.1\"]\n";
    let daemon = Daemon::start_in(switch, &format!("{BRIDGE}{listeners}"));
    let error = |at: &str| daemon.json(&["show"])["bridges"][0]["listener_errors"][at].clone();
    eventually("the error is shown", 30, || {
        let error = error("ptcp:6700:127.0.0.1");
        error
            .as_str()
            .is_some_and(|it| it.contains("in use"))
            .then_some(())
    });
    assert!(error("ptcp:6701:127.0.0.1").is_null());
    let show = daemon.vsctl(&["show"]).expect_success();
    assert!(
        show.contains("ptcp:6700:127.0.0.1: does not listen: "),
        "{show}"
    );
    drop(holder);
    eventually("it listens", 60, || {
        error("ptcp:6700:127.0.0.1").is_null().then_some(())
    });
    daemon
        .vsctl(&["bridge", "set", "br0", "--listener", "none"])
        .expect_success();
    let bridge = daemon.json(&["show"])["bridges"][0].clone();
    assert_eq!(bridge["listeners"], serde_json::json!([]));
    daemon.stop();
}

#[test]
fn a_patch_port_without_its_other_end_says_so() {
    let patch = |name: &str, peer: &str| {
        format!("[[bridge.port]]\nname = \"{name}\"\ntype = \"patch\"\noptions.peer = \"{peer}\"\n")
    };
    let other = "[[bridge]]\nname = \"br1\"\n";
    let null = "[[bridge.port]]\nname = \"n1\"\ntype = \"null\"\n";
    let ports = patch("x", "y") + &patch("to-null", "n1") + null;
    let daemon = Daemon::start(&format!("{BRIDGE}{ports}{other}"));
    let show = || daemon.vsctl(&["show"]).expect_success();
    assert!(show().contains("there is no port \"y\""), "{}", show());
    assert!(show().contains("\"n1\" is of type null"), "{}", show());
    let add = |peer: &str| {
        let option = format!("peer={peer}");
        daemon
            .vsctl(&[
                "port", "add", "br1", "y", "--type", "patch", "--option", &option,
            ])
            .expect_success();
    };
    add("z");
    assert!(
        show().contains("\"y\" has another peer, \"z\""),
        "{}",
        show()
    );
    daemon.vsctl(&["port", "del", "br1", "y"]).expect_success();
    add("x");
    let ports = daemon.json(&["port", "list", "br1"]);
    let ports = ports["ports"].as_array().expect("ports");
    let y = ports
        .iter()
        .find(|port| port["name"] == "y")
        .expect("the port");
    assert!(y["error"].is_null() && y["link_up"] == true, "{y}");
    daemon.stop();
}

#[test]
fn a_bridges_socket_that_is_gone_is_not_a_bridge_that_is_not() {
    let daemon = Daemon::start(BRIDGE);
    let socket = daemon.run_dir().join("br0.mgmt");
    std::fs::remove_file(&socket).expect("the socket is there");
    let output = daemon.vsctl(&["flow", "dump", "br0"]);
    assert!(output.stderr.contains("br0.mgmt"), "{}", output.stderr);
    assert!(!output.stderr.contains("no bridge"), "{}", output.stderr);
    assert_eq!(output.status.code(), Some(3));
    let output = daemon.vsctl(&["flow", "dump", "br9"]);
    assert!(output.stderr.contains("no bridge"), "{}", output.stderr);
    daemon.stop();
}
