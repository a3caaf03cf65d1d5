//! Links: dropping one detaches.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use aya::{
    Ebpf,
    programs::{Program, ProgramError, ProgramFd},
    sys::SyscallError,
};
use aya_obj::generated::{bpf_attach_type, bpf_cmd};
use chaos_ebpf_common::object::NEW_NAMESPACE;
use chaos_plan::{Hook, Position};

use super::{
    KernelError,
    bpf::{bpf, no_attr, own},
    clsact::{Filter, Naming, Side},
    freed_memory,
    released_first::move_up,
    tcx::TcxLink,
};

/// One program attached at one place. Dropping it detaches the program.
pub struct Link(Attached);

enum Attached {
    Tcx(TcxLink),
    Filter(Filter),
    /// To a cgroup, which is there for as long as its target, or to a function of the kernel.
    Lasting(#[expect(dead_code, reason = "it is there to be dropped")] Box<dyn Send>),
}

impl Link {
    pub(super) fn new(attached: impl Send + 'static) -> Self {
        Self(Attached::Lasting(Box::new(attached)))
    }

    /// Whether the program is still where it was attached: an interface may go away, and its index
    /// may be given to another one.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn is_attached(&mut self) -> io::Result<bool> {
        match &mut self.0 {
            Attached::Tcx(link) => link.is_attached(),
            Attached::Filter(filter) => filter.is_attached(),
            Attached::Lasting(_) => Ok(true),
        }
    }
}

/// Loads the program of a hook into the kernel, unless it is there already.
pub(super) fn load(ebpf: &mut Ebpf, hook: Hook) -> Result<(), KernelError> {
    let program = program(ebpf, hook)?;
    if program.fd().is_ok() {
        return Ok(());
    }
    match program {
        Program::CgroupSkb(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::CgroupSockopt(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .map_err(|source| KernelError::Load { hook, source })?;
    freed_memory::give_back();
    Ok(())
}

/// What the verifier did for a loaded program.
pub(super) fn verified_instructions(
    ebpf: &mut Ebpf,
    hook: Hook,
) -> Result<Option<u32>, KernelError> {
    let info = program(ebpf, hook)?.info().map_err(|source| KernelError::Load { hook, source })?;
    Ok(info.verified_instruction_count())
}

/// Attaches a loaded program to a cgroup (kernel 5.7). The kernel allows several links on one cgroup.
pub(super) fn attach_cgroup(
    ebpf: &mut Ebpf,
    hook: Hook,
    cgroup: BorrowedFd<'_>,
) -> Result<Link, ProgramError> {
    let program = ebpf.program(hook.program()).ok_or(ProgramError::NotLoaded)?;
    link_to_cgroup(program.fd()?, cgroup, attach_type(hook))
}

/// aya makes such links, too, and does not give their descriptors away.
fn link_to_cgroup(
    program: &ProgramFd,
    cgroup: BorrowedFd<'_>,
    attach_type: bpf_attach_type,
) -> Result<Link, ProgramError> {
    let mut attr = no_attr();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_fd().as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_fd = cgroup.as_raw_fd() as u32;
    attr.link_create.attach_type = attach_type as u32;
    let made = bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr)
        .map_err(|io_error| SyscallError { call: "bpf_link_create", io_error })?;
    Ok(Link::new(move_up(own(made))))
}

/// Loads the program that tells of network namespaces, unless it is there already, and attaches it to a cgroup.
pub(super) fn attach_namespaces(
    ebpf: &mut Ebpf,
    cgroup: BorrowedFd<'_>,
) -> Result<Link, ProgramError> {
    let Some(Program::CgroupSock(program)) = ebpf.program_mut(NEW_NAMESPACE) else {
        return Err(ProgramError::UnexpectedProgramType);
    };
    if program.fd().is_err() {
        program.load()?;
    }
    link_to_cgroup(program.fd()?, cgroup, bpf_attach_type::BPF_CGROUP_INET_SOCK_CREATE)
}

/// Loads a classifier, unless it is there already. `hook` is for the error message.
pub(super) fn load_classifier<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
    hook: Hook,
) -> Result<&'a ProgramFd, KernelError> {
    let Some(Program::SchedClassifier(program)) = ebpf.program_mut(name) else {
        return Err(KernelError::Lacks { what: "program", name });
    };
    let failed = |source| KernelError::Load { hook, source };
    if program.fd().is_err() {
        program.load().map_err(failed)?;
        freed_memory::give_back();
    }
    program.fd().map_err(failed)
}

/// The side of an interface at which a hook is.
pub(super) fn side(hook: Hook) -> Side {
    if matches!(hook, Hook::TcxEgress | Hook::ClsactEgress) { Side::Egress } else { Side::Ingress }
}

/// The hook at this side of an interface.
pub(super) fn hook(side: Side, by_filter: bool) -> Hook {
    match (side, by_filter) {
        (Side::Ingress, false) => Hook::TcxIngress,
        (Side::Egress, false) => Hook::TcxEgress,
        (Side::Ingress, true) => Hook::ClsactIngress,
        (Side::Egress, true) => Hook::ClsactEgress,
    }
}

/// Attaches a classifier to an interface of the calling thread's network namespace, before or behind all that is
/// already there: by a filter where `naming` is for one, otherwise by a link (kernel 6.6).
pub(super) fn attach_interface(
    program: BorrowedFd<'_>,
    interface: u32,
    side: Side,
    position: Position,
    naming: Option<&Naming<'_>>,
) -> Result<Link, ProgramError> {
    Ok(Link(match naming {
        Some(naming) => {
            let program = program.as_raw_fd();
            Attached::Filter(Filter::attach(interface, side, position, program, naming)?)
        }
        None => {
            let link = TcxLink::attach(interface, side, position, program);
            let failed = |io_error| SyscallError { call: "bpf_link_create", io_error };
            Attached::Tcx(link.map_err(failed)?)
        }
    }))
}

/// Whether an interface has as many programs as the kernel takes.
pub(super) fn is_full(error: &ProgramError) -> bool {
    match error {
        ProgramError::SyscallError(SyscallError { io_error, .. }) => {
            io_error.raw_os_error() == Some(libc::ERANGE)
        }
        _ => false,
    }
}

/// Attaches a classifier to a device of ours.
pub(super) fn attach_device(
    program: BorrowedFd<'_>,
    device: u32,
    side: Side,
    naming: Option<&Naming<'_>>,
) -> Result<Link, KernelError> {
    // There is no other program at a device of ours.
    attach_interface(program, device, side, Position::Last, naming).map_err(|source| {
        let hook = hook(side, naming.is_some());
        KernelError::Attach { hook, object: "a delay line".to_owned(), source }
    })
}

fn program(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut Program, KernelError> {
    let name = hook.program();
    ebpf.program_mut(name).ok_or(KernelError::Lacks { what: "program", name })
}

/// The kernel's number of a hook at cgroups (`include/uapi/linux/bpf.h`).
pub(super) fn attach_type(hook: Hook) -> bpf_attach_type {
    match hook {
        Hook::CgroupSkbEgress => bpf_attach_type::BPF_CGROUP_INET_EGRESS,
        Hook::CgroupSkbIngress => bpf_attach_type::BPF_CGROUP_INET_INGRESS,
        Hook::Connect4 => bpf_attach_type::BPF_CGROUP_INET4_CONNECT,
        Hook::Connect6 => bpf_attach_type::BPF_CGROUP_INET6_CONNECT,
        Hook::Bind4 => bpf_attach_type::BPF_CGROUP_INET4_BIND,
        Hook::Bind6 => bpf_attach_type::BPF_CGROUP_INET6_BIND,
        Hook::SendMsg4 => bpf_attach_type::BPF_CGROUP_UDP4_SENDMSG,
        Hook::SendMsg6 => bpf_attach_type::BPF_CGROUP_UDP6_SENDMSG,
        Hook::SockCreate => bpf_attach_type::BPF_CGROUP_INET_SOCK_CREATE,
        Hook::SetSockopt => bpf_attach_type::BPF_CGROUP_SETSOCKOPT,
        Hook::GetSockopt => bpf_attach_type::BPF_CGROUP_GETSOCKOPT,
        Hook::TcxEgress | Hook::ClsactEgress => bpf_attach_type::BPF_TCX_EGRESS,
        Hook::TcxIngress | Hook::ClsactIngress => bpf_attach_type::BPF_TCX_INGRESS,
    }
}
