//! Answering system calls through seccomp user notification, for kernels that deny tracing programs
//! (`seccomp_unotify(2)`, kernel 5.9).
//!
//! A process that is started with our [`Filter`] waits at each listed call until a [`warden`] says
//! what becomes of it: an errno, a signal, or that it goes on. The decision is the gate's
//! (`chaos_ebpf_common::gate`), on a [`Board`] instead of BPF maps: memory that agent and warden
//! share, with the rules, the lease and the ledger.

mod board;
mod caller;
pub mod container;
mod desk;
mod dispatch;
mod filter;
mod ground;
mod handover;
mod hire;
mod in_flight;
mod install;
mod listener;
mod lookup;
mod memory;
mod order;
mod pool;
mod probe;
mod reap;
mod ring;
mod rules;
mod under;
pub mod warden;
mod workers;

use crate::plan::{abi, arguments};

pub use board::{Board, BoardError};
pub use filter::Filter;
pub use hire::{HireError, VERB, Warden, filtered};
pub use probe::support;
pub use rules::WardenRules;
pub use under::Under;
