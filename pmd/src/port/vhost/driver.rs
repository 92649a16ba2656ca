//! Sockets known to DPDK's vhost library, and its callbacks.
//!
//! The library knows a device by a number and names the socket it came by; `GUESTS` leads from the
//! socket to the guest. A `Driver` keeps its socket registered. Callbacks hold guests, never
//! drivers: dropping one inside a callback would wait for that callback.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use super::Settings;
use super::guest::Guest;
use crate::port::{PortConfig, PortError};
use crate::{eal, ffi};

/// A socket that is registered, until this is dropped.
#[derive(Debug)]
pub(super) struct Driver {
    path: CString,
    client: bool,
    guest: Arc<Guest>,
}

impl Driver {
    /// Registers a socket and connects to it or serves it, now or as soon as possible.
    pub(super) fn start(
        config: &PortConfig,
        settings: &Settings,
        guest: Arc<Guest>,
    ) -> Result<Driver, PortError> {
        let failed = |reason: String| PortError::Device {
            port: config.name.clone(),
            device: settings.path.clone(),
            reason,
        };
        let path =
            CString::new(settings.path.as_str()).map_err(|_| failed("holds a NUL byte".into()))?;
        let _alone = lock(&ALONE);
        if guests().contains_key(path.as_c_str()) {
            return Err(failed("is the socket of another port".into()));
        }
        if !settings.client {
            if let Some(folder) = absent_folder(&settings.path) {
                return Err(failed(format!("there is no folder {}", folder.display())));
            }
            remove_stale(&settings.path).map_err(|error| failed(error.to_string()))?;
        }
        let (registered, said) = eal::errors_during(|| register(&path, settings.client));
        if !registered {
            return Err(failed(or_unknown(said)));
        }
        guests().insert(path.clone(), guest.clone());
        let driver = Driver {
            path,
            client: settings.client,
            guest,
        };
        // SAFETY: the path was registered, and callbacks with it. Takes no part of our memory.
        let (started, said) =
            eal::errors_during(|| unsafe { ffi::rte_vhost_driver_start(driver.path.as_ptr()) });
        if started != 0 {
            return Err(failed(or_unknown(said)));
        }
        Ok(driver)
    }

    pub(super) fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Whether the hypervisor serves the socket.
    pub(super) fn is_client(&self) -> bool {
        self.client
    }

    pub(super) fn path(&self) -> &str {
        self.path.to_str().unwrap_or_default()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // No callback of the library waits for `GUESTS` while this waits for callbacks.
        // SAFETY: the path was registered. It calls `destroy_device`, for which the guest is still
        // to be found; no queue is left that could use the device.
        unsafe { ffi::rte_vhost_driver_unregister(self.path.as_ptr()) };
        guests().remove(&self.path);
    }
}

fn register(path: &CStr, client: bool) -> bool {
    let mode = if client {
        u64::from(ffi::RTE_VHOST_USER_CLIENT)
    } else {
        0
    };
    // SAFETY: the library copies the path, and keeps the pointer to `CALLBACKS`, which is static.
    unsafe {
        if ffi::rte_vhost_driver_register(path.as_ptr(), mode | FLAGS) != 0 {
            return false;
        }
        let ready = ffi::rte_vhost_driver_disable_features(path.as_ptr(), NOT_OFFERED) == 0
            && ffi::rte_vhost_driver_callback_register(path.as_ptr(), &CALLBACKS.0) == 0;
        if !ready {
            ffi::rte_vhost_driver_unregister(path.as_ptr());
        }
        ready
    }
}

/// The folder that a socket cannot be made in.
fn absent_folder(path: &str) -> Option<&Path> {
    Path::new(path).parent().filter(|folder| !folder.is_dir())
}

/// Removes a socket that nobody serves any more.
fn remove_stale(path: &str) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::other("exists and is no socket")),
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::other("is served by another process")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

fn or_unknown(said: String) -> String {
    if said.is_empty() {
        "DPDK does not say why".into()
    } else {
        said
    }
}

/// The guest whose device this is. Called in callbacks only.
fn guest_of(vid: c_int) -> Option<Arc<Guest>> {
    let mut path = [0 as c_char; PATH_LEN];
    // SAFETY: the device of a callback lives until the callback returns; the library writes as many
    // bytes as it is told, the last of them NUL.
    let path = unsafe {
        let told = ffi::rte_vhost_get_ifname(vid, path.as_mut_ptr(), path.len());
        (told == 0).then(|| CStr::from_ptr(path.as_ptr()))
    };
    guests().get(path?).cloned()
}

unsafe extern "C" fn new_connection(vid: c_int) -> c_int {
    if let Some(guest) = guest_of(vid) {
        guest.forget(vid);
    }
    // SAFETY: the device of a callback lives until the callback returns; what is pointed to is
    // copied.
    unsafe { ffi::rte_vhost_extern_callback_register(vid, &MESSAGES, std::ptr::null_mut()) }
}

/// Before any message about a device is handled.
unsafe extern "C" fn before_message(vid: c_int, message: *mut c_void) -> c_int {
    if let Some(guest) = guest_of(vid) {
        // SAFETY: as for `request_of`.
        guest.before_message(vid, unsafe { request_of(message) });
    }
    ffi::RTE_VHOST_MSG_RESULT_NOT_HANDLED
}

/// After a message about a device was handled without an error.
unsafe extern "C" fn after_message(vid: c_int, message: *mut c_void) -> c_int {
    if let Some(guest) = guest_of(vid) {
        // SAFETY: as for `request_of`.
        guest.after_message(vid, unsafe { request_of(message) });
    }
    ffi::RTE_VHOST_MSG_RESULT_NOT_HANDLED
}

/// What a message asks for.
///
/// # Safety
/// It is a message as vhost-user lays it out, which starts with that.
unsafe fn request_of(message: *const c_void) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { message.cast::<u32>().read_unaligned() }
}

unsafe extern "C" fn destroy_connection(vid: c_int) {
    if let Some(guest) = guest_of(vid) {
        guest.forget(vid);
    }
}

unsafe extern "C" fn new_device(vid: c_int) -> c_int {
    match guest_of(vid) {
        Some(guest) => {
            guest.attach(vid);
            0
        }
        None => -1,
    }
}

unsafe extern "C" fn destroy_device(vid: c_int) {
    if let Some(guest) = guest_of(vid) {
        guest.detach(vid);
    }
}

unsafe extern "C" fn vring_state_changed(vid: c_int, ring: u16, enabled: c_int) -> c_int {
    if let Some(guest) = guest_of(vid) {
        guest.ring_changed(vid, ring, enabled != 0);
    }
    0
}

fn guests() -> MutexGuard<'static, BTreeMap<CString, Arc<Guest>>> {
    lock(&GUESTS)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Guests by their sockets. Never held over a call to the library.
static GUESTS: Mutex<BTreeMap<CString, Arc<Guest>>> = Mutex::new(BTreeMap::new());

/// Held while a socket is registered and started, which the library does not expect twice at once.
static ALONE: Mutex<()> = Mutex::new(());

static CALLBACKS: Callbacks = Callbacks(ffi::rte_vhost_device_ops {
    new_device: Some(new_device),
    destroy_device: Some(destroy_device),
    vring_state_changed: Some(vring_state_changed),
    features_changed: None,
    new_connection: Some(new_connection),
    destroy_connection: Some(destroy_connection),
    guest_notified: None,
    reserved: [std::ptr::null_mut(); 1],
});

static MESSAGES: ffi::rte_vhost_user_extern_ops = ffi::rte_vhost_user_extern_ops {
    pre_msg_handle: Some(before_message),
    post_msg_handle: Some(after_message),
};

struct Callbacks(ffi::rte_vhost_device_ops);

// SAFETY: nobody writes to it, and its one data pointer is null.
unsafe impl Sync for Callbacks {}

/// Without these the library does not offer to be sent super-frames.
const FLAGS: u64 =
    ffi::SHIM_VHOST_LINEAR_BUFFERS | ffi::SHIM_VHOST_EXTERNAL_BUFFERS | ffi::SHIM_VHOST_RX_FLAGS;

/// Fragmentation of datagrams, which no port of ours does.
const NOT_OFFERED: u64 = 1 << ffi::VIRTIO_NET_F_HOST_UFO | 1 << ffi::VIRTIO_NET_F_GUEST_UFO;

/// Room for the path of a Unix socket.
const PATH_LEN: usize = 128;
