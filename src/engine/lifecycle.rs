//! One step in the life of a container: what it becomes and what is to be done.
//!
//! Pure. Every change of a container's phase is decided here, whoever caused it: a person, the exit
//! of its program, a timer, or the daemon's own start.
//!
//! ```text
//! Created ──Start──▶ Starting ──Started──▶ Running ──Ended──▶ Exited ──Start──▶ Starting
//!    ▲                  │                  │  ▲  │               ▲
//!    └────StartFailed───┘             Pause▼  │  └──Ended──▶ Restarting ──Retry──▶ Starting
//!                                        (paused)                └──Stop──▶ Exited
//! all but Running, Starting ──Remove──▶ Removing
//! ```

use std::time::Duration;

use orc_base::{Error, Kind, Result, Time};
use orc_host::container::{Exit, RestartPace, RestartPolicy, State};
use serde::{Deserialize, Serialize};

use crate::restart::{self, Retry};

/// Where a container is, and what the restart policy has to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// Where it is.
    pub phase: Phase,
    /// How often the policy started it again since someone last did.
    pub restarts: u32,
    /// Those of them that count for the policy's limit.
    #[serde(default)]
    pub attempts: u32,
    /// The wait before the present or last run.
    pub waited: Duration,
    /// Someone asked it to end.
    pub by_hand: bool,
}

impl Life {
    /// A container that was just made.
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Created { exit: None },
            restarts: 0,
            attempts: 0,
            waited: Duration::ZERO,
            by_hand: false,
        }
    }
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Its program never ran.
    Created {
        /// Why the last start failed.
        exit: Option<Exit>,
    },
    /// Written before the first side effect of a start; whoever finds it after a crash undoes them.
    Starting {
        /// Since when.
        at: Time,
        /// How it ended before, or why its last start failed.
        before: Option<Exit>,
        /// By the restart policy.
        retry: bool,
    },
    /// Its program runs.
    Running {
        /// The first process, on the machine.
        pid: i32,
        /// Since when.
        started_at: Time,
        /// Its processes are frozen.
        paused: bool,
    },
    /// It waits for its next start by the policy.
    Restarting {
        /// The last end.
        exit: Exit,
    },
    /// It ended.
    Exited {
        /// How.
        exit: Exit,
    },
    /// It is being removed; whoever finds it after a crash goes on.
    Removing {
        /// Its anonymous volumes too.
        volumes: bool,
    },
}

impl Phase {
    /// What people are shown.
    pub(crate) fn state(&self) -> State {
        match self {
            Self::Created { exit } => State::Created { exit: exit.clone() },
            Self::Starting {
                before: Some(exit),
                retry: true,
                ..
            } => State::Restarting { exit: exit.clone() },
            Self::Starting { before, .. } => at_rest(before.clone()).state(),
            Self::Running {
                pid,
                started_at,
                paused: false,
            } => State::Running {
                pid: *pid,
                started_at: *started_at,
            },
            Self::Running {
                pid, started_at, ..
            } => State::Paused {
                pid: *pid,
                started_at: *started_at,
            },
            Self::Restarting { exit } => State::Restarting { exit: exit.clone() },
            Self::Exited { exit } => State::Exited { exit: exit.clone() },
            Self::Removing { .. } => State::Removing,
        }
    }

    /// Whether its program runs.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. })
    }

    /// Whether it neither runs nor will without someone asking.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(
            self,
            Self::Created { .. } | Self::Exited { .. } | Self::Removing { .. }
        )
    }

    /// How it last ended.
    pub(crate) fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Created { exit } => exit.as_ref(),
            Self::Starting { before, .. } => before.as_ref(),
            Self::Restarting { exit } | Self::Exited { exit } => Some(exit),
            Self::Running { .. } | Self::Removing { .. } => None,
        }
    }
}

/// What the container's spec says about its ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// What happens after it ends.
    pub restart: RestartPolicy,
    /// How that goes on.
    pub pace: RestartPace,
    /// Remove it when it ends.
    pub auto_remove: bool,
}

/// Something that happened to a container or is wanted of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// Someone wants it to run.
    Start,
    /// The wait of the restart policy is over.
    Retry,
    /// Its program was executed.
    Started {
        /// The first process.
        pid: i32,
    },
    /// Its program could not be executed, and all side effects are undone.
    StartFailed {
        /// 125 to 127.
        code: i32,
        /// Why.
        error: String,
    },
    /// Its program ended.
    Ended {
        /// 0 to 255.
        code: i32,
        /// The kernel killed it for lack of memory.
        oom_killed: bool,
        /// What is odd about it.
        error: Option<String>,
        /// When it ended, which may be before it is heard of.
        at: Time,
    },
    /// Someone wants it to end, or sent what ends it.
    Stop,
    /// Someone froze it.
    Pause,
    /// Someone thawed it.
    Unpause,
    /// Someone wants it gone.
    Remove {
        /// Its anonymous volumes too.
        volumes: bool,
    },
    /// The machine has started anew, so that nothing of before runs.
    Boot,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Tell those who listen.
    Say(&'static str, Vec<(&'static str, String)>),
    /// Undo what a run made on the machine: network, namespace, cgroup.
    TearDown,
    /// Come back with [`Event::Retry`].
    RetryAfter(Duration),
    /// Remove the container with its anonymous volumes.
    Remove,
}

/// The next phase and what is to be done, or why `event` is out of order.
pub(crate) fn step(
    life: &Life,
    rules: Rules,
    event: Event,
    now: Time,
) -> Result<(Life, Vec<Action>)> {
    let mut next = life.clone();
    let actions = match (&life.phase, event) {
        (Phase::Removing { .. }, Event::Remove { .. }) => Vec::new(),
        (Phase::Removing { .. }, _) => return Err(Error::conflict("it is being removed")),

        (Phase::Running { paused: true, .. }, Event::Start) => {
            return Err(Error::conflict(
                "cannot start a paused container: unpause it instead",
            ));
        }
        (Phase::Running { .. }, Event::Start) => return Err(unchanged("it is running already")),
        (Phase::Starting { .. }, Event::Start | Event::Retry) => {
            return Err(Error::conflict("it is being started"));
        }
        (phase, Event::Start) => {
            let before = phase.exit().cloned();
            next = Life {
                phase: Phase::Starting {
                    at: now,
                    before,
                    retry: false,
                },
                ..Life::new()
            };
            Vec::new()
        }
        (Phase::Restarting { exit }, Event::Retry) => {
            next.phase = Phase::Starting {
                at: now,
                before: Some(exit.clone()),
                retry: true,
            };
            Vec::new()
        }
        // Stopped, started or removed while the timer ran.
        (_, Event::Retry) => return Err(unchanged("it does not wait for a restart")),

        (Phase::Starting { .. }, Event::Started { pid }) => {
            next.phase = Phase::Running {
                pid,
                started_at: now,
                paused: false,
            };
            vec![Action::Say("start", Vec::new())]
        }
        (Phase::Starting { before, retry, .. }, Event::StartFailed { code, error }) => {
            let exit = Exit {
                code,
                error: Some(error),
                oom_killed: false,
                started_at: before.as_ref().and_then(|exit| exit.started_at),
                finished_at: now,
            };
            start_failed(&mut next, rules, exit, *retry)
        }
        (
            Phase::Running { started_at, .. },
            Event::Ended {
                code,
                oom_killed,
                error,
                at,
            },
        ) => {
            let exit = Exit {
                code,
                error,
                oom_killed,
                started_at: Some(*started_at),
                // A program may have ended before its start was noted.
                finished_at: at.max(*started_at),
            };
            ended(&mut next, rules, exit, *started_at)
        }

        (Phase::Running { .. } | Phase::Starting { .. }, Event::Stop) => {
            next.by_hand = true;
            Vec::new()
        }
        (Phase::Restarting { exit }, Event::Stop) => {
            next.phase = Phase::Exited { exit: exit.clone() };
            next.by_hand = true;
            Vec::new()
        }
        (_, Event::Stop) => return Err(unchanged("it is not running")),

        (Phase::Running { paused: true, .. }, Event::Pause) => {
            return Err(Error::conflict("it is paused already"));
        }
        (
            Phase::Running {
                pid, started_at, ..
            },
            Event::Pause,
        ) => {
            next.phase = Phase::Running {
                pid: *pid,
                started_at: *started_at,
                paused: true,
            };
            vec![Action::Say("pause", Vec::new())]
        }
        (
            Phase::Running {
                pid,
                started_at,
                paused: true,
            },
            Event::Unpause,
        ) => {
            next.phase = Phase::Running {
                pid: *pid,
                started_at: *started_at,
                paused: false,
            };
            vec![Action::Say("unpause", Vec::new())]
        }
        (Phase::Running { .. }, Event::Unpause) => {
            return Err(Error::conflict("it is not paused"));
        }
        (_, Event::Pause | Event::Unpause) => return Err(Error::conflict("it is not running")),

        (Phase::Running { .. }, Event::Remove { .. }) => {
            return Err(Error::conflict(
                "it is running: stop it first, or remove it by force",
            ));
        }
        (Phase::Starting { .. }, Event::Remove { .. }) => {
            return Err(Error::conflict("it is being started"));
        }
        (_, Event::Remove { volumes }) => {
            next.phase = Phase::Removing { volumes };
            Vec::new()
        }

        (phase, Event::Boot) => {
            let phase = phase.clone();
            boot(&mut next, rules, &phase, now)
        }
        (phase, event) => {
            return Err(Error::internal(format!(
                "{event:?} cannot happen to a container that is {}",
                phase.state().as_str()
            )));
        }
    };
    Ok((next, actions))
}

fn ended(next: &mut Life, rules: Rules, exit: Exit, started_at: Time) -> Vec<Action> {
    let mut actions = Vec::new();
    if exit.oom_killed {
        actions.push(Action::Say("oom", Vec::new()));
    }
    let code = ("exitCode", exit.code.to_string());
    actions.push(Action::Say("die", vec![code]));
    actions.push(Action::TearDown);
    let ended = restart::Ended {
        code: exit.code,
        by_hand: next.by_hand,
        attempts: next.attempts,
        ran: exit.finished_at.since(started_at),
        waited: next.waited,
    };
    match restart::after(rules.restart, rules.pace, ended) {
        Some(retry) => actions.push(wait_for_retry(next, exit, retry)),
        None => {
            next.phase = Phase::Exited { exit };
            if rules.auto_remove {
                actions.push(Action::Remove);
            }
        }
    }
    actions
}

fn start_failed(next: &mut Life, rules: Rules, exit: Exit, retry: bool) -> Vec<Action> {
    let ended = restart::Ended {
        code: exit.code,
        by_hand: next.by_hand || !retry,
        attempts: next.attempts,
        ran: Duration::ZERO,
        waited: next.waited,
    };
    if let Some(retry) = restart::after(rules.restart, rules.pace, ended) {
        return vec![wait_for_retry(next, exit, retry)];
    }
    next.phase = at_rest(Some(exit));
    match rules.auto_remove {
        true => vec![Action::Remove],
        false => Vec::new(),
    }
}

fn wait_for_retry(next: &mut Life, exit: Exit, retry: Retry) -> Action {
    next.phase = Phase::Restarting { exit };
    next.restarts += 1;
    next.attempts = retry.attempts;
    next.waited = retry.wait;
    Action::RetryAfter(retry.wait)
}

/// A container that ran once is `Exited`, whatever its last start came to.
fn at_rest(exit: Option<Exit>) -> Phase {
    match exit {
        Some(exit) if exit.started_at.is_some() => Phase::Exited { exit },
        exit => Phase::Created { exit },
    }
}

fn boot(next: &mut Life, rules: Rules, phase: &Phase, now: Time) -> Vec<Action> {
    let cut_off = |started_at| Exit {
        code: 137,
        error: Some("the machine stopped while it ran".into()),
        oom_killed: false,
        started_at,
        finished_at: now,
    };
    let (exit, was_running) = match phase {
        Phase::Created { .. } | Phase::Removing { .. } => return Vec::new(),
        Phase::Starting { at, .. } => (cut_off(Some(*at)), true),
        Phase::Running { started_at, .. } => (cut_off(Some(*started_at)), true),
        Phase::Restarting { exit } => (exit.clone(), true),
        Phase::Exited { exit } => (exit.clone(), false),
    };
    let tear_down = Action::TearDown;
    if restart::at_boot(rules.restart, was_running, next.by_hand) {
        next.phase = Phase::Restarting { exit };
        next.waited = Duration::ZERO;
        next.by_hand = false;
        return vec![tear_down, Action::RetryAfter(Duration::ZERO)];
    }
    next.phase = Phase::Exited { exit };
    match rules.auto_remove {
        true => vec![tear_down, Action::Remove],
        false => vec![tear_down],
    }
}

fn unchanged(text: &str) -> Error {
    Error::new(Kind::Unchanged, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(restart: RestartPolicy, auto_remove: bool) -> Rules {
        Rules {
            restart,
            pace: PACE,
            auto_remove,
        }
    }

    const PACE: RestartPace = RestartPace {
        delay: None,
        window: None,
        max_attempts: None,
    };
    const PLAIN: Rules = Rules {
        restart: RestartPolicy::No,
        pace: PACE,
        auto_remove: false,
    };

    fn end(code: i32) -> Event {
        Event::Ended {
            code,
            oom_killed: false,
            error: None,
            at: Time::from_secs(2),
        }
    }

    fn fail(code: i32) -> Event {
        Event::StartFailed {
            code,
            error: "no".into(),
        }
    }

    /// Tells the life of a container as text: the phase and the actions after each event.
    fn tell(rules: Rules, events: impl IntoIterator<Item = Event>) -> Vec<String> {
        let mut life = Life::new();
        let mut told = Vec::new();
        for event in events {
            match step(&life, rules, event, Time::from_secs(1)) {
                Ok((next, actions)) => {
                    let mut text = next.phase.state().as_str().to_owned();
                    for action in actions {
                        text += &match action {
                            Action::Say(what, attributes) => match attributes.first() {
                                Some((_, value)) => format!(" +{what}={value}"),
                                None => format!(" +{what}"),
                            },
                            Action::TearDown => " +teardown".into(),
                            Action::RetryAfter(wait) => format!(" +retry {}ms", wait.as_millis()),
                            Action::Remove => " +remove".into(),
                        };
                    }
                    told.push(text);
                    life = next;
                }
                Err(error) => told.push(format!("{error:?}")),
            }
        }
        told
    }

    #[test]
    fn a_plain_life() {
        use Event::{Pause, Start, Started, Stop, Unpause};
        let started = || Started { pid: 7 };
        let remove = || Event::Remove { volumes: false };
        assert_eq!(
            tell(
                PLAIN,
                [
                    Start,
                    started(),
                    Start,
                    Pause,
                    Pause,
                    Start,
                    Unpause,
                    Unpause,
                    remove(),
                    Stop,
                    end(143),
                    Stop,
                    Start,
                    started(),
                    end(0),
                    Pause,
                    remove(),
                    Start,
                ]
            ),
            [
                "created",
                "running +start",
                "Unchanged(it is running already)",
                "paused +pause",
                "Conflict(it is paused already)",
                "Conflict(cannot start a paused container: unpause it instead)",
                "running +unpause",
                "Conflict(it is not paused)",
                "Conflict(it is running: stop it first, or remove it by force)",
                "running",
                "exited +die=143 +teardown",
                "Unchanged(it is not running)",
                "exited",
                "running +start",
                "exited +die=0 +teardown",
                "Conflict(it is not running)",
                "removing",
                "Conflict(it is being removed)",
            ]
        );
    }

    #[test]
    fn a_policy_restarts_until_someone_stops_it() {
        use Event::{Retry, Start, Started, Stop};
        let started = || Started { pid: 7 };
        assert_eq!(
            tell(
                rules(RestartPolicy::Always, false),
                [
                    Start,
                    started(),
                    end(1),
                    Retry,
                    started(),
                    end(0),
                    Retry,
                    fail(126),
                    Stop,
                    Retry,
                    Start,
                    started(),
                    Stop,
                    end(0),
                ]
            ),
            [
                "created",
                "running +start",
                "restarting +die=1 +teardown +retry 100ms",
                "restarting",
                "running +start",
                "restarting +die=0 +teardown +retry 200ms",
                "restarting",
                "restarting +retry 400ms",
                "exited",
                "Unchanged(it does not wait for a restart)",
                "exited",
                "running +start",
                "running",
                "exited +die=0 +teardown",
            ]
        );
    }

    #[test]
    fn a_start_by_hand_that_fails_is_not_repeated() {
        use Event::{Start, Started};
        assert_eq!(
            tell(
                rules(RestartPolicy::Always, false),
                [Start, fail(127), Start, Started { pid: 7 }]
            ),
            ["created", "created", "created", "running +start"]
        );
        let life = tell(PLAIN, [Start, Started { pid: 7 }, end(0), Start, fail(127)]);
        assert_eq!(life[3..], ["exited", "exited"]);
        assert_eq!(
            tell(rules(RestartPolicy::No, true), [Start, fail(127)])[1],
            "created +remove"
        );
        assert_eq!(
            tell(
                rules(RestartPolicy::No, true),
                [Start, Started { pid: 7 }, end(3)]
            )[2],
            "exited +die=3 +teardown +remove"
        );
    }

    #[test]
    fn a_lack_of_memory_is_told() {
        let ended = Event::Ended {
            code: 137,
            oom_killed: true,
            error: None,
            at: Time::EPOCH,
        };
        let told = tell(PLAIN, [Event::Start, Event::Started { pid: 7 }, ended]);
        assert_eq!(told[2], "exited +oom +die=137 +teardown");
    }

    #[test]
    fn a_boot_ends_what_ran_and_asks_the_policy() {
        use Event::{Boot, Start, Started, Stop};
        let ran = || vec![Start, Started { pid: 7 }];
        for (policy, before, after) in [
            (RestartPolicy::No, ran(), "exited +teardown"),
            (
                RestartPolicy::Always,
                ran(),
                "restarting +teardown +retry 0ms",
            ),
            (
                RestartPolicy::UnlessStopped,
                vec![Start, Started { pid: 7 }, Stop, end(0)],
                "exited +teardown",
            ),
            (
                RestartPolicy::Always,
                vec![Start, Started { pid: 7 }, Stop, end(0)],
                "restarting +teardown +retry 0ms",
            ),
            (RestartPolicy::Always, vec![], "created"),
            (
                RestartPolicy::UnlessStopped,
                vec![Start],
                "restarting +teardown +retry 0ms",
            ),
        ] {
            let events: Vec<Event> = before.into_iter().chain([Boot]).collect();
            let told = tell(rules(policy, false), events);
            assert_eq!(told.last().unwrap(), after, "{policy:?}");
        }
    }
}
