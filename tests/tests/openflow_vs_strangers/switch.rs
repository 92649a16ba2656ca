//! A switch of nothing but a connection: it notes what it is told and answers from a list.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use openflow::Message;
use openflow::connection::{Config, Connection, Side};
use tempfile::TempDir;
use tests::run;

/// What the switch answers to a message.
pub type Answer = fn(&Message) -> Vec<Message>;

/// A switch that listens on a Unix socket in a folder of its own.
pub struct Switch {
    folder: TempDir,
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Message>>,
}

impl Switch {
    /// Starts to listen.
    pub fn start(answer: Answer) -> Switch {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = UnixListener::bind(folder.path().join("switch")).expect("a socket");
        let ended = Arc::new(AtomicBool::new(false));
        let noticed = ended.clone();
        let thread = std::thread::spawn(move || {
            // A command may open several connections, and several at once.
            let noted = Arc::new(Mutex::new(Vec::new()));
            let mut served = Vec::new();
            loop {
                let (stream, _) = listener.accept().expect("a peer");
                if noticed.load(Ordering::SeqCst) {
                    break;
                }
                let noted = noted.clone();
                served.push(std::thread::spawn(move || serve(stream, answer, &noted)));
            }
            for one in served {
                one.join().expect("no connection panics");
            }
            std::mem::take(&mut *noted.lock().expect("no connection panicked"))
        });
        Switch {
            folder,
            ended,
            thread,
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("switch")
    }

    /// Runs an `ovs-ofctl` command on the switch: what it printed.
    #[track_caller]
    pub fn ofctl(&self, command: &str, arguments: &[&str]) -> String {
        let target = format!("unix:{}", self.socket().display());
        let words = [
            "ovs-ofctl",
            "--timeout=10",
            "-O",
            "OpenFlow13",
            command,
            &target,
        ];
        let output = run(&[&words, arguments].concat());
        format!("{}{}", output.stdout, output.stderr)
    }

    /// Everything the switch was told but barriers.
    pub fn end(self) -> Vec<Message> {
        self.ended.store(true, Ordering::SeqCst);
        UnixStream::connect(self.socket()).expect("the switch listens");
        self.thread.join().expect("the switch does not panic")
    }
}

fn serve(mut stream: UnixStream, answer: Answer, noted: &Mutex<Vec<Message>>) {
    let mut connection = Connection::new(Config::new(Side::Switch), 0);
    let mut bytes = [0; 1000];
    loop {
        let len = connection.outgoing().len();
        if stream.write_all(connection.outgoing()).is_err() {
            return;
        }
        connection.sent(len);
        let len = match stream.read(&mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(len) => len,
        };
        connection.receive(&bytes[..len], 0).expect("a sane peer");
        while let Some((xid, message)) = connection.next_message() {
            let replies = match message {
                Message::BarrierRequest => vec![Message::BarrierReply],
                _ => answer(&message),
            };
            for reply in replies {
                connection.send(xid, &reply).expect("short replies");
            }
            if message != Message::BarrierRequest {
                noted.lock().expect("no connection panicked").push(message);
            }
        }
    }
}
