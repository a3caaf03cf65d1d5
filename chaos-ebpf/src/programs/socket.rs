//! Calls about a socket as such: socket, setsockopt, getsockopt.

use aya_ebpf::{
    bindings::{bpf_sock, bpf_sockopt},
    macros::{cgroup_sock, cgroup_sockopt},
    programs::{SockContext, SockoptContext},
};
use chaos_ebpf_common::{
    event::{Event, EventKind, Family, ProtocolClass, widen},
    packet::normalise_v6,
};

use super::{answer_call, sock_addr::join};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// Options longer than this are cut by the kernel when it hands them to a program; saying
/// "nothing changed" (length 0) makes it use the caller's own buffer.
/// <https://docs.kernel.org/bpf/prog_cgroup_sockopt.html>
const PAGE_SIZE: i32 = 4096;

/// `inet_create` and `inet6_create`: the socket exists and is not yet given out.
#[cgroup_sock(sock_create)]
pub fn sock_create(ctx: SockContext) -> i32 {
    // SAFETY: the pointer is the program's context.
    let protocol = unsafe { (*ctx.sock).protocol };
    answer_call(&Event::bare(EventKind::Socket, ProtocolClass::of_socket(protocol)))
}

/// `do_sock_setsockopt`, before the option is set.
#[cgroup_sockopt(setsockopt)]
pub fn setsockopt(ctx: SockoptContext) -> i32 {
    answer_option(ctx.sockopt, EventKind::SetSockopt)
}

/// `do_sock_getsockopt`, after the option was read and before the caller gets it.
#[cgroup_sockopt(getsockopt)]
pub fn getsockopt(ctx: SockoptContext) -> i32 {
    answer_option(ctx.sockopt, EventKind::GetSockopt)
}

#[inline(always)]
fn answer_option(ctx: *mut bpf_sockopt, kind: EventKind) -> i32 {
    let mut event = Event::bare(kind, ProtocolClass::Other);
    // SAFETY: the pointer is the program's context; `sk` is a full socket there.
    unsafe { name_ends((*ctx).__bindgen_anon_1.sk, &mut event) };
    let answer = answer_call(&event);
    // SAFETY: as above; `optlen` is writable at both hooks.
    unsafe {
        if answer == 1 && (*ctx).optlen > PAGE_SIZE {
            (*ctx).optlen = 0;
        }
    }
    answer
}

/// The socket's own ends: source is local, destination the connected peer (zero when there is
/// none). Written in place, as there is little room on the stack.
///
/// # Safety
/// `socket` is a full socket of the program's context.
#[inline(always)]
unsafe fn name_ends(socket: *const bpf_sock, event: &mut Event) {
    // SAFETY: promised by the caller; each field is read on its own, as the kernel rewrites
    // context reads one by one.
    unsafe {
        event.protocol = ProtocolClass::of_socket((*socket).protocol);
        event.source_port = (*socket).src_port as u16;
        event.destination_port = u16::from_be((*socket).dst_port);
        match (*socket).family {
            AF_INET => {
                event.family = Family::V4;
                event.source = widen((*socket).src_ip4.to_ne_bytes());
                event.destination = widen((*socket).dst_ip4.to_ne_bytes());
            }
            AF_INET6 => {
                event.family = Family::V6;
                event.source = join(
                    (*socket).src_ip6[0],
                    (*socket).src_ip6[1],
                    (*socket).src_ip6[2],
                    (*socket).src_ip6[3],
                );
                event.destination = join(
                    (*socket).dst_ip6[0],
                    (*socket).dst_ip6[1],
                    (*socket).dst_ip6[2],
                    (*socket).dst_ip6[3],
                );
                normalise_v6(event);
            }
            _ => {}
        }
    }
}
