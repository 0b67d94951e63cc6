//! The targets of one job: where they come from, and the tasks that scrape them.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use ferula_index::Labels;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::fetch::Fetcher;
use super::run::{Command, Ending, Gate, Runner};
use super::target::Target;
use super::{JobTargets, Shared};
use crate::Error;
use crate::config::{DiscoveryConfig, Job};
use crate::discovery::{Discovery, Group, Groups, Sink};

/// What makes a target the same one after it was found anew.
type Key = (Labels, String);

/// The targets of a job.
pub(super) struct Pool {
    name: String,
    /// Itself, for the sources of its targets.
    this: Weak<Self>,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<(Arc<Job>, Fetcher)>,
    sources: Vec<Source>,
    /// What sources have told before the change that starts them is made.
    early: HashMap<u64, Groups>,
    /// Number of the source that is started next.
    next_source: u64,
    running: HashMap<Key, Running>,
    /// Targets that are ending, which takes them two intervals. They may come back.
    leaving: HashMap<Key, Running>,
}

/// A source of targets.
struct Source {
    number: u64,
    config: DiscoveryConfig,
    /// What it has told; nothing until it was asked for the first time.
    groups: Option<Groups>,
    /// Ends with the source.
    _discovery: Option<Discovery>,
}

/// A target and how its task is told what to do.
struct Running {
    commands: watch::Sender<Command>,
    gate: Arc<Gate>,
}

/// A configuration that can be taken over without failing.
pub(super) struct Change {
    job: Arc<Job>,
    fetcher: Fetcher,
    sources: Vec<Source>,
}

impl Pool {
    /// A job without targets.
    pub(super) fn new(name: &str, shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            name: name.to_owned(),
            this: this.clone(),
            shared: shared.clone(),
            state: Mutex::default(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes everything that a configuration needs and that can fail.
    ///
    /// # Errors
    /// [`Error::Client`] if an HTTP client cannot be made.
    pub(super) fn prepare(&self, job: &Job) -> Result<Change, Error> {
        let mut state = self.state.lock();
        let fetcher = match &state.current {
            Some((old, fetcher)) if fetcher.suits(old, job) => fetcher.clone(),
            _ => Fetcher::new(job, self.shared.options.start_timestamps).map_err(Error::Client)?,
        };
        let job = match &state.current {
            Some((old, _)) if **old == *job => old.clone(),
            _ => Arc::new(job.clone()),
        };
        let mut sources = Vec::new();
        for config in &job.discovery {
            // Sources that are there go on, and are moved over when the change is made.
            if state.sources.iter().any(|source| source.config == *config) {
                continue;
            }
            let number = state.next_source;
            state.next_source += 1;
            let discovery = Discovery::start(config, self.sink(number))?;
            let config = config.clone();
            let source = Source { number, config, groups: None, _discovery: Some(discovery) };
            sources.push(source);
        }
        Ok(Change { job, fetcher, sources })
    }

    /// Where a source tells its targets.
    fn sink(&self, number: u64) -> Sink {
        let pool = self.this.clone();
        Arc::new(move |groups| {
            let Some(pool) = pool.upgrade() else { return };
            let mut state = pool.state.lock();
            let source = state.sources.iter_mut().find(|source| source.number == number);
            match source {
                Some(source) => source.groups = Some(groups),
                // The source was started for a change that is under way.
                None => {
                    state.early.insert(number, groups);
                    return;
                }
            }
            pool.sync(&mut state);
        })
    }

    /// Takes a configuration over.
    pub(super) fn apply(&self, change: Change) {
        let Change { job, fetcher, mut sources } = change;
        let mut state = self.state.lock();
        let state = &mut *state;
        for source in &mut sources {
            source.groups = state.early.remove(&source.number);
        }
        sources.extend(state.sources.drain(..).filter(|old| job.discovery.contains(&old.config)));
        state.early.clear();
        // As the file has them.
        let place = |source: &Source| job.discovery.iter().position(|c| *c == source.config);
        sources.sort_by_key(place);
        state.sources = sources;
        state.current = Some((job, fetcher));
        self.shared.targets.announce(&self.name);
        self.sync(state);
    }

    /// Starts, changes and ends the tasks of targets, so that they are those that are known.
    fn sync(&self, state: &mut State) {
        let Some((job, fetcher)) = &state.current else { return };
        // A source that was not asked yet may have targets that are running.
        if state.sources.iter().any(|source| source.groups.is_none()) {
            return;
        }
        let found: Vec<&Group> =
            state.sources.iter().flat_map(|source| source.groups.iter().flatten()).collect();
        let (mut targets, dropped) = Target::all_of(job, &found);
        if let Some(shard) = self.shared.options.shard {
            targets.retain(|target| shard.has(target.hash()));
        }
        let is_over = job.limits.targets.is_some_and(|limit| targets.len() > limit);
        let over_limit = is_over.then_some(targets.len());
        let mut before = std::mem::take(&mut state.running);
        state.leaving.retain(|_, target| !target.commands.is_closed());
        let mut active = Vec::with_capacity(targets.len());
        for target in targets {
            let key = target.key();
            let known = before.remove(&key).or_else(|| state.leaving.remove(&key));
            let (target, running) = self.keep_or_start(known, target, fetcher);
            target.set_over_limit(over_limit);
            active.push(target);
            state.running.insert(key, running);
        }
        for (key, target) in before {
            target.end(Ending::Removed);
            state.leaving.insert(key, target);
        }
        self.shared.targets.set(JobTargets { name: self.name.clone(), active, dropped });
    }

    /// Has the task of a target that is known go on, or starts one.
    fn keep_or_start(
        &self,
        known: Option<Running>,
        target: Target,
        fetcher: &Fetcher,
    ) -> (Arc<Target>, Running) {
        let mut target = Arc::new(target);
        let command_of = |target: &Arc<Target>| {
            let (target, fetcher) = (target.clone(), fetcher.clone());
            Command { target, fetcher, ending: Ending::Running }
        };
        if let Some(running) = known {
            let old = running.commands.borrow().clone();
            let is_same = old.target.is_same(&target);
            if is_same {
                target = old.target.clone();
            } else {
                target.set_outcome(old.target.outcome());
            }
            let is_unchanged = is_same && fetcher.is_same(&old.fetcher);
            if (is_unchanged && old.ending == Ending::Running) || running.tell(command_of(&target))
            {
                return (target, running);
            }
            // Its task has ended meanwhile.
        }
        let command = command_of(&target);
        let (commands, receiver) = watch::channel(command);
        let gate = Arc::new(Gate::default());
        let runner = Runner {
            store: self.shared.store.clone(),
            metrics: self.shared.metrics.clone(),
            has_starts: self.shared.options.start_timestamps,
            append_slots: self.shared.append_slots.clone(),
            commands: receiver,
            gate: gate.clone(),
        };
        let mut tasks = self.shared.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(runner.run());
        (target, Running { commands, gate })
    }

    /// Ends all targets for good.
    pub(super) fn remove(&self) {
        self.end(Ending::Removed);
        self.shared.targets.remove(&self.name);
    }

    /// Ends all tasks; the series of their targets go on when they are started again.
    pub(super) fn stop(&self) {
        self.end(Ending::Shutdown);
    }

    fn end(&self, ending: Ending) {
        let mut state = self.state.lock();
        state.current = None;
        state.sources.clear();
        let running = std::mem::take(&mut state.running);
        running.values().chain(state.leaving.values()).for_each(|target| target.end(ending));
        // The tasks watch their senders.
        state.leaving.extend(running);
    }
}

impl Running {
    /// Tells the task something; false if it has ended.
    fn tell(&self, command: Command) -> bool {
        self.gate.while_open(|| self.commands.send_replace(command)).is_some()
    }

    fn end(&self, ending: Ending) {
        self.commands.send_modify(|command| command.ending = ending);
    }
}
