//! The agent's end of the socket.

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use chaos_api::{AgentObserver, ArmedId, Ended, HaltedSince, Policy, Unobserved};
use chaos_arm::KeeperGone;
use chaos_engine::{
    arm::{ArmError, Armory},
    cgroup::CgroupRoot,
};
use tokio::{
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    ControlSocket,
    arming::{Way, arm},
    connection::{PATIENCE, is_over, write},
    follow::{Told, follow},
    following::{Followed, arm_again},
    lines::{Line, Lines},
    peer::Peer,
    protocol::{Answer, Command, MAX_REQUEST, Refusal, RefusalKind, Request, VERSION},
};
use crate::Handle;

/// Conversations at once, followers not counted.
const MOST_CLIENTS: usize = 32;
const MOST_FOLLOWERS: usize = 16;

/// Conversations beyond those that may only end faults: whoever wants that is not kept out by others.
const MOST_ENDING: usize = 8;

/// How long conversations may go on when the agent shuts down.
const FAREWELL: Duration = Duration::from_secs(1);

/// What clients are served from.
pub struct Agent {
    pub(super) handle: Handle,
    pub(super) root: CgroupRoot,
    pub(super) policy: Policy,
    pub(super) armed_so_far: AtomicU64,
    pub(super) followed: Followed,
    pub(super) observer: Arc<dyn AgentObserver>,
    clients: Arc<Semaphore>,
    ending: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

impl Agent {
    pub fn new(handle: Handle, root: CgroupRoot, policy: Policy) -> Self {
        Self {
            handle,
            root,
            policy,
            armed_so_far: AtomicU64::new(0),
            followed: Followed::default(),
            observer: Arc::new(Unobserved),
            clients: Arc::new(Semaphore::new(MOST_CLIENTS)),
            ending: Arc::new(Semaphore::new(MOST_ENDING)),
            followers: Arc::new(Semaphore::new(MOST_FOLLOWERS)),
        }
    }

    /// The same, measured by somebody.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn AgentObserver>) -> Self {
        Self { observer, ..self }
    }
}

/// Serves clients until `shutdown` becomes true; then finishes what has begun, says good-bye to
/// followers, and removes the socket.
pub async fn serve(socket: ControlSocket, agent: Arc<Agent>, mut shutdown: watch::Receiver<bool>) {
    let mut conversations = JoinSet::new();
    let ending = shutdown.clone();
    conversations.spawn(arm_again(agent.clone(), ending.clone()));
    let mut over = std::pin::pin!(is_over(&mut shutdown));
    loop {
        tokio::select! {
            () = &mut over => break,
            stream = socket.accept() => {
                conversations.spawn(converse(stream, agent.clone(), ending.clone()));
            }
            Some(_) = conversations.join_next() => {}
        }
    }
    drop(socket);
    // A client that does not take what it is told is left alone.
    drop(timeout(FAREWELL, async { while conversations.join_next().await.is_some() {} }).await);
}

/// A client that breaks off is none of our errors.
async fn converse(stream: UnixStream, agent: Arc<Agent>, mut shutdown: watch::Receiver<bool>) {
    let mut ending = shutdown.clone();
    let mut conversation = match Conversation::begin(stream, agent).await {
        Ok(Some(conversation)) => conversation,
        Ok(None) | Err(_) => return,
    };
    loop {
        let line = tokio::select! {
            line = timeout(PATIENCE, conversation.lines.next()) => line,
            () = is_over(&mut shutdown) => return,
        };
        match conversation.go_on(line, &mut ending).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}

struct Conversation {
    lines: Lines<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    peer: Peer,
    agent: Arc<Agent>,
    place: Option<tokio::sync::OwnedSemaphorePermit>,
    /// There is room for nothing else.
    may_only_end: bool,
}

impl Conversation {
    /// `None` when the client is refused.
    async fn begin(stream: UnixStream, agent: Arc<Agent>) -> io::Result<Option<Self>> {
        let peer = Peer::of(&stream)?;
        let (reader, mut writer) = stream.into_split();
        if !peer.may_control() {
            tracing::warn!(%peer, "refused a client");
            let own = nix::unistd::geteuid();
            let message = format!("only root and user {own} may control this agent");
            let refusal = Refusal::new(RefusalKind::Forbidden, message);
            write(&mut writer, Answer::Refused(refusal)).await?;
            return Ok(None);
        }
        let place = agent.clients.clone().try_acquire_owned();
        let may_only_end = place.is_err();
        let Ok(place) = place.or_else(|_| agent.ending.clone().try_acquire_owned()) else {
            write(&mut writer, Answer::Refused(too_many())).await?;
            return Ok(None);
        };
        let lines = Lines::new(reader, MAX_REQUEST);
        Ok(Some(Self { lines, writer, peer, agent, place: Some(place), may_only_end }))
    }

    /// Answers what was read; tells whether there may be more.
    async fn go_on(
        &mut self,
        line: Result<io::Result<Line>, tokio::time::error::Elapsed>,
        shutdown: &mut watch::Receiver<bool>,
    ) -> io::Result<bool> {
        let malformed = |message| Refusal::new(RefusalKind::Malformed, message);
        let line = match line {
            Ok(Ok(Line::Whole(line))) => line,
            Ok(Ok(Line::End)) => return Ok(false),
            Ok(Ok(Line::TooLong)) => {
                let message = format!("a request has at most {MAX_REQUEST} bytes");
                write(&mut self.writer, Answer::Refused(malformed(message))).await?;
                return Ok(false);
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let message = format!("no request came within {PATIENCE:?}");
                write(&mut self.writer, Answer::Refused(malformed(message))).await?;
                return Ok(false);
            }
        };
        let command = match read(&line) {
            Ok(command) => command,
            Err(refusal) => {
                write(&mut self.writer, Answer::Refused(refusal)).await?;
                return Ok(true);
            }
        };
        if self.may_only_end && !matches!(command, Command::Halt | Command::Disarm { .. }) {
            write(&mut self.writer, Answer::Refused(too_many())).await?;
            return Ok(false);
        }
        if let Command::Follow { id } = command {
            self.follow(id, shutdown).await?;
            return Ok(false);
        }
        let answer = answer(&self.agent, command, &self.peer).await.unwrap_or_else(Answer::Refused);
        write(&mut self.writer, answer).await?;
        Ok(true)
    }

    async fn follow(
        &mut self,
        id: Option<ArmedId>,
        shutdown: &mut watch::Receiver<bool>,
    ) -> io::Result<()> {
        // Followers stay for long and must not keep others out.
        self.place = None;
        let Ok(_place) = self.agent.followers.clone().try_acquire_owned() else {
            let message = format!("{MOST_FOLLOWERS} clients follow already");
            let refusal = Refusal::new(RefusalKind::Busy, message);
            return write(&mut self.writer, Answer::Refused(refusal)).await;
        };
        let handle = self.agent.handle.clone();
        // Looked up and subscribed in one go, so that an end in between is not missed.
        let subscribed = self.agent.handle.with(move |armory| -> Result<_, Refusal> {
            let id = id.map(|id| meant(armory, &id)).transpose()?;
            Ok(Told::by(&handle, id))
        });
        match subscribed.await.map_err(Refusal::from).flatten() {
            Ok(told) => {
                write(&mut self.writer, Answer::Following).await?;
                let Self { lines, writer, .. } = self;
                follow(told, writer, lines, shutdown).await
            }
            Err(refusal) => write(&mut self.writer, Answer::Refused(refusal)).await,
        }
    }
}

fn too_many() -> Refusal {
    let message = format!("{MOST_CLIENTS} clients are connected already; try again");
    Refusal::new(RefusalKind::Busy, message)
}

/// One request out of one line.
fn read(line: &[u8]) -> Result<Command, Refusal> {
    // The version first: what else a request of another version holds is not known.
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let malformed = |error: serde_json::Error| {
        Refusal::new(RefusalKind::Malformed, format!("this is no request: {error}"))
    };
    let Versioned { version } = serde_json::from_slice(line).map_err(malformed)?;
    if version != VERSION {
        let message = format!("this agent speaks version {VERSION} of the protocol, not {version}");
        return Err(Refusal::new(RefusalKind::Version, message));
    }
    let Request { command, .. } = serde_json::from_slice(line).map_err(malformed)?;
    Ok(command)
}

async fn answer(agent: &Arc<Agent>, command: Command, peer: &Peer) -> Result<Answer, Refusal> {
    let asked = format!("{} asked for it", peer);
    match command {
        Command::List => Ok(Answer::Targets(agent.handle.with(|armory| armory.reports()).await??)),
        Command::Show { id } => {
            let report = agent.handle.with(move |armory| -> Result<_, Refusal> {
                let id = meant(armory, &id)?;
                Ok(armory.report(&id).ok_or_else(|| unknown(&id))??)
            });
            Ok(Answer::Target(report.await.map_err(Refusal::from).flatten()?))
        }
        Command::Arm { target, faults, force, replace, follow } => {
            let way = Way { force, replaced: replace, follow };
            let report = arm(agent, &target, &faults, way).await?;
            tracing::info!(id = %report.id, target = %report.target, %peer, "armed");
            Ok(Answer::Armed(report))
        }
        Command::Disarm { id } => {
            let serving = agent.clone();
            let ended = agent.handle.with(move |armory| {
                if armory.named(&id.0).is_empty() && serving.followed.forget(&id) {
                    // It waits for its target.
                    return Ok(Ended { id, why: asked, is_gone: true, report: None });
                }
                let id = meant(armory, &id)?;
                serving.followed.forget(&id);
                armory.disarm(&id, &asked).ok_or_else(|| unknown(&id))
            });
            Ok(Answer::Disarmed(ended.await.map_err(Refusal::from).flatten()?))
        }
        Command::Halt => {
            // First: nothing is armed again behind it.
            agent.followed.forget_all();
            Ok(Answer::Halted(agent.handle.halt(asked).await?))
        }
        Command::Follow { .. } => unreachable!("a follower's conversation is another one"),
    }
}

/// The one thing armed that a client means by an id, or by the name of a target.
fn meant(armory: &Armory, given: &ArmedId) -> Result<ArmedId, Refusal> {
    only(given, armory.named(&given.0))
}

fn only(given: &ArmedId, mut found: Vec<ArmedId>) -> Result<ArmedId, Refusal> {
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(unknown(given)),
        (Some(id), true) => Ok(id),
        (Some(last), false) => {
            let ids: Vec<String> = found.iter().chain([&last]).map(ToString::to_string).collect();
            let message =
                format!("{given} is armed more than once: say which of {}", ids.join(", "));
            Err(Refusal::new(RefusalKind::UnknownId, message))
        }
    }
}

fn unknown(id: &ArmedId) -> Refusal {
    let message = format!("no target is armed as {id}; `chaos-agent list` shows those that are");
    Refusal::new(RefusalKind::UnknownId, message)
}

impl From<KeeperGone> for Refusal {
    fn from(error: KeeperGone) -> Self {
        Self::new(RefusalKind::Failed, error)
    }
}

impl From<HaltedSince> for Refusal {
    fn from(error: HaltedSince) -> Self {
        Self::new(RefusalKind::Failed, error)
    }
}

impl From<ArmError> for Refusal {
    fn from(error: ArmError) -> Self {
        Self::new(RefusalKind::Failed, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_what_is_armed_under_it_alone() {
        let id = |number: usize| ArmedId(format!("cli:{number}"));
        let given = ArmedId("unit:nginx.service".to_owned());
        assert_eq!(only(&given, vec![id(7)]).unwrap(), id(7));
        let refused = |found| only(&given, found).unwrap_err();
        assert_eq!(refused(vec![]).kind, RefusalKind::UnknownId);
        let several = refused(vec![id(1), id(2)]);
        assert_eq!(several.kind, RefusalKind::UnknownId);
        assert_eq!(
            several.message,
            "unit:nginx.service is armed more than once: say which of cli:1, cli:2"
        );
    }

    #[test]
    fn only_whole_requests_of_this_version_are_read() {
        assert_eq!(read(br#"{"version":1,"command":"list"}"#).unwrap(), Command::List);
        for (line, kind) in [
            (r"", RefusalKind::Malformed),
            (r"list", RefusalKind::Malformed),
            (r"{}", RefusalKind::Malformed),
            (r#"{"version":1}"#, RefusalKind::Malformed),
            (r#"{"version":1,"command":"explode"}"#, RefusalKind::Malformed),
            (r#"{"version":1,"command":"list","more":1}"#, RefusalKind::Malformed),
            (r#"{"version":1,"command":{"disarm":{}}}"#, RefusalKind::Malformed),
            (r#"{"version":1,"command":{"disarm":{"id":"a","x":1}}}"#, RefusalKind::Malformed),
            (r#"{"version":1,"command":{"halt":{"id":"a"}}}"#, RefusalKind::Malformed),
            (r#"{"version":1,"command":"list"}{}"#, RefusalKind::Malformed),
            (r#"{"version":-1,"command":"list"}"#, RefusalKind::Malformed),
            (r#"{"version":2,"command":"detonate"}"#, RefusalKind::Version),
        ] {
            assert_eq!(read(line.as_bytes()).unwrap_err().kind, kind, "{line}");
        }
        assert_eq!(read(b"\xff\xfe").unwrap_err().kind, RefusalKind::Malformed);
    }
}
