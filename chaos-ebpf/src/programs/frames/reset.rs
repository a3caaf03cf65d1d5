//! A connection torn down: the segment goes on as a RST, and its sender gets one, too.

use aya_ebpf::bindings::__sk_buff;
use chaos_ebpf_common::{
    event::EventKind,
    packet::Bytes,
    reset::{HEADER, Reset, Segment, TCP},
};

use super::{
    FrameBytes, Outcome,
    headers::Place,
    redirect::{send_back, spare_arrival},
    reflect::{end, is_partial, pseudo, put, resize, turn},
};
use crate::{bytes::SkbBytes, maps::ENDED, ownership::frame_target};

/// `None` for what is no whole segment, or is a RST itself.
///
/// An end that has received more than was acknowledged when the segment was sent does not take the
/// sequence number of its RST, and asks with one more acknowledgement (RFC 5961 §3.2), which the other
/// end, while it is being torn down, may ignore. So a connection that has been reset stays so: each
/// later segment of it that comes by is answered again, no rule being asked, until one begins a new
/// connection. `again`: this is a later one.
#[inline(always)]
pub fn reset(
    skb: *mut __sk_buff,
    kind: EventKind,
    place: Place,
    flow: u64,
    again: bool,
) -> Option<Outcome> {
    let bytes: FrameBytes = SkbBytes(skb);
    if !place.is_tcp() {
        return None;
    }
    let segment = Segment(bytes.read(place.transport())?);
    if segment.is_reset() {
        return None;
    }
    if !segment.is_first() {
        // Where there is no room, the connection may have to be reset by chance once more.
        let _ = ENDED.get(frame_target(skb)).map(|ended| ended.insert(&flow, &0, 0));
    } else if again {
        let _ = ENDED.get(frame_target(skb)).map(|ended| ended.remove(&flow));
        return None;
    }
    let payload = end(&bytes, place)?.wrapping_sub(place.transport() + segment.header()?);
    resize(&bytes, place, HEADER as u32)?;
    // From here on the frame is no longer what it was: if something fails now, it is lost.
    Some(answer(&bytes, kind, place, &segment, payload).unwrap_or(Outcome::Lost))
}

#[inline(always)]
fn answer(
    bytes: &FrameBytes,
    kind: EventKind,
    place: Place,
    segment: &Segment,
    payload: u32,
) -> Option<Outcome> {
    // The same whichever way it goes.
    let before = pseudo(bytes, place, TCP, HEADER as u32)?;
    turn(bytes, place)?;
    put_segment(bytes, place, &segment.backward(payload), before)?;
    send_back(bytes.0, kind);
    // As it was, for those who read it still.
    turn(bytes, place)?;
    put_segment(bytes, place, &segment.forward()?, before)?;
    spare_arrival(bytes.0, kind);
    Some(Outcome::Answered)
}

#[inline(always)]
fn put_segment(bytes: &FrameBytes, place: Place, reset: &Reset, before: u64) -> Option<()> {
    let Reset { ports, sequence, acknowledged, flags } = *reset;
    let ports = (ports as u64) << 32 | flags as u64;
    let numbers = (sequence as u64) << 32 | acknowledged as u64;
    if chaos_put_segment(bytes.0, place.0, ports, numbers, before) != 0 { Some(()) } else { None }
}

/// A function of its own, so that what it keeps on the stack is there while it works only.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_put_segment(
    skb: *mut __sk_buff,
    place: u64,
    ports: u64,
    numbers: u64,
    before: u64,
) -> u32 {
    let (bytes, place): (FrameBytes, _) = (SkbBytes(skb), Place(place));
    let reset = Reset {
        ports: (ports >> 32) as u32,
        sequence: (numbers >> 32) as u32,
        acknowledged: numbers as u32,
        flags: ports as u8,
    };
    let segment = reset.segment(before, is_partial(skb));
    put(&bytes, place.transport(), &segment).is_some() as u32
}
