//! The forms in which traffic comes to an interface: fragments, what is segmented or was merged by
//! it, and the traffic of several targets on one interface.

mod fragments;
mod offloads;
mod shared;
