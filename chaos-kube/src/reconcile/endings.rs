//! Takes in what has ended by itself or by others, and ends everything when the agent stops.

use chaos_api::{ArmedId, Ended, Engine};
use chaos_arm::KeeperGone;

use super::{
    super::{names::PodName, pod::PodState, status::PodPhase},
    Reconciler,
};

impl<E: Engine> Reconciler<'_, E> {
    /// The keeper ended something by itself.
    pub(super) async fn ended(&mut self, ended: Ended) -> Result<(), KeeperGone> {
        if let Some(name) = self.owner_of_lost(&ended.id).await?
            && let Some(known) = self.known.get_mut(&name)
        {
            let now = self.clocks.now();
            known.count_all(ended.report.as_slice(), &now);
            known.lose(&ended.id, ended.why, &now);
            self.answer(&name);
        }
        Ok(())
    }

    /// Somebody else had a target disarmed. All of the pod's faults end then, for good.
    pub(super) async fn disarmed(&mut self, ended: Ended) -> Result<(), KeeperGone> {
        if let Some(name) = self.owner_of_lost(&ended.id).await? {
            if let Some(known) = self.known.get_mut(&name) {
                known.count_all(ended.report.as_slice(), &self.clocks.now());
            }
            self.close(&name, PodPhase::Ended, vec![ended.why]).await?;
            self.answer(&name);
        }
        Ok(())
    }

    /// Finds what is not armed any more after notices were missed.
    pub(super) async fn look_for_lost(&mut self) -> Result<(), KeeperGone> {
        let ids: Vec<ArmedId> = self.known.values().flat_map(PodState::armed_ids).collect();
        for id in ids {
            if let Some(name) = self.owner_of_lost(&id).await?
                && let Some(known) = self.known.get_mut(&name)
            {
                known.lose(&id, "it is not armed any more".to_owned(), &self.clocks.now());
                self.answer(&name);
            }
        }
        Ok(())
    }

    /// The pod for which this was armed, unless it is armed still: a notice may speak of an
    /// earlier arming under the same id.
    async fn owner_of_lost(&self, id: &ArmedId) -> Result<Option<PodName>, KeeperGone> {
        let owner = self.known.values().find(|known| known.armed.contains_key(id));
        let Some(name) = owner.map(|known| known.facts.name.clone()) else { return Ok(None) };
        let id = id.clone();
        let is_armed =
            self.handle.with(move |engine| engine.ids().any(|armed| *armed == id)).await?;
        Ok((!is_armed).then_some(name))
    }

    /// Takes everything back as the agent stops; the next one goes on with the clocks.
    pub(super) async fn withdraw(mut self) -> Result<(), KeeperGone> {
        let message = format!("the agent of node {} has stopped", self.options.node_name);
        let open = || self.known.iter().filter(|(_, known)| known.is_open());
        let ids = open().flat_map(|(_, known)| known.armed_ids()).collect();
        let names: Vec<PodName> = open().map(|(name, _)| name.clone()).collect();
        // In no more time than one of them.
        let reports = self.disarm(ids, &message).await?;
        for name in names {
            if let Some(known) = self.known.get_mut(&name) {
                known.count_all(&reports, &self.clocks.now());
                known.close(PodPhase::Waiting, vec![message.clone()]);
            }
            self.answer(&name);
        }
        Ok(())
    }
}
