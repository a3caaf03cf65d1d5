//! The stages that hold a frame back: rate, delay, reordering. They add up to one moment, and the
//! frame goes into the delay line until then.

use core::ops::RangeInclusive;

use aya_ebpf::bindings::{
    __sk_buff,
    tcx_action_base::{TCX_DROP, TCX_NEXT},
};
use chaos_ebpf_common::{
    LOOPBACK, MAX_TEXTS, SLOT_BITS,
    event::EventKind,
    flows,
    gate::{Decision, Env, evaluate},
    hold::LONGEST_HOLD,
    rule::Stage,
};

use super::{
    Outcome, SPARED, UNKNOWN, asked, chaos_confirm, chaos_flow, dns,
    headers::Place,
    length::on_wire,
    line::{self, Held, Room, room},
    sender::Sender,
};
use crate::{
    bytes::SkbBytes,
    env::Maps,
    maps::{HOLDS, TABLES},
};

/// The stages that hold.
pub const HOLDING: RangeInclusive<u32> = Stage::Limit as u32..=Stage::Reorder as u32;

/// What a stage says, in one register.
#[derive(Clone, Copy)]
struct Wait(u64);

impl Wait {
    const NONE: Self = Self(0);
    /// Nobody waits so long: [`chaos_ebpf_common::hold::LONGEST_HOLD`] has 36 bits.
    const OVERFLOW: Self = Self(u64::MAX);

    /// What several texts ask for together has a few bits more.
    const NANOSECONDS: u64 = (1 << 40) - 1;
    /// Above them, with [`SLOT_BITS`].
    const SLOT_AT: u32 = 40;
    const IS_ASKED: u64 = 1 << 60;

    #[inline(always)]
    fn of(nanoseconds: u64, slot: u32) -> Self {
        Self(nanoseconds | (slot as u64) << Self::SLOT_AT | Self::IS_ASKED)
    }

    #[inline(always)]
    fn nanoseconds(self) -> u64 {
        self.0 & Self::NANOSECONDS
    }

    /// Ledger slot of the rule that says so.
    #[inline(always)]
    fn slot(self) -> u32 {
        (self.0 >> Self::SLOT_AT) as u32 & ((1 << SLOT_BITS) - 1)
    }

    /// With what another rule says at this stage: of several rates the slowest decides, everything else adds up.
    #[inline(always)]
    fn with(self, other: Self, stage: u32) -> Self {
        if stage != Stage::Limit as u32 {
            Self(other.0 + self.nanoseconds())
        } else if other.nanoseconds() > self.nanoseconds() {
            other
        } else {
            self
        }
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

/// Asks those of the rules that hold, stage by stage, and holds the frame for as long as they say
/// together. Returns what the program has to.
#[inline(always)]
pub fn hold(skb: *mut __sk_buff, kind: EventKind, texts: u32) -> i32 {
    chaos_hold_all(skb, kind as u32, texts)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_hold_all(skb: *mut __sk_buff, kind: u32, texts: u32) -> i32 {
    let mut all = Wait::NONE;
    // One moment for all: frames leave in the order in which a rate has given them their turns, however
    // long the processor was away in between.
    let now = Maps.now();
    // SAFETY: reading the program's context.
    let nat = match unsafe { (*skb).ifindex } {
        LOOPBACK => chaos_nat(skb, kind),
        _ => Nat::Nothing as u32,
    };
    let kind = kind | nat;
    for stage in HOLDING {
        for text in 0..MAX_TEXTS as u32 {
            if text >= texts {
                break;
            }
            let one = Wait(chaos_hold(skb, kind, text, stage, now));
            if one.outcome() == Outcome::Overflow as u32 {
                return TCX_DROP;
            }
            if one.outcome() != SPARED {
                all = all.with(one, stage);
            }
        }
    }
    if all.nanoseconds() == 0 { TCX_NEXT } else { chaos_send(skb, kind, all.0, now) }
}

/// Asks the rules of one text and one stage about a frame that comes at this moment: a [`Wait`]. `kind` has a
/// [`Nat`] above it, here and below. It is beside `chaos_stage`, with as little on its stack.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_hold(skb: *mut __sk_buff, kind: u32, text: u32, stage: u32, now: u64) -> u64 {
    let Some((set, rules)) = asked::at(text, stage) else {
        return Wait::NONE.0;
    };
    let flow = match rules & set.by_flow {
        0 => None,
        _ => Some(chaos_flow(skb, kind & KIND)).filter(|flow| *flow != UNKNOWN),
    };
    let answer = evaluate(&Maps, set, rules, flow, now);
    if answer == Decision::SPARED {
        return Wait::NONE.0;
    }
    let how = kind | set.first_rule << FIRST_RULE_AT;
    let wait = Wait(chaos_wait(skb, how, answer.0, flow.unwrap_or(UNKNOWN), now));
    chaos_confirm(skb, kind & KIND, answer.0, wait.outcome(), set.first_rule);
    wait.0
}

/// How long the frame waits by this answer, from that moment on: a [`Wait`], of nothing where no rule hit or where it
/// cannot be held. All whose `flow` is [`UNKNOWN`] are one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_wait(skb: *mut __sk_buff, kind: u32, answer: u64, flow: u64, now: u64) -> u64 {
    let (kind, first_rule) = (kind & KIND_AND_NAT, kind >> FIRST_RULE_AT);
    let Some(verdict) = Decision(answer).hit(&Maps, first_rule, now) else {
        return Wait::NONE.0;
    };
    let Some(hold) = HOLDS.get(verdict.slot) else {
        return Wait::NONE.0;
    };
    if kind & !KIND == Nat::Hides as u32 {
        return Wait::NONE.0;
    }
    match room(skb, now) {
        Room::Free => {}
        Room::Full => return Wait::OVERFLOW.0,
        Room::Nowhere => return Wait::NONE.0,
    }
    let ingress = kind & KIND == EventKind::FrameIngress as u32;
    if hold.rate == 0 {
        // The gate hands on 26 bits.
        let mut entropy = verdict.entropy << 38;
        if hold.correlated != 0 {
            entropy = Maps.go_on(verdict.slot, ingress, entropy).unwrap_or(entropy);
        }
        let held = match hold.from_table {
            0 => hold.duration(entropy),
            _ => match TABLES.get(verdict.slot).and_then(|tables| tables.get(0)) {
                Some(table) => table.pick(entropy),
                None => return Wait::NONE.0,
            },
        };
        return Wait::of(held, verdict.slot).0;
    }
    let transmission = hold.transmission(on_wire(skb, ingress));
    let held = match hold.per_flow {
        0 => Maps.depart(verdict.slot, ingress, transmission, hold.queue, now),
        _ => {
            let key = flows::key(flow, verdict.slot, hold.generation, ingress);
            Maps.depart_in_flow(verdict.slot, key, transmission, hold.queue, now)
        }
    };
    // A number in any case: what compilers let stand where there is none may be a pointer, with which
    // the verifier does not let them go on.
    match held.unwrap_or(u64::MAX) {
        u64::MAX => Wait::OVERFLOW.0,
        held => Wait::of(held, verdict.slot).0,
    }
}

/// What NAT has to do with a frame that is about to be held, above the bits of its kind.
///
/// In the line a frame loses its connection (`nf_reset_ct`), and NAT would take one whose addresses it has
/// put in for one of another connection when it comes back. Beyond loopback, NAT is over when a frame leaves,
/// and has not begun when one arrives.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Nat {
    Nothing = 0,
    /// It has put addresses in: the frame can't be held.
    Hides = 1 << 8,
    /// It has sent a question on, which can be undone ([`dns::send_back_before_nat`]).
    SendsOn = 2 << 8,
}

const KIND: u32 = 0xff;
const KIND_AND_NAT: u32 = 0xfff;
/// Above both, with [`SLOT_BITS`], where the rules of the set begin.
const FIRST_RULE_AT: u32 = 12;
const _: () = assert!(FIRST_RULE_AT + SLOT_BITS <= u32::BITS);

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_nat(skb: *mut __sk_buff, kind: u32) -> u32 {
    let place = Place::of(skb, kind);
    let sent_on = kind == EventKind::FrameEgress as u32 && dns::is_sent_on(&SkbBytes(skb), place);
    (match (Sender::of(skb, place), sent_on) {
        (Sender::Connected, _) | (Sender::Unknown, false) => Nat::Nothing,
        (Sender::Hidden | Sender::Unknown, true) => Nat::SendsOn,
        (Sender::Hidden, false) => Nat::Hides,
    }) as u32
}

/// Sends the frame through the line without holding it. Returns what the program has to.
#[inline(always)]
pub fn send_at_once(skb: *mut __sk_buff, kind: EventKind, slot: u32) -> i32 {
    chaos_send(skb, kind as u32, Wait::of(0, slot).0, Maps.now())
}

/// Sends the frame into the line for as long as this [`Wait`] says, from this moment on.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_send(skb: *mut __sk_buff, kind: u32, wait: u64, now: u64) -> i32 {
    if skb.is_null() {
        return TCX_NEXT;
    }
    if kind & !KIND == Nat::SendsOn as u32 {
        dns::send_back_before_nat(skb, kind & KIND);
    }
    let wait = Wait(wait);
    let held =
        Held { from: now, nanoseconds: wait.nanoseconds().min(LONGEST_HOLD), slot: wait.slot() };
    line::send(skb, kind & KIND == EventKind::FrameIngress as u32, held)
}
