//! Follows the symbolic links in the paths of a target's rules, as its processes see them.
//!
//! A look may take for ever, as the files can be on a file system that the target itself serves. So a
//! thread of its own looks, which has no descriptor of the agent's: what is stuck in the kernel outlives
//! SIGKILL, and would keep programs attached.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use chaos_plan::plain_part;
use nix::{errno::Errno, libc};

use crate::cgroup::{View, ViewKey};

/// Who looks for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Eyes {
    Processes(Vec<i32>),
    /// This process, for a target that is still to be started with the files that it sees.
    Own,
}

/// What was found out about a path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sight {
    /// Where it leads through links, for any of those who looked; other than where it is itself.
    pub leads_to: BTreeSet<Vec<u8>>,
    /// Whether somebody looked.
    pub seen: bool,
    /// Whether anybody found something there.
    pub exists: bool,
}

/// What was found out, by the text of the path.
pub type Sights = BTreeMap<String, Sight>;

/// How long whoever arms waits for a look.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Different root directories and mount namespaces of one target that are looked at.
const MOST_VIEWS: usize = 32;

/// Threads that look at a time, with those that are stuck.
const MOST_THREADS: usize = 64;

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Enough for the names of a path of the greatest length.
const STACK: usize = 256 * 1024;

/// A thread that looks when it is asked to. When it is dropped, the thread ends as soon as it can.
#[derive(Debug)]
pub struct Symlinks {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    question: Option<(BTreeSet<String>, Eyes)>,
    is_looking: bool,
    sights: Sights,
    /// Nobody will ask again.
    ended: bool,
}

impl Symlinks {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        if THREADS.fetch_add(1, Ordering::AcqRel) >= MOST_THREADS {
            THREADS.fetch_sub(1, Ordering::AcqRel);
            return Err(io::Error::other("too many look-ups of paths do not come back"));
        }
        let work = move || {
            of_thread.work();
            THREADS.fetch_sub(1, Ordering::AcqRel);
        };
        let thread = thread::Builder::new().name("symlinks".to_owned()).stack_size(STACK);
        thread.spawn(work).inspect_err(|_| {
            THREADS.fetch_sub(1, Ordering::AcqRel);
        })?;
        Ok(Self { shared })
    }

    /// Has these paths looked for, unless the last look has not come back.
    pub fn ask(&self, paths: BTreeSet<String>, eyes: Eyes) {
        let mut state = self.shared.state();
        if !state.is_looking {
            state.question = Some((paths, eyes));
            self.shared.changed.notify_all();
        }
    }

    /// What the last look that has come back found; waits so long for one that is under way.
    pub fn sights(&self, patience: Duration) -> Sights {
        let until = Instant::now() + patience;
        let mut state = self.shared.state();
        while state.is_looking || state.question.is_some() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.sights.clone()
    }
}

impl Drop for Symlinks {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        if let Err(error) = give_up_descriptors() {
            tracing::warn!(%error, "links in paths are not followed");
            return;
        }
        let mut state = self.state();
        while !state.ended {
            let Some((paths, eyes)) = state.question.take() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.is_looking = true;
            drop(state);
            let sights = look(&paths, &eyes);
            state = self.state();
            state.is_looking = false;
            state.sights = sights;
            self.changed.notify_all();
        }
    }
}

/// Gives the thread a table of descriptors of its own (kernel 5.9), with nothing in it.
fn give_up_descriptors() -> Result<(), Errno> {
    // SAFETY: the descriptors stay open in the table that all other threads share, and this one uses
    // none of them from here on.
    let closed = unsafe {
        libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE)
    };
    Errno::result(closed).map(drop)
}

fn look(paths: &BTreeSet<String>, eyes: &Eyes) -> Sights {
    let views = match eyes {
        Eyes::Own => vec![View::own()],
        Eyes::Processes(processes) => different(processes),
    };
    paths.iter().map(|path| (path.clone(), look_for(path, &views))).collect()
}

/// One view of those that are the same.
fn different(processes: &[i32]) -> Vec<View> {
    let mut views = BTreeMap::<ViewKey, View>::new();
    for process in processes {
        let view = View::of(*process);
        if let Some(key) = view.key() {
            views.entry(key).or_insert(view);
        }
        if views.len() == MOST_VIEWS {
            break;
        }
    }
    views.into_values().collect()
}

fn look_for(path: &str, views: &[View]) -> Sight {
    let plain = plain_part(path).0.trim_end_matches('/');
    let mut sight = Sight::default();
    for view in views {
        let looked_for = if plain.is_empty() { "/" } else { plain };
        let Some(found) = view.find(looked_for.as_bytes()) else { continue };
        sight.seen = true;
        sight.exists |= found.exists;
        if found.real != looked_for.as_bytes() {
            sight.leads_to.insert(found.real);
        }
    }
    sight
}

/// What is to be known of the path of a rule: that nothing is there, or that it leads elsewhere.
pub fn path_note(path: &str, sight: &Sight) -> Option<String> {
    let plain = plain_part(path).0;
    if sight.seen && !sight.exists {
        return Some(format!(
            "under {path}: there is no {plain} now; the fault holds for what appears there"
        ));
    }
    let leads: Vec<_> = sight.leads_to.iter().map(|to| String::from_utf8_lossy(to)).collect();
    (!leads.is_empty()).then(|| format!("under {path}: {plain} leads to {}", leads.join(" and ")))
}

/// The same of several paths, for somebody who arms nothing; none of what cannot be found out in time.
pub fn path_notes(paths: BTreeSet<String>, eyes: Eyes) -> BTreeMap<String, String> {
    let Ok(symlinks) = Symlinks::start() else { return BTreeMap::new() };
    symlinks.ask(paths, eyes);
    let sights = symlinks.sights(PATIENCE);
    let notes = sights.into_iter().map(|(path, sight)| (path_note(&path, &sight), path));
    notes.filter_map(|(note, path)| Some((path, note?))).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn ask(links: &Symlinks, path: &str, eyes: Eyes) -> Sight {
        links.ask(BTreeSet::from([path.to_owned()]), eyes);
        links.sights(LONG).remove(path).unwrap()
    }

    #[test]
    fn links_are_found_when_they_appear_and_change() {
        let directory = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(directory.path()).unwrap();
        let root = root.to_str().unwrap();
        let link = format!("{root}/link");
        let links = Symlinks::start().unwrap();
        let none = ask(&links, &link, Eyes::Own);
        assert_eq!((none.seen, none.exists, none.leads_to.len()), (true, false, 0));
        let text = path_note(&link, &none).unwrap();
        assert!(text.contains(&format!("there is no {link} now")), "{text}");
        let this = nix::unistd::getpid().as_raw();
        for to in ["a", "b"] {
            fs::create_dir(format!("{root}/{to}")).unwrap();
            symlink(to, &link).unwrap();
            let real = format!("{root}/{to}");
            for (path, eyes) in [
                (link.clone(), Eyes::Own),
                (link.clone(), Eyes::Processes(vec![i32::MAX, this, this])),
                (format!("{link}/*.db"), Eyes::Own),
            ] {
                let sight = ask(&links, &path, eyes);
                assert_eq!(sight.leads_to, BTreeSet::from([real.clone().into_bytes()]), "{path}");
                let text = path_note(&path, &sight).unwrap();
                assert_eq!(text, format!("under {path}: {link} leads to {real}"));
            }
            fs::remove_file(&link).unwrap();
        }
        let plain = ask(&links, root, Eyes::Own);
        assert_eq!((plain.exists, path_note(root, &plain)), (true, None));
        let nobody = ask(&links, "/nowhere", Eyes::Processes(Vec::new()));
        assert_eq!((nobody.seen, path_note("/nowhere", &nobody)), (false, None));
    }
}
