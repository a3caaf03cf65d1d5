//! The kernel side as the agent sees it: the BPF object, its maps, its links.
//!
//! Only this module and [`crate::arm`] issue bpf(2). No link is pinned: when this process ends,
//! however it ends, the kernel takes everything away.

mod at_function;
mod bpf;
mod btf;
mod cable;
mod claim;
mod clock_check;
mod clsact;
mod device;
mod error;
mod features;
mod fq;
mod freed_memory;
mod grace;
mod injectable;
mod jump;
mod line;
mod link_events;
mod links;
mod loaded;
mod maps;
mod object;
mod pool;
mod programs;
mod released_first;
mod rtnetlink;
mod slots;
mod tables;
mod tap;
mod tcx;
mod tracer;
mod trial;
mod veth;

pub use cable::{added_disciplines, lay_cable, plug_in};
pub use claim::{CLAIM_BYTES, FoundClaim, PublishedClaim, published_claims};
pub use clock_check::{ClockError, check_clock};
pub use clsact::{Naming, collect_filters};
pub use error::KernelError;
pub use features::{Trials, find_features, release};
pub(crate) use grace::wait_for_running_programs;
pub use line::LineMaps;
pub use link_events::LinkEvents;
pub use links::Link;
pub use loaded::{loaded, map_ids, wait_for_maps};
pub use maps::LeaseMap;
use object::Object;
pub use programs::{FrameGroup, FrameHooks, Holding, Membership, Programs, Room, Text, Wants};
pub use tap::Tap;
pub use trial::{Trial, TrialTarget};
pub use veth::Veth;
