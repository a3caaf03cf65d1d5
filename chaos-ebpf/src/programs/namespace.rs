//! Tells the agent of network namespaces that a target has not used before.

use aya_ebpf::{
    bindings::BPF_ANY, helpers::generated::bpf_get_netns_cookie, macros::cgroup_sock,
    programs::SockContext,
};
use chaos_ebpf_common::tables::UsedNamespace;

use crate::maps::{CGROUP_FRAMES, NAMESPACE_NEWS, NAMESPACES};

/// `inet_create` and `inet6_create`: before the first packet of a namespace, there is its first socket. The cookie is
/// there from kernel 5.7 on.
#[cgroup_sock(sock_create)]
pub fn new_namespace(ctx: SockContext) -> i32 {
    // SAFETY: the pointer is to a live value, a number that is written whole; the helper takes the program's context.
    let (target, cookie) = unsafe {
        (CGROUP_FRAMES.get_ptr_mut().read_volatile(), bpf_get_netns_cookie(ctx.sock.cast()))
    };
    let used = UsedNamespace { cookie, target, padding: 0 };
    if NAMESPACES.get_ptr(&used).is_none()
        && NAMESPACES.insert(&used, &1, BPF_ANY.into()).is_ok()
        && let Some(mut entry) = NAMESPACE_NEWS.reserve(0)
    {
        entry.write(target);
        entry.submit(0);
    }
    1
}
