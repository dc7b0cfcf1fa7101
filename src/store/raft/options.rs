//! What a member is started with.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use orc_base::{Error, Result, id};
use serde::{Deserialize, Serialize};

use crate::map::Limits;
use crate::transport::NodeId;

/// Tells one cluster from every other, written as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);

impl ClusterId {
    /// A new one.
    pub fn random() -> Self {
        Self(id::random_bytes())
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&id::hex(&self.0))
    }
}

impl FromStr for ClusterId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(number) if digits => Ok(Self(number.to_be_bytes())),
            _ => Err(Error::invalid("a cluster id has 32 hexadecimal digits")),
        }
    }
}

/// What a member is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its number.
    pub node: NodeId,
    /// Where it listens, as its transport understands it.
    pub address: String,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its directory, which nothing else may use. Made when missing.
    pub directory: PathBuf,
    /// The file with the key that the data keys are sealed by. Made, when there is no data yet.
    pub key_file: PathBuf,
    /// How much history is kept; the same on every member.
    pub limits: Limits,
    /// How patient it is.
    pub timing: Timing,
    /// Entries of the log after which a snapshot is written.
    pub snapshot_after: u64,
    /// Entries that stay in the log behind a snapshot, for members that are a little late.
    pub keep_behind: u64,
}

impl Options {
    /// The usual ones.
    pub fn new(node: NodeId, cluster: ClusterId, directory: PathBuf) -> Self {
        Self {
            node,
            address: String::new(),
            cluster,
            key_file: directory.with_extension("key"),
            directory,
            limits: Limits::default(),
            timing: Timing::default(),
            snapshot_after: 10_000,
            keep_behind: 1_000,
        }
    }

    pub(crate) fn config(&self) -> Config {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let timing = &self.timing;
        Config {
            cluster_name: self.cluster.to_string(),
            heartbeat_interval: millis(timing.heartbeat),
            election_timeout_min: millis(timing.election),
            election_timeout_max: millis(timing.lease),
            install_snapshot_timeout: 600_000,
            max_payload_entries: 512,
            replication_lag_threshold: self.snapshot_after * 2,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_after),
            max_in_snapshot_log_to_keep: self.keep_behind,
            purge_batch_size: (self.keep_behind / 4).max(1),
            enable_pre_vote: Some(true),
            // A leader sends entries before its own disk has them. After a crash that lost them it would
            // give others the same place in the same term: the simulation found it (seed 10).
            enable_leader_restore: Some(false),
            // A leader that can send and not hear lets go of its followers.
            quorum_loss_probe_interval: Some(2 * millis(timing.lease)),
            backoff: "20ms 50ms 100ms 100ms 100ms".to_owned(),
            ..Config::default()
        }
    }
}

/// How patient a member is.
///
/// A dead leader is replaced `lease` and one of `election` to `lease` after its last word: with the usual
/// ones after 850 ms at the latest, and some milliseconds for two rounds of votes. It must hold that
/// `heartbeat < election < lease`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader says that it is there.
    pub heartbeat: Duration,
    /// How long a member waits, at least, before it wants to lead.
    pub election: Duration,
    /// For how long a leader is believed to lead after its last word.
    pub lease: Duration,
    /// How long reads and writes wait for a leader and a majority.
    pub patience: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(250),
            lease: Duration::from_millis(425),
            patience: Duration::from_secs(5),
        }
    }
}
