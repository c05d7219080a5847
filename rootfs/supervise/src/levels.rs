//! Desired against actual: what the graph asks of each service at this moment.
//!
//! This looks at levels and not at edges: it is computed afresh from all states after everything
//! that happens, so nothing is lost when several things happen at once, and an order that was
//! interrupted is simply continued. Nor must a lost need be remembered: it isn't started again
//! before all who need it are gone, so they can't miss that it was away.

use crate::graph::Graph;
use crate::service::Supervised;
use crate::state::{Input, State};

/// What holds for each service, by its place in the order of start.
pub(crate) struct Levels {
    /// All its needs are ready and stay.
    supported: Vec<bool>,
    /// It must end, for whatever reason.
    must_go: Vec<bool>,
    /// It is ready and stays, or is a job that did its work: what needs it may run.
    stands: Vec<bool>,
    /// It is on its way to being ready, and nothing speaks against it yet.
    coming: Vec<bool>,
    /// Something that waits for it, directly or not, has a process that must go first.
    held: Vec<bool>,
}

impl Levels {
    pub(crate) fn of(services: &[Supervised], graph: &Graph, shutdown: bool) -> Self {
        let count = services.len();
        let mut levels = Self {
            supported: vec![false; count],
            must_go: vec![false; count],
            stands: vec![false; count],
            coming: vec![false; count],
            held: vec![false; count],
        };
        for (i, service) in services.iter().enumerate() {
            let up = service.desired && !shutdown;
            let on_the_way = |need: &usize| levels.stands[*need] || levels.coming[*need];
            let needs_come = graph.needs[i].iter().all(on_the_way);
            let supported = graph.needs[i].iter().all(|need| levels.stands[*need]);
            let must_go = !up || service.restarting || !supported;
            levels.stands[i] = match service.state {
                State::Ready => !must_go,
                // Work that is done stays done, even if what it took is gone.
                State::Finished => up,
                _ => false,
            };
            levels.coming[i] = match service.state {
                State::Starting | State::Running => true,
                State::Down | State::Waiting => up && needs_come,
                _ => false,
            };
            levels.supported[i] = supported;
            levels.must_go[i] = must_go;
        }
        for i in (0..count).rev() {
            let busy = |other: usize| {
                levels.held[other] || (levels.must_go[other] && services[other].state.has_process())
            };
            levels.held[i] = graph.waiters(i).any(busy);
        }
        levels
    }

    /// What is asked of a service.
    pub(crate) fn input(
        &self,
        i: usize,
        services: &[Supervised],
        graph: &Graph,
        shutdown: bool,
    ) -> Option<Input> {
        let service = &services[i];
        let up = service.desired && !shutdown;
        match service.state {
            State::Down => up.then_some(Input::Wanted),
            state if state.has_process() => {
                let may_go = state.is_staying() && self.must_go[i] && !self.held[i];
                may_go.then_some(if up { Input::Leave } else { Input::Unwanted })
            }
            _ if !up => Some(Input::Unwanted),
            State::Waiting => {
                let strangers = graph.needers(i).any(|other| services[other].state.has_process());
                let clear = self.supported[i] && !strangers && !self.waits_for_others(i, graph);
                clear.then_some(Input::Clear)
            }
            _ => None,
        }
    }

    fn waits_for_others(&self, i: usize, graph: &Graph) -> bool {
        graph.after[i].iter().any(|earlier| self.coming[*earlier])
    }

    /// What a waiting service waits for.
    pub(crate) fn obstacles(&self, i: usize, graph: &Graph) -> Vec<usize> {
        let needs = graph.needs[i].iter().filter(|need| !self.stands[**need]);
        let after = graph.after[i].iter().filter(|earlier| self.coming[**earlier]);
        let mut all: Vec<usize> = needs.chain(after).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
