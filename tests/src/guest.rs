//! Real QEMU guests on vhost-user ports, driven over their serial console.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process::{Background, eventually, target_dir};

/// What kind of guest.
#[derive(Clone, Debug)]
pub struct GuestOptions {
    /// Last number of its MAC address 52:54:00:00:00:NN.
    pub number: u8,
    /// Address with prefix length for its interface.
    pub address: String,
    /// Queue pairs.
    pub queues: u8,
    /// Packed rings.
    pub packed: bool,
    /// MTU of its interface, 0 for the driver's choice.
    pub mtu: u16,
    /// Checksums and segmentation left to be done by the other side.
    pub offloads: bool,
}

impl GuestOptions {
    /// A guest with one queue, split rings and the address 10.0.0.NUMBER/24.
    pub fn new(number: u8) -> GuestOptions {
        let address = format!("10.0.0.{number}/24");
        GuestOptions {
            number,
            address,
            queues: 1,
            packed: false,
            mtu: 0,
            offloads: true,
        }
    }
}

/// A running guest; its QEMU is killed when dropped.
#[derive(Debug)]
pub struct Guest {
    options: GuestOptions,
    folder: PathBuf,
    socket: PathBuf,
    qemu: Background,
    console: UnixStream,
    is_up: bool,
    commands: u32,
}

impl Guest {
    /// Boots a guest whose QEMU serves the vhost-user `socket`, and waits for its shell.
    #[track_caller]
    pub fn boot(options: GuestOptions, socket: &Path) -> Guest {
        let mut guest = Guest::start(options, socket);
        guest.await_shell();
        guest
    }

    /// As [`Guest::boot`], without waiting: the first command that it is to run does.
    #[track_caller]
    pub fn start(options: GuestOptions, socket: &Path) -> Guest {
        let folder = socket
            .parent()
            .expect("a socket lies in a folder")
            .to_path_buf();
        let serial = folder.join(format!("guest{}.serial", options.number));
        let _ = std::fs::remove_file(&serial);
        let _ = std::fs::remove_file(socket);
        let log = folder.join(format!("guest{}.log", options.number));
        let qemu = Background::start(&qemu_words(&options, socket, &serial), &log);
        let console = eventually("QEMU opens its console", 30, || {
            UnixStream::connect(&serial).ok()
        });
        let timeout = Some(Duration::from_millis(200));
        console
            .set_read_timeout(timeout)
            .expect("a Unix socket takes a timeout");
        let socket = socket.to_path_buf();
        Guest {
            options,
            folder,
            socket,
            qemu,
            console,
            is_up: false,
            commands: 0,
        }
    }

    #[track_caller]
    fn await_shell(&mut self) {
        if !self.is_up {
            self.read_until("GUEST-UP", BOOT_S_MAX);
            // The shell greets whoever speaks to it first.
            self.console
                .write_all(b"echo SHELL-UP\n")
                .expect("the console is open");
            self.read_until("SHELL-UP", BOOT_S_MAX);
            self.is_up = true;
        }
    }

    /// Runs a shell command; its output and exit code.
    #[track_caller]
    pub fn run(&mut self, command: &str, seconds: u64) -> (String, i32) {
        self.await_shell();
        self.commands += 1;
        let number = self.commands;
        let line = format!("{command}\necho RC{number}-$?-\n");
        self.console
            .write_all(line.as_bytes())
            .expect("the console is open");
        let marker = format!("RC{number}-");
        let mut text = self.read_until(&marker, seconds);
        let rest = self.read_until("-", seconds);
        text.truncate(text.rfind(&marker).unwrap_or(0));
        (text, rest.trim_end_matches('-').parse().unwrap_or(-1))
    }

    /// Runs a shell command that must succeed; its output.
    #[track_caller]
    pub fn succeed(&mut self, command: &str, seconds: u64) -> String {
        let (text, code) = self.run(command, seconds);
        assert_eq!(code, 0, "guest {}: {command}: {text}", self.options.number);
        text
    }

    /// Whether `address` answers one of so many pings, one a second.
    #[track_caller]
    pub fn pings(&mut self, address: &str, count: u64) -> bool {
        let again = format!("[ $n -lt {count} ] || exit 1");
        let ping = format!("ping -c 1 -W 1 {address} >/dev/null");
        let command = format!("(n=0; until {ping}; do n=$((n + 1)); {again}; done)");
        self.run(&command, 4 * count + 60).1 == 0
    }

    /// Resets the machine, as a reboot of the guest does, and waits for its shell.
    #[track_caller]
    pub fn reboot(&mut self) {
        self.console
            .write_all(b"echo b >/proc/sysrq-trigger\n")
            .expect("the console is open");
        self.is_up = false;
        self.await_shell();
    }

    /// Kills QEMU with SIGKILL and boots the guest anew on the same socket.
    #[track_caller]
    pub fn kill_and_boot(self) -> Guest {
        let (options, socket) = (self.options.clone(), self.socket.clone());
        self.qemu.signal("KILL");
        drop(self);
        Guest::boot(options, &socket)
    }

    /// Its QEMU's process, for signals.
    pub fn qemu(&mut self) -> &mut Background {
        &mut self.qemu
    }

    /// Reads the console byte by byte up to `marker`, which must come at the end of the text.
    #[track_caller]
    fn read_until(&mut self, marker: &str, seconds: u64) -> String {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(marker.as_bytes()) {
            let shown = String::from_utf8_lossy(&text);
            let (number, folder) = (self.options.number, self.folder.display());
            assert!(
                Instant::now() < end,
                "guest {number} in {folder}: no {marker} in {shown}"
            );
            match self.console.read(&mut byte) {
                Ok(0) => panic!("guest {number} ended: {shown}{}", self.qemu.output()),
                Ok(_) => text.push(byte[0]),
                Err(_) => continue,
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        for suffix in ["serial", "log"] {
            let name = format!("guest{}.{suffix}", self.options.number);
            let _ = std::fs::remove_file(self.folder.join(name));
        }
    }
}

/// QEMU's command line. Without KVM its MSI-X emulation over vhost-user does not hold: `vectors=0`.
/// It emulates `rep movsb` byte by byte, so the guest is told not to copy by it (`-erms,-fsrm`):
/// real processors are fast there, and else the guest's copies would hide all that a switch does.
fn qemu_words(options: &GuestOptions, socket: &Path, serial: &Path) -> Vec<String> {
    let image = target_dir().join("guest");
    assert!(
        image.join("vmlinuz").exists(),
        "{} is missing: run 'make setup'",
        image.display()
    );
    let GuestOptions {
        number,
        address,
        queues,
        packed,
        mtu,
        offloads,
    } = options;
    let multi = if *queues > 1 { ",mq=on" } else { "" };
    let packed = if *packed { ",packed=on" } else { "" };
    let offloads = if *offloads { "" } else { NO_OFFLOADS };
    let mtu = if *mtu > 0 {
        format!(" gmtu={mtu}")
    } else {
        String::new()
    };
    let image = image.display();
    let line = format!(
        "taskset -c 0 qemu-system-x86_64 -accel tcg -machine q35 -cpu max,-erms,-fsrm -m 256 \
         -smp {queues} -nographic -nodefaults -object memory-backend-memfd,id=m,size=256M,share=on \
         -numa node,memdev=m -kernel {image}/vmlinuz -initrd {image}/initrd.gz \
         -serial unix:{},server=on,wait=off -chardev socket,id=c,path={},server=on \
         -netdev vhost-user,id=n,chardev=c,queues={queues} \
         -device virtio-net-pci,netdev=n,mac=52:54:00:00:00:{number:02x},\
         vectors=0,romfile={multi}{packed}{offloads}",
        serial.display(),
        socket.display(),
    );
    let mut words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
    words.push("-append".into());
    words.push(format!("console=ttyS0 quiet panic=-1 gip={address}{mtu}"));
    words
}

/// QEMU translates every instruction of the guest, and shares a core with what else there is.
const BOOT_S_MAX: u64 = 180;

const NO_OFFLOADS: &str = ",csum=off,guest_csum=off,gso=off,guest_tso4=off,guest_tso6=off,\
     guest_ecn=off,guest_ufo=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off";
