//! Empty: it makes the crate a library target, so that cargo lets the agent depend on it and
//! tracks its sources.
#![no_std]
