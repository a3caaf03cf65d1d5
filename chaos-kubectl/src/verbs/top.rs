//! `top`: shows the Runs that go on, and halts one of them at the press of a key.

use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, Instant},
};

use chaos_api::kinds::Run;
use futures_util::{StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};
use tokio::time::{MissedTickBehavior, interval};

use super::{halt::halt_in_time, list};
use crate::{
    cli::TopArgs,
    cluster::{Cluster, ClusterError},
    exit::Exit,
    failure::Failure,
    keyboard::{Key, Keyboard},
    output,
    printable::{Printable, printable},
    rates::Rates,
    screen::Screen,
    signals::Signals,
    terminal,
    text::{DIM, YELLOW, styled},
    view::{Going, goes_on, hits, screenful, sums, top},
};

/// How often the time that is left is drawn.
const TICK: Duration = Duration::from_secs(1);

/// Shows the Runs: once where nobody sees them change.
pub async fn execute(cluster: &Cluster, args: &TopArgs) -> Result<Exit, Failure> {
    if args.once || !terminal::is_live() {
        return once(cluster, args).await;
    }
    let unread = |source| Failure::Io { what: "read keys from the terminal".to_owned(), source };
    let mut keyboard = Keyboard::open().map_err(unread)?;
    let mut signals = Signals::listen()?;
    // Keys and signals are heard while the API server has not answered.
    let mut halts: FuturesUnordered<LocalBoxFuture<'_, Halted>> = FuturesUnordered::new();
    let mut table = Table::new(args.all_namespaces, &cluster.namespace);
    let (api, place) = match args.all_namespaces {
        true => (Api::all(cluster.client.clone()), ""),
        false => (cluster.runs(&cluster.namespace), cluster.namespace.as_str()),
    };
    let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => table.take(event),
                Some(Err(error)) => {
                    table.note = cluster.rewatched(error, ("", place))?.unwrap_or_default();
                }
                None => return Ok(Exit::Failed),
            },
            _ = ticks.tick() => {}
            _ = signals.next() => return Ok(Exit::Done),
            Some((name, halted)) = halts.next() => table.answered(&name, halted),
            key = next(keyboard.as_mut()) => match (key, table.asked.take()) {
                (Some(Key::Yes), Some(name)) => {
                    table.note = format!("halting {}/{}", name.0, name.1);
                    halts.push(Box::pin(async move {
                        let halted = halt_in_time(cluster, &name.0, &name.1, None).await;
                        (name, halted)
                    }));
                }
                (Some(Key::Quit) | None, _) => {
                    table.draw()?;
                    drop(keyboard);
                    if !halts.is_empty() {
                        output::note("A halt has not been answered yet; `kubectl chaos list` shows which Runs go on.");
                    }
                    return Ok(Exit::Done);
                }
                (Some(key), _) => table.press(key),
            },
        }
        table.draw()?;
    }
}

/// The next key. Without a keyboard there is none, for ever.
async fn next(keyboard: Option<&mut Keyboard>) -> Option<Key> {
    match keyboard {
        Some(keyboard) => keyboard.next().await,
        None => std::future::pending().await,
    }
}

/// The Runs as they are now, in lines.
async fn once(cluster: &Cluster, args: &TopArgs) -> Result<Exit, Failure> {
    let runs = match args.all_namespaces {
        true => list::all(cluster).await?,
        false => list::of(cluster, &cluster.namespace).await?,
    };
    let mut table = Table::new(args.all_namespaces, &cluster.namespace);
    runs.into_iter().for_each(|run| table.put(run));
    let lines =
        top(&table.going()?, table.with_namespace, None, Timestamp::now(), terminal::size().width);
    output::line(&lines.join("\n"))?;
    Ok(Exit::Done)
}

/// Namespace and name.
type Name = (String, String);

/// What the API server said to a halt.
type Halted = (Name, Result<Run, ClusterError>);

/// What is shown.
struct Table {
    with_namespace: bool,
    place: String,
    runs: BTreeMap<Name, Run>,
    /// Those that a listing has given so far.
    listed: Option<BTreeMap<Name, Run>>,
    rates: Rates,
    chosen: Option<Name>,
    /// The Run whose halt waits for a yes.
    asked: Option<Name>,
    note: String,
    screen: Screen,
}

impl Table {
    fn new(with_namespace: bool, namespace: &str) -> Self {
        let place = match with_namespace {
            true => "the cluster".to_owned(),
            false => format!("namespace {namespace}"),
        };
        Self {
            with_namespace,
            place,
            runs: BTreeMap::new(),
            listed: None,
            rates: Rates::default(),
            chosen: None,
            asked: None,
            note: String::new(),
            screen: Screen::default(),
        }
    }

    fn take(&mut self, event: Event<Run>) {
        match event {
            Event::Init => self.listed = Some(BTreeMap::new()),
            Event::InitApply(run) => {
                if let Some(listed) = &mut self.listed {
                    listed.insert(name(&run), run);
                }
            }
            Event::InitDone => {
                self.runs.clear();
                let listed = self.listed.take().unwrap_or_default();
                listed.into_values().for_each(|run| self.put(run));
                self.note.clear();
            }
            Event::Apply(run) => self.put(run),
            Event::Delete(run) => {
                self.runs.remove(&name(&run));
            }
        }
        let uids: Vec<String> = self.runs.values().filter_map(|run| run.uid()).collect();
        self.rates.retain(|uid| uids.iter().any(|one| one == uid));
    }

    /// Keeps a Run, as long as it goes on.
    fn put(&mut self, run: Run) {
        if !goes_on(&run) {
            self.runs.remove(&name(&run));
            return;
        }
        self.rates.note(&run.uid().unwrap_or_default(), hits(&run), Instant::now());
        self.runs.insert(name(&run), run);
    }

    fn answered(&mut self, (namespace, name): &Name, halted: Result<Run, ClusterError>) {
        self.note = match halted {
            Ok(_) => format!("{namespace}/{name} is being halted"),
            Err(error) => error.to_string(),
        };
    }

    fn press(&mut self, key: Key) {
        let place = self.place_of_chosen();
        match key {
            Key::Up => self.choose(place.map_or(0, |place| place.saturating_sub(1))),
            Key::Down => self.choose(place.map_or(0, |place| place + 1)),
            Key::Halt => {
                self.asked = self.chosen.clone().filter(|name| self.runs.contains_key(name))
            }
            Key::Yes | Key::Quit | Key::Other => {}
        }
        self.note.clear();
    }

    fn choose(&mut self, place: usize) {
        let last = self.runs.len().saturating_sub(1);
        self.chosen = self.runs.keys().nth(place.min(last)).cloned();
    }

    fn place_of_chosen(&self) -> Option<usize> {
        let chosen = self.chosen.as_ref()?;
        self.runs.keys().position(|name| name == chosen)
    }

    fn going(&self) -> Result<Vec<Going>, Failure> {
        let going = |run: &Run| {
            let rate = self.rates.of(&run.uid().unwrap_or_default(), Instant::now());
            Ok(Going { run: Printable::of(run)?, rate })
        };
        self.runs.values().map(going).collect()
    }

    fn draw(&mut self) -> Result<(), Failure> {
        if self.place_of_chosen().is_none() {
            self.choose(0);
        }
        let size = terminal::size();
        let going = self.going()?;
        let (place, now) = (self.place_of_chosen(), Timestamp::now());
        let table = top(&going, self.with_namespace, place, now, size.width);
        let lines = screenful(sums(&going, &self.place), table, self.footer(), place, size.height);
        self.screen.draw(&lines, size).map_err(|error| Failure::Output(error.into()))
    }

    /// What the keys do now.
    fn footer(&self) -> String {
        match &self.asked {
            Some((namespace, name)) => styled(
                YELLOW,
                &printable(&format!("halt {namespace}/{name}? y halts it, any other key does not")),
            ),
            None if !self.note.is_empty() => styled(YELLOW, &printable(&self.note)),
            None => styled(DIM, "j k choose   h halt   q quit"),
        }
    }
}

fn name(run: &Run) -> Name {
    (run.namespace().unwrap_or_default(), run.name_any())
}
