//! Watches a Run until it ends: a frame that is rewritten on a terminal, lines elsewhere.

use std::{
    future::{Future, pending},
    pin::{Pin, pin},
    time::{Duration, Instant},
};

use chaos_api::kinds::Run;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use kube::{
    ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    cluster::{Asked, Cluster, ClusterError, Resource},
    exit::Exit,
    failure::Failure,
    output,
    printable::Printable,
    screen::Screen,
    signals::{Sent, Signals},
    terminal,
    verbs::halt::halt_in_time,
    view::{changes, frame, ledger_line, silence},
};

/// How often the time that is left is drawn.
const TICK: Duration = Duration::from_secs(1);

/// How often lines tell of a ledger that moves.
const LEDGER: Duration = Duration::from_secs(10);

/// How long after a halt that was not taken the next one is tried.
const AGAIN: Duration = Duration::from_secs(2);

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
    /// Halts the Run, again and again until the API server has taken it.
    Halt,
}

/// How watching has ended.
pub struct Followed {
    /// As it was seen last.
    pub run: Run,
    pub exit: Exit,
}

/// Watches a Run until it ends, is deleted, or two signals ask to leave.
pub async fn follow(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    shown: Shown,
    on_interrupt: OnInterrupt,
    signals: Signals,
) -> Result<Followed, Failure> {
    let asked = |verb| Asked::to(verb, Resource::Runs, name, namespace);
    let runs = cluster.runs(namespace);
    let run = runs.get(name).await.map_err(|error| cluster.explain(error, asked("get")))?;
    let stream = watcher::watch_object(runs, name).default_backoff();
    let painter = Painter::new(shown);
    let mut following = Following { cluster, run, painter, on_interrupt, halt: Halt::NotAsked };
    following.painter.show(None, &following.run)?;
    let exit = match Exit::of(&following.run) {
        Some(exit) => exit,
        None => following.until_the_end(pin!(stream), signals).await?,
    };
    following.painter.last(&following.run)?;
    Ok(Followed { run: following.run, exit })
}

/// A request to halt the Run, that goes on beside everything else: signals are heard meanwhile.
type Request<'a> = Pin<Box<dyn Future<Output = Result<Run, ClusterError>> + 'a>>;

/// How far the halt is that a signal has asked for.
enum Halt<'a> {
    NotAsked,
    /// A signal came, and the Run goes on: that was all that was asked for, or this request is under way.
    Asked(Option<Request<'a>>),
    Taken,
}

impl Halt<'_> {
    /// The answer of the request that is under way. Without one there is none, for ever.
    async fn answer(&mut self) -> Result<Run, ClusterError> {
        match self {
            Self::Asked(Some(request)) => request.await,
            Self::NotAsked | Self::Asked(None) | Self::Taken => pending().await,
        }
    }
}

struct Following<'a> {
    cluster: &'a Cluster,
    run: Run,
    painter: Painter,
    on_interrupt: OnInterrupt,
    halt: Halt<'a>,
}

impl<'a> Following<'a> {
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
                answer = self.halt.answer() => match answer {
                    Ok(_) => {
                        self.halt = Halt::Taken;
                        self.painter.say("The Run is being halted. Ctrl-C leaves at once.");
                    }
                    Err(error) => {
                        let again = "trying again; Ctrl-C leaves it alone";
                        self.painter.say(&format!("The Run goes on: {error}. {}; {again}", self.how()));
                        self.ask(AGAIN);
                    }
                },
                sent = signals.next() => {
                    if self.signalled(sent) {
                        return Ok(Exit::Interrupted);
                    }
                }
            }
        }
    }

    /// Does what a signal asks for. Whether it asks to leave.
    fn signalled(&mut self, sent: Sent) -> bool {
        match (&self.halt, self.on_interrupt, sent) {
            (Halt::NotAsked, OnInterrupt::Say, Sent::Termination) => true,
            (Halt::NotAsked, OnInterrupt::Say, Sent::Interrupt) => {
                let how = self.how();
                self.painter.say(&format!("The Run goes on. {how}; Ctrl-C again leaves it alone."));
                self.halt = Halt::Asked(None);
                false
            }
            (Halt::NotAsked, OnInterrupt::Halt, Sent::Interrupt | Sent::Termination) => {
                self.painter.say("Halting the Run. Ctrl-C again leaves at once.");
                self.ask(Duration::ZERO);
                false
            }
            (Halt::Asked(Some(_)), _, _) => {
                let how = self.how();
                self.painter.say(&format!("It is not known whether the Run goes on. {how}."));
                true
            }
            (Halt::Asked(None) | Halt::Taken, _, _) => true,
        }
    }

    /// Halts the Run after a while.
    fn ask(&mut self, after: Duration) {
        let (namespace, name) = (self.run.namespace().unwrap_or_default(), self.run.name_any());
        let cluster = self.cluster;
        self.halt = Halt::Asked(Some(Box::pin(async move {
            sleep(after).await;
            halt_in_time(cluster, &namespace, &name, Some("interrupted")).await
        })));
    }

    /// How people halt the Run.
    fn how(&self) -> String {
        let (namespace, name) = (self.run.namespace().unwrap_or_default(), self.run.name_any());
        format!("`kubectl chaos halt {name} -n {namespace}` halts it")
    }

    /// Ends where a right is missing; else the watch begins again by itself.
    fn missed(&mut self, error: watcher::Error) -> Result<(), Failure> {
        let (namespace, name) = (self.run.namespace().unwrap_or_default(), self.run.name_any());
        if let Some(why) = self.cluster.rewatched(error, (&name, &namespace))? {
            self.painter.say(&why);
        }
        Ok(())
    }

    fn lost(&self, why: String) -> ClusterError {
        let (namespace, name) = (self.run.namespace().unwrap_or_default(), self.run.name_any());
        ClusterError::Other { asked: Asked::to("watch", Resource::Runs, &name, &namespace), why }
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
