//! TAP devices: Ethernet interfaces whose other end is a file.
//! <https://docs.kernel.org/networking/tuntap.html>

use std::{
    ffi::c_uint,
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
};

use netlink_packet_route::link::LinkAttribute;
use nix::unistd::{read, write};

use super::{KernelError, device, rtnetlink::Rtnetlink};

/// Where TAP devices come from.
const CONTROL: &str = "/dev/net/tun";

nix::ioctl_write_ptr_bad!(
    /// Makes a device, or opens one that is there.
    tun_set_iff,
    libc::TUNSETIFF,
    libc::ifreq
);
nix::ioctl_write_ptr!(
    /// The index of the device that is going to be made (kernel 3.12).
    tun_set_ifindex,
    b'T',
    218,
    c_uint
);
nix::ioctl_write_int!(
    /// What the reader can take undone: checksums, segmentation.
    tun_set_offload,
    b'T',
    208
);

/// Checksums, TCP segmentation, ECN; and UDP segmentation, from 6.2 on.
const OFFLOADS: c_uint = 0x01 | 0x02 | 0x04 | 0x08;
const UDP_OFFLOADS: c_uint = 0x20 | 0x40;

/// A TAP device without addresses. It goes away when this is dropped, and when the process ends.
///
/// Whoever reads a frame gets a `virtio_net_hdr` of 10 bytes in front of it and gives one when
/// writing: frames stay as long as TCP made them, and their checksums open.
/// <https://docs.oasis-open.org/virtio/virtio/v1.3/virtio-v1.3.html> (5.1.6)
#[derive(Debug)]
pub struct Tap {
    file: File,
    index: u32,
}

impl Tap {
    /// The call that fails where there is no such device, or no right to it.
    pub(super) const OPEN: &str = "open /dev/net/tun";

    /// Makes one with this index in the calling thread's network namespace, whose name begins with
    /// `prefix` (at most 12 bytes). No frame goes through it before [`Tap::set_up`]. Needs CAP_NET_ADMIN
    /// and `/dev/net/tun`.
    ///
    /// # Errors
    /// The call that failed; `EBUSY` where the index is taken.
    pub fn make(index: u32, prefix: &str) -> Result<Self, KernelError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(CONTROL)
            .map_err(failed(Self::OPEN))?;
        // SAFETY: all zeroes is a valid request.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The kernel puts a number for the pattern.
        let pattern = format!("{prefix}%d");
        for (to, from) in request.ifr_name.iter_mut().take(15).zip(pattern.bytes()) {
            *to = from as libc::c_char;
        }
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        let fd = file.as_raw_fd();
        // SAFETY: the descriptor is open and the pointers are to what these calls read.
        unsafe {
            tun_set_ifindex(fd, &index).map_err(failed("ioctl TUNSETIFINDEX"))?;
            tun_set_iff(fd, &request).map_err(failed("ioctl TUNSETIFF"))?;
            tun_set_offload(fd, (OFFLOADS | UDP_OFFLOADS).into())
                .or_else(|_| tun_set_offload(fd, OFFLOADS.into()))
                .map_err(failed("ioctl TUNSETOFFLOAD"))?;
        }
        Ok(Self { file, index })
    }

    /// Lets frames through, in the network namespace that it was made in; `alias` says more of it to
    /// people. The kernel keeps up to `queue` frames for the reader.
    pub fn set_up(&self, alias: &str, queue: u32) -> Result<(), KernelError> {
        let attributes =
            vec![LinkAttribute::IfAlias(alias.to_owned()), LinkAttribute::TxQueueLen(queue)];
        Rtnetlink::new()
            .and_then(|mut rtnetlink| device::set_up(&mut rtnetlink, self.index, attributes))
            .map_err(failed("set up the TAP device"))
    }

    /// The next frame behind its `virtio_net_hdr`, or `None` where there is none now.
    ///
    /// # Errors
    /// `EBADFD` when somebody took the device away, or its network namespace is gone.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match read(&self.file, buffer) {
            Ok(length) => Ok(Some(length)),
            Err(nix::errno::Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Lets a frame arrive at the device, behind its `virtio_net_hdr`. When this returns, programs
    /// at the device have been asked about it.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        write(&self.file, frame)?;
        Ok(())
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn failed<E: Into<io::Error>>(call: &'static str) -> impl Fn(E) -> KernelError {
    move |error| KernelError::Call { call, source: error.into() }
}
