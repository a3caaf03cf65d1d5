//! Tells the agent of network namespaces that a target uses.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::generated::{bpf_get_netns_cookie, bpf_ktime_get_boot_ns},
    macros::cgroup_sock,
    programs::SockContext,
};
use chaos_ebpf_common::tables::{UsedNamespace, is_told};

use crate::maps::{CGROUP_FRAMES, NAMESPACE_NEWS, NAMESPACES};

/// `inet_create` and `inet6_create`: before the first packet of a namespace, there is its first socket. The cookie is
/// there from kernel 5.7 on.
#[cgroup_sock(sock_create)]
pub fn new_namespace(ctx: SockContext) -> i32 {
    // SAFETY: the pointer is to a live value of integers, which the agent writes once; one helper takes the program's
    // context, the other nothing.
    let (user, cookie, now) = unsafe {
        (
            CGROUP_FRAMES.get_ptr_mut().read_volatile(),
            bpf_get_netns_cookie(ctx.sock.cast()),
            bpf_ktime_get_boot_ns(),
        )
    };
    let used = UsedNamespace { cookie, target: user.target, padding: 0 };
    // SAFETY: the pointer is to a number that is written whole.
    let told = NAMESPACES.get_ptr(&used).map(|told| unsafe { told.read_volatile() });
    if told.is_none_or(|told| !is_told(told, &user, now))
        && NAMESPACES.insert(&used, &now, BPF_ANY.into()).is_ok()
        && let Some(mut entry) = NAMESPACE_NEWS.reserve(0)
    {
        entry.write(user.target);
        entry.submit(0);
    }
    1
}
