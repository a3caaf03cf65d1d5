//! Packets of the target's sockets: loss.

use aya_ebpf::{EbpfContext, macros::cgroup_skb, programs::SkBuffContext};
use chaos_ebpf_common::{
    dns,
    event::EventKind,
    gate::{Verdict, confirm, decide},
    packet::parse,
    rule::Action,
};

use crate::{bytes::SkbBytes, env::Maps};

const PASS: i32 = 1;

/// Ingress: 0 frees the packet before the socket sees it.
const LOSE_INGRESS: i32 = 0;

/// Egress: 2 is NET_XMIT_DROP, which `sendto` does not report; 0 would be EPERM, a refusal that a
/// network never gives.
/// <https://github.com/torvalds/linux/blob/v6.12/include/linux/bpf-cgroup.h>
const LOSE_EGRESS: i32 = 2;

/// `__cgroup_bpf_run_filter_skb(sk, skb, CGROUP_INET_EGRESS)`, called by `ip_finish_output` and
/// `ip6_finish_output`, before fragmentation, on every device, `lo` included.
#[cgroup_skb(egress)]
pub fn skb_egress(ctx: SkBuffContext) -> i32 {
    if loses(&ctx, EventKind::PacketEgress) { LOSE_EGRESS } else { PASS }
}

/// `__cgroup_bpf_run_filter_skb(sk, skb, CGROUP_INET_INGRESS)`, called by
/// `sk_filter_trim_cap`, after reassembly, with the receiving socket known.
#[cgroup_skb(ingress)]
pub fn skb_ingress(ctx: SkBuffContext) -> i32 {
    if loses(&ctx, EventKind::PacketIngress) { LOSE_INGRESS } else { PASS }
}

#[inline(always)]
fn loses(ctx: &SkBuffContext, kind: EventKind) -> bool {
    let bytes = SkbBytes::<0>(ctx.as_ptr().cast());
    let Some(mut packet) = parse(&bytes, bytes.ethertype(), kind) else {
        return false;
    };
    dns::undo_nat(&bytes, &mut packet);
    let verdict = decide(&Maps, &packet.event);
    if verdict == Verdict::PASS {
        return false;
    }
    let done = verdict.is(Action::Drop);
    confirm(&Maps, &packet.event, &verdict, done);
    done
}
