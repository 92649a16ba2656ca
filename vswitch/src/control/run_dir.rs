//! The run folder: one daemon at a time, and nothing of it left behind.
//!
//! `vswitchd.pid` holds the daemon's process id and is locked for as long as the daemon lives, so
//! that a file which a killed daemon left is recognized as such.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A locked run folder; unlocks and tidies up when dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Folders that were not there before, the innermost first.
    made: Vec<PathBuf>,
    _lock: File,
}

/// Why the run folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// Another daemon has it.
    #[error("run_dir {} is in use by another vswitchd, process {holder}", path.display())]
    Held {
        /// The folder.
        path: PathBuf,
        /// Process id of the other daemon.
        holder: String,
    },
    /// It cannot be made or written.
    #[error("run_dir {}: {error}", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

impl RunDir {
    /// Makes the folder if it is not there, and locks it.
    pub fn lock(path: &Path) -> Result<RunDir, RunDirError> {
        let unusable = |error| RunDirError::Unusable {
            path: path.to_owned(),
            error,
        };
        let made = path.ancestors().take_while(|folder| !folder.exists());
        let made = made.map(Path::to_owned).collect();
        fs::create_dir_all(path).map_err(unusable)?;
        let lock = loop {
            let mut file = open(&path.join(PID_FILE)).map_err(unusable)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => {
                    let mut holder = String::new();
                    let _ = Read::by_ref(&mut file)
                        .take(PID_BYTES_MAX)
                        .read_to_string(&mut holder);
                    let holder = holder.trim().to_owned();
                    return Err(RunDirError::Held {
                        path: path.to_owned(),
                        holder,
                    });
                }
                Err(error) => return Err(unusable(error.into())),
                Ok(()) if is_at(&file, &path.join(PID_FILE)) => break file,
                Ok(()) => {}
            }
        };
        let dir = RunDir {
            path: path.to_owned(),
            made,
            _lock: lock,
        };
        dir.note_pid().map_err(unusable)?;
        Ok(dir)
    }

    fn note_pid(&self) -> io::Result<()> {
        let mut lock = &self._lock;
        lock.set_len(0)?;
        writeln!(lock, "{}", std::process::id())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The management socket.
    pub fn management_socket(&self) -> PathBuf {
        self.path.join("vswitchd.sock")
    }

    /// The service connection of a bridge.
    pub fn bridge_socket(&self, bridge: &str) -> PathBuf {
        self.path.join(format!("{bridge}.mgmt"))
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path.join(PID_FILE));
        for folder in &self.made {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// A Unix socket being listened on; its file goes when it is dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
}

impl SocketFile {
    /// Binds a socket that only the owner may connect to, in place of one that a daemon left
    /// behind. Anything else at that path, and a socket that somebody listens on, stays.
    pub fn bind(path: &Path) -> io::Result<(std::os::unix::net::UnixListener, SocketFile)> {
        if fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket()) {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            fs::remove_file(path)?;
        }
        let listener = std::os::unix::net::UnixListener::bind(path)?;
        let file = SocketFile {
            path: path.to_owned(),
        };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok((listener, file))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// Whether the file still has that name: its last holder may have removed it in between.
fn is_at(file: &File, path: &Path) -> bool {
    let held = file.metadata().map(|it| (it.dev(), it.ino()));
    let there = fs::metadata(path).map(|it| (it.dev(), it.ino()));
    matches!((held, there), (Ok(held), Ok(there)) if held == there)
}

const PID_FILE: &str = "vswitchd.pid";
/// More than any process id has digits.
const PID_BYTES_MAX: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_nothing_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let first = RunDir::lock(&path).unwrap();
        let error = RunDir::lock(&path).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(first);
        assert!(!path.exists());
        fs::create_dir(&path).unwrap();
        fs::write(path.join(PID_FILE), "12345678901234567890123456789012345\n").unwrap();
        let again = RunDir::lock(&path).unwrap();
        let pid = fs::read_to_string(path.join(PID_FILE)).unwrap();
        assert_eq!(pid, format!("{}\n", std::process::id()));
        drop(again);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (_listener, file) = SocketFile::bind(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let error = SocketFile::bind(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(file);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert!(SocketFile::bind(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
