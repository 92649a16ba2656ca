//! Controllers, installed from PyPI by `make setup`: os-ken with an application, and Faucet.

use std::path::Path;

use serde_json::Value;

use crate::netns::Netns;
use crate::process::{Background, target_dir};

/// A running controller; ended when dropped.
#[derive(Debug)]
pub struct Controller {
    process: Background,
}

impl Controller {
    /// Starts an application (`os_ken.app.simple_switch_13`, or a file of ours) that listens on
    /// TCP port `port` of 127.0.0.1 in `netns`, logging below `folder`.
    #[track_caller]
    pub fn start(netns: &Netns, application: &str, port: u16, folder: &Path) -> Controller {
        let manager = program("osken-manager");
        let port_text = port.to_string();
        let options = ["--verbose", application];
        let words = [&[&*manager], &listen(&port_text)[..], &options].concat();
        Controller::spawn(netns, &words, &[port], folder)
    }

    /// Starts an application of `tests/controller/scenarios` for the switches that reach `netns`;
    /// it reads what is wanted from the file `intent`.
    #[track_caller]
    pub fn start_intent(
        netns: &Netns,
        application: &str,
        intent: &Path,
        folder: &Path,
    ) -> Controller {
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/controller/scenarios");
        let environment = [
            format!("PYTHONPATH={sources}"),
            format!("SCENARIO_INTENT={}", intent.display()),
            "PYTHONDONTWRITEBYTECODE=1".to_string(),
        ];
        let manager = program("osken-manager");
        let port = format!("--ofp-tcp-listen-port={OPENFLOW_PORT}");
        let application = format!("{sources}/{application}.py");
        let mut words = vec!["env"];
        words.extend(environment.iter().map(String::as_str));
        words.extend([
            &*manager,
            "--ofp-listen-host=192.0.2.1",
            &port,
            &application,
        ]);
        Controller::spawn(netns, &words, &[OPENFLOW_PORT], folder)
    }

    /// As [`Controller::start`], over TLS: with its private key, its certificate, and that of the
    /// authority which it trusts.
    #[track_caller]
    pub fn start_secure(
        netns: &Netns,
        application: &str,
        port: u16,
        files: [&Path; 3],
        folder: &Path,
    ) -> Controller {
        let manager = program("osken-manager");
        let mut words = vec![manager, "--verbose".to_string(), application.to_string()];
        words.extend(["--ofp-listen-host=127.0.0.1".to_string()]);
        words.push(format!("--ofp-ssl-listen-port={port}"));
        for (option, file) in ["ctl-privkey", "ctl-cert", "ca-certs"].iter().zip(files) {
            words.push(format!("--{option}={}", file.display()));
        }
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        Controller::spawn(netns, &words, &[port], folder)
    }

    /// Starts an application that is asked by REST, which it offers on [`REST_PORT`]; it expects
    /// switches on [`OPENFLOW_PORT`].
    #[track_caller]
    pub fn start_rest(netns: &Netns, application: &str, folder: &Path) -> Controller {
        let manager = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/controller/manager_with_web_server.py"
        );
        let port = OPENFLOW_PORT.to_string();
        let options = ["--wsapi-host", "127.0.0.1", application];
        let python = program("python");
        let words = [&[&*python, manager], &listen(&port)[..], &options].concat();
        Controller::spawn(netns, &words, &[OPENFLOW_PORT, REST_PORT], folder)
    }

    /// Starts Faucet on a configuration as it writes it, with switches on [`OPENFLOW_PORT`] and
    /// its page for Prometheus on [`FAUCET_PORT`].
    #[track_caller]
    pub fn start_faucet(netns: &Netns, config: &str, folder: &Path) -> Controller {
        let path = |name: &str| folder.join(name).display().to_string();
        std::fs::write(path("faucet.yaml"), config).expect("the folder is writable");
        let faucet = program("faucet");
        // It starts a manager that it expects to find beside it.
        let programs = Path::new(&faucet).parent().expect("in a folder").display();
        let port = OPENFLOW_PORT.to_string();
        let environment = [
            format!("PATH={programs}:/usr/bin:/bin"),
            format!("HOME={}", folder.display()),
            format!("FAUCET_CONFIG={}", path("faucet.yaml")),
            format!("FAUCET_LOG={}", path("faucet.log")),
            format!("FAUCET_EXCEPTION_LOG={}", path("faucet_exceptions.log")),
            format!("FAUCET_PROMETHEUS_PORT={FAUCET_PORT}"),
            "FAUCET_PROMETHEUS_ADDR=127.0.0.1".to_string(),
        ];
        let options = [
            "--ryu-ofp-listen-host",
            "127.0.0.1",
            "--ryu-ofp-tcp-listen-port",
            &port,
        ];
        let mut words = vec!["env"];
        words.extend(environment.iter().map(String::as_str));
        words.push(&faucet);
        words.extend(options);
        Controller::spawn(netns, &words, &[OPENFLOW_PORT, FAUCET_PORT], folder)
    }

    #[track_caller]
    fn spawn(netns: &Netns, words: &[&str], ports: &[u16], folder: &Path) -> Controller {
        let mut process = Background::start(&netns.words(words), &folder.join("controller.log"));
        for port in ports {
            netns.await_server(&mut process, "-t", *port);
        }
        Controller { process }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.output()
    }
}

/// What an application answers to a REST request in `netns`: its status, and its body where that
/// is JSON.
#[track_caller]
pub fn ask(netns: &Netns, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let url = format!("http://127.0.0.1:{REST_PORT}{path}");
    let mut words = vec!["curl", "-sS", "--max-time", "60", "-w", "\n%{http_code}"];
    words.extend(["-X", method]);
    let text = body.map(Value::to_string);
    words.extend(text.iter().flat_map(|text| ["-d", text.as_str()]));
    words.push(&url);
    let output = netns.run(&words).expect_success();
    let (body, status) = output.rsplit_once('\n').expect("the status has a line");
    let status = status.parse().expect("a status");
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// A program of the Python environment that `make setup` makes for controllers.
#[track_caller]
pub fn program(name: &str) -> String {
    let path = target_dir().join("controller/bin").join(name);
    assert!(
        path.exists(),
        "{} is missing: run 'make setup'",
        path.display()
    );
    path.display().to_string()
}

fn listen(port: &str) -> [&str; 4] {
    [
        "--ofp-listen-host",
        "127.0.0.1",
        "--ofp-tcp-listen-port",
        port,
    ]
}

/// Where controllers expect switches.
pub const OPENFLOW_PORT: u16 = 6653;

/// Where applications answer REST requests.
pub const REST_PORT: u16 = 8080;

/// Where Faucet tells how it is.
pub const FAUCET_PORT: u16 = 9302;
