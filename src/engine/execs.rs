//! Further processes in containers: what was asked for, what runs, and how it ended.
//!
//! In memory only: an exec does not outlive the daemon's interest in it. Bounded: the oldest ones
//! that have ended are forgotten first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orc_base::{Error, Id, Result};
use orc_host::exec::{Exec, ExecSpec};
use orc_host::stream::TerminalSize;

use crate::names::shown;

/// How many execs of one container are remembered.
const MOST: usize = 512;

/// All execs of one engine.
#[derive(Default)]
pub(crate) struct Execs(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    next: u64,
    execs: BTreeMap<String, Entry>,
}

struct Entry {
    container: Id,
    spec: ExecSpec,
    order: u64,
    state: State,
}

enum State {
    Created,
    Starting,
    Running(Arc<orc_runtime::Exec>),
    Ended(i32),
}

impl Execs {
    /// Remembers a process that is to run in a container.
    pub(crate) fn create(&self, container: &Id, spec: &ExecSpec) -> Result<String> {
        let mut entries = self.lock();
        let of_it = entries
            .execs
            .values()
            .filter(|entry| entry.container == *container);
        if of_it.count() >= MOST {
            entries.forget_oldest(container)?;
        }
        let id = Id::random().to_string();
        let order = entries.next;
        entries.next += 1;
        let entry = Entry {
            container: container.clone(),
            spec: spec.clone(),
            order,
            state: State::Created,
        };
        entries.execs.insert(id.clone(), entry);
        Ok(id)
    }

    /// Takes an exec to start it; each starts once.
    pub(crate) fn begin(&self, id: &str) -> Result<(Id, ExecSpec)> {
        let mut entries = self.lock();
        let entry = entries.get(id)?;
        match entry.state {
            State::Created => {
                entry.state = State::Starting;
                Ok((entry.container.clone(), entry.spec.clone()))
            }
            _ => Err(Error::conflict(format!(
                "exec {} has already run: create another one",
                shown(id)
            ))),
        }
    }

    /// It runs.
    pub(crate) fn started(&self, id: &str, exec: Arc<orc_runtime::Exec>) {
        if let Ok(entry) = self.lock().get(id) {
            entry.state = State::Running(exec);
        }
    }

    /// It ended, or could not be started.
    pub(crate) fn ended(&self, id: &str, code: i32) {
        if let Ok(entry) = self.lock().get(id) {
            entry.state = State::Ended(code);
        }
    }

    /// What became of it.
    pub(crate) fn inspect(&self, id: &str) -> Result<Exec> {
        let mut entries = self.lock();
        let entry = entries.get(id)?;
        Ok(Exec {
            id: id.into(),
            container: entry.container.to_string(),
            spec: entry.spec.clone(),
            running: matches!(entry.state, State::Running(_)),
            pid: match &entry.state {
                State::Running(exec) => Some(exec.pid()),
                _ => None,
            },
            exit_code: match entry.state {
                State::Ended(code) => Some(code),
                _ => None,
            },
        })
    }

    /// Sets the size of its terminal, now or when it starts.
    pub(crate) fn resize(&self, id: &str, size: TerminalSize) -> Result<()> {
        let exec = {
            let mut entries = self.lock();
            let entry = entries.get(id)?;
            match &entry.state {
                State::Created => {
                    entry.spec.size = Some(size);
                    return Ok(());
                }
                State::Running(exec) => exec.clone(),
                State::Starting | State::Ended(_) => {
                    return Err(Error::conflict(format!(
                        "exec {} is not running",
                        shown(id)
                    )));
                }
            }
        };
        exec.resize(size.rows, size.columns)
    }

    /// Forgets what was never started in a container that ended.
    pub(crate) fn forget_unstarted(&self, container: &Id) {
        self.lock().execs.retain(|_, entry| {
            entry.container != *container || !matches!(entry.state, State::Created)
        });
    }

    /// Forgets everything about a container that is gone.
    pub(crate) fn forget(&self, container: &Id) {
        self.lock()
            .execs
            .retain(|_, entry| entry.container != *container);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn get(&mut self, id: &str) -> Result<&mut Entry> {
        self.execs
            .get_mut(id)
            .ok_or_else(|| Error::not_found(format!("No such exec instance: {}", shown(id))))
    }

    fn forget_oldest(&mut self, container: &Id) -> Result<()> {
        let oldest = self
            .execs
            .iter()
            .filter(|(_, entry)| entry.container == *container)
            .filter(|(_, entry)| matches!(entry.state, State::Ended(_) | State::Created))
            .min_by_key(|(_, entry)| (matches!(entry.state, State::Created), entry.order))
            .map(|(id, _)| id.clone());
        match oldest {
            Some(id) => {
                self.execs.remove(&id);
                Ok(())
            }
            None => Err(Error::exhausted(format!(
                "container {} has {MOST} execs running: that is the limit",
                container.short()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;

    use super::*;

    #[test]
    fn an_exec_runs_once_and_its_end_is_remembered() {
        let execs = Execs::default();
        let container = Id::random();
        let id = execs.create(&container, &ExecSpec::default()).unwrap();
        execs.begin(&id).unwrap();
        assert_eq!(
            execs.begin(&id).map(drop).unwrap_err().kind(),
            Kind::Conflict
        );
        execs.ended(&id, 127);
        execs.forget_unstarted(&container);
        assert_eq!(execs.inspect(&id).unwrap().exit_code, Some(127));
        execs.forget(&container);
        assert_eq!(execs.inspect(&id).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let execs = Execs::default();
        let (container, other) = (Id::random(), Id::random());
        let kept = execs.create(&other, &ExecSpec::default()).unwrap();
        let first = execs.create(&container, &ExecSpec::default()).unwrap();
        execs.begin(&first).unwrap();
        execs.ended(&first, 0);
        for _ in 0..MOST {
            let id = execs.create(&container, &ExecSpec::default()).unwrap();
            execs.begin(&id).unwrap();
        }
        assert!(execs.inspect(&first).is_err());
        assert!(execs.inspect(&kept).is_ok());
        let full = execs.create(&container, &ExecSpec::default()).unwrap_err();
        assert_eq!(full.kind(), Kind::Exhausted);
    }
}
