//! What passes a device of a namespace, recorded by tcpdump and read by tshark.

use std::path::{Path, PathBuf};

use crate::netns::Netns;
use crate::process::{Background, eventually, run};

/// A recording that goes on until it is dropped.
#[derive(Debug)]
pub struct Capture {
    _tcpdump: Background,
    file: PathBuf,
}

impl Capture {
    /// Records at `device` of `netns` into a file below `folder`, from before this returns.
    #[track_caller]
    pub fn start(netns: &Netns, device: &str, folder: &Path) -> Capture {
        let file = folder.join(format!("{}-{device}.pcap", netns.name()));
        let log = file.with_extension("log");
        let path = file.to_str().expect("paths here are text");
        let options = [
            "-U",
            "--immediate-mode",
            "-Z",
            "root",
            "-i",
            device,
            "-w",
            path,
        ];
        let words = netns.words(&[&["tcpdump"], &options[..]].concat());
        let tcpdump = Background::start(&words, &log);
        eventually("tcpdump listens", 30, || {
            tcpdump.output().contains("listening").then_some(())
        });
        Capture {
            _tcpdump: tcpdump,
            file,
        }
    }

    /// The fields `columns` of each frame so far that `filter` (a display filter) lets pass.
    #[track_caller]
    pub fn fields(&self, filter: &str, columns: &[&str]) -> Vec<Vec<String>> {
        let file = self.file.to_str().expect("paths here are text");
        let mut words = vec!["tshark", "-n", "-r", file, "-Y", filter, "-T", "fields"];
        for form in ["separator=|", "occurrence=a", "aggregator=;"] {
            words.extend(["-E", form]);
        }
        words.extend(columns.iter().flat_map(|column| ["-e", column]));
        let output = run(&words);
        // A frame that is being written makes tshark complain after it has told the others.
        let cut = output.stderr.contains("cut short");
        assert!(output.status.success() || cut, "{}", output.stderr);
        let rows = output.stdout.lines();
        rows.map(|line| line.split('|').map(str::to_string).collect())
            .collect()
    }

    /// How many frames so far `filter` lets pass.
    #[track_caller]
    pub fn count(&self, filter: &str) -> usize {
        self.fields(filter, &["frame.number"]).len()
    }

    /// Waits until there are frames that `filter` lets pass; their fields.
    #[track_caller]
    pub fn wait(&self, filter: &str, columns: &[&str]) -> Vec<Vec<String>> {
        eventually(&format!("a frame with {filter}"), 30, || {
            let rows = self.fields(filter, columns);
            (!rows.is_empty()).then_some(rows)
        })
    }
}
