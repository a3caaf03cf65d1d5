//! Packets of the target's sockets: loss.

use aya_ebpf::{EbpfContext, bindings::__sk_buff, macros::cgroup_skb, programs::SkBuffContext};
use chaos_ebpf_common::{
    MAX_TEXTS, dns,
    event::EventKind,
    gate::{Decision, Env, confirm, evaluate, matching},
    hash::flow_of,
    packet::{Packet, parse},
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

/// Asks the texts of the target, one after the other, until one loses the packet.
///
/// The steps are functions that the verifier checks each once, on their own (kernel 5.6), as those of frames: each reads
/// the headers again, all but the first only for the packets that a rule speaks of.
#[inline(always)]
fn loses(ctx: &SkBuffContext, kind: EventKind) -> bool {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    let mut id = Maps.first_of_this_cgroup();
    for _ in 0..MAX_TEXTS {
        let Some(set) = Maps.text(id) else { break };
        let rules = chaos_meets(skb, kind as u32, id);
        if rules != 0 && chaos_lose(skb, kind as u32, id, rules) != 0 {
            return true;
        }
        id = set.next;
    }
    false
}

/// The rules of the set that speak of the packet.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_meets(skb: *mut __sk_buff, kind: u32, set: u32) -> u64 {
    let bytes = SkbBytes::<0>(skb);
    let (Some(mut packet), Some(set)) = (packet(skb, kind), Maps.live_set(set)) else {
        return 0;
    };
    dns::undo_nat(&bytes, &mut packet);
    matching(&Maps, set, &packet.event)
}

/// Whether one of these rules loses the packet.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_lose(skb: *mut __sk_buff, kind: u32, set: u32, rules: u64) -> u32 {
    let Some(set) = Maps.live_set(set) else {
        return 0;
    };
    let flow = match rules & set.by_flow {
        0 => None,
        _ => Some(chaos_flow_of(skb)).filter(|flow| *flow != UNKNOWN),
    };
    let answer = evaluate(&Maps, set, rules, flow, Maps.now());
    if answer == Decision::SPARED {
        return 0;
    }
    chaos_lost(skb, kind, answer.0, set.first_rule)
}

/// No flow has this hash but one in 2^64.
const UNKNOWN: u64 = 0;

/// [`flow_of`] the packet.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_flow_of(skb: *mut __sk_buff) -> u64 {
    // A flow is the same in both directions.
    packet(skb, EventKind::PacketEgress as u32)
        .and_then(|packet| flow_of(&packet.event))
        .unwrap_or(UNKNOWN)
}

/// Closes the decision of a set whose rules begin at `first_rule`, see [`confirm`], and tells of the shadow. Whether the
/// packet is lost.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_lost(skb: *mut __sk_buff, kind: u32, answer: u64, first_rule: u32) -> u32 {
    let answer = Decision(answer);
    let Some(Packet { event, .. }) = packet(skb, kind) else {
        return 0;
    };
    let now = Maps.now();
    if let Some(shadow) = answer.shadow(&Maps, first_rule, now) {
        Maps.emit(&event, &shadow, true);
    }
    let Some(verdict) = answer.hit(&Maps, first_rule, now) else {
        return 0;
    };
    let done = verdict.is(Action::Drop);
    confirm(&Maps, &event, &verdict, done);
    done as u32
}

#[inline(always)]
fn packet(skb: *mut __sk_buff, kind: u32) -> Option<Packet> {
    let bytes = SkbBytes::<0>(skb);
    let is_egress = kind == EventKind::PacketEgress as u32;
    let kind = if is_egress { EventKind::PacketEgress } else { EventKind::PacketIngress };
    parse(&bytes, bytes.ethertype(), kind)
}
