//! The TUN device of the router: what is routed into it comes out here, and what is written here is routed on.
//!
//! Left out: offloading. Without it the kernel cuts what a sender handed it in one piece into single packets, and completes
//! their checksums, so that each packet has a fate of its own.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::net::if_::if_nametoindex;
use tun_rs::{DeviceBuilder, SyncDevice};

use super::routes;

/// The device node of the kernel's TUN driver.
const NODE: &str = "/dev/net/tun";
/// Name of the interface in the router.
const NAME: &str = "bad-links";
/// Packets that wait for the emulator in the kernel at most.
const QUEUE_PACKETS: u32 = 4_096;

/// An open TUN device; it disappears with this value.
pub(super) struct Tun {
    device: SyncDevice,
    index: u32,
}

impl Tun {
    /// Makes one in this thread's network namespace, and brings it up.
    ///
    /// # Errors
    /// Why this machine gives none, with the mend.
    pub(super) fn open() -> Result<Tun, String> {
        // The crate would make a missing node, and leave it on the host.
        if !Path::new(NODE).exists() {
            return Err(format!("{NODE} is missing: `sudo modprobe tun`; in a container, --device {NODE}"));
        }
        let failed = |error: io::Error| match error.kind() {
            ErrorKind::PermissionDenied => {
                format!("{NODE} can't be opened ({error}): `sudo chmod 666 {NODE}`, or run it with sudo")
            }
            _ => format!("{NODE} gave no device ({error}): `sudo modprobe tun`"),
        };
        let device = DeviceBuilder::new().name(NAME).offload(false).build_sync().map_err(failed)?;
        device.set_tx_queue_len(QUEUE_PACKETS).map_err(failed)?;
        let flags = fcntl(device.as_fd(), FcntlArg::F_GETFL).map(OFlag::from_bits_retain);
        let nonblocking = flags.and_then(|flags| fcntl(device.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)));
        nonblocking.map_err(|errno| failed(errno.into()))?;
        let index = if_nametoindex(NAME).map_err(|errno| failed(errno.into()))?;
        routes::bring_up(index).map_err(|error| format!("{NODE} gave a device that can't be used: {error}"))?;
        Ok(Tun { device, index })
    }

    /// Index of the interface.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// The next packet; `None`: there is none now.
    pub(super) fn read<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match self.device.recv(buffer) {
            Ok(bytes) => Ok(Some(&buffer[..bytes])),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a packet on its way; false when the kernel has no room for it.
    pub(super) fn write(&self, packet: &[u8]) -> io::Result<bool> {
        match self.device.send(packet) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            // ENOBUFS has no kind of its own.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}
