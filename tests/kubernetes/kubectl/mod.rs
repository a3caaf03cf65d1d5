//! The plugin `kubectl chaos` as its users have it: the program itself, a real API server, and an account with few rights.

mod halts;
mod pipeline;
mod plugin;
mod probes;
mod reports;
mod rights;
mod runs;
mod terminal;
mod top;
mod why;
