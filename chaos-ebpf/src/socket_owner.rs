//! Reads from a socket whether it is connected, and to which cgroups it belongs.
//!
//! What a classifier may ask about a socket that it has looked up does not include its cgroup
//! (`bpf_sk_ancestor_cgroup_id` is for cgroup hooks), so this follows the kernel's own pointers, as
//! `bpf_skb_ancestor_cgroup_id` does for a packet's socket.
//! <https://github.com/torvalds/linux/blob/v6.12/net/core/filter.c> `__bpf_sk_ancestor_cgroup_id`

use aya_ebpf::Global;

use crate::kernel_memory::read;

/// Where the kernel's structs have these fields, in bytes, from its type information:
/// `sock_common.skc_state` and `.skc_listener`, `sock.sk_cgrp_data`.
#[unsafe(no_mangle)]
static SOCKET_STATE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCKET_LISTENER: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCKET_CGROUP: Global<u32> = Global::new(0);
/// `sock.sk_kern_sock`, in bits.
#[unsafe(no_mangle)]
static SOCKET_KERNEL: Global<u32> = Global::new(0);
/// `cgroup.level`, and `cgroup.ancestors` or, before 6.1, `.ancestor_ids`.
#[unsafe(no_mangle)]
static CGROUP_LEVEL: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static CGROUP_ANCESTORS: Global<u32> = Global::new(0);
/// Whether those are ids (1) or cgroups (0).
#[unsafe(no_mangle)]
static ANCESTORS_ARE_IDS: Global<u32> = Global::new(0);
/// `cgroup.kn` and `kernfs_node.id`.
#[unsafe(no_mangle)]
static CGROUP_NODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static NODE_ID: Global<u32> = Global::new(0);

/// States of a socket (`include/net/tcp_states.h`). Of UDP a connected socket is established and any
/// other closed.
const TIME_WAIT: u8 = 6;
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;
/// Stands for a connection until its handshake is over, and is no whole socket.
const NEW_SYN_RECV: u8 = 12;

/// Whether it is found for the addresses and ports of its own connection only.
#[inline(always)]
pub fn is_connected(socket: u64) -> bool {
    let state = state(socket);
    state != LISTEN && state != CLOSE
}

/// Whether it is one of the kernel's own, as tunnels receive by. It has the cgroup of whoever set the tunnel
/// up, and what comes by it is everybody's. Among those of TCP this means nothing: MPTCP has such for every
/// connection of a process.
#[inline(always)]
pub fn is_the_kernels(socket: u64) -> bool {
    let bit = SOCKET_KERNEL.load();
    read::<u8>(socket + (bit / 8) as u64) >> (bit % 8) & 1 == 1
}

/// The address of its cgroup, which stays there for as long as the program runs; 0 where it has none.
#[inline(always)]
pub fn cgroup(socket: u64) -> u64 {
    let socket = match state(socket) {
        NEW_SYN_RECV => read(socket + SOCKET_LISTENER.load() as u64),
        TIME_WAIT => return 0,
        _ => socket,
    };
    let cgroup: u64 = read(socket + SOCKET_CGROUP.load() as u64);
    // Before 5.15 the lowest bits say that this is no pointer, where controllers of cgroup v1 use it.
    if cgroup & 3 != 0 { 0 } else { cgroup }
}

/// The id of the cgroup at this depth to which the one at this address belongs; 0 where that is less deep.
#[inline(always)]
pub fn ancestor(cgroup: u64, level: u32) -> u64 {
    chaos_ancestor(cgroup, level)
}

/// A function of its own, so that what it reads is on the stack while it works only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_ancestor(cgroup: u64, level: u32) -> u64 {
    let own: u32 = read(cgroup + CGROUP_LEVEL.load() as u64);
    if own < level {
        return 0;
    }
    let ancestor: u64 = read(cgroup + CGROUP_ANCESTORS.load() as u64 + 8 * level as u64);
    if ANCESTORS_ARE_IDS.load() != 0 {
        return ancestor;
    }
    let node: u64 = read(ancestor + CGROUP_NODE.load() as u64);
    read(node + NODE_ID.load() as u64)
}

#[inline(always)]
fn state(socket: u64) -> u8 {
    read(socket + SOCKET_STATE.load() as u64)
}
