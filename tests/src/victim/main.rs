//! A real process that faults happen to. Its one argument is a job, written as JSON (the types of
//! `chaos_tests::job`); it prints one line when it is ready and one with exact counts at the end.

mod call;
mod delays;
mod flow;
mod kill;
mod names;
mod page;
mod ping;
mod serve;
mod stage;
mod stream;
mod syscalls;

use anyhow::{Context, Result};
use chaos_tests::{
    job::{Job, Options},
    residue,
};
use stage::Stage;

fn main() -> Result<()> {
    let argument = std::env::args().nth(1).context("usage: victim '<job as JSON>'")?;
    let job = serde_json::from_str(&argument).with_context(|| format!("job {argument}"))?;
    let stage = &Stage::new();
    match job {
        Job::UdpEcho(options) => perform(options, |options| serve::echo(options, stage)),
        Job::UdpSink(options) => perform(options, |options| flow::sink(options, stage)),
        Job::UdpSend(options) => perform(options, |options| flow::send(options, stage)),
        Job::UdpPing(options) => perform(options, |options| ping::ping(options, stage)),
        Job::TcpServe(options) => perform(options, |options| serve::accept(options, stage)),
        Job::TcpSend(options) => perform(options, |options| stream::send(options, stage)),
        Job::TcpReceive(options) => perform(options, |options| stream::receive(options, stage)),
        Job::Syscalls(options) => perform(options, |options| syscalls::repeat(options, stage)),
        Job::Calls(options) => perform(options, |options| call::repeat_all(options, stage)),
        Job::Call(options) => perform(options, |options| call::repeat(options, stage)),
        Job::Kill(options) => perform(options, |options| kill::send(options, stage)),
        Job::UdpStamps(options) => perform(options, |options| delays::stamp(options, stage)),
        Job::UdpDelays(options) => perform(options, |options| delays::receive(options, stage)),
        Job::TcpConnects(options) => perform(options, |options| delays::connect(options, stage)),
        Job::RedisPage(options) => perform(options, |options| page::serve(options, stage)),
        Job::LookUps(options) => perform(options, |options| names::look_up(options, stage)),
        Job::BpfObjects(options) => perform(options, |_| {
            stage.ready(None)?;
            residue::bpf_objects()
        }),
    }
}

fn perform<O: Options>(options: O, job: impl FnOnce(&O) -> Result<O::Report>) -> Result<()> {
    stage::print(&job(&options)?)
}
