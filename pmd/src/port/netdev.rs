//! What the kernel knows of a netdev and lets us change: index, flags, MTU, address, speed.
//!
//! All by ioctl(2) on a socket (netdevice(7)), which belongs to one network namespace for good: the
//! one in which the port was opened. That the calling thread may be in another does not matter.

use std::ffi::{c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A netdev by its name, in the namespace where this was made.
#[derive(Debug)]
pub(super) struct Netdev {
    socket: OwnedFd,
    name: [c_char; libc::IFNAMSIZ],
}

impl Netdev {
    /// Names a netdev of the calling thread's namespace. It need not exist.
    pub(super) fn new(name: &str) -> io::Result<Netdev> {
        let name = name_of(name)?;
        Ok(Netdev {
            socket: socket()?,
            name,
        })
    }

    /// Names a netdev of another namespace.
    pub(super) fn new_in(namespace: OwnedFd, name: [c_char; libc::IFNAMSIZ]) -> io::Result<Netdev> {
        // A thread's namespace is its own: one that ends at once leaves no other thread in it.
        let enter = std::thread::Builder::new().name("netns".into());
        let entered = enter.spawn(move || {
            // SAFETY: takes integers only.
            checked(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })?;
            socket()
        });
        let socket = entered?.join();
        let socket = socket.unwrap_or_else(|_| Err(io::Error::other("no thread")))?;
        Ok(Netdev { socket, name })
    }

    /// Its number.
    pub(super) fn index(&self) -> io::Result<c_int> {
        let request = self.ask(libc::SIOCGIFINDEX)?;
        // SAFETY: the request fills this member.
        Ok(unsafe { request.ifr_ifru.ifru_ifindex })
    }

    /// `IFF_*`.
    pub(super) fn flags(&self) -> io::Result<c_int> {
        let request = self.ask(libc::SIOCGIFFLAGS)?;
        // SAFETY: the request fills this member. It is 16 bits wide.
        Ok(unsafe { c_int::from(request.ifr_ifru.ifru_flags) })
    }

    /// Takes it up or down.
    pub(super) fn set_up(&self, up: bool) -> io::Result<()> {
        let flags = self.flags()?;
        let up = if up {
            flags | libc::IFF_UP
        } else {
            flags & !libc::IFF_UP
        };
        let mut request = self.request();
        request.ifr_ifru.ifru_flags = up as i16;
        self.tell(libc::SIOCSIFFLAGS, &mut request)
    }

    /// Its MTU.
    pub(super) fn mtu(&self) -> io::Result<c_int> {
        let request = self.ask(libc::SIOCGIFMTU)?;
        // SAFETY: the request fills this member.
        Ok(unsafe { request.ifr_ifru.ifru_mtu })
    }

    /// Changes its MTU.
    pub(super) fn set_mtu(&self, mtu: u16) -> io::Result<()> {
        let mut request = self.request();
        request.ifr_ifru.ifru_mtu = c_int::from(mtu);
        self.tell(libc::SIOCSIFMTU, &mut request)
    }

    /// The kind of its hardware, `ARPHRD_*`, and its Ethernet address.
    pub(super) fn hardware(&self) -> io::Result<(u16, [u8; 6])> {
        Ok(hardware_in(&self.ask(libc::SIOCGIFHWADDR)?))
    }

    /// Changes its Ethernet address.
    pub(super) fn set_mac(&self, mac: [u8; 6]) -> io::Result<()> {
        let mut request = self.request();
        // SAFETY: any bytes make a sockaddr.
        let mut address: libc::sockaddr = unsafe { std::mem::zeroed() };
        address.sa_family = libc::ARPHRD_ETHER;
        for (to, from) in address.sa_data.iter_mut().zip(mac) {
            *to = from as c_char;
        }
        request.ifr_ifru.ifru_hwaddr = address;
        self.tell(libc::SIOCSIFHWADDR, &mut request)
    }

    /// Speed in Mb/s and whether it is full duplex, where its driver says.
    pub(super) fn speed(&self) -> Option<(u32, bool)> {
        let mut settings = EthtoolSettings {
            command: ETHTOOL_GSET,
            ..EthtoolSettings::default()
        };
        let mut request = self.request();
        request.ifr_ifru.ifru_data = (&raw mut settings).cast();
        self.tell(libc::SIOCETHTOOL, &mut request).ok()?;
        let speed = u32::from(settings.speed_high) << 16 | u32::from(settings.speed);
        (speed != 0 && speed != SPEED_UNKNOWN).then_some((speed, settings.duplex == DUPLEX_FULL))
    }

    /// Name of its driver, empty where there is none to ask.
    pub(super) fn driver(&self) -> String {
        let mut info = EthtoolDriver {
            command: ETHTOOL_GDRVINFO,
            text: [0; 192],
        };
        let mut request = self.request();
        request.ifr_ifru.ifru_data = (&raw mut info).cast();
        let told = self.tell(libc::SIOCETHTOOL, &mut request).is_ok();
        let name = info.text[..32]
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        if told {
            String::from_utf8_lossy(name).into_owned()
        } else {
            String::new()
        }
    }

    fn request(&self) -> libc::ifreq {
        // SAFETY: any bytes make an ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = self.name;
        request
    }

    fn ask(&self, what: libc::Ioctl) -> io::Result<libc::ifreq> {
        let mut request = self.request();
        self.tell(what, &mut request)?;
        Ok(request)
    }

    fn tell(&self, what: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: every request used here reads and writes an ifreq, and through its pointer, where
        // it has one, a structure of ethtool's that the caller keeps alive.
        checked(unsafe { libc::ioctl(self.socket.as_raw_fd(), what, request) }).map(drop)
    }
}

/// A socket of the calling thread's namespace.
fn socket() -> io::Result<OwnedFd> {
    // SAFETY: takes integers only; a descriptor it returns is new and ours.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        Ok(OwnedFd::from_raw_fd(checked(socket)?))
    }
}

/// What [`Netdev::hardware`] tells, of the netdev that an open TAP is, wherever it is.
pub(super) fn hardware_of(tap: &impl AsRawFd) -> io::Result<(u16, [u8; 6])> {
    // SAFETY: any bytes make an ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let (fd, what) = (tap.as_raw_fd(), libc::SIOCGIFHWADDR);
    // SAFETY: writes an ifreq.
    checked(unsafe { libc::ioctl(fd, what, &mut request) })?;
    Ok(hardware_in(&request))
}

/// The kind and address that SIOCGIFHWADDR filled in.
fn hardware_in(request: &libc::ifreq) -> (u16, [u8; 6]) {
    // SAFETY: the request filled this member.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    let mac = std::array::from_fn(|index| address.sa_data[index] as u8);
    (address.sa_family, mac)
}

/// A name as the kernel takes it.
pub(super) fn name_of(name: &str) -> io::Result<[c_char; libc::IFNAMSIZ]> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || !name.bytes().all(plain) {
        let most = libc::IFNAMSIZ - 1;
        return Err(io::Error::other(format!(
            "a netdev's name has 1 to {most} plain characters"
        )));
    }
    let mut bytes = [0; libc::IFNAMSIZ];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from as c_char;
    }
    Ok(bytes)
}

/// What a system call returned, or why it failed.
pub(super) fn checked(returned: c_int) -> io::Result<c_int> {
    if returned < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(returned)
    }
}

/// `struct ethtool_cmd` of linux/ethtool.h.
#[repr(C)]
#[derive(Default)]
struct EthtoolSettings {
    command: u32,
    modes: [u32; 2],
    speed: u16,
    duplex: u8,
    port: [u8; 5],
    packets_max: [u32; 2],
    speed_high: u16,
    other: [u8; 2],
    partner: [u32; 3],
}

/// `struct ethtool_drvinfo` of linux/ethtool.h, of which the first text is the driver's name.
#[repr(C)]
struct EthtoolDriver {
    command: u32,
    text: [u8; 192],
}

const ETHTOOL_GSET: u32 = 1;
const ETHTOOL_GDRVINFO: u32 = 3;
const SPEED_UNKNOWN: u32 = u32::MAX;
const DUPLEX_FULL: u8 = 1;

// The kernel writes as many bytes as it knows.
const _: () = assert!(size_of::<EthtoolSettings>() == 44 && size_of::<EthtoolDriver>() == 196);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_the_loopback_device_is() {
        let netdev = Netdev::new("lo").unwrap();
        assert_eq!(netdev.index().unwrap(), 1);
        assert_eq!(netdev.hardware().unwrap(), (libc::ARPHRD_LOOPBACK, [0; 6]));
        assert_ne!(netdev.flags().unwrap() & libc::IFF_LOOPBACK, 0);
        assert!(netdev.mtu().unwrap() >= 65_535);
        assert_eq!(netdev.speed(), None);
    }

    #[test]
    fn names_that_the_kernel_cannot_have_are_refused() {
        for name in ["", "sixteen-letters!", "a/b", "a b", "a:1"] {
            assert!(Netdev::new(name).is_err(), "{name}");
        }
        let absent = Netdev::new("no-such-netdev").unwrap();
        assert_eq!(
            absent.index().unwrap_err().raw_os_error(),
            Some(libc::ENODEV)
        );
    }
}
