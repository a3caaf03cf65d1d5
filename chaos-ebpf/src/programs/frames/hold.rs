//! The stages that hold a frame back: rate, delay, reordering. They add up to one moment, and the
//! frame goes into the delay line until then.

use core::ops::RangeInclusive;

use aya_ebpf::bindings::{
    __sk_buff,
    tcx_action_base::{TCX_DROP, TCX_NEXT},
};
use chaos_ebpf_common::{
    event::EventKind,
    flows,
    gate::{Decision, Env, evaluate},
    hold::LONGEST_HOLD,
    rule::{RuleSet, Stage},
};

use super::{
    Outcome, SPARED, UNKNOWN, chaos_confirm, chaos_flow, dns,
    length::on_wire,
    line::{self, Held, Room, room},
};
use crate::{
    env::Maps,
    maps::{HOLDS, TABLES},
};

/// The stages that hold.
const STAGES: RangeInclusive<usize> = Stage::Limit as usize..=Stage::Reorder as usize;

/// What a stage says, in one register.
#[derive(Clone, Copy)]
struct Wait(u64);

impl Wait {
    const NONE: Self = Self(0);
    /// Nobody waits so long: [`chaos_ebpf_common::hold::LONGEST_HOLD`] has 36 bits.
    const OVERFLOW: Self = Self(u64::MAX);

    const NANOSECONDS: u64 = (1 << 40) - 1;

    #[inline(always)]
    fn of(nanoseconds: u64, slot: u32) -> Self {
        Self(nanoseconds | (slot as u64) << 40 | 1 << 60)
    }

    #[inline(always)]
    fn nanoseconds(self) -> u64 {
        self.0 & Self::NANOSECONDS
    }

    /// Ledger slot of the rule that says so.
    #[inline(always)]
    fn slot(self) -> u8 {
        (self.0 >> 40) as u8
    }

    /// An [`Outcome`], or [`SPARED`].
    #[inline(always)]
    fn outcome(self) -> u32 {
        match self {
            Self(0) => SPARED,
            Self(u64::MAX) => Outcome::Overflow as u32,
            _ => Outcome::Changed as u32,
        }
    }
}

/// Asks those of these rules that hold, stage by stage, and holds the frame for as long as they say
/// together. Returns what the program has to.
#[inline(always)]
pub fn hold(skb: *mut __sk_buff, kind: EventKind, set: &RuleSet, rules: u64) -> i32 {
    let mut all = Wait::NONE;
    // One moment for all: frames leave in the order in which a rate has given them their turns, however
    // long the processor was away in between.
    let now = Maps.now();
    for stage in STAGES {
        let asked = rules & set.by_stage[stage];
        if asked != 0 {
            let one = Wait(chaos_hold(skb, kind as u32, set.id, asked, now));
            if one.outcome() == Outcome::Overflow as u32 {
                return TCX_DROP;
            }
            if one.outcome() != SPARED {
                all = Wait(one.0 + all.nanoseconds());
            }
        }
    }
    if all.nanoseconds() == 0 { TCX_NEXT } else { chaos_send(skb, kind as u32, all.0, now) }
}

/// Asks these rules, all of one stage: a [`Wait`]. It is beside `chaos_stage`, with as little on its
/// stack.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_hold(skb: *mut __sk_buff, kind: u32, set: u32, rules: u64, now: u64) -> u64 {
    let Some(set) = Maps.set(set) else {
        return Wait::NONE.0;
    };
    let flow = match rules & set.by_flow {
        0 => None,
        _ => Some(chaos_flow(skb, kind)).filter(|flow| *flow != UNKNOWN),
    };
    let answer = evaluate(&Maps, set, rules, flow, now);
    if answer == Decision::SPARED {
        return Wait::NONE.0;
    }
    let wait = Wait(chaos_wait(skb, kind, answer.0, flow.unwrap_or(UNKNOWN), now));
    chaos_confirm(skb, kind, answer.0, wait.outcome());
    wait.0
}

/// How long the frame waits by this answer: a [`Wait`], of nothing where no rule hit or where it
/// cannot be held. All whose `flow` is [`UNKNOWN`] are one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_wait(skb: *mut __sk_buff, kind: u32, answer: u64, flow: u64, now: u64) -> u64 {
    let Some(verdict) = Decision(answer).hit(now) else {
        return Wait::NONE.0;
    };
    let Some(hold) = HOLDS.get(verdict.slot) else {
        return Wait::NONE.0;
    };
    match room(skb, now) {
        Room::Free => {}
        Room::Full => return Wait::OVERFLOW.0,
        Room::Nowhere => return Wait::NONE.0,
    }
    let ingress = kind == EventKind::FrameIngress as u32;
    if hold.rate == 0 {
        // The gate hands on 26 bits.
        let mut entropy = verdict.entropy << 38;
        if hold.correlated != 0 {
            entropy = Maps.go_on(verdict.slot, ingress, entropy).unwrap_or(entropy);
        }
        let held = match hold.table {
            0 => hold.duration(entropy),
            table => match TABLES.get(table - 1) {
                Some(table) => table.pick(entropy),
                None => return Wait::NONE.0,
            },
        };
        return Wait::of(held, verdict.slot).0;
    }
    let transmission = hold.transmission(on_wire(skb, ingress));
    let held = if hold.per_flow == 0 {
        Maps.depart(verdict.slot, ingress, transmission, now)
    } else {
        let key = flows::key(flow, verdict.slot, hold.generation, ingress);
        Maps.depart_in_flow(key, transmission, now)
    };
    // A number in any case: what compilers let stand where there is none may be a pointer, with which
    // the verifier does not let them go on.
    match held.unwrap_or(u64::MAX) {
        u64::MAX => Wait::OVERFLOW.0,
        held => Wait::of(held, verdict.slot).0,
    }
}

/// Sends the frame through the line without holding it. Returns what the program has to.
#[inline(always)]
pub fn send_at_once(skb: *mut __sk_buff, kind: EventKind, slot: u8) -> i32 {
    chaos_send(skb, kind as u32, Wait::of(0, slot as u32).0, Maps.now())
}

/// Sends the frame into the line for as long as this [`Wait`] says, from this moment on.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_send(skb: *mut __sk_buff, kind: u32, wait: u64, now: u64) -> i32 {
    if skb.is_null() {
        return TCX_NEXT;
    }
    dns::send_back_before_nat(skb, kind);
    let wait = Wait(wait);
    let held =
        Held { from: now, nanoseconds: wait.nanoseconds().min(LONGEST_HOLD), slot: wait.slot() };
    line::send(skb, kind == EventKind::FrameIngress as u32, held)
}
