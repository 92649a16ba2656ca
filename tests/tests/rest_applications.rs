//! The applications of os-ken that are asked by REST, as a user would run them: each change is
//! seen in the answers and in what hosts receive.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::controller::ask;
use tests::{Controller, Daemon, Netns, eventually};

#[path = "rest_applications/firewall.rs"]
mod firewall;
#[path = "rest_applications/ofctl.rs"]
mod ofctl;
#[path = "rest_applications/router.rs"]
mod router;

/// A switch with an application in charge of it.
struct Network {
    daemon: Daemon,
    _controller: Controller,
}

impl Network {
    /// `bridges` dial the application `name`.
    #[track_caller]
    fn start(netns: Netns, bridges: &str, name: &str) -> Network {
        let daemon = Daemon::start_in(netns, bridges);
        let application = format!("os_ken.app.{name}");
        let controller = Controller::start_rest(daemon.netns(), &application, daemon.scratch());
        Network {
            daemon,
            _controller: controller,
        }
    }

    /// What it answers to a question.
    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let (status, answer) = ask(self.daemon.netns(), "GET", path, None);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Asks for a change.
    #[track_caller]
    fn change(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = ask(self.daemon.netns(), method, path, Some(body));
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.change("POST", path, body)
    }

    /// Asks until the answer is as it should be, which it gives.
    #[track_caller]
    fn wait(&self, path: &str, suits: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let (status, answer) = ask(self.daemon.netns(), "GET", path, None);
            if status == 200 && suits(&answer) {
                return answer;
            }
            assert!(Instant::now() < end, "{path}: {answer}");
            sleep(Duration::from_millis(50));
        }
    }
}

/// A bridge with system ports, numbered from 1, that dials the controller.
fn bridge(name: &str, datapath: u32, ports: &[&str]) -> String {
    let mut text = format!(
        "[[bridge]]\nname = \"{name}\"\nfail_mode = \"secure\"\ndatapath_id = {datapath}\n\
         controllers = [{{ target = \"tcp:127.0.0.1:6653\", max_backoff_s = 1 }}]\n"
    );
    for (port, number) in ports.iter().zip(1..) {
        text +=
            &format!("[[bridge.port]]\nname = \"{port}\"\nnumber = {number}\ntype = \"system\"\n");
    }
    text
}

/// A host with this address at the device `port` of `switch`.
fn host(switch: &Netns, port: &str, address: &str) -> Netns {
    let host = Netns::silent(port);
    switch.veth(port, &host, "eth0");
    host.ip(&format!("addr add {address} dev eth0"));
    host
}

#[track_caller]
fn reaches(from: &Netns, address: &str) {
    eventually(&format!("{address} is reached"), 60, || {
        from.pings(address).then_some(())
    });
}

#[track_caller]
fn reaches_no_longer(from: &Netns, address: &str) {
    eventually(&format!("{address} is not reached"), 60, || {
        from.is_cut_off_from(address).then_some(())
    });
}
