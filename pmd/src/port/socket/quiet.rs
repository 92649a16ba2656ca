//! The host keeps quiet by a netdev: it answers ARP there for the netdev's own addresses alone
//! (`arp_ignore` of the kernel's ip-sysctl), as long as the netdev is a port.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A netdev's setting that was changed, and is put back when this is dropped. The file stays that
/// of the netdev and its namespace, whoever drops it and wherever.
#[derive(Debug)]
pub(super) struct Quiet(File);

impl Quiet {
    /// Changes the setting; none if somebody has said already how the host is to answer.
    pub(super) fn new(name: &str) -> Option<Quiet> {
        let changed = Quiet::change(name);
        changed.unwrap_or_else(|error| {
            tracing::warn!(port = name, %error, "the host may answer ARP by the netdev for LOCAL");
            None
        })
    }

    fn change(name: &str) -> io::Result<Option<Quiet>> {
        let path = format!("/proc/sys/net/ipv4/conf/{name}/arp_ignore");
        let setting = File::options().read(true).write(true).open(path)?;
        if read(&setting)? != ANY_ADDRESS {
            return Ok(None);
        }
        setting.write_all_at(&[OWN_ADDRESSES], 0)?;
        Ok(Some(Quiet(setting)))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // The netdev may be gone, or somebody may have said something else meanwhile.
        if read(&self.0).is_ok_and(|value| value == OWN_ADDRESSES) {
            let _ = self.0.write_all_at(&[ANY_ADDRESS], 0);
        }
    }
}

/// The setting's digit.
fn read(setting: &File) -> io::Result<u8> {
    let mut digit = [0];
    setting.read_exact_at(&mut digit, 0)?;
    Ok(digit[0])
}

/// Answer for any address of the host's.
const ANY_ADDRESS: u8 = b'0';
/// Answer for addresses of the netdev.
const OWN_ADDRESSES: u8 = b'1';
