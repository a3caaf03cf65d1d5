//! What the program says to people and to its clients. The lab's kernels are not asked for it: it is
//! the same on all of them.

mod clocks;
mod command_line;
mod control;
mod descriptors;
mod ends;
mod many;
mod metrics;
mod protected;
mod replace;
mod shows;
mod successors;
