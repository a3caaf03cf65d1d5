//! Finds what the texts of a target ask about a frame.

use core::hint::black_box;

use aya_ebpf::bindings::__sk_buff;
use chaos_ebpf_common::{
    MAX_TEXTS,
    event::EventKind,
    gate::matching,
    rule::{RuleSet, STAGES},
};

use super::{dns, headers, hold::HOLDING};
use crate::{
    env::Maps,
    maps::{ASKED, Asked},
    ownership::frame_target,
};

/// Finds for each text which of its rules speak of the frame, whoever it is for, and are of a stage that it has not behind
/// it. How many texts have such.
///
/// They are noted for this processor, as they are more than a register holds. Frames go through one at a time on a
/// processor, with softirqs off, but for a copy: it goes its own way at once, and what was found before is not there any
/// more then.
#[inline(always)]
pub fn find(skb: *mut __sk_buff, kind: EventKind, behind: u32) -> u32 {
    if chaos_read(skb, kind as u32) == 0 {
        return 0;
    }
    chaos_asked(skb, kind as u32, behind)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_asked(skb: *mut __sk_buff, kind: u32, behind: u32) -> u32 {
    let mut id = Maps.first_of(frame_target(skb));
    let mut texts = 0;
    for _ in 0..MAX_TEXTS {
        let Some(set) = Maps.text(id) else { break };
        let rules = dns::by_name(skb, kind, set, chaos_match(set.id));
        texts = chaos_note(texts, set.id, rules, behind);
        id = set.next;
    }
    texts
}

/// Reads the headers, for all texts once. Whether rules speak of such frames at all.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_read(skb: *mut __sk_buff, kind: u32) -> u32 {
    let (Some(mut packet), Some(asked)) = (headers(skb, kind), ASKED.get_ptr_mut(0)) else {
        return 0;
    };
    dns::undo_nat(skb, &mut packet);
    // SAFETY: the pointer is to a live map value that nobody else uses meanwhile, see `find`.
    unsafe { (*asked).event.write(packet.event) };
    1
}

/// The rules of the set that speak of the frame whose headers were read.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_match(set: u32) -> u64 {
    let (Some(asked), Some(set)) = (ASKED.get(0), Maps.live_set(set)) else {
        return 0;
    };
    // SAFETY: `chaos_read` has written it.
    matching(&Maps, set, unsafe { asked.event.assume_init_ref() })
}

/// Notes those of the rules of a set that are of a stage which the frame has not behind it. How many texts have such
/// rules then, as there were so many before.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_note(texts: u32, set: u32, rules: u64, behind: u32) -> u32 {
    let (Some(asked), Some(head)) = (ASKED.get_ptr_mut(0), Maps.live_set(set)) else {
        return texts;
    };
    let stages = (0..).zip(&head.by_stage).filter(|(stage, _)| *stage >= behind);
    let rules = rules & stages.fold(0, |all, (_, rules)| all | rules);
    if rules == 0 {
        return texts;
    }
    // There are no more, but the verifier does not know, and the compiler, which does, would leave this out.
    let place = black_box(texts) as usize % MAX_TEXTS;
    // SAFETY: as in `chaos_read`; the place is below its length.
    unsafe {
        (*asked).sets[place] = set;
        (*asked).rules[place] = rules;
    }
    texts + 1
}

/// The set of the text at this place among those that were found, and those of its rules that are of this stage; `None`
/// where there are none.
///
/// The id is that of the set that was found, as the list may have changed meanwhile. A set stays as it is for as long as
/// a program runs that has seen it in force.
#[inline(always)]
pub fn at(text: u32, stage: u32) -> Option<(&'static RuleSet, u64)> {
    let asked: &Asked = ASKED.get(0)?;
    // Bounded where the verifier can see it, as in `chaos_note`.
    let (text, stage) = (black_box(text) as usize % MAX_TEXTS, black_box(stage) as usize);
    let set = Maps.live_set(asked.sets[text])?;
    if stage >= STAGES {
        return None;
    }
    let rules = asked.rules[text] & set.by_stage[stage];
    if rules == 0 { None } else { Some((set, rules)) }
}

/// Whether some of the rules of so many texts hold.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn chaos_holds(texts: u32) -> u32 {
    let mut holds = 0;
    for text in 0..MAX_TEXTS as u32 {
        if text >= texts {
            break;
        }
        for stage in HOLDING {
            holds |= at(text, stage).is_some() as u32;
        }
    }
    holds
}
