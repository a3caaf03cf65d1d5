//! Loads the BPF object, and attaches its programs.

use std::{
    io::Read as _,
    os::fd::{AsFd, BorrowedFd},
    sync::LazyLock,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::MapError,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
};
use aya_log::EbpfLogger;
use chaos_ebpf_common::{
    object::{QUEUE_ENTER, QUEUE_LEAVE},
    stamp::MOST_RANDOM,
};
use chaos_plan::{Attachment, DelayLine, Hook, Position};
use flate2::read::ZlibDecoder;

use super::{
    KernelError, Link, Naming, Trial,
    at_function::AtFunction,
    btf::{Functions, LayerOffsets, SocketOffsets},
    clsact::Side,
    jump::{Destination, Jumps},
    links,
    tracer::{self, Tracer},
    trial,
};

/// Packed by `build.rs`.
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/chaos.zlib"));

/// The object, which whoever needs it unpacks again: that takes less time than the verifier needs for one program, and
/// nobody holds it for as long as the agent runs.
fn unpack() -> Result<Vec<u8>, KernelError> {
    let mut object = Vec::new();
    ZlibDecoder::new(PACKED)
        .read_to_end(&mut object)
        .map_err(|error| KernelError::Broken { reason: format!("unpack it: {error}") })?;
    Ok(object)
}

/// What programs read to tell interfaces that are on top of one another apart; `None` where the kernel does
/// not tell, or does not let programs read it.
static LAYERS: LazyLock<Option<LayerOffsets>> = LazyLock::new(|| {
    let layers = tracer::functions().ok()?.layers()?;
    let reads =
        is_helper_supported(ProgramType::SchedClassifier, BpfHelper::BPF_FUNC_probe_read_kernel);
    reads.unwrap_or(false).then_some(layers)
});

/// The number of no target, and of no group.
pub(super) const NOBODY: u32 = 0;

/// Programs and maps in the kernel. Programs are loaded when they are first attached, so that a hook which this
/// kernel lacks does not stand in the way of the others. Dropping the object unloads everything.
pub(super) struct Object {
    ebpf: Ebpf,
    logger: EbpfLogger<&'static dyn log::Log>,
    /// The kernel's ids, under which a tracer finds the maps: each has one descriptor, in whoever uses it.
    map_ids: Vec<(String, u32)>,
    /// Whether programs can tell whose socket one is.
    knows_sockets: bool,
    /// Made when the first call is to be answered.
    tracer: Option<Tracer>,
    /// Made when the first program is attached to an interface.
    jumps: Option<Jumps>,
}

impl Object {
    /// Creates the maps, with these numbers of entries where those of the object are not meant. Nothing is attached and
    /// nothing matches yet.
    pub(super) fn load(entries: &[(&'static str, u32)]) -> Result<Self, KernelError> {
        // Not 0, which stands for no instance.
        let number = getrandom::u32().map_err(|error| KernelError::Call {
            call: "getrandom",
            source: std::io::Error::other(error),
        })? % MOST_RANDOM
            + 1;
        let sockets = tracer::functions().ok().and_then(Functions::sockets);
        let SocketOffsets {
            socket_state,
            socket_listener,
            socket_cgroup,
            socket_kernel,
            cgroup_level,
            cgroup_ancestors,
            ancestors_are_ids,
            cgroup_node,
            node_id,
        } = sockets.unwrap_or_default();
        let layers = *LAYERS;
        let LayerOffsets {
            frame_device,
            frame_socket,
            frame_route,
            frame_inner,
            route_device,
            socket_family,
            device_above,
            device_flags,
            device_private_flags,
            port_flags,
        } = layers.unwrap_or_default();
        let mut loader = EbpfLoader::new();
        for (map, entries) in entries {
            loader.map_max_entries(map, *entries);
        }
        let mut ebpf = loader
            .override_global("INSTANCE", &number, true)
            .override_global("SOCKET_STATE", &socket_state, true)
            .override_global("SOCKET_LISTENER", &socket_listener, true)
            .override_global("SOCKET_CGROUP", &socket_cgroup, true)
            .override_global("SOCKET_KERNEL", &socket_kernel, true)
            .override_global("CGROUP_LEVEL", &cgroup_level, true)
            .override_global("CGROUP_ANCESTORS", &cgroup_ancestors, true)
            .override_global("ANCESTORS_ARE_IDS", &u32::from(ancestors_are_ids), true)
            .override_global("CGROUP_NODE", &cgroup_node, true)
            .override_global("NODE_ID", &node_id, true)
            .override_global("LAYERS_KNOWN", &u32::from(layers.is_some()), true)
            .override_global("FRAME_DEVICE", &frame_device, true)
            .override_global("FRAME_SOCKET", &frame_socket, true)
            .override_global("FRAME_ROUTE", &frame_route, true)
            .override_global("FRAME_INNER", &frame_inner, true)
            .override_global("ROUTE_DEVICE", &route_device, true)
            .override_global("SOCKET_FAMILY", &socket_family, true)
            .override_global("DEVICE_ABOVE", &device_above, true)
            .override_global("DEVICE_FLAGS", &device_flags, true)
            .override_global("DEVICE_PRIVATE_FLAGS", &device_private_flags, true)
            .override_global("PORT_FLAGS", &port_flags, true)
            .load(&unpack()?)?;
        // Before the maps are taken out.
        let map_ids = ebpf
            .maps()
            .filter_map(|(name, map)| Some((name, tracer::map_data(map)?)))
            .map(|(name, map)| Ok((name.to_owned(), map.info()?.id())))
            .collect::<Result<_, MapError>>()
            .map_err(|error| KernelError::Call {
                call: "bpf(BPF_OBJ_GET_INFO_BY_FD)",
                source: std::io::Error::other(error),
            })?;
        let logger = EbpfLogger::init(&mut ebpf)?;
        let knows_sockets = sockets.is_some();
        Ok(Self { ebpf, logger, map_ids, knows_sockets, tracer: None, jumps: None })
    }

    /// To take maps out.
    pub(super) fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Hands what the programs had to complain about to the agent's log.
    pub(super) fn flush_log(&mut self) {
        self.logger.flush();
    }

    /// Loads the program of a hook into the kernel without attaching it: does the verifier
    /// accept it here?
    pub(super) fn load_program(&mut self, hook: Hook) -> Result<(), KernelError> {
        if matches!(hook, Hook::TcxIngress | Hook::ClsactIngress) && !self.knows_sockets {
            return Err(KernelError::UnknownSockets { hook });
        }
        links::load(&mut self.ebpf, hook)
    }

    /// Attaches a hook to a cgroup; `name` is for the error message.
    pub(super) fn attach_cgroup(
        &mut self,
        hook: Hook,
        cgroup: BorrowedFd<'_>,
        name: &str,
    ) -> Result<Link, KernelError> {
        self.load_program(hook)?;
        links::attach_cgroup(&mut self.ebpf, hook, cgroup).map_err(|source| KernelError::Attach {
            hook,
            object: format!("cgroup {name}"),
            source,
        })
    }

    /// Attaches the program that tells of network namespaces to a cgroup; `name` is for the error message.
    pub(super) fn attach_namespaces(
        &mut self,
        cgroup: BorrowedFd<'_>,
        name: &str,
    ) -> Result<Link, KernelError> {
        links::attach_namespaces(&mut self.ebpf, cgroup).map_err(|source| KernelError::Attach {
            hook: Hook::SockCreate,
            object: format!("cgroup {name}"),
            source,
        })
    }

    /// Attaches a hook to an interface of the calling thread's network namespace, for the group of targets with this
    /// number; `naming` is for filters.
    pub(super) fn attach_interface(
        &mut self,
        group: u32,
        (hook, position): (Hook, Position),
        (index, name): (u32, &str),
        naming: &Naming<'_>,
    ) -> Result<Link, KernelError> {
        self.load_program(hook)?;
        let side = links::side(hook);
        let destination = match side {
            Side::Egress => Destination::Egress,
            Side::Ingress => Destination::Ingress,
        };
        let program = self.jump(group, destination, hook)?;
        let naming = hook.is_filter().then_some(naming);
        let attached = links::attach_interface(program, index, side, position, naming);
        attached.map_err(|source| {
            let object = format!("interface {name}");
            if links::is_full(&source) {
                KernelError::Full { hook, object }
            } else {
                KernelError::Attach { hook, object, source }
            }
        })
    }

    /// Attaches the program that sends on what comes out of a delay line to the line's device, which
    /// is in the calling thread's network namespace; by a filter where `naming` is for one.
    pub(super) fn attach_line(
        &mut self,
        target: u32,
        line: DelayLine,
        device: u32,
        naming: Option<&Naming<'_>>,
    ) -> Result<Link, KernelError> {
        let destination = match line {
            DelayLine::Fq => Destination::QueueReturn,
            DelayLine::Tap => Destination::LineReturn,
        };
        self.attach_device(target, destination, device, Side::Ingress, naming)
    }

    /// Attaches the program that lets nothing but frames of ours into the device of a line that is read;
    /// likewise.
    pub(super) fn guard_line(
        &mut self,
        target: u32,
        device: u32,
        naming: Option<&Naming<'_>>,
    ) -> Result<Link, KernelError> {
        self.attach_device(target, Destination::LineEnter, device, Side::Egress, naming)
    }

    fn attach_device(
        &mut self,
        target: u32,
        destination: Destination,
        device: u32,
        side: Side,
        naming: Option<&Naming<'_>>,
    ) -> Result<Link, KernelError> {
        let hook = links::hook(side, naming.is_some());
        let program = self.jump(target, destination, hook)?;
        links::attach_device(program, device, side, naming)
    }

    /// The program that jumps there for a target, or a group, with what it jumps to. In a trial, where there is neither,
    /// that itself.
    fn jump(
        &mut self,
        number: u32,
        destination: Destination,
        hook: Hook,
    ) -> Result<BorrowedFd<'_>, KernelError> {
        let program = links::load_classifier(&mut self.ebpf, destination.program(), hook)?;
        if number == NOBODY {
            return Ok(program.as_fd());
        }
        let jumps = match &mut self.jumps {
            Some(jumps) => jumps,
            empty => empty.insert(Jumps::new()?),
        };
        jumps.lead(destination, program)?;
        jumps.program(number, destination)
    }

    /// Gives up what the target, or the group, with this number had for interfaces; what is attached stays.
    pub(super) fn forget_jumps(&mut self, number: u32, is_group: bool) {
        if let Some(jumps) = &mut self.jumps {
            jumps.forget(number, is_group);
        }
    }

    /// Attaches the programs that turn frames round to the far end of a delay line that is a queue, in
    /// the calling thread's network namespace.
    pub(super) fn attach_queue(
        &mut self,
        device: u32,
        naming: Option<&Naming<'_>>,
    ) -> Result<[Link; 2], KernelError> {
        let mut attach = |program, side| {
            let hook = links::hook(side, naming.is_some());
            let program = links::load_classifier(&mut self.ebpf, program, hook)?;
            links::attach_device(program.as_fd(), device, side, naming)
        };
        let leave = attach(QUEUE_LEAVE, Side::Egress)?;
        let enter = attach(QUEUE_ENTER, Side::Ingress)?;
        Ok([enter, leave])
    }

    /// How many instructions the verifier walked before it accepted the program of a hook; `None`
    /// where the kernel does not tell (before 5.16). It rejects what takes more than a million.
    pub(super) fn verified_instructions(&mut self, hook: Hook) -> Result<Option<u32>, KernelError> {
        self.load_program(hook)?;
        links::verified_instructions(&mut self.ebpf, hook)
    }

    /// Puts a program in front of a function of the kernel, for calls that no hook answers.
    pub(super) fn attach_function(
        &mut self,
        function: &str,
        attachment: &Attachment,
    ) -> Result<AtFunction, KernelError> {
        let tracer = match &mut self.tracer {
            Some(tracer) => tracer,
            empty => empty.insert(Tracer::new(&unpack()?, &self.map_ids)?),
        };
        tracer.attach(function, attachment)
    }

    /// Runs the program of a packet hook once on an Ethernet frame, with the rules in force and
    /// without attaching it. The packet belongs to a socket of the calling thread's cgroup, and
    /// `gso_size` is its segment size where it is to be segmented later, else 0. For tests of
    /// what no network would carry.
    pub(super) fn try_frame(
        &mut self,
        hook: Hook,
        frame: &[u8],
        gso_size: u32,
    ) -> Result<Trial, KernelError> {
        self.load_program(hook)?;
        trial::run(&self.ebpf, hook, frame, gso_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_types_for_the_kernel_and_no_dwarf() {
        let object = unpack().unwrap();
        let parsed = aya_obj::Object::parse(&object).unwrap();
        assert!(parsed.btf.is_some() && parsed.btf_ext.is_some());
        let dwarf = b".debug_info";
        assert!(!object.windows(dwarf.len()).any(|bytes| bytes == dwarf));
    }
}
