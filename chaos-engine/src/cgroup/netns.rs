//! The network namespaces that a target's processes live in.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
    thread,
};

use nix::{
    errno::Errno,
    getsockopt_impl,
    ifaddrs::getifaddrs,
    net::if_::{InterfaceFlags, if_nameindex},
    sched::{CloneFlags, setns, unshare},
    sockopt_impl,
    sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socket, sockopt::GetStruct},
};

use super::{Cgroup, CgroupRoot, TargetError, user_namespace};

/// A network namespace, held open: it lives as long as this value.
#[derive(Debug)]
pub struct NetNs {
    file: File,
    id: NetNsId,
}

/// What tells network namespaces apart (namespaces(7), "The /proc/pid/ns/ directory").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct NetNsId {
    device: u64,
    inode: u64,
}

/// Tells a network namespace from every other one that the machine has had since it booted, so that
/// one that is gone is not taken for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NetNsKey {
    /// Never given out again (`SO_NETNS_COOKIE`, kernel 5.14).
    Cookie(u64),
    /// Before 5.14. The kernel gives it out again as soon as the namespace is gone: it is a key for
    /// as long as somebody keeps the namespace, as a filter of ours or a TAP device does.
    Inode(u64),
}

/// `SO_NETNS_COOKIE` (`include/uapi/asm-generic/socket.h`).
const SO_NETNS_COOKIE: libc::c_int = 71;

sockopt_impl!(
    /// The cookie of the network namespace that a socket is in.
    NetNsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    SO_NETNS_COOKIE,
    u64,
    GetStruct<u64>
);

/// Namespaces that are looked at, where nobody says how many.
const MANY: usize = 64;

/// A namespace of a target.
#[derive(Debug)]
pub struct FoundNetNs {
    pub namespace: NetNs,
    /// It belongs to a user namespace deeper than that of another namespace of the target: a process of
    /// the target has made it, which needs no rights.
    pub is_inner: bool,
}

/// Those that were looked for.
#[derive(Debug)]
pub struct FoundNetNss {
    /// The outermost first.
    pub namespaces: Vec<FoundNetNs>,
    /// How many more there are.
    pub left_out: usize,
}

/// A network interface, seen from inside its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    pub is_loopback: bool,
    pub is_up: bool,
}

impl NetNs {
    /// The namespace of the calling process's main thread.
    pub fn own() -> Result<Self, TargetError> {
        Self::open(Path::new("/proc/self/ns/net"))
    }

    /// A new one, with nothing in it but a loopback that is down. Needs CAP_SYS_ADMIN.
    pub fn make() -> Result<Self, TargetError> {
        let object = "a network namespace";
        let thread = thread::Builder::new()
            .name("new-netns".to_owned())
            .spawn(move || {
                unshare(CloneFlags::CLONE_NEWNET)
                    .map_err(|errno| TargetError::io("unshare", object, errno))?;
                Self::open(Path::new("/proc/thread-self/ns/net"))
            })
            .map_err(|error| TargetError::io("start a thread for", object, error))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The distinct namespaces of all threads in a cgroup's subtree: one for a pod, more where a
    /// process has made one of its own; no more than the 64 outermost. Needs the right to look at those
    /// processes (CAP_SYS_PTRACE over them).
    pub fn of_cgroup(root: &CgroupRoot, cgroup: &Cgroup) -> Result<Vec<Self>, TargetError> {
        let found = Self::outermost(root, cgroup, MANY, &|_| false)?;
        Ok(found.namespaces.into_iter().map(|found| found.namespace).collect())
    }

    /// The same, at most `most`: outermost first, then those with an inode that is `known`, in the order
    /// of the processes.
    pub fn outermost(
        root: &CgroupRoot,
        cgroup: &Cgroup,
        most: usize,
        known: &dyn Fn(u64) -> bool,
    ) -> Result<FoundNetNss, TargetError> {
        let mut seen = BTreeSet::new();
        let mut found = BTreeMap::new();
        for pid in cgroup.processes()? {
            for tid in root.proc.tasks(pid) {
                let path = root.proc.task_namespace(pid, tid, "net");
                match Self::open_unseen(&path, &mut seen) {
                    Ok(Some(namespace)) => {
                        let depth = user_namespace::depth(namespace.as_fd());
                        let is_new = !known(namespace.inode());
                        found.insert((depth, is_new, seen.len()), namespace);
                        if found.len() > most {
                            found.pop_last();
                        }
                    }
                    Ok(None) => {}
                    Err(TargetError::Io { source, .. }) if has_ended(&source) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let outermost = found.keys().next().map_or(0, |(depth, ..)| *depth);
        let left_out = seen.len() - found.len();
        let namespaces = found
            .into_iter()
            .map(|((depth, ..), namespace)| FoundNetNs { namespace, is_inner: depth > outermost })
            .collect();
        Ok(FoundNetNss { namespaces, left_out })
    }

    /// The distinct namespaces of all processes that may be looked at. One that only a file stands
    /// for (ip-netns(8)) is not among them.
    pub fn all(root: &CgroupRoot) -> Result<Vec<Self>, TargetError> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for pid in root.proc.processes()? {
            // Processes end while we look, and some belong to others.
            let path = root.proc.task_namespace(pid, pid, "net");
            found.extend(Self::open_unseen(&path, &mut seen).ok().flatten());
        }
        Ok(found)
    }

    /// The number in `net:[4026531840]`, as `ls -l /proc/PID/ns` and `lsns` print it.
    pub fn inode(&self) -> u64 {
        self.id.inode
    }

    /// The key of this namespace, which the calling thread has to be in.
    ///
    /// # Errors
    /// When no socket can be opened.
    pub fn key_from_inside(&self) -> Result<NetNsKey, TargetError> {
        let failed = |call| {
            move |errno: Errno| {
                TargetError::io(call, format!("network namespace {}", self.inode()), errno)
            }
        };
        // Every kernel has this family, and every socket is in a network namespace.
        let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
            .map_err(failed("open a socket in"))?;
        match getsockopt(&socket, NetNsCookie) {
            Ok(cookie) => Ok(NetNsKey::Cookie(cookie)),
            Err(Errno::ENOPROTOOPT) => Ok(NetNsKey::Inode(self.inode())),
            Err(errno) => Err(failed("ask for the cookie of")(errno)),
        }
    }

    /// Whether this is the host's network, which other targets and the node itself share: the
    /// namespace of process 1, or, where that may not be looked at, of the agent.
    pub fn is_host(&self, root: &CgroupRoot) -> Result<bool, TargetError> {
        match identify(&root.proc.task_namespace(1, 1, "net")) {
            Ok(host) => Ok(host == self.id),
            Err(_) => Ok(Self::own()?.id == self.id),
        }
    }

    /// Runs `work` in a thread of its own inside the namespace, and waits for it. Sockets that
    /// it opens stay in the namespace; `/sys` still shows the agent's. Needs CAP_SYS_ADMIN.
    ///
    /// It blocks: from async code, call it where blocking is allowed. A panic of `work` goes on
    /// in the caller.
    pub fn enter_in_thread<T: Send>(
        &self,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, TargetError> {
        let object = || format!("network namespace {}", self.inode());
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("in-netns".to_owned())
                .spawn_scoped(scope, || {
                    setns(&self.file, CloneFlags::CLONE_NEWNET)?;
                    Ok(work())
                })
                .map_err(|error| TargetError::io("start a thread for", object(), error))?;
            match thread.join() {
                Ok(result) => {
                    result.map_err(|errno: Errno| TargetError::io("enter", object(), errno))
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// The interfaces in the namespace, by index.
    pub fn interfaces(&self) -> Result<Vec<Interface>, TargetError> {
        self.enter_in_thread(interfaces_here)?.map_err(|errno| {
            TargetError::io(
                "list the interfaces of",
                format!("network namespace {}", self.inode()),
                errno,
            )
        })
    }

    fn open(path: &Path) -> Result<Self, TargetError> {
        let file = File::open(path).map_err(|error| TargetError::io("open", path, error))?;
        let metadata = file.metadata().map_err(|error| TargetError::io("stat", path, error))?;
        Ok(Self { file, id: NetNsId::of(&metadata) })
    }

    fn open_unseen(path: &Path, seen: &mut BTreeSet<NetNsId>) -> Result<Option<Self>, TargetError> {
        if seen.contains(&identify(path)?) {
            return Ok(None);
        }
        // By what was opened, not by what was there a moment before.
        let namespace = Self::open(path)?;
        Ok(seen.insert(namespace.id).then_some(namespace))
    }
}

impl NetNsId {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl PartialEq for NetNs {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for NetNs {}

fn identify(path: &Path) -> Result<NetNsId, TargetError> {
    let metadata = fs::metadata(path).map_err(|error| TargetError::io("stat", path, error))?;
    Ok(NetNsId::of(&metadata))
}

fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

fn interfaces_here() -> Result<Vec<Interface>, Errno> {
    // One entry for each address, and one for the link itself, which carries the flags too.
    let flags: BTreeMap<String, InterfaceFlags> =
        getifaddrs()?.map(|address| (address.interface_name, address.flags)).collect();
    let mut interfaces: Vec<_> = if_nameindex()?
        .iter()
        .map(|interface| {
            let name = interface.name().to_string_lossy().into_owned();
            let flags = flags.get(&name).copied().unwrap_or(InterfaceFlags::empty());
            Interface {
                index: interface.index(),
                is_loopback: flags.contains(InterfaceFlags::IFF_LOOPBACK),
                is_up: flags.contains(InterfaceFlags::IFF_UP),
                name,
            }
        })
        .collect();
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_namespace() {
        let own = NetNs::own().unwrap();
        let loopback = interfaces_here().unwrap().into_iter().find(|one| one.name == "lo");
        assert!(loopback.is_some_and(|lo| lo.is_loopback && lo.index > 0));
        assert_eq!(own, NetNs::own().unwrap());
        assert_eq!(own.key_from_inside().unwrap(), own.key_from_inside().unwrap());
    }
}
