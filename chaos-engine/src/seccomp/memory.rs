//! The memory of another process.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt,
};

use nix::{
    errno::Errno,
    sys::uio::{RemoteIoVec, process_vm_readv},
    unistd::Pid,
};

/// Reads what the thread has at an address, as far as it is there: how many bytes that were. Needs
/// CAP_SYS_PTRACE over the process.
///
/// # Errors
/// When the process is gone or may not be looked at, or has nothing at the address.
pub fn read(thread: i32, address: usize, into: &mut [u8]) -> io::Result<usize> {
    let remote = [RemoteIoVec { base: address, len: into.len() }];
    match process_vm_readv(Pid::from_raw(thread), &mut [IoSliceMut::new(into)], &remote) {
        // A kernel without CONFIG_CROSS_MEMORY_ATTACH; slower, as the file is opened each time.
        Err(Errno::ENOSYS) => read_file(thread, address, into),
        read => Ok(read?),
    }
}

fn read_file(thread: i32, address: usize, into: &mut [u8]) -> io::Result<usize> {
    File::open(format!("/proc/{thread}/mem"))?.read_at(into, address as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_by_call_and_by_file_and_nothing_is_an_error() {
        let here = nix::unistd::gettid().as_raw();
        let text = *b"some bytes of this process";
        for read in [read, read_file] {
            let mut copy = [0; 26];
            assert_eq!(read(here, (&raw const text).addr(), &mut copy).unwrap(), copy.len());
            assert_eq!(copy, text);
            assert!(read(here, 8, &mut copy).is_err());
            // Beyond what the kernel numbers threads with (PID_MAX_LIMIT, 2^22).
            assert!(read(4_194_305, (&raw const text).addr(), &mut copy).is_err());
        }
    }
}
