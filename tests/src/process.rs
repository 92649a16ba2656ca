//! Commands run to their end, and processes in the background that end with their handle.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output of a command that must have succeeded.
    #[track_caller]
    pub fn expect_success(self) -> String {
        assert!(
            self.status.success(),
            "{}: {}{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self.stdout
    }
}

/// Runs a command given as words to its end.
#[track_caller]
pub fn run(words: &[&str]) -> Output {
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; run 'make setup'", words[0]));
    Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A folder for a test's files, in memory where there is room for that: a disk that still writes
/// what was built before can hold up for many seconds whoever wants a file written for certain.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    folder.expect("a temporary folder")
}

/// Tries `attempt` until it gives a value, `seconds` at most.
#[track_caller]
pub fn eventually<T>(what: &str, seconds: u64, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within {seconds} s");
        sleep(Duration::from_millis(50));
    }
}

/// The folder that cargo builds into: `target/debug`, say.
pub fn profile_dir() -> PathBuf {
    let program = std::env::current_exe().expect("the running program has a path");
    let folder = program
        .ancestors()
        .find(|folder| !folder.ends_with("deps") && folder.is_dir());
    folder
        .expect("a test runs below the target folder")
        .to_path_buf()
}

/// Cargo's target folder, which also holds the guest and the controller's environment.
pub fn target_dir() -> PathBuf {
    profile_dir()
        .parent()
        .expect("a profile has its folder in the target folder")
        .to_path_buf()
}

/// One of our programs, as built beside the running test.
pub fn binary(name: &str) -> PathBuf {
    let path = profile_dir().join(name);
    assert!(
        path.exists(),
        "{} is missing: run 'cargo build --workspace'",
        path.display()
    );
    path
}

/// A process in the background; killed when dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    log: PathBuf,
}

impl Background {
    /// Starts a command given as words, its output going to the file `log`.
    pub fn start<W: AsRef<str>>(words: &[W], log: &Path) -> Background {
        let file = File::create(log).expect("the log's folder is there");
        let child = Command::new(words[0].as_ref())
            .args(words[1..].iter().map(AsRef::as_ref))
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file handle"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run 'make setup'", words[0].as_ref()));
        Background {
            child,
            log: log.to_path_buf(),
        }
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name: `TERM`, `KILL`.
    pub fn signal(&self, name: &str) {
        run(&["kill", &format!("-{name}"), &self.pid().to_string()]);
    }

    /// Waits for its end, `seconds` at most.
    #[track_caller]
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            assert!(
                Instant::now() < end,
                "still running after {seconds} s: {}",
                self.output()
            );
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
