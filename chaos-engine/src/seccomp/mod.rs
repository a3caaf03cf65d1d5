//! Answering system calls through seccomp user notification, for kernels that deny tracing programs
//! (`seccomp_unotify(2)`, kernel 5.9).
//!
//! A process that is started with our [`Filter`] waits at each listed call until a [`supervisor`] says
//! what becomes of it: an errno, a signal, or that it goes on. The decision is the gate's
//! (`chaos_ebpf_common::gate`), on [`SharedRules`] instead of BPF maps: memory that agent and supervisor
//! share, with the rules, the lease and the ledger.

mod caller;
pub mod container;
mod dispatch;
mod env;
mod filter;
mod handover;
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
mod rules_reader;
mod shared_rules;
mod spawn;
pub mod supervisor;
mod under;
mod workers;

use chaos_plan::{abi, arguments};
pub use filter::Filter;
pub use probe::support;
pub use rules::SupervisorRules;
pub use shared_rules::{SharedRules, SharedRulesError};
pub use spawn::{SpawnError, Supervisor, VERB, filtered};
pub use under::Under;
