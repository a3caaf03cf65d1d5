//! Watches a Run until it ends: a frame that is rewritten on a terminal, lines elsewhere.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use chaos_api::kinds::Run;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use kube::{
    ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use crate::{
    cluster::{Asked, Cluster, Resource},
    exit::Exit,
    failure::Failure,
    output,
    printable::Printable,
    screen::Screen,
    terminal,
    verbs::halt::halt_run,
    view::{changes, frame, ledger_line, silence},
};

/// How often the time that is left is drawn.
const TICK: Duration = Duration::from_secs(1);

/// How often lines tell of a ledger that moves.
const LEDGER: Duration = Duration::from_secs(10);

/// How a Run is shown while it is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// On standard output.
    Here,
    /// Not at all: only the end counts.
    Silent,
}

/// What Ctrl-C does, and SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInterrupt {
    /// Says that the Run goes on; SIGTERM leaves it alone.
    Say,
    /// Halts the Run.
    Halt,
}

/// How watching has ended.
pub struct Followed {
    /// As it was seen last.
    pub run: Run,
    pub exit: Exit,
}

/// Watches a Run until it ends, is deleted, or Ctrl-C is pressed twice.
pub async fn follow(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    shown: Shown,
    on_interrupt: OnInterrupt,
) -> Result<Followed, Failure> {
    let asked = |verb| Asked::to(verb, Resource::Runs, name, namespace);
    let runs = cluster.runs(namespace);
    let run = runs.get(name).await.map_err(|error| cluster.explain(error, asked("get")))?;
    let listen = |kind| {
        let failed = |source| Failure::Io { what: "listen for Ctrl-C".to_owned(), source };
        signal(kind).map_err(failed)
    };
    let signals = Signals {
        interrupts: listen(SignalKind::interrupt())?,
        terminations: listen(SignalKind::terminate())?,
    };
    let stream = watcher::watch_object(runs, name).default_backoff();
    let painter = Painter::new(shown);
    let mut following = Following { cluster, run, painter, on_interrupt, has_interrupted: false };
    following.painter.show(None, &following.run)?;
    let exit = match Exit::of(&following.run) {
        Some(exit) => exit,
        None => following.until_the_end(pin!(stream), signals).await?,
    };
    following.painter.last(&following.run)?;
    Ok(Followed { run: following.run, exit })
}

/// What asks to stop watching.
struct Signals {
    interrupts: Signal,
    terminations: Signal,
}

struct Following<'a> {
    cluster: &'a Cluster,
    run: Run,
    painter: Painter,
    on_interrupt: OnInterrupt,
    has_interrupted: bool,
}

impl Following<'_> {
    async fn until_the_end(
        &mut self,
        mut stream: impl Stream<Item = watcher::Result<Option<Run>>> + Unpin,
        mut signals: Signals,
    ) -> Result<Exit, Failure> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                seen = stream.next() => match seen {
                    Some(Ok(Some(run))) => {
                        let before = std::mem::replace(&mut self.run, run);
                        self.painter.show(Some(&before), &self.run)?;
                        if let Some(exit) = Exit::of(&self.run) {
                            return Ok(exit);
                        }
                    }
                    Some(Ok(None)) => {
                        self.painter.say(&format!(
                            "Run {} was deleted; its faults are taken away", self.run.name_any()
                        ));
                        return Ok(Exit::Halted);
                    }
                    Some(Err(error)) => self.missed(error)?,
                    None => return Err(self.lost("the watch has ended".to_owned()).into()),
                },
                _ = ticks.tick() => self.painter.tick(&self.run)?,
                // A pipeline that is cancelled sends SIGTERM, once.
                _ = signals.terminations.recv() => match self.on_interrupt {
                    OnInterrupt::Say => return Ok(Exit::Interrupted),
                    OnInterrupt::Halt => self.interrupted().await?,
                },
                _ = signals.interrupts.recv() => {
                    if self.has_interrupted {
                        return Ok(Exit::Interrupted);
                    }
                    self.has_interrupted = true;
                    self.interrupted().await?;
                }
            }
        }
    }

    /// Ends where a right is missing; else the watch begins again by itself.
    fn missed(&mut self, error: watcher::Error) -> Result<(), Failure> {
        let (namespace, name) = (self.run.namespace().unwrap_or_default(), self.run.name_any());
        let asked = |verb| Asked::to(verb, Resource::Runs, &name, &namespace);
        let explained = match error {
            watcher::Error::InitialListFailed(error) => self.cluster.explain(error, asked("list")),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                self.cluster.explain(error, asked("watch"))
            }
            // The history was too short; the watch lists anew.
            watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => return Ok(()),
        };
        if explained.is_forbidden() {
            return Err(explained.into());
        }
        self.painter.say(&format!("{explained}; trying again"));
        Ok(())
    }

    fn lost(&self, why: String) -> crate::cluster::ClusterError {
        let (namespace, name) = (self.run.namespace().unwrap_or_default(), self.run.name_any());
        crate::cluster::ClusterError::Other {
            asked: Asked::to("watch", Resource::Runs, &name, &namespace),
            why,
        }
    }

    async fn interrupted(&mut self) -> Result<(), Failure> {
        let (namespace, name) = (self.run.namespace().unwrap_or_default(), self.run.name_any());
        match self.on_interrupt {
            OnInterrupt::Say => self.painter.say(&format!(
                "The Run goes on. `kubectl chaos halt {name} -n {namespace}` halts it; Ctrl-C again leaves it alone."
            )),
            OnInterrupt::Halt => {
                halt_run(self.cluster, &namespace, &name, Some("interrupted")).await?;
                self.painter.say("Halting the Run. Ctrl-C again leaves at once.");
            }
        }
        Ok(())
    }
}

/// Shows a Run: as a frame on a terminal, as lines elsewhere.
struct Painter {
    shown: Shown,
    is_live: bool,
    screen: Screen,
    /// When lines told of the ledger, and which.
    told: (Instant, Option<String>),
}

impl Painter {
    fn new(shown: Shown) -> Self {
        let (is_live, screen) = (terminal::is_live(), Screen::default());
        Self { shown, is_live, screen, told: (Instant::now(), None) }
    }

    fn show(&mut self, before: Option<&Run>, run: &Run) -> Result<(), Failure> {
        match self.shown {
            Shown::Silent => Ok(()),
            Shown::Here if self.is_live => self.draw(run),
            Shown::Here => {
                let before = before.map(Printable::of).transpose()?;
                self.print(&changes(before.as_ref(), &Printable::of(run)?))
            }
        }
    }

    fn tick(&mut self, run: &Run) -> Result<(), Failure> {
        match self.shown {
            Shown::Silent => Ok(()),
            Shown::Here if self.is_live => self.draw(run),
            Shown::Here => {
                let (at, told) = &self.told;
                let line = ledger_line(run).or_else(|| silence(run, Timestamp::now()));
                if at.elapsed() < LEDGER || line == *told {
                    return Ok(());
                }
                self.told = (Instant::now(), line.clone());
                self.print(&line.into_iter().collect::<Vec<_>>())
            }
        }
    }

    fn last(&mut self, run: &Run) -> Result<(), Failure> {
        match self.shown {
            Shown::Here if self.is_live => self.draw(run),
            Shown::Here | Shown::Silent => Ok(()),
        }
    }

    fn draw(&mut self, run: &Run) -> Result<(), Failure> {
        let size = terminal::size();
        let lines = frame(&Printable::of(run)?, Timestamp::now(), size.width);
        self.screen.draw(&lines, size).map_err(|error| Failure::Output(error.into()))
    }

    fn print(&self, lines: &[String]) -> Result<(), Failure> {
        let now = Timestamp::now().strftime("%H:%M:%SZ").to_string();
        lines.iter().try_for_each(|text| output::line(&format!("{now} {text}")))
    }

    /// Says something beside the result, below the frame.
    fn say(&mut self, text: &str) {
        self.screen.leave();
        output::note(text);
    }
}
