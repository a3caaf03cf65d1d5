//! fq, the queueing discipline that sends each frame when its time has come, once for each queue of an
//! interface.
//! <https://man7.org/linux/man-pages/man8/tc-fq.8.html>

use std::io;

use chaos_ebpf_common::{hold::LONGEST_HOLD, line::FLOWS};
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcMessage, TcOption, TcStats2},
};

use super::rtnetlink::Rtnetlink;

/// The discipline that has one for each queue of an interface, and its name here.
const ROOT: &str = "mq";
const HANDLE: TcHandle = TcHandle { major: 1, minor: 0 };
const KIND: &str = "fq";

/// Attributes of fq (`include/uapi/linux/pkt_sched.h`). Unknown ones are ignored by older kernels.
const LIMIT: u16 = 1;
const FLOW_LIMIT: u16 = 2;
const QUANTUM: u16 = 3;
const INITIAL_QUANTUM: u16 = 4;
const RATE_ENABLE: u16 = 5;
const TREES_LOG: u16 = 8;
const ORPHAN_MASK: u16 = 10;
const TIMER_SLACK: u16 = 13;
const HORIZON: u16 = 14;
const HORIZON_DROP: u16 = 15;

/// More frames than there is ever room for (16 GiB of short ones): fq itself drops none, programs do.
const MOST_FRAMES: u32 = 1 << 24;

/// A flow may send this much at once, in bytes, before another one has its turn: frames leave in the order
/// in which they are due (the kernel takes no more).
const TURN: u32 = 1 << 20;

/// Gives fq to an interface with so many queues, whose frames all have their times.
pub(super) fn add(rtnetlink: &mut Rtnetlink, index: u32, queues: u16) -> io::Result<()> {
    let mut root = TcMessage::with_index(index as i32);
    (root.header.handle, root.header.parent) = (HANDLE, TcHandle::ROOT);
    root.attributes = vec![TcAttribute::Kind(ROOT.to_owned())];
    let request = RouteNetlinkMessage::NewQueueDiscipline(root);
    rtnetlink.ask(request, NLM_F_CREATE | NLM_F_EXCL)?;
    for queue in 1..=queues {
        let mut message = TcMessage::with_index(index as i32);
        message.header.parent = TcHandle { minor: queue, ..HANDLE };
        message.attributes =
            vec![TcAttribute::Kind(KIND.to_owned()), TcAttribute::Options(options())];
        let request = RouteNetlinkMessage::NewQueueDiscipline(message);
        // In place of what the kernel has put there.
        rtnetlink.ask(request, NLM_F_CREATE | NLM_F_REPLACE)?;
    }
    Ok(())
}

fn options() -> Vec<TcOption> {
    let numbers = [
        (LIMIT, MOST_FRAMES),
        (FLOW_LIMIT, MOST_FRAMES),
        (QUANTUM, TURN),
        (INITIAL_QUANTUM, TURN),
        // No pacing: only the times count.
        (RATE_ENABLE, 0),
        (TREES_LOG, 12),
        (ORPHAN_MASK, FLOWS - 1),
        // In nanoseconds.
        (TIMER_SLACK, 1),
        // In microseconds; what is due later leaves then.
        (HORIZON, (2 * LONGEST_HOLD / 1_000) as u32),
    ];
    let number = |(kind, number): (u16, u32)| (kind, number.to_ne_bytes().to_vec());
    let options = numbers.into_iter().map(number).chain([(HORIZON_DROP, vec![0])]);
    options.map(|(kind, value)| TcOption::Other(DefaultNla::new(kind, value))).collect()
}

/// What waits in all of them: frames, and their bytes. `None` where there are none (any more).
pub(super) fn queued(rtnetlink: &mut Rtnetlink, index: u32) -> io::Result<Option<(u32, u32)>> {
    let all = TcMessage::with_index(index as i32);
    let found = rtnetlink.ask(RouteNetlinkMessage::GetQueueDiscipline(all), NLM_F_DUMP)?;
    let statistics = found.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewQueueDiscipline(message) if is_ours(&message, index) => {
            message.attributes.into_iter().find_map(|attribute| match attribute {
                TcAttribute::Stats2(statistics) => Some(statistics),
                _ => None,
            })
        }
        _ => None,
    });
    Ok(statistics.into_iter().flatten().find_map(|one| match one {
        TcStats2::Queue(queue) => Some((queue.qlen, queue.backlog)),
        _ => None,
    }))
}

fn is_ours(message: &TcMessage, index: u32) -> bool {
    message.header.index == index as i32 && message.header.handle == HANDLE
}
