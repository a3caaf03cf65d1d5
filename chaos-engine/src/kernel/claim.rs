//! What this process says of a target that it arms to other processes of the machine: a map of bpf(2)
//! that no program uses. It has a name and a number by which others find it, and goes when the
//! descriptor is closed, so with the process, however that ends.
//!
//! Making one takes the rights that arming takes. Finding those of others takes CAP_SYS_ADMIN
//! (`BPF_MAP_GET_NEXT_ID`, `BPF_MAP_GET_FD_BY_ID`).

use std::sync::Once;

use aya::{
    Pod,
    maps::{Array, Map, MapData, MapError, loaded_maps},
};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;

use super::KernelError;

/// The map's name; the kernel keeps 15 bytes.
const NAME: &str = "chaos_claim";

/// What aya calls the call that finds the maps.
const FIND: &str = "bpf_map_get_next_id";

/// Longest text of a claim, in bytes.
pub const CLAIM_BYTES: usize = 8 * 1024;

/// The map's only element.
#[repr(C)]
#[derive(Clone, Copy)]
struct Record {
    /// The boot-clock moment (ns) from which on it says nothing any more.
    until: u64,
    length: u32,
    /// 1: what it speaks of is armed; 0: it is about to be.
    settled: u32,
    text: [u8; CLAIM_BYTES],
}

// SAFETY: repr(C), integers only, no implicit padding, every bit pattern valid.
unsafe impl Pod for Record {}

/// A claim that others see for as long as this value lives, and until its moment.
pub struct PublishedClaim {
    map: Array<MapData, Record>,
    record: Box<Record>,
}

/// A claim of any process of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundClaim {
    pub text: String,
    /// What it speaks of is armed; otherwise it is about to be.
    pub settled: bool,
    /// The boot-clock moment (ns) from which on it says nothing any more.
    pub until: u64,
}

impl PublishedClaim {
    /// Publishes a text that is not longer than [`CLAIM_BYTES`]; what is longer is cut.
    pub fn publish(text: &str, until: u64) -> Result<Self, KernelError> {
        let text = &text.as_bytes()[..text.len().min(CLAIM_BYTES)];
        let mut record = Box::new(Record {
            until,
            length: text.len() as u32,
            settled: 0,
            text: [0; CLAIM_BYTES],
        });
        record.text[..text.len()].copy_from_slice(text);
        let (key, value) = (size_of::<u32>() as u32, size_of::<Record>() as u32);
        let map = aya_obj::Map::new_from_params(BPF_MAP_TYPE_ARRAY as u32, key, value, 1, 0);
        let map = MapData::create(map, NAME, None).map_err(failed("create"))?;
        let map = Array::try_from(Map::Array(map)).map_err(failed("open"))?;
        let mut published = Self { map, record };
        published.write()?;
        Ok(published)
    }

    /// Says that what it speaks of is armed.
    pub fn settle(&mut self) -> Result<(), KernelError> {
        self.record.settled = 1;
        self.write()
    }

    /// Lets it hold until this boot-clock moment (ns).
    pub fn renew(&mut self, until: u64) -> Result<(), KernelError> {
        self.record.until = until;
        self.write()
    }

    fn write(&mut self) -> Result<(), KernelError> {
        self.map.set(0, &*self.record, 0).map_err(failed("update"))
    }
}

/// The claims of all processes of the machine, this one's too. One that is being made just now has no
/// text yet, and is there all the same.
///
/// Maps that this process may not open, as a security module says so, are passed over.
///
/// # Errors
/// Where this process may not look at all (CAP_SYS_ADMIN).
pub fn published_claims() -> Result<Vec<FoundClaim>, KernelError> {
    let mut found = Vec::new();
    for info in loaded_maps() {
        let info = match info {
            Ok(info) => info,
            Err(error) if is_gone(&error) => continue,
            Err(error) if is_kept_from_us(&error) => {
                warn_of(&error);
                continue;
            }
            Err(error) => return Err(failed("find")(error)),
        };
        if info.name() != NAME.as_bytes() || info.value_size() as usize != size_of::<Record>() {
            continue;
        }
        match read(info.id()) {
            Ok(claim) => found.push(claim),
            Err(error) if is_gone(&error) => {}
            Err(error) if is_kept_from_us(&error) => warn_of(&error),
            Err(error) => return Err(failed("read")(error)),
        }
    }
    Ok(found)
}

fn read(id: u32) -> Result<FoundClaim, MapError> {
    let map: Array<MapData, Record> = Array::try_from(Map::Array(MapData::from_id(id)?))?;
    let Record { until, length, settled, text } = map.get(&0, 0)?;
    let text = &text[..(length as usize).min(CLAIM_BYTES)];
    let text = String::from_utf8_lossy(text).into_owned();
    Ok(FoundClaim { text, settled: settled != 0, until })
}

/// Whether a map went between being found and being looked at.
fn is_gone(error: &MapError) -> bool {
    match error {
        MapError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::ENOENT),
        _ => false,
    }
}

/// Whether one map may not be opened, where others may be looked for.
fn is_kept_from_us(error: &MapError) -> bool {
    match error {
        MapError::SyscallError(error) => {
            let errno = error.io_error.raw_os_error();
            error.call != FIND && matches!(errno, Some(libc::EPERM | libc::EACCES))
        }
        _ => false,
    }
}

fn warn_of(error: &MapError) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            %error,
            "a map of bpf(2) may not be opened; if it is another process's claim, that is not heeded"
        );
    });
}

fn failed(call: &'static str) -> impl Fn(MapError) -> KernelError {
    move |source| KernelError::Map { call, map: NAME, source }
}

#[cfg(test)]
mod tests {
    use std::io;

    use aya::sys::SyscallError;

    use super::*;

    fn error(call: &'static str, errno: i32) -> MapError {
        SyscallError { call, io_error: io::Error::from_raw_os_error(errno) }.into()
    }

    #[test]
    fn one_map_that_may_not_be_opened_hides_no_other() {
        assert!(is_kept_from_us(&error("bpf_map_get_fd_by_id", libc::EPERM)));
        assert!(is_kept_from_us(&error("bpf_map_get_fd_by_id", libc::EACCES)));
        assert!(!is_kept_from_us(&error("bpf_map_get_fd_by_id", libc::ENOMEM)));
        assert!(is_gone(&error("bpf_map_get_fd_by_id", libc::ENOENT)));
        // Whoever may not look for them sees none.
        assert!(!is_kept_from_us(&error(FIND, libc::EPERM)));
        if let Some(Err(error)) = loaded_maps().next() {
            assert!(!is_kept_from_us(&error), "{error}");
        }
    }
}
