//! A form to its fault.

use std::collections::BTreeMap;

use serde_saphyr::Location;

use super::{
    form::{Delay, End, Form, Window},
    placed::Placed,
    scalar::Leaf,
};
use crate::{
    check::check,
    mistake::{Clause, Mistake, Problem},
    model::{Call, Chance, Except, Fault, HowOften, Latency, Peer, Side, Spread, Verb},
    value::{
        chance, duration, moment, name, number, peer,
        spread::spread,
        word::{self, Word},
    },
    verbs::{Row, VERBS, each},
};

/// A mistake and the node it is in.
pub(super) struct Misplaced {
    pub location: Location,
    pub mistake: Mistake,
}

/// Reads leaves; collects what is wrong with them, and where each clause stands.
#[derive(Default)]
pub(crate) struct Builder {
    places: BTreeMap<Clause, Location>,
    wrong: Vec<Misplaced>,
}

/// The form's fault, or everything that is wrong with it. `location` is the whole fault's.
pub(super) fn fault(form: &Form, location: Location) -> Result<Fault, Vec<Misplaced>> {
    let mut builder = Builder::default();
    let Some(verb) = builder.verb(form, location) else { return Err(builder.wrong) };
    let mut fault = Fault::new(verb);
    fault.shadow = form.shadow.as_ref().is_some_and(|shadow| shadow.value);
    fault.chance = builder.chance(form, &fault);
    fault.direction = builder.optional(Clause::Direction, &form.direction, Word::expect);
    fault.protocol = builder.optional(Clause::Protocol, &form.protocol, Word::expect);
    fault.peer = builder.peer(form);
    fault.except = builder.except(form);
    fault.under = builder.optional(Clause::Under, &form.under, name::path);
    fault.container = builder.optional(Clause::Container, &form.container, name::container);
    fault.after = builder.optional(Clause::After, &form.after, duration::parse);
    fault.duration = builder.optional(Clause::For, &form.duration, duration::parse);
    fault.until = builder.optional(Clause::Until, &form.until, moment::parse);
    let count = |word: &str| number::count("atMost:", word);
    fault.at_most = builder.optional(Clause::AtMost, &form.at_most, count);
    let count = |word: &str| number::count("atMostPerSecond:", word);
    let clause = Clause::AtMostPerSecond;
    fault.at_most_per_second = builder.optional(clause, &form.at_most_per_second, count);
    let seed = |word: &str| number::integer("seed:", word);
    fault.seed = builder.optional(Clause::Seed, &form.seed, seed);
    fault.name = builder.optional(Clause::As, &form.name, name::of_fault);
    fault.guarded = form.guarded.as_ref().is_some_and(|guarded| guarded.value);
    if builder.wrong.is_empty() {
        for problem in check(&fault) {
            let place = builder.places.get(&problem.clause).copied().unwrap_or(location);
            builder.wrong.push(Misplaced { location: place, mistake: problem.mistake });
        }
    }
    if builder.wrong.is_empty() { Ok(fault) } else { Err(builder.wrong) }
}

impl Builder {
    fn wrong(&mut self, location: Location, mistake: Mistake) {
        self.wrong.push(Misplaced { location, mistake });
    }

    /// Notes where a clause stands.
    pub(crate) fn at(&mut self, clause: Clause, place: Location) {
        self.places.insert(clause, place);
    }

    /// Reads a leaf; `None` when it is wrong.
    pub(crate) fn leaf<T>(
        &mut self,
        clause: Clause,
        leaf: &Leaf,
        parse: impl FnOnce(&str) -> Result<T, Mistake>,
    ) -> Option<T> {
        self.places.insert(clause, leaf.referenced);
        parse(&leaf.value.to_string()).map_err(|mistake| self.wrong(leaf.referenced, mistake)).ok()
    }

    pub(crate) fn optional<T>(
        &mut self,
        clause: Clause,
        leaf: &Option<Leaf>,
        parse: impl FnOnce(&str) -> Result<T, Mistake>,
    ) -> Option<T> {
        leaf.as_ref().and_then(|leaf| self.leaf(clause, leaf, parse))
    }

    /// Reads every leaf of a list; `None` when one of them is wrong.
    pub(crate) fn list<T>(
        &mut self,
        leaves: &[Leaf],
        parse: impl Fn(&str) -> Result<T, Mistake>,
    ) -> Option<Vec<T>> {
        let before = self.wrong.len();
        let mut read = Vec::with_capacity(leaves.len());
        for leaf in leaves {
            match parse(&leaf.value.to_string()) {
                Ok(value) => read.push(value),
                Err(mistake) => self.wrong(leaf.referenced, mistake),
            }
        }
        (self.wrong.len() == before).then_some(read)
    }

    pub(crate) fn calls(&mut self, calls: &Placed<Vec<Leaf>>) -> Option<Vec<Call>> {
        self.places.insert(Clause::Calls, calls.referenced);
        self.list(&calls.value, Call::from_name)
    }

    /// The one verb; `None` when there is none, there are several, or a part is wrong.
    fn verb(&mut self, form: &Form, location: Location) -> Option<Verb> {
        let present: Vec<(&Row, Location)> =
            VERBS.iter().filter_map(|row| Some((*row, (row.place)(form)?))).collect();
        let (row, place) = match present[..] {
            [present] => present,
            [] => {
                let fields = each(|row| row.field).join(", ");
                let mistake = Mistake::new("the verb is missing")
                    .help(format!("one of {fields}; without parts: `drop: {{}}`"));
                self.wrong(location, mistake);
                return None;
            }
            [(first, _), (second, place), ..] => {
                let (first, second) = (first.field, second.field);
                let mistake = Mistake::new(format!("both `{first}` and `{second}` in one fault"))
                    .help("write a fault for each");
                self.wrong(place, mistake);
                return None;
            }
        };
        self.places.insert(Clause::Verb, place);
        let before = self.wrong.len();
        let verb = (row.read)(self, form);
        verb.filter(|_| self.wrong.len() == before)
    }

    pub(crate) fn latency(&mut self, parts: &Delay, place: Location) -> Option<Latency> {
        let by = self.optional(Clause::By, &parts.by, duration::parse);
        let one_of = parts.one_of.as_ref().map(|list| {
            self.places.insert(Clause::By, list.referenced);
            self.list(&list.value, word::weighted_latency).unwrap_or_default()
        });
        let file = self.optional(Clause::By, &parts.file, name::file);
        let jitter = self.optional(Clause::Jitter, &parts.jitter, duration::parse);
        let shape = self.optional(Clause::Distribution, &parts.distribution, Word::expect);
        let correlation =
            self.optional(Clause::Correlation, &parts.correlation, chance::correlation);
        let several = match (file, one_of) {
            (Some(path), latencies) => {
                Some(Spread::File { path, latencies: latencies.unwrap_or_default() })
            }
            (None, one_of) => one_of.map(Spread::OneOf),
        };
        match spread(by, several, jitter, shape) {
            Ok(Some(spread)) => return Some(Latency { spread, correlation }),
            Ok(None) if parts.by.is_none() && parts.file.is_none() => {
                let mistake = Mistake::new("the field `by` is missing")
                    .help("or `oneOf` with a list, or `file`");
                self.wrong(place, mistake);
            }
            Ok(None) => {}
            Err(Problem { clause, mistake }) => {
                self.wrong(self.places.get(&clause).copied().unwrap_or(place), mistake);
            }
        }
        None
    }

    fn window(&mut self, form: &Form) -> Option<HowOften> {
        let window = form.window.as_ref()?;
        let (Window { first, last }, place) = (&window.value, window.referenced);
        if first.is_none() && last.is_none() {
            let mistake = Mistake::new("the window has neither end");
            self.wrong(place, mistake.help("`first`, `last` or both: `{first: 3, last: 6}`"));
            return None;
        }
        let before = self.wrong.len();
        let first = self.optional(Clause::Chance, first, chance::end_of_window).unwrap_or(1);
        let last = self.optional(Clause::Chance, last, chance::end_of_window);
        self.at(Clause::Chance, place);
        (self.wrong.len() == before).then_some(HowOften::Window { first, last })
    }

    fn chance(&mut self, form: &Form, fault: &Fault) -> Chance {
        let mut chance = fault.chance;
        let written = [
            form.chance.as_ref().map(|leaf| ("chance", leaf.referenced)),
            form.every.as_ref().map(|leaf| ("every", leaf.referenced)),
            form.window.as_ref().map(|window| ("window", window.referenced)),
        ];
        if let [(first, _), (second, place), ..] =
            written.into_iter().flatten().collect::<Vec<_>>()[..]
        {
            let mistake = Mistake::new(format!("both `{first}` and `{second}` in one fault"));
            self.wrong(place, mistake.help("one of the two"));
            return chance;
        }
        let how = self
            .optional(Clause::Chance, &form.chance, chance::percentage)
            .or_else(|| self.optional(Clause::Chance, &form.every, chance::every))
            .or_else(|| self.window(form));
        let bursts = self.optional(Clause::Bursts, &form.bursts_of, chance::burst);
        match chance::in_bursts(how.unwrap_or(HowOften::Always), bursts) {
            Ok(how) => chance.how = how,
            Err(mistake) => {
                let place = form.bursts_of.as_ref().map(|leaf| leaf.referenced);
                self.wrong(place.unwrap_or(Location::UNKNOWN), mistake);
            }
        }
        chance.of = self.optional(Clause::Unit, &form.of, Word::expect).unwrap_or(chance.of);
        chance
    }

    fn peer(&mut self, form: &Form) -> Option<Peer> {
        let ends = [
            form.to.as_ref().map(|end| (Side::To, end.referenced, &end.value)),
            form.from.as_ref().map(|end| (Side::From, end.referenced, &end.value)),
        ];
        let bare = form.ports.as_ref().map(|ports| {
            (
                Side::Either,
                ports.referenced,
                End { networks: vec![], pods: vec![], names: vec![], ports: ports.value.clone() },
            )
        });
        let either = bare.as_ref().map(|(side, place, end)| (*side, *place, end));
        let mut present = ends.into_iter().chain([either]).flatten();
        let (side, place, end) = present.next()?;
        if let Some((_, second, _)) = present.next() {
            let mistake = Mistake::new("a fault has only one peer")
                .help("one of `to`, `from` and `ports`; write a fault for each");
            self.wrong(second, mistake);
            return None;
        }
        let clause = if side == Side::Either { Clause::Port } else { Clause::Peer };
        self.places.insert(clause, place);
        let Except { networks, pods, names, ports } = self.end(end)?;
        Some(Peer { side, networks, pods, names, ports })
    }

    fn except(&mut self, form: &Form) -> Option<Except> {
        let except = form.except.as_ref()?;
        self.places.insert(Clause::Except, except.referenced);
        self.end(&except.value)
    }

    /// Reads addresses and ports, whatever is to be done with them.
    fn end(&mut self, end: &End) -> Option<Except> {
        let networks = self.list(&end.networks, peer::network);
        let pods = self.list(&end.pods, name::pod);
        let names = self.list(&end.names, name::of_peer);
        let ports = self.list(&end.ports, peer::ports).map(peer::join_ports);
        let networks = networks?.into_iter().collect();
        let pods = pods?.into_iter().map(|pod| (pod, Default::default())).collect();
        Some(Except { networks, pods, names: names?.into_iter().collect(), ports: ports? })
    }
}

/// Where a verb's field stands.
pub(crate) fn place<T>(verb: &Option<Placed<T>>) -> Option<Location> {
    verb.as_ref().map(|verb| verb.referenced)
}
