//! The decision, the same for every hook: which rules match, and does one of them act?
//!
//! `ctx → Event → decide → Verdict → ctx`: a hook translates its context into an [`Event`] and
//! the [`Verdict`] into its own return convention, and reports with [`confirm`] whether it could
//! act. Everything unknown means "pass".

use core::hint::black_box;

use crate::{
    MAX_RULES, MAX_TEXTS, burst, correlation,
    event::{Event, EventKind, Family, FileId, ProtocolClass},
    hash,
    ledger::Count,
    rule::{Action, ErrnoChoice, MAX_ERRNOS, Rule, RuleSet, RuleState, Trigger},
    tables::Ends,
};

/// What the gate stands on: BPF maps in the kernel, plain memory in the host's tests.
pub trait Env {
    /// The rule set with this id.
    fn set(&self, id: u32) -> Option<&RuleSet>;
    /// The rule at a place among those of all sets: that of a bit is [`RuleSet::first_rule`] `+ bit`.
    fn rule(&self, place: u32) -> Option<&Rule>;
    /// What the longest prefix that covers the address allows.
    fn peer(&self, set: u32, family: Family, address: &[u8; 16]) -> Ends;
    /// What the longest prefix that covers the port allows.
    fn port(&self, set: u32, port: u16) -> Ends;
    /// The rules that speak of this system call ([`Event::call`]).
    fn calls(&self, set: u32, number: u16) -> u64;
    /// The rules of the set whose path the file is at or below.
    fn paths(&self, set: u32, file: &FileId) -> u64;
    /// Boot clock, nanoseconds.
    fn now(&self) -> u64;
    /// The boot-clock moment at which the lease lapses.
    fn lease(&self) -> u64;
    /// How many matching events the rule had before this one, and whether this one is in a burst
    /// ([`next_ordinal`]); exact on all CPUs.
    fn ordinal(&self, rule: &Rule) -> Option<(u64, bool)>;
    /// The number of this flow among those that the rule has matched, from 1. Those behind the last one that
    /// [`numbered`] asks for have one number. `None` where it cannot be known.
    fn flow_number(&self, rule: &Rule, flow: u64) -> Option<u32>;
    /// Takes one injection out of the rule's budget.
    fn grant(&self, rule: &Rule, now: u64) -> Grant;
    /// Adds one to a counter.
    fn count(&self, slot: u32, count: Count);
    /// Tells of an injection (or of one that a shadow rule would have done); may be lost.
    fn emit(&self, event: &Event, verdict: &Verdict, shadow: bool);
    /// [`walk`] in this environment; the kernel makes a function of its own of it.
    #[inline(always)]
    fn walk(&self, matching: u64, context: &Context) -> Decision
    where
        Self: Sized,
    {
        walk(self, matching, context)
    }
    /// [`evaluate_rule`] in this environment; the kernel makes a function of its own of it.
    #[inline(always)]
    fn evaluate_rule(&self, bit: u32, context: &Context) -> Decision
    where
        Self: Sized,
    {
        evaluate_rule(self, bit, context)
    }
}

/// What [`Env::grant`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    Given,
    /// `at most N` is used up.
    Spent,
    /// `at most N per second` is used up for this second.
    TooFast,
}

/// What the hook has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Number of the [`Action`]; 0 = pass.
    pub action: u8,
    /// Positive errno for [`Action::Fail`], else 0.
    pub errno: u32,
    /// The rule that decided.
    pub slot: u32,
    /// Hash bits for whatever the action still has to choose (which byte to corrupt), as many as
    /// [`ENTROPY_BITS`].
    pub entropy: u64,
    /// Boot-clock moment of the decision.
    pub at: u64,
}

impl Verdict {
    /// Leave the event alone.
    pub const PASS: Self = Self { action: 0, errno: 0, slot: 0, entropy: 0, at: 0 };

    /// Whether this is the action to take.
    #[inline(always)]
    pub fn is(&self, action: Action) -> bool {
        self.action == action as u8
    }
}

/// Asks the texts of a target, of which the `first` is the rule set with this id, one after the other. The
/// first that has a rule that hits decides, and the later ones are not asked.
#[inline(always)]
pub fn decide<G: Env>(env: &G, first: u32, event: &Event) -> Verdict {
    let mut id = first;
    for _ in 0..MAX_TEXTS {
        if id == RuleSet::NONE {
            break;
        }
        let Some(set) = env.set(id) else { break };
        let verdict = ask(env, set, event);
        if verdict != Verdict::PASS {
            return verdict;
        }
        id = set.next;
    }
    Verdict::PASS
}

/// Asks the rules of a set that match, in the order in which the faults were written; the first that hits
/// decides and the later ones are not asked. Shadow rules are counted and passed by.
#[inline(always)]
fn ask<G: Env>(env: &G, set: &RuleSet, event: &Event) -> Verdict {
    let rules = matching(env, set, event);
    if rules == 0 {
        return Verdict::PASS;
    }
    let now = env.now();
    let flow = if rules & set.by_flow == 0 { None } else { hash::flow_of(event) };
    let answer = evaluate(env, set, rules, flow, now);
    if let Some(shadow) = answer.shadow(env, set.first_rule, now) {
        env.emit(event, &shadow, true);
    }
    answer.hit(env, set.first_rule, now).unwrap_or(Verdict::PASS)
}

/// Asks these of the rules that match, and tells nobody: for a hook that asks
/// [stage](crate::rule::Stage) by stage. `flow` is [`hash::flow_of`] the event where a rule asks for
/// it (`set.by_flow`).
#[inline(always)]
pub fn evaluate<G: Env>(
    env: &G,
    set: &RuleSet,
    rules: u64,
    flow: Option<u64>,
    now: u64,
) -> Decision {
    let context = Context {
        now,
        flow: flow.unwrap_or(0),
        first_rule: set.first_rule,
        leased: (now < env.lease()) as u32,
        fragment: flow.is_none() as u32,
    };
    env.walk(rules, &context)
}

/// What a rule needs to know of an event that it matches.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// Boot clock, nanoseconds.
    pub now: u64,
    /// [`hash::flow_of`], or 0 where no rule asks for it.
    pub flow: u64,
    /// Where the rules of the set are.
    pub first_rule: u32,
    /// 1 while the lease holds.
    pub leased: u32,
    /// 1 where the flow cannot be known, or no rule asks for it.
    pub fragment: u32,
}

/// What rules answer to an event, packed into one register: so it can be the result of a BPF
/// function that the verifier checks once, instead of once for each way that leads there.
///
/// What to do (18 bits from the low end on), what a shadow rule would have done (18), entropy of the one to
/// do (26 at the high end). Each of the first two: action (4), the rule's bit in its set (6), errno (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision(pub u64);

/// Bits of an act: action, rule, errno.
const ACT_BITS: u32 = Action::BITS + RULE_BITS + ERRNO_BITS;
const ACT: u64 = (1 << ACT_BITS) - 1;
const ACTION: u64 = (1 << Action::BITS) - 1;
const RULE_BITS: u32 = 6;
const RULE: u64 = (1 << RULE_BITS) - 1;
const _: () = assert!(MAX_RULES <= 1 << RULE_BITS);
const ERRNO_BITS: u32 = 8;
const ERRNO: u64 = (1 << ERRNO_BITS) - 1;

/// Bits of entropy that a hit hands on.
pub const ENTROPY_BITS: u32 = 26;
const ENTROPY_AT: u32 = 64 - ENTROPY_BITS;
const _: () = assert!(2 * ACT_BITS <= ENTROPY_AT);

impl Decision {
    /// The event is spared.
    pub const SPARED: Self = Self(0);

    #[inline(always)]
    fn of(rule: &Rule, bit: u32, entropy: u64) -> Self {
        let act = rule.action as u64 & ACTION
            | (bit as u64 & RULE) << Action::BITS
            | (pick_errno(rule, entropy) as u64 & ERRNO) << (Action::BITS + RULE_BITS);
        if rule.shadow != 0 {
            Self(act << ACT_BITS)
        } else {
            Self(act | entropy >> ENTROPY_AT << ENTROPY_AT)
        }
    }

    /// The number of the [`Action`] to take; 0 to let the event pass.
    #[inline(always)]
    pub fn action(self) -> u8 {
        (self.0 & ACTION) as u8
    }

    /// Hash bits for whatever the action still has to choose, as many as [`ENTROPY_BITS`].
    #[inline(always)]
    pub fn entropy(self) -> u64 {
        self.0 >> ENTROPY_AT
    }

    /// What is to be done, decided at this moment by a set whose rules begin at `first_rule`; `None` to let the
    /// event pass.
    #[inline(always)]
    pub fn hit<G: Env>(self, env: &G, first_rule: u32, at: u64) -> Option<Verdict> {
        verdict(env, first_rule, self.0 & ACT, self.entropy(), at)
    }

    /// What a shadow rule of that set would have done. Of several the last is told of; all are counted.
    #[inline(always)]
    pub fn shadow<G: Env>(self, env: &G, first_rule: u32, at: u64) -> Option<Verdict> {
        verdict(env, first_rule, self.0 >> ACT_BITS & ACT, 0, at)
    }
}

#[inline(always)]
fn verdict<G: Env>(env: &G, first_rule: u32, act: u64, entropy: u64, at: u64) -> Option<Verdict> {
    if act & ACTION == 0 {
        return None;
    }
    let bit = (act >> Action::BITS & RULE) as u32;
    Some(Verdict {
        action: (act & ACTION) as u8,
        slot: env.rule(first_rule + bit)?.slot,
        errno: (act >> (Action::BITS + RULE_BITS) & ERRNO) as u32,
        entropy,
        at,
    })
}

/// Asks the matching rules in their order until one hits. The loop does as little as it can: the
/// verifier walks it 64 times.
#[inline(always)]
pub fn walk<G: Env>(env: &G, matching: u64, context: &Context) -> Decision {
    let mut matching = matching;
    let mut shadow = Decision::SPARED;
    for _ in 0..MAX_RULES {
        if matching == 0 {
            break;
        }
        let bit = lowest_bit(matching);
        matching &= matching - 1;
        let answer = env.evaluate_rule(bit, context);
        if answer.0 & ACTION != 0 {
            return Decision(answer.0 | shadow.0);
        }
        if answer != Decision::SPARED {
            shadow = answer;
        }
    }
    shadow
}

/// Asks one rule: counts the match, the hit of a shadow, and why the event is spared if it is.
#[inline(always)]
pub fn evaluate_rule<G: Env>(env: &G, bit: u32, context: &Context) -> Decision {
    let Some(rule) = env.rule(context.first_rule + bit) else {
        return Decision::SPARED;
    };
    env.count(rule.slot, Count::Matched);
    match judge(env, rule, context) {
        Ok(entropy) => {
            if rule.shadow != 0 {
                env.count(rule.slot, Count::Shadowed);
            }
            Decision::of(rule, bit, entropy)
        }
        Err(spared) => {
            env.count(rule.slot, spared);
            Decision::SPARED
        }
    }
}

/// Closes a decision: the hook says whether it did what the verdict asked for.
#[inline(always)]
pub fn confirm<G: Env>(env: &G, event: &Event, verdict: &Verdict, done: bool) {
    if done {
        env.count(verdict.slot, Count::Injected);
        env.emit(event, verdict, false);
    } else {
        env.count(verdict.slot, Count::Unfit);
    }
}

/// The rules whose every condition the event meets. A dimension that none of the rules still in
/// question looks at costs nothing.
#[inline(always)]
pub fn matching<G: Env>(env: &G, set: &RuleSet, event: &Event) -> u64 {
    let mut rules =
        at(&set.by_kind, event.kind as usize) & at(&set.by_protocol, event.protocol as usize);
    // Each hook has one kind of event, so the compiler leaves this out of all the others.
    if event.kind == EventKind::Call && rules != 0 {
        rules &= env.calls(set.id, event.call);
        if rules & set.by_path != 0 {
            rules &= !set.by_path | env.paths(set.id, &event.file);
        }
    }
    if rules & (set.port_source | set.port_destination | set.port_exempt) != 0 {
        let mut allowed = !(set.port_source | set.port_destination);
        let mut exempt = 0;
        if rules & (set.port_destination | set.port_exempt) != 0 {
            let ends = env.port(set.id, event.destination_port);
            allowed |= ends.destination;
            exempt |= ends.exempt;
        }
        if rules & (set.port_source | set.port_exempt) != 0 {
            let ends = env.port(set.id, event.source_port);
            allowed |= ends.source;
            exempt |= ends.exempt;
        }
        // A fragment may be one of a packet that is left alone: nobody knows its ports.
        if event.source_port | event.destination_port == 0
            && (event.protocol == ProtocolClass::Tcp || event.protocol == ProtocolClass::Udp)
        {
            exempt |= set.port_exempt;
        }
        rules &= allowed & !exempt;
    }
    if rules & (set.peer_source | set.peer_destination | set.peer_exempt) != 0 {
        let mut allowed = !(set.peer_source | set.peer_destination);
        let mut exempt = 0;
        if rules & (set.peer_destination | set.peer_exempt) != 0 {
            let ends = env.peer(set.id, event.family, &event.destination);
            allowed |= ends.destination;
            exempt |= ends.exempt;
        }
        if rules & (set.peer_source | set.peer_exempt) != 0 {
            let ends = env.peer(set.id, event.family, &event.source);
            allowed |= ends.source;
            exempt |= ends.exempt;
        }
        rules &= allowed & !exempt;
    }
    rules
}

/// What is there for a value, bounded where the verifier can see it: the compiler, which knows the bound, would leave it
/// to a register that is long gone.
#[inline(always)]
fn at<const N: usize>(rules: &[u64; N], value: usize) -> u64 {
    let value = black_box(value);
    if value < N { rules[value] } else { 0 }
}

/// Lease, deadline, chance, budget: the entropy of the hit, or why the event is spared.
#[inline(always)]
fn judge<G: Env>(env: &G, rule: &Rule, context: &Context) -> Result<u64, Count> {
    let Context { now, flow, leased, fragment, .. } = *context;
    if leased == 0 {
        return Err(Count::Lease);
    }
    if now < rule.not_before {
        return Err(Count::Early);
    }
    if now >= rule.deadline {
        return Err(Count::Ended);
    }
    let is_window_of_flows = rule.trigger == Trigger::FlowWindow as u8;
    let by_flow = rule.trigger == Trigger::FlowChance as u8
        || rule.trigger == Trigger::EachFlow as u8
        || is_window_of_flows;
    let entropy = if by_flow {
        if fragment != 0 {
            return Err(Count::Fragment);
        }
        if is_window_of_flows {
            let Some(number) = env.flow_number(rule, flow) else {
                return Err(Count::Unfit);
            };
            if !is_in_window(rule, number as u64) {
                return Err(Count::Chance);
            }
        }
        hash::mix(rule.seed ^ flow)
    } else {
        let Some((ordinal, in_burst)) = env.ordinal(rule) else {
            return Err(Count::Unfit);
        };
        if rule.trigger == Trigger::Burst as u8 && !in_burst {
            return Err(Count::Chance);
        }
        if rule.trigger == Trigger::EveryNth as u8
            && (rule.every == 0 || (ordinal + 1) % rule.every as u64 != 0)
        {
            return Err(Count::Chance);
        }
        if rule.trigger == Trigger::Window as u8 && !is_in_window(rule, ordinal + 1) {
            return Err(Count::Chance);
        }
        hash::nth(rule.seed, ordinal)
    };
    let chance = rule.trigger == Trigger::Chance as u8 || rule.trigger == Trigger::FlowChance as u8;
    if chance && (entropy >> 32) as u32 >= rule.threshold {
        return Err(Count::Chance);
    }
    if rule.at_most != 0 || rule.per_second != 0 {
        match env.grant(rule, now) {
            Grant::Given => {}
            Grant::Spent => return Err(Count::AtMost),
            Grant::TooFast => return Err(Count::PerSecond),
        }
    }
    // Bits that the chance did not look at, so that what is chosen does not follow from it.
    Ok(correlation::decide(hash::mix(entropy), rule.correlation))
}

/// Whether the event, or the flow, with this number is in the rule's window.
#[inline(always)]
fn is_in_window(rule: &Rule, number: u64) -> bool {
    number >= rule.threshold as u64 && (rule.every == 0 || number <= rule.every as u64)
}

/// How many flows a rule with a window of flows has to tell apart: those behind them are all alike.
#[inline(always)]
pub fn numbered(rule: &Rule) -> u32 {
    numbered_in_window(rule.threshold, rule.every)
}

/// [`numbered`] for the window of the flows `first` to `last`, or all from `first` on where `last` is 0.
#[inline(always)]
pub fn numbered_in_window(first: u32, last: u32) -> u32 {
    if last != 0 { last } else { first.wrapping_sub(1) }
}

#[inline(always)]
fn pick_errno(rule: &Rule, entropy: u64) -> u32 {
    let ErrnoChoice { errno: mut picked, .. } = rule.errnos[0];
    if rule.errno_count > 1 {
        let point = (entropy & 0xffff) as u32;
        // From the back, so that the first choice that covers the point stays.
        for index in (0..MAX_ERRNOS).rev() {
            let choice = rule.errnos[index];
            if point < choice.below {
                picked = choice.errno;
            }
        }
    }
    picked
}

/// Takes the next ordinal and goes on with a rule's bursts, as [`grant`] for whoever holds the state.
#[inline(always)]
pub fn next_ordinal(state: &mut RuleState, rule: &Rule) -> (u64, bool) {
    let ordinal = state.ordinal;
    state.ordinal = ordinal + 1;
    if rule.trigger != Trigger::Burst as u8 {
        return (ordinal, false);
    }
    let in_burst = burst::goes_on(state.burst != 0, rule, ordinal);
    state.burst = in_burst as u32;
    (ordinal, in_burst)
}

/// Budget arithmetic, for whoever holds the rule's state: the kernel under its lock, the host's
/// tests without.
#[inline(always)]
pub fn grant(state: &mut RuleState, rule: &Rule, now: u64) -> Grant {
    if rule.at_most != 0 && state.granted >= rule.at_most {
        return Grant::Spent;
    }
    if rule.per_second != 0 {
        let second = now.saturating_sub(rule.not_before) / 1_000_000_000;
        // Who read the clock before the second ended and comes after others have begun the next one
        // counts in that: were an earlier second to begin anew, both could be had twice.
        if second > state.second {
            state.second = second;
            state.in_second = 0;
        }
        if state.in_second >= rule.per_second {
            return Grant::TooFast;
        }
        state.in_second += 1;
    }
    state.granted += 1;
    Grant::Given
}

/// Index of the lowest bit that is set; 0 for none. Written out because BPF has neither `ctz` nor conditional moves,
/// and each branch here would double the paths that the verifier walks.
#[inline(always)]
pub fn lowest_bit(mask: u64) -> u32 {
    let below = mask.isolate_lowest_one().wrapping_sub(1);
    let pairs = below - ((below >> 1) & 0x5555_5555_5555_5555);
    let nibbles = (pairs & 0x3333_3333_3333_3333) + ((pairs >> 2) & 0x3333_3333_3333_3333);
    let bytes = (nibbles + (nibbles >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    (bytes.wrapping_mul(0x0101_0101_0101_0101) >> 56) as u32 & 63
}

#[cfg(test)]
mod tests;
