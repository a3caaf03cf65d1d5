//! Links: dropping one detaches.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use aya::{
    Ebpf,
    programs::{CgroupAttachMode, CgroupSkbAttachType, Program, ProgramError, SchedClassifier},
    sys::SyscallError,
};
use chaos_plan::{Hook, Position};

use super::{
    KernelError,
    clsact::{Filter, Naming, Side},
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
    .map_err(|source| KernelError::Load { hook, source })
}

/// What the verifier did for a loaded program.
pub(super) fn verified_instructions(
    ebpf: &mut Ebpf,
    hook: Hook,
) -> Result<Option<u32>, KernelError> {
    let info = program(ebpf, hook)?.info().map_err(|source| KernelError::Load { hook, source })?;
    Ok(info.verified_instruction_count())
}

/// Attaches a loaded program to a cgroup (kernel 5.7 for links).
pub(super) fn attach_cgroup(
    ebpf: &mut Ebpf,
    hook: Hook,
    cgroup: BorrowedFd<'_>,
) -> Result<Link, ProgramError> {
    // Other modes are EINVAL for links (aya-rs/aya#1078); the kernel allows several links on one
    // cgroup all the same.
    let mode = CgroupAttachMode::Single;
    let program = ebpf.program_mut(hook.program()).ok_or(ProgramError::NotLoaded)?;
    Ok(match program {
        Program::CgroupSkb(program) => {
            let direction = if hook == Hook::CgroupSkbEgress {
                CgroupSkbAttachType::Egress
            } else {
                CgroupSkbAttachType::Ingress
            };
            let id = program.attach(cgroup, direction, mode)?;
            Link::new(program.take_link(id)?)
        }
        Program::CgroupSockAddr(program) => {
            let id = program.attach(cgroup, mode)?;
            Link::new(program.take_link(id)?)
        }
        Program::CgroupSock(program) => {
            let id = program.attach(cgroup, mode)?;
            Link::new(program.take_link(id)?)
        }
        Program::CgroupSockopt(program) => {
            let id = program.attach(cgroup, mode)?;
            Link::new(program.take_link(id)?)
        }
        _ => return Err(ProgramError::UnexpectedProgramType),
    })
}

/// Attaches a loaded program to an interface of the calling thread's network namespace, before or
/// behind all that is already there (kernel 6.6).
pub(super) fn attach_tcx(
    ebpf: &mut Ebpf,
    hook: Hook,
    position: Position,
    interface: u32,
) -> Result<Link, ProgramError> {
    let program = ebpf.program_mut(hook.program()).ok_or(ProgramError::NotLoaded)?;
    let Program::SchedClassifier(program) = program else {
        return Err(ProgramError::UnexpectedProgramType);
    };
    let side = if hook == Hook::TcxEgress { Side::Egress } else { Side::Ingress };
    attach_link(program, interface, side, position)
}

fn attach_link(
    program: &SchedClassifier,
    interface: u32,
    side: Side,
    position: Position,
) -> Result<Link, ProgramError> {
    let link = TcxLink::attach(interface, side, position, program.fd()?.as_fd())
        .map_err(|io_error| SyscallError { call: "bpf_link_create", io_error })?;
    Ok(Link(Attached::Tcx(link)))
}

/// Attaches a loaded program to an interface of the calling thread's network namespace by a filter.
pub(super) fn attach_clsact(
    ebpf: &mut Ebpf,
    hook: Hook,
    position: Position,
    interface: u32,
    naming: &Naming<'_>,
) -> Result<Link, ProgramError> {
    let program = ebpf.program_mut(hook.program()).ok_or(ProgramError::NotLoaded)?;
    let Program::SchedClassifier(program) = program else {
        return Err(ProgramError::UnexpectedProgramType);
    };
    let side = if hook == Hook::ClsactEgress { Side::Egress } else { Side::Ingress };
    attach_filter(program, interface, side, position, naming)
}

fn attach_filter(
    program: &SchedClassifier,
    interface: u32,
    side: Side,
    position: Position,
    naming: &Naming<'_>,
) -> Result<Link, ProgramError> {
    let program = program.fd()?.as_fd().as_raw_fd();
    Ok(Link(Attached::Filter(Filter::attach(interface, side, position, program, naming)?)))
}

/// Loads a program of a delay line and attaches it to a device of ours, which is in the calling thread's
/// network namespace; by a filter where `naming` is for one.
pub(super) fn attach_device(
    ebpf: &mut Ebpf,
    name: &'static str,
    device: u32,
    side: Side,
    naming: Option<&Naming<'_>>,
) -> Result<Link, KernelError> {
    let hook = match (side, naming) {
        (Side::Ingress, None) => Hook::TcxIngress,
        (Side::Egress, None) => Hook::TcxEgress,
        (Side::Ingress, Some(_)) => Hook::ClsactIngress,
        (Side::Egress, Some(_)) => Hook::ClsactEgress,
    };
    let Some(Program::SchedClassifier(program)) = ebpf.program_mut(name) else {
        return Err(KernelError::Lacks { what: "program", name });
    };
    if program.fd().is_err() {
        program.load().map_err(|source| KernelError::Load { hook, source })?;
    }
    let failed = |source| KernelError::Attach { hook, object: "a delay line".to_owned(), source };
    match naming {
        // There is no other program at a device of ours.
        Some(naming) => attach_filter(program, device, side, Position::Last, naming),
        None => attach_link(program, device, side, Position::Last),
    }
    .map_err(failed)
}

fn program(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut Program, KernelError> {
    let name = hook.program();
    ebpf.program_mut(name).ok_or(KernelError::Lacks { what: "program", name })
}
