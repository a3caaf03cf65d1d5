//! Network namespaces of a test's own.
//!
//! A namespace here has no name: it is held by a file descriptor alone, so nothing of it survives
//! the test, however that ends. Devices are made by `ip` run inside.

use std::{
    ffi::OsStr,
    fs::File,
    io::Write,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::{fs::MetadataExt, process::CommandExt},
    },
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace with `lo` up. It goes when this guard and the last process in it are gone,
/// and its devices with it.
#[derive(Debug)]
pub struct TestNetns {
    handle: File,
}

/// One end of a [veth pair](TestNetns::veth).
#[derive(Clone, Debug)]
pub struct End {
    pub interface: String,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
}

impl End {
    /// This end's IPv4 address with `port`; 0 lets the kernel choose one.
    pub fn socket_v4(&self, port: u16) -> SocketAddr {
        (self.v4, port).into()
    }

    /// This end's IPv6 address with `port`; 0 lets the kernel choose one.
    pub fn socket_v6(&self, port: u16) -> SocketAddr {
        (self.v6, port).into()
    }
}

impl TestNetns {
    pub fn new() -> Result<Self> {
        // unshare(2) moves only the calling thread, and this one ends right away.
        let made = thread::spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)
                .context("unshare a network namespace (needs root)")?;
            File::open("/proc/thread-self/ns/net").context("open the new network namespace")
        });
        let netns = Self { handle: made.join().expect("the thread does not panic")? };
        netns.ip("link set lo up\n")?;
        Ok(netns)
    }

    /// Another guard of the same namespace.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self { handle: self.handle.try_clone().context("dup a network namespace")? })
    }

    /// Joins two namespaces by a veth pair, called `eth<subnet>` at both ends, up and ready:
    ///
    /// | end | IPv4 | IPv6 |
    /// |---|---|---|
    /// | this | 10.200.subnet.1/24 | fd00:200:subnet::1/64 |
    /// | `peer` | 10.200.subnet.2/24 | fd00:200:subnet::2/64 |
    ///
    /// Both ends know each other's link address for good, so that no datagram waits for, or is
    /// lost by, neighbour discovery, and nothing is sent but what a test sends.
    pub fn veth(&self, peer: &Self, subnet: u8) -> Result<(End, End)> {
        let end = |host: u8| End {
            interface: format!("eth{subnet}"),
            v4: Ipv4Addr::new(10, 200, subnet, host),
            v6: Ipv6Addr::new(0xfd00, 0x200, subnet.into(), 0, 0, 0, 0, host.into()),
        };
        let (here, there) = (end(1), end(2));
        let interface = &here.interface;
        self.ip(&format!(
            "link add {interface} address {} type veth peer name {interface} address {} netns {}\n",
            link_address(subnet, 1),
            link_address(subnet, 2),
            peer.path().display(),
        ))?;
        self.bring_up(&here, &there, &link_address(subnet, 2))?;
        peer.bring_up(&there, &here, &link_address(subnet, 1))?;
        Ok((here, there))
    }

    fn bring_up(&self, here: &End, there: &End, neighbour: &str) -> Result<()> {
        let End { interface, v4, v6 } = here;
        self.ip(&format!(
            "link set {interface} addrgenmode none\n\
             link set {interface} up\n\
             address add {v4}/24 dev {interface}\n\
             address add {v6}/64 dev {interface} nodad\n\
             neighbour replace {} lladdr {neighbour} dev {interface} nud permanent\n\
             neighbour replace {} lladdr {neighbour} dev {interface} nud permanent\n",
            there.v4, there.v6,
        ))
    }

    /// Runs lines of `ip` commands (ip(8), `-batch`) in the namespace.
    pub fn ip(&self, commands: &str) -> Result<()> {
        let mut ip = self.command("ip");
        ip.args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut ip = ip.spawn().context("start ip (package iproute2)")?;
        let mut stdin = ip.stdin.take().expect("stdin is a pipe");
        stdin.write_all(commands.as_bytes()).context("write to ip")?;
        drop(stdin);
        let output = ip.wait_with_output().context("wait for ip")?;
        if !output.status.success() {
            bail!("ip refused {commands:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Makes the kernel compute the checksums of what leaves an interface of the namespace, as it
    /// does for devices that can't (ioctl `SIOCETHTOOL`).
    pub fn without_tx_checksum(&self, interface: &str) -> Result<()> {
        /// `struct ethtool_value` of `linux/ethtool.h`.
        #[repr(C)]
        struct Value {
            command: u32,
            data: u32,
        }
        const ETHTOOL_STXCSUM: u32 = 0x17;
        nix::ioctl_write_ptr_bad!(ethtool, nix::libc::SIOCETHTOOL, nix::libc::ifreq);
        self.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").context("make a socket")?;
            let mut value = Value { command: ETHTOOL_STXCSUM, data: 0 };
            // SAFETY: all zeroes is a valid ifreq.
            let mut request: nix::libc::ifreq = unsafe { std::mem::zeroed() };
            for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
                *to = from as nix::libc::c_char;
            }
            request.ifr_ifru.ifru_data = (&raw mut value).cast();
            // SAFETY: the request names an interface and points to the value, both alive.
            unsafe { ethtool(socket.as_raw_fd(), &request) }
                .with_context(|| format!("turn off tx checksums of {interface}"))?;
            Ok(())
        })?
    }

    /// A command that will run in the namespace.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let netns = self.handle.as_raw_fd();
        let enter = move || {
            // SAFETY: the child of a fork has its own copy of the parent's descriptor table,
            // where the number stays open until exec.
            let netns = unsafe { BorrowedFd::borrow_raw(netns) };
            Ok(setns(netns, CloneFlags::CLONE_NEWNET)?)
        };
        // SAFETY: between fork and exec the closure makes one system call and no allocation.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Runs `work` in a thread that has entered the namespace. Sockets made there stay in it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET)
                    .context("enter the network namespace")?;
                Ok(work())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A path by which other processes can open the namespace while this guard lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd()).into()
    }

    /// The number in `net:[number]`, by which namespaces are compared.
    pub fn inode(&self) -> Result<u64> {
        Ok(self.handle.metadata().context("stat the network namespace")?.ino())
    }
}

impl AsFd for TestNetns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// A locally administered unicast address.
fn link_address(subnet: u8, host: u8) -> String {
    format!("02:00:00:00:{subnet:02x}:{host:02x}")
}
