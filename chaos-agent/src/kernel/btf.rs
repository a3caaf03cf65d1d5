//! The kernel's own type information: which functions there are to attach to.
//!
//! Read here because `aya_obj` looks single names up and can't list them.
//! <https://docs.kernel.org/bpf/btf.html>

use std::{collections::BTreeMap, fs, io, path::Path};

const PATH: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
/// Bytes of `struct btf_type`.
const TYPE_BYTES: usize = 12;
const KIND_FUNC: u32 = 12;
const KIND_STRUCT: u32 = 4;
/// Bytes of `struct btf_member`.
const MEMBER_BYTES: usize = 12;

/// Functions that programs of ours may be attached to: entries of system calls, and security
/// functions.
const PREFIXES: [&str; 3] = ["__x64_sys_", "__ia32_", "security_"];

/// What is known of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Functions {
    /// BTF ids by name.
    ids: BTreeMap<String, u32>,
    /// Offset in bytes of `task_struct.real_cred`, where `cred` comes right behind it.
    credentials: Option<u32>,
}

impl Functions {
    /// Those of the running kernel (5.2, CONFIG_DEBUG_INFO_BTF).
    pub(super) fn of_the_kernel() -> io::Result<Self> {
        let bytes = fs::read(Path::new(PATH))
            .map_err(|error| io::Error::new(error.kind(), format!("read {PATH}: {error}")))?;
        scan(&bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{PATH} is not BTF")))
    }

    pub(super) fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub(super) fn credentials(&self) -> Option<u32> {
        self.credentials
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.ids.keys().map(String::as_str)
    }
}

/// Walks the types; `None` where something is not as it ought to be.
fn scan(bytes: &[u8]) -> Option<Functions> {
    if u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) != MAGIC {
        return None;
    }
    let [header, types, types_length, strings, strings_length] =
        [4, 8, 12, 16, 20].map(|at| word(bytes, at));
    let body = bytes.get(header? as usize..)?;
    let part = |from: u32, length: u32| body.get(from as usize..from.checked_add(length)? as usize);
    let types = part(types?, types_length?)?;
    let strings = part(strings?, strings_length?)?;
    let text =
        |at: u32| str::from_utf8(strings.get(at as usize..)?.split(|byte| *byte == 0).next()?).ok();
    let mut functions = Functions::default();
    let mut at = 0;
    // Id 0 is `void`, which is not in the list.
    for id in 1.. {
        if at == types.len() {
            break;
        }
        let (name, info) = (word(types, at)?, word(types, at + 4)?);
        let kind = info >> 24 & 0x1f;
        if kind == KIND_FUNC {
            let name = text(name)?;
            if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                functions.ids.insert(name.to_owned(), id);
            }
        } else if kind == KIND_STRUCT && text(name)? == "task_struct" {
            let members = (0..(info & 0xffff) as usize).map(|member| {
                let member = at + TYPE_BYTES + member * MEMBER_BYTES;
                // Bits; the flag of structs with bit fields keeps their size in the upper byte.
                let bits = word(types, member + 8)? & 0xff_ffff;
                Some((text(word(types, member)?)?, bits / 8))
            });
            let members = members.collect::<Option<BTreeMap<&str, u32>>>()?;
            functions.credentials = members
                .get("real_cred")
                .filter(|at| members.get("cred") == Some(&(*at + 8)))
                .copied();
        }
        at += TYPE_BYTES + tail(kind, (info & 0xffff) as usize)?;
    }
    Some(functions)
}

/// Bytes that follow a type of this kind with this many members.
fn tail(kind: u32, members: usize) -> Option<usize> {
    Some(match kind {
        // Pointers, forwards, qualifiers, functions, floats, type tags.
        2 | 7..=12 | 16 | 18 => 0,
        // Integers, variables, declaration tags.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Structs, unions, sections, 64-bit enums.
        4 | 5 | 15 | 19 => members * 12,
        // Enums, prototypes.
        6 | 13 => members * 8,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, `int`, `task_struct`, and two functions.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0__x64_sys_read\0vfs_read\0task_struct\0real_cred\0cred\0".to_vec();
        let at = |name: &[u8]| {
            let place = strings.windows(name.len()).position(|window| window == name).unwrap();
            u32::try_from(place + 1).unwrap()
        };
        let mut types: Vec<u32> = vec![at(b"\0int"), 1 << 24, 4, 0x20];
        types.extend([at(b"\0task_struct"), 4 << 24 | 2, 16]);
        types.extend([at(b"\0real_cred"), 1, 64, at(b"\0cred"), 1, 128]);
        types.extend([at(b"\0__x64"), 12 << 24, 2]);
        types.extend([at(b"\0vfs"), 12 << 24, 2]);
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let length = |part: &[u8]| u32::try_from(part.len()).unwrap();
        let header = [24, 0, length(&types), length(&types), length(&strings)];
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        bytes.extend(header.into_iter().flat_map(u32::to_ne_bytes));
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn functions_have_the_ids_of_their_places() {
        let ids = BTreeMap::from([("__x64_sys_read".to_owned(), 3)]);
        assert_eq!(scan(&sample()), Some(Functions { ids, credentials: Some(8) }));
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_refused() {
        let whole = sample();
        assert_eq!(scan(b"\x7fELF"), None);
        for length in 0..whole.len() {
            assert_eq!(scan(&whole[..length]), None, "{length}");
        }
    }
}
