//! Updates: the containers of a service take the places of others, lot after lot.
//!
//! `rolling.rs` reads the course out of the file; here it becomes steps. Each replica has to prove
//! itself before the next lot begins; what happens when one does not is said in the step (`Trial`) and
//! carried out by `converge.rs`.

use orc_base::Result;
use orc_host::container::Container;

use crate::labels;
use crate::lower;
use crate::model::service::Service;
use crate::observe::label;
use crate::plan::compare::{self, is_up};
use crate::plan::fate::Fate;
use crate::plan::planner::{Planner, replica};
use crate::plan::removal::Removal;
use crate::plan::rolling::{self, Course};
use crate::plan::{Action, Trial};

/// An update that is under way: replicas are replaced lot after lot.
pub(super) struct Update {
    course: Course,
    total: usize,
    replaced: usize,
    /// The digest of what it replaces.
    was: Option<String>,
    /// The steps after which the lot may begin.
    pub(super) before: Vec<usize>,
    /// The steps after which the lot is done.
    lot: Vec<usize>,
}

impl<'a> Planner<'a> {
    /// The course of the update when containers of the service are replaced and the file gives one.
    pub(super) fn update(
        &mut self,
        service: &'a Service,
        fates: &[Fate<'_>],
    ) -> Result<Option<Update>> {
        let replaced = || {
            fates.iter().filter_map(|fate| match fate {
                Fate::Replace(old, _) => Some(*old),
                _ => None,
            })
        };
        let total = replaced().count();
        if total == 0 || !self.options.start {
            return Ok(None);
        }
        let image = self.observed.image(&service.image_name(&self.project.name));
        let course = rolling::course(service, image, total, self.options.back)?;
        let Some(mut course) = course else {
            return Ok(None);
        };
        if replaced().any(|old| self.resources.removed.contains_key(&old.name)) {
            self.plan.warn(format!(
                "service {} is replaced all at once: its network is made anew",
                service.name
            ));
            return Ok(None);
        }
        let replicas = self.replicas.get(&service.name).copied().unwrap_or(1);
        if course.start_first
            && let Some(why) = rolling::obstacle(self.project, service, replicas, course.at_once)
        {
            self.plan.warn(format!(
                "service {}: the old container stops before the new one starts, although `order` is start-first: {why}",
                service.name
            ));
            course.start_first = false;
        }
        let was = replaced()
            .filter_map(|old| label(old, labels::CONFIG_HASH))
            .find(|hash| *hash != service.hash)
            .map(str::to_owned);
        Ok(Some(Update {
            course,
            total,
            replaced: 0,
            was,
            before: Vec::new(),
            lot: Vec::new(),
        }))
    }

    /// Replaces one container as a part of an update.
    pub(super) fn renew(
        &mut self,
        service: &'a Service,
        old: &Container,
        cause: &'static str,
        pull: Option<usize>,
        update: &mut Update,
    ) -> Result<String> {
        if update.lot.len() == update.course.at_once {
            update.before = std::mem::take(&mut update.lot);
            if let Some(time) = update.course.delay {
                let pause = Action::Pause { time };
                let cause = format!("update of {}", service.name);
                let before = std::mem::take(&mut update.before);
                let step = self.plan.add(Some(&service.name), pause, cause, before);
                update.before.push(step);
            }
        }
        update.replaced += 1;
        let (name, done) = match update.course.start_first && is_up(old) {
            true => self.relieve(service, old, cause, pull, update)?,
            false => {
                let (name, started) = self.replace(service, old, cause, pull, &update.before)?;
                let proof = self.prove(service, &name, update, None, started);
                (name, proof)
            }
        };
        update.lot.push(done);
        Ok(name)
    }

    /// Starts the new container under another name, and lets it take the old one's place when it has
    /// proved itself. The second is the last step.
    fn relieve(
        &mut self,
        service: &'a Service,
        old: &Container,
        cause: &'static str,
        pull: Option<usize>,
        update: &Update,
    ) -> Result<(String, usize)> {
        let number = replica(old);
        let name = lower::container_name(self.project, service, number);
        let beside = compare::name_beside(&old.id, &name);
        let mut after = self.resources.of(service);
        after.extend(pull);
        after.extend(&update.before);
        let made = self.make(service, number, &beside, Some(old), after, cause)?;
        let started = self.start(service, number, &beside, cause, &[made])?;
        let proof = self.prove(
            service,
            &beside,
            update,
            Some(&old.name),
            started.unwrap_or(made),
        );
        let removal = Removal {
            cause,
            timeout: self.options.timeout,
            volumes: self.options.renew_anonymous_volumes,
        };
        let removed = self.discard(old, &removal, &[proof]);
        let action = Action::RenameContainer {
            name: beside,
            new_name: name.clone(),
        };
        let cause = "it has the old one's place";
        let renamed = self
            .plan
            .add(Some(&service.name), action, cause, vec![removed]);
        let starts = self.starts.entry(service.name.clone()).or_default();
        starts.push(renamed);
        self.renewed.insert(service.name.clone());
        Ok((name, renamed))
    }

    /// Adds the step that waits until a container of an update works.
    pub(super) fn prove(
        &mut self,
        service: &Service,
        name: &str,
        update: &Update,
        beside: Option<&str>,
        started: usize,
    ) -> usize {
        let action = Action::Prove {
            name: name.to_owned(),
            steady: update.course.steady,
            trial: Trial {
                allowed_failures: update.course.allowed_failures,
                on_failure: update.course.on_failure,
                beside: beside.map(str::to_owned),
                was: update.was.clone(),
            },
        };
        let cause = match update.replaced {
            0 => format!("update of {} goes on", service.name),
            replaced => format!("update of {}, {replaced} of {}", service.name, update.total),
        };
        self.plan
            .add(Some(&service.name), action, cause, vec![started])
    }
}
