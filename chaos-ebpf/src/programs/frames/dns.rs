//! Questions for names, answered in place of the server.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, tcx_action_base::TCX_REDIRECT},
    btf_maps::lpm_trie::Key,
    helpers::generated::{bpf_l4_csum_replace, bpf_skb_load_bytes},
};
use chaos_ebpf_common::{
    checksum,
    dns::{self, EMBEDDED_SERVER, HEADER, LABELS, NAME, PORT},
    event::EventKind,
    gate::Env,
    packet::{Bytes, Packet},
    rule::{Action, RuleSet},
    tables::{PATH_BYTES, PathKey, SET_BITS},
};

use super::{
    FrameBytes, LINK_HEADER, Outcome,
    headers::Place,
    hold::send_at_once,
    line::{Room, room},
    redirect::redirect_back,
    reflect::{is_partial, pseudo, put, resize, spoil, turn},
};
use crate::{
    bytes::SkbBytes,
    env::Maps,
    maps::{NAMES, PATHS},
};

/// Bytes of a UDP header, and the number of the protocol.
const UDP_HEADER: u32 = 8;
const UDP: u8 = 17;

/// A place in [`NAMES`] of its own: frames leave with softirqs off, one at a time on a processor.
const ASKED: u32 = 2;

/// [`dns::undo_nat`] of a frame.
#[inline(always)]
pub fn undo_nat(skb: *mut __sk_buff, packet: &mut Packet) {
    let bytes: FrameBytes = SkbBytes(skb);
    dns::undo_nat(&bytes, packet);
}

/// Whether it is a question to Docker's name server, at another port than that of name servers
/// ([`dns::is_sent_on`]).
#[inline(always)]
pub fn is_sent_on(bytes: &FrameBytes, place: Place) -> bool {
    place.is_udp()
        && place.is_v4()
        && bytes.read(place.network() + 16) == Some(EMBEDDED_SERVER)
        && bytes.read(place.transport() + 2).is_some_and(|port| u16::from_be_bytes(port) != PORT)
        && bytes
            .read(place.transport() + UDP_HEADER)
            .is_some_and(|header| dns::is_question(&header))
}

/// Addresses a question that is about to be held, and was [sent on](is_sent_on), to the port at which it was
/// asked. In the line the frame loses its connection (`nf_reset_ct`): it comes back as one that NAT has not
/// seen, is found to be of the same connection by that port, and is sent on again.
#[inline(always)]
pub fn send_back_before_nat(skb: *mut __sk_buff, kind: u32) {
    chaos_before_nat(skb, Place::of(skb, kind).0);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_before_nat(skb: *mut __sk_buff, place: u64) -> u32 {
    readdress(&SkbBytes(skb), Place(place)).is_some() as u32
}

#[inline(always)]
fn readdress(bytes: &FrameBytes, place: Place) -> Option<()> {
    let old: [u8; 2] = bytes.read(place.transport() + 2)?;
    let new = PORT.to_be_bytes();
    let at = LINK_HEADER + place.transport() + 6;
    let (from, to) = (u16::from_ne_bytes(old) as u64, u16::from_ne_bytes(new) as u64);
    // Size of the field, and that 0 stands for "no checksum".
    let flags = 2 | BPF_F_MARK_MANGLED_0 as u64;
    // SAFETY: the helper takes the program's context and bounds `at` by the frame.
    if unsafe { bpf_l4_csum_replace(bytes.0, at, from, to, flags) } != 0 {
        return None;
    }
    put(bytes, place.transport() + 2, &new)
}

/// Of these rules those that ask for no name, or for the one that the frame asks about.
#[inline(always)]
pub fn by_name(skb: *mut __sk_buff, kind: u32, set: &RuleSet, rules: u64) -> u64 {
    if rules & set.by_name == 0 {
        return rules;
    }
    rules & (!set.by_name | chaos_names(skb, Place::of(skb, kind).0, set.id))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_names(skb: *mut __sk_buff, place: u64, set: u32) -> u64 {
    rules_of(&SkbBytes(skb), Place(place), set).unwrap_or(0)
}

/// The rules that ask for the name that the frame asks about. It is looked up label by label from
/// the last on, lower case, as the table has names.
#[inline(always)]
fn rules_of(bytes: &FrameBytes, place: Place, set: u32) -> Option<u64> {
    if !place.is_udp() {
        return None;
    }
    let message = place.transport() + UDP_HEADER;
    if !dns::is_question(&bytes.read(message)?) {
        return None;
    }
    let first = message + HEADER;
    let length = name_at(bytes, first)?;
    let name = NAMES.get_ptr_mut(ASKED)?;
    chaos_name_end(1 + length);
    let mut done = 0;
    for _ in 0..LABELS {
        let label = chaos_label(bytes.0, first + done, 1 + length - done);
        if label == 0 {
            break;
        }
        done += label;
    }
    // SAFETY: the pointer is to a live map value that nobody else uses meanwhile. A name begins
    // like a key.
    unsafe {
        (*name).bits = SET_BITS + 8 * PATH_BYTES as u32;
        (*name).set = set;
        let path = (&raw mut (*name).path).cast::<u8>();
        *path = NAME;
        for word in 0..PATH_BYTES.div_ceil(8) {
            let word = path.cast::<u64>().add(word);
            *word = dns::lower(*word);
        }
        PATHS.get(&*name.cast::<Key<PathKey>>()).copied()
    }
}

/// [`dns::name`], and below [`checksum::sum_of`], as functions that the verifier checks once: in line
/// it walks what comes behind for each length of a name.
#[inline(always)]
fn name_at(bytes: &FrameBytes, at: u32) -> Option<u32> {
    Some(chaos_name(bytes.0, at)).filter(|length| *length != u32::MAX)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_name(skb: *mut __sk_buff, at: u32) -> u32 {
    let bytes: FrameBytes = SkbBytes(skb);
    dns::name(&bytes, at).unwrap_or(u32::MAX)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_sum(skb: *mut __sk_buff, at: u32, length: u32) -> u64 {
    let bytes: FrameBytes = SkbBytes(skb);
    checksum::sum_of(&bytes, at, length)
}

/// Ends the name at this place. A function of its own, as compilers take for needless, knowing better
/// than the verifier, what keeps the place inside of the buffer.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_name_end(end: u32) -> u32 {
    let Some(name) = NAMES.get_ptr_mut(ASKED) else {
        return 0;
    };
    // SAFETY: the pointer is to a live map value of 4096 bytes.
    unsafe { *(&raw mut (*name).path).cast::<u8>().add((end & 0xff) as usize) = 0 };
    1
}

/// Copies the label that begins at `at` to where it ends before `end`, and returns its length; 0 for
/// the last of all.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_label(skb: *mut __sk_buff, at: u32, end: u32) -> u32 {
    let bytes: FrameBytes = SkbBytes(skb);
    let (Some([label]), Some(name)) = (bytes.read::<1>(at), NAMES.get_ptr_mut(ASKED)) else {
        return 0;
    };
    if label == 0 {
        return 0;
    }
    // No label is longer, but the verifier does not know.
    let length = (label & 63) as u32 + 1;
    let to = end.wrapping_sub(length) & 0xff;
    // SAFETY: the buffer has 4096 bytes, of which this writes at most 64 from below 256 on.
    let failed = unsafe {
        let to = (&raw mut (*name).path).cast::<u8>().add(to as usize);
        bpf_skb_load_bytes(skb.cast(), LINK_HEADER + at, to.cast(), length)
    };
    if failed == 0 { length } else { 0 }
}

/// What the server says in place of the answer, or `None` for nothing.
#[inline(always)]
fn code(action: u8) -> Option<u8> {
    match action {
        action if action == Action::NxDomain as u8 => Some(3),
        action if action == Action::ServFail as u8 => Some(2),
        action if action == Action::Refused as u8 => Some(5),
        _ => None,
    }
}

/// Whether the action is one of these.
#[inline(always)]
pub fn answers(action: u8) -> bool {
    code(action).is_some() || action == Action::Silence as u8
}

/// Answers the question, or lets it wait for ever; nobody else gets it. `None` where that fails, and
/// the frame is no longer what it was. `slot`: of the ledger.
///
/// An answer goes back where the question came from. Behind NAT on loopback it would keep the question's
/// connection, and be translated as if it was one more question: it goes through the delay line, where it
/// loses that, and is found to be an answer when it comes back.
#[inline(always)]
pub fn reply(skb: *mut __sk_buff, place: Place, action: u8, slot: u32) -> Option<Outcome> {
    let bytes: FrameBytes = SkbBytes(skb);
    let Some(code) = code(action) else {
        spoil(&bytes)?;
        return Some(redirect_back(skb));
    };
    let message = place.transport() + UDP_HEADER;
    let header = bytes.read(message)?;
    let name = name_at(&bytes, message + HEADER)?;
    let (kept, opt) = dns::kept(&bytes, message, &header, name);
    let by_line = is_sent_on(&bytes, place) && matches!(room(skb, Maps.now()), Room::Free);
    resize(&bytes, place, UDP_HEADER + kept)?;
    turn(&bytes, place)?;
    if chaos_answer_frame(skb, place.0, kept, code as u32 | (opt as u32) << 8) == 0 {
        return None;
    }
    if by_line && send_at_once(skb, EventKind::FrameIngress, slot) == TCX_REDIRECT {
        return Some(Outcome::Redirected);
    }
    Some(redirect_back(skb))
}

/// Makes the answer of a question that was turned round, of which so many bytes are kept. `how`: the code, in 8 bits, and whether there is an OPT
/// record. A function of its own, so that what it keeps on the stack is there while it works only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_answer_frame(skb: *mut __sk_buff, place: u64, kept: u32, how: u32) -> u32 {
    write(&SkbBytes(skb), Place(place), kept, (how as u8, (how >> 8) as u8)).is_some() as u32
}

#[inline(always)]
fn write(bytes: &FrameBytes, place: Place, kept: u32, (code, opt): (u8, u8)) -> Option<()> {
    let message = place.transport() + UDP_HEADER;
    let header = dns::answer(&bytes.read(message)?, code, opt);
    put(bytes, message, &header)?;
    if opt != 0 {
        // The OPT record is sent back without its options.
        put(bytes, message + kept - 2, &[0, 0])?;
    }
    let [a, b, c, d] = bytes.read(place.transport())?;
    let length = UDP_HEADER + kept;
    let [e, f] = (length as u16).to_be_bytes();
    put(bytes, place.transport(), &[c, d, a, b, e, f, 0, 0])?;
    let before = pseudo(bytes, place, UDP, length)?;
    let checksum = if is_partial(bytes.0) {
        checksum::fold(before)
    } else {
        match !checksum::fold(before + chaos_sum(bytes.0, place.transport(), length)) {
            // That would say that there is none (RFC 768).
            0 => 0xffff,
            checksum => checksum,
        }
    };
    put(bytes, place.transport() + 6, &checksum.to_be_bytes())
}
