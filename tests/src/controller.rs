//! os-ken as the controller, installed from PyPI by `make setup`.

use std::path::Path;

use crate::netns::Netns;
use crate::process::{Background, eventually, target_dir};

/// A running os-ken; ended when dropped.
#[derive(Debug)]
pub struct Controller {
    process: Background,
}

impl Controller {
    /// Starts an application (`os_ken.app.simple_switch_13`, or a file of ours) that listens on
    /// TCP port `port` of 127.0.0.1 in `netns`, logging below `folder`.
    #[track_caller]
    pub fn start(netns: &Netns, application: &str, port: u16, folder: &Path) -> Controller {
        let manager = target_dir().join("controller/bin/osken-manager");
        assert!(
            manager.exists(),
            "{} is missing: run 'make setup'",
            manager.display()
        );
        let manager = manager.display().to_string();
        let port_text = port.to_string();
        let words = [
            manager.as_str(),
            "--verbose",
            "--ofp-listen-host",
            "127.0.0.1",
            "--ofp-tcp-listen-port",
            &port_text,
            application,
        ];
        let process = Background::start(&netns.words(&words), &folder.join("controller.log"));
        let mut controller = Controller { process };
        eventually("the controller listens", 30, || {
            assert!(controller.process.is_running(), "{}", controller.log());
            let listening = netns.run(&["ss", "-Hltn", &format!("sport = {port}")]);
            (!listening.stdout.is_empty()).then_some(())
        });
        controller
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.output()
    }
}
