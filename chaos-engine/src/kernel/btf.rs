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
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
/// Bytes of `struct btf_member`, and of `struct btf_enum`.
const MEMBER_BYTES: usize = 12;
const ENUMERATOR_BYTES: usize = 8;

/// Functions that programs of ours may be attached to: entries of system calls, and security
/// functions.
const PREFIXES: [&str; 5] = ["__x64_sys_", "__ia32_", "__do_sys_", "security_", "bpf_lsm_"];

/// Structs that [`Offsets`], [`SocketOffsets`] and [`LayerOffsets`] are taken from.
const STRUCTS: [&str; 13] = [
    "task_struct",
    "files_struct",
    "fdtable",
    "file",
    "inode",
    "super_block",
    "sock_common",
    "sock",
    "cgroup",
    "kernfs_node",
    "sk_buff",
    "dst_entry",
    "net_device",
];

/// The flags of an interface that the kernel keeps to itself, and those of them by which it knows ports: what
/// arrives at one goes to the bridge, the team, the virtual switch or the failover device above it.
const PRIVATE_FLAGS: &str = "netdev_priv_flags";
const PORTS: [&str; 4] =
    ["IFF_BRIDGE_PORT", "IFF_TEAM_PORT", "IFF_OVS_DATAPATH", "IFF_FAILOVER_SLAVE"];
/// What they are in kernels 5.10 to 7.2. Where the flags take more than 32 bits, as in 6.1, the kernel's type
/// information does not have their names.
const UNNAMED_PORTS: u32 = 0x1000_2600;

/// What is known of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Functions {
    /// BTF ids by name.
    ids: BTreeMap<String, u32>,
    /// Missing where a field is not where we know it.
    offsets: Option<Offsets>,
    /// As above.
    sockets: Option<SocketOffsets>,
    /// As above.
    layers: Option<LayerOffsets>,
}

/// Where structs have the fields that programs read, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offsets {
    /// `task_struct.real_cred`, with `cred` right behind it.
    pub(super) task_credentials: u32,
    pub(super) task_files: u32,
    pub(super) files_table: u32,
    pub(super) table_size: u32,
    pub(super) table_files: u32,
    pub(super) file_path: u32,
    pub(super) file_inode: u32,
    pub(super) inode_number: u32,
    pub(super) inode_super: u32,
    pub(super) super_device: u32,
}

/// Where structs have the fields that say whose a socket is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SocketOffsets {
    pub(super) socket_state: u32,
    pub(super) socket_listener: u32,
    /// `sock.sk_cgrp_data`, which begins with the cgroup.
    pub(super) socket_cgroup: u32,
    /// `sock.sk_kern_sock`, in bits.
    pub(super) socket_kernel: u32,
    pub(super) cgroup_level: u32,
    pub(super) cgroup_ancestors: u32,
    /// Whether that is a list of ids, as before 6.1, or of cgroups.
    pub(super) ancestors_are_ids: bool,
    pub(super) cgroup_node: u32,
    pub(super) node_id: u32,
}

/// Where structs have the fields that say which interface a frame is at, and what is above that, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LayerOffsets {
    pub(super) frame_device: u32,
    pub(super) frame_socket: u32,
    pub(super) frame_route: u32,
    pub(super) frame_inner: u32,
    pub(super) route_device: u32,
    pub(super) socket_family: u32,
    /// `net_device.adj_list`, which begins with the list of those above.
    pub(super) device_above: u32,
    pub(super) device_flags: u32,
    pub(super) device_private_flags: u32,
    /// Those of the private flags that ports have.
    pub(super) port_flags: u32,
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

    pub(super) fn offsets(&self) -> Option<Offsets> {
        self.offsets
    }

    pub(super) fn sockets(&self) -> Option<SocketOffsets> {
        self.sockets
    }

    pub(super) fn layers(&self) -> Option<LayerOffsets> {
        self.layers
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
    let mut btf = Btf {
        types: part(types?, types_length?)?,
        strings: part(strings?, strings_length?)?,
        starts: Vec::new(),
    };
    let mut at = 0;
    while at < btf.types.len() {
        btf.starts.push(at);
        let info = word(btf.types, at + 4)?;
        at += TYPE_BYTES + tail(kind(info), members(info))?;
    }
    if at > btf.types.len() {
        return None;
    }
    let mut functions = Functions::default();
    let mut structs = BTreeMap::new();
    let mut port_flags = Some(UNNAMED_PORTS);
    // Id 0 is `void`, which is not in the list.
    for (id, at) in (1..).zip(&btf.starts) {
        let name = btf.text(word(btf.types, *at)?)?;
        match kind(word(btf.types, at + 4)?) {
            KIND_FUNC if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) => {
                functions.ids.insert(name.to_owned(), id);
            }
            KIND_STRUCT if STRUCTS.contains(&name) => {
                structs.insert(name, id);
            }
            KIND_ENUM if name == PRIVATE_FLAGS => port_flags = btf.flags(*at, &PORTS),
            _ => {}
        }
    }
    functions.offsets = btf.offsets(&structs);
    functions.sockets = btf.socket_offsets(&structs);
    functions.layers = port_flags.and_then(|flags| btf.layer_offsets(&structs, flags));
    Some(functions)
}

struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins; that of id 1 is the first.
    starts: Vec<usize>,
}

impl<'a> Btf<'a> {
    fn text(&self, at: u32) -> Option<&'a str> {
        str::from_utf8(self.strings.get(at as usize..)?.split(|byte| *byte == 0).next()?).ok()
    }

    fn offsets(&self, structs: &BTreeMap<&str, u32>) -> Option<Offsets> {
        let field = |of: &str, name: &str| Some(self.field(*structs.get(of)?, name)? / 8);
        let task_credentials = field("task_struct", "real_cred")?;
        if field("task_struct", "cred")? != task_credentials + 8 {
            return None;
        }
        Some(Offsets {
            task_credentials,
            task_files: field("task_struct", "files")?,
            files_table: field("files_struct", "fdt")?,
            table_size: field("fdtable", "max_fds")?,
            table_files: field("fdtable", "fd")?,
            file_path: field("file", "f_path")?,
            file_inode: field("file", "f_inode")?,
            inode_number: field("inode", "i_ino")?,
            inode_super: field("inode", "i_sb")?,
            super_device: field("super_block", "s_dev")?,
        })
    }

    fn socket_offsets(&self, structs: &BTreeMap<&str, u32>) -> Option<SocketOffsets> {
        let bits = |of: &str, name: &str| self.field(*structs.get(of)?, name);
        let field = |of: &str, name: &str| Some(bits(of, name)? / 8);
        let ids = field("cgroup", "ancestor_ids");
        Some(SocketOffsets {
            // A socket begins with what it has in common with others.
            socket_state: field("sock_common", "skc_state")?,
            socket_listener: field("sock_common", "skc_listener")?,
            socket_cgroup: field("sock", "sk_cgrp_data")?,
            socket_kernel: bits("sock", "sk_kern_sock")?,
            cgroup_level: field("cgroup", "level")?,
            cgroup_ancestors: ids.or_else(|| field("cgroup", "ancestors"))?,
            ancestors_are_ids: ids.is_some(),
            cgroup_node: field("cgroup", "kn")?,
            node_id: field("kernfs_node", "id")?,
        })
    }

    fn layer_offsets(
        &self,
        structs: &BTreeMap<&str, u32>,
        port_flags: u32,
    ) -> Option<LayerOffsets> {
        let field = |of: &str, name: &str| Some(self.field(*structs.get(of)?, name)? / 8);
        Some(LayerOffsets {
            frame_device: field("sk_buff", "dev")?,
            frame_socket: field("sk_buff", "sk")?,
            frame_route: field("sk_buff", "_skb_refdst")?,
            frame_inner: field("sk_buff", "inner_protocol")?,
            route_device: field("dst_entry", "dev")?,
            socket_family: field("sock_common", "skc_family")?,
            device_above: field("net_device", "adj_list")?,
            device_flags: field("net_device", "flags")?,
            device_private_flags: field("net_device", "priv_flags")?,
            port_flags,
        })
    }

    /// These constants of the enumeration that begins here, together; `None` where it lacks one.
    fn flags(&self, start: usize, names: &[&str]) -> Option<u32> {
        let constants = (0..members(word(self.types, start + 4)?))
            .map(|member| {
                let constant = start + TYPE_BYTES + member * ENUMERATOR_BYTES;
                Some((self.text(word(self.types, constant)?)?, word(self.types, constant + 4)?))
            })
            .collect::<Option<BTreeMap<_, _>>>()?;
        names.iter().try_fold(0, |flags, name| Some(flags | constants.get(name)?))
    }

    /// Where a struct has a field, in bits; also one of an unnamed struct or union inside of it.
    fn field(&self, id: u32, name: &str) -> Option<u32> {
        let start = *self.starts.get(id.checked_sub(1)? as usize)?;
        let info = word(self.types, start + 4)?;
        if !matches!(kind(info), KIND_STRUCT | KIND_UNION) {
            return None;
        }
        (0..members(info)).find_map(|member| {
            let member = start + TYPE_BYTES + member * MEMBER_BYTES;
            // The flag of structs with bit fields keeps their size in the upper byte.
            let offset = word(self.types, member + 8)? & 0xff_ffff;
            match self.text(word(self.types, member)?)? {
                "" => Some(offset + self.field(word(self.types, member + 4)?, name)?),
                found => (found == name).then_some(offset),
            }
        })
    }
}

fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

fn members(info: u32) -> usize {
    (info & 0xffff) as usize
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

    const STRINGS: &[u8] =
        b"\0int\0__x64_sys_read\0vfs_read\0task_struct\0real_cred\0cred\0files\0\
        files_struct\0fdt\0fdtable\0max_fds\0fd\0file\0f_path\0f_inode\0inode\0i_ino\0i_sb\0\
        super_block\0s_dev\0\
        sock_common\0skc_state\0skc_listener\0sock\0sk_cgrp_data\0\
        cgroup\0level\0ancestors\0kn\0kernfs_node\0id\0sk_kern_sock\0skc_family\0\
        sk_buff\0dev\0sk\0_skb_refdst\0inner_protocol\0dst_entry\0\
        net_device\0flags\0priv_flags\0adj_list\0\
        netdev_priv_flags\0IFF_EBRIDGE\0IFF_BRIDGE_PORT\0IFF_TEAM_PORT\0IFF_OVS_DATAPATH\0\
        IFF_FAILOVER_SLAVE\0";

    fn string(name: &str) -> u32 {
        let name = [b"\0", name.as_bytes(), b"\0"].concat();
        let at = STRINGS.windows(name.len()).position(|window| window == name).unwrap();
        u32::try_from(at + 1).unwrap()
    }

    fn structure(types: &mut Vec<u32>, name: u32, fields: &[(u32, u32, u32)]) {
        types.extend([name, 4 << 24 | u32::try_from(fields.len()).unwrap(), 64]);
        types.extend(fields.iter().flat_map(|(name, kind, bytes)| [*name, *kind, bytes * 8]));
    }

    /// A header, `int`, two functions, and structs; the path of a file is in an unnamed one.
    fn sample() -> Vec<u8> {
        let mut types = vec![string("int"), 1 << 24, 4, 0x20];
        types.extend([string("__x64_sys_read"), 12 << 24, 2]);
        types.extend([string("vfs_read"), 12 << 24, 2]);
        let task = [(string("real_cred"), 1, 8), (string("cred"), 1, 16), (string("files"), 1, 32)];
        structure(&mut types, string("task_struct"), &task);
        structure(&mut types, string("files_struct"), &[(string("fdt"), 1, 48)]);
        let table = [(string("max_fds"), 1, 0), (string("fd"), 1, 8)];
        structure(&mut types, string("fdtable"), &table);
        structure(&mut types, 0, &[(string("f_path"), 1, 4)]);
        structure(&mut types, string("file"), &[(string("f_inode"), 1, 0), (0, 7, 32)]);
        structure(
            &mut types,
            string("inode"),
            &[(string("i_ino"), 1, 24), (string("i_sb"), 1, 40)],
        );
        structure(&mut types, string("super_block"), &[(string("s_dev"), 1, 12)]);
        let common = [
            (string("skc_family"), 1, 16),
            (string("skc_state"), 1, 18),
            (string("skc_listener"), 1, 96),
        ];
        structure(&mut types, string("sock_common"), &common);
        let socket = [(string("sk_kern_sock"), 1, 500), (string("sk_cgrp_data"), 1, 600)];
        structure(&mut types, string("sock"), &socket);
        let cgroup =
            [(string("level"), 1, 112), (string("kn"), 1, 120), (string("ancestors"), 1, 800)];
        structure(&mut types, string("cgroup"), &cgroup);
        structure(&mut types, string("kernfs_node"), &[(string("id"), 1, 88)]);
        let frame = [
            (string("dev"), 1, 16),
            (string("sk"), 1, 24),
            (string("_skb_refdst"), 1, 64),
            (string("inner_protocol"), 1, 160),
        ];
        structure(&mut types, string("sk_buff"), &frame);
        structure(&mut types, string("dst_entry"), &[(string("dev"), 1, 0)]);
        let device =
            [(string("priv_flags"), 1, 0), (string("flags"), 1, 176), (string("adj_list"), 1, 416)];
        structure(&mut types, string("net_device"), &device);
        let flags = [
            ("IFF_EBRIDGE", 2),
            ("IFF_BRIDGE_PORT", 0x200),
            ("IFF_OVS_DATAPATH", 0x400),
            ("IFF_TEAM_PORT", 0x2000),
            ("IFF_FAILOVER_SLAVE", 0x1000_0000),
        ];
        types.extend([string("netdev_priv_flags"), 6 << 24 | flags.len() as u32, 4]);
        types.extend(flags.into_iter().flat_map(|(name, value)| [string(name), value]));
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let length = |part: &[u8]| u32::try_from(part.len()).unwrap();
        let header = [24, 0, length(&types), length(&types), length(STRINGS)];
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        bytes.extend(header.into_iter().flat_map(u32::to_ne_bytes));
        bytes.extend(types);
        bytes.extend(STRINGS);
        bytes
    }

    #[test]
    fn functions_have_the_ids_of_their_places_and_fields_their_offsets() {
        let ids = BTreeMap::from([("__x64_sys_read".to_owned(), 2)]);
        let offsets = Offsets {
            task_credentials: 8,
            task_files: 32,
            files_table: 48,
            table_size: 0,
            table_files: 8,
            file_path: 36,
            file_inode: 0,
            inode_number: 24,
            inode_super: 40,
            super_device: 12,
        };
        let sockets = Some(SocketOffsets {
            socket_state: 18,
            socket_listener: 96,
            socket_cgroup: 600,
            socket_kernel: 4000,
            cgroup_level: 112,
            cgroup_ancestors: 800,
            ancestors_are_ids: false,
            cgroup_node: 120,
            node_id: 88,
        });
        let offsets = Some(offsets);
        let layers = Some(LayerOffsets {
            frame_device: 16,
            frame_socket: 24,
            frame_route: 64,
            frame_inner: 160,
            route_device: 0,
            socket_family: 16,
            device_above: 416,
            device_flags: 176,
            device_private_flags: 0,
            port_flags: 0x1000_2600,
        });
        assert_eq!(scan(&sample()), Some(Functions { ids, offsets, sockets, layers }));
    }

    #[test]
    fn flags_of_ports_are_known_without_their_names() {
        let (named, unnamed) = (sample(), sample());
        let name = b"netdev_priv_flags";
        let at = unnamed.windows(name.len()).position(|window| window == name).unwrap();
        let unnamed = [&unnamed[..at], b"other", &unnamed[at + 5..]].concat();
        let layers = scan(&named).unwrap().layers;
        assert!(layers.is_some());
        assert_eq!(scan(&unnamed).unwrap().layers, layers);
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
