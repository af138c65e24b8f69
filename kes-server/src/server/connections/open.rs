//! The connections that are open, and which of them have to go.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::activity::{Activity, Rank, Standing},
    MEMORY,
};

#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) next: u64,
    pub(super) all: HashMap<u64, Arc<Activity>>,
    /// Those that were asked to go and have not gone yet.
    pub(super) leaving: usize,
    /// Those that are not known and were not told to go: at most half of all. Each more takes the place of one of them,
    /// as soon as that has had the time for its handshake.
    pub(super) outsiders: usize,
}

impl Open {
    /// Tells up to so many connections to go, of those that deserve no place; false if there are none.
    pub(super) fn make_room(&mut self, batch: usize, are_few: bool) -> bool {
        let mut ranked = self.ranked();
        ranked.retain(|(rank, _)| Activity::is_expendable(*rank, are_few));
        if batch < ranked.len() {
            ranked.select_nth_unstable_by_key(batch, |(rank, _)| *rank);
            ranked.truncate(batch);
        }
        for (_, activity) in &ranked {
            self.evict(activity);
        }
        !ranked.is_empty()
    }

    /// Tells the connection of a known client to go that has been idle for longest; false if all are at work.
    pub(super) fn evict_the_idlest(&mut self) -> bool {
        let known = self.ranked().into_iter().filter(|((standing, _), _)| *standing == Standing::Known);
        let idlest = known.min_by_key(|(rank, _)| *rank);
        idlest.map(|(_, activity)| self.evict(&activity)).is_some()
    }

    fn ranked(&self) -> Vec<(Rank, Arc<Activity>)> {
        self.all.values().filter_map(|activity| Some((activity.rank()?, Arc::clone(activity)))).collect()
    }

    /// Tells connections to go until what the others hold is well within bounds: first strangers, then clients that
    /// are slow to take their answers, then those that have most. Those that hold little stay, above all handshakes:
    /// their end would give nothing back.
    pub(super) fn relieve(&mut self, round: usize) {
        let staying = self.all.values().filter(|activity| !activity.is_evicted());
        let holders = staying.map(|activity| (activity.holding().shared(), Arc::clone(activity)));
        let mut staying: Vec<_> = holders.filter(|(held, _)| *held > 0).collect();
        let mut held: usize = staying.iter().map(|(held, _)| held).sum();
        if held <= MEMORY {
            return;
        }
        staying
            .sort_by_cached_key(|(held, activity)| (is_outsider(activity), activity.holding().is_slow(round), *held));
        while held > MEMORY / 4 * 3 {
            let Some((bytes, activity)) = staying.pop() else { return };
            self.evict(&activity);
            held -= bytes;
        }
    }

    pub(super) fn evict(&mut self, activity: &Activity) {
        if activity.evict() {
            self.leaving += 1;
            self.outsiders -= usize::from(is_outsider(activity));
        }
    }
}

pub(super) fn is_outsider(activity: &Activity) -> bool {
    activity.standing() != Standing::Known
}
