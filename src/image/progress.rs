//! What a long operation tells whoever waits for it.
//!
//! Events are hints for people: they may be dropped, and nothing may depend on them.

/// Takes the events of one operation; called from any thread, and never for long.
pub trait Progress: Send + Sync {
    /// Something moved.
    fn report(&self, event: ProgressEvent);
}

/// One line of progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressEvent {
    /// The short digest of the layer it is about; none when it is about the whole operation.
    pub layer: Option<String>,
    /// What happens to it.
    pub phase: Phase,
}

/// What happens to a layer or an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It will be pulled.
    Pulling,
    /// Another layer goes first.
    Waiting,
    /// Bytes arrive.
    Downloading {
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// All bytes are here and their digest is compared.
    Verifying,
    /// The layer becomes a directory.
    Extracting {
        /// Compressed bytes read so far.
        current: u64,
        /// Compressed bytes in all.
        total: u64,
    },
    /// The layer is on disk.
    PullComplete,
    /// The layer was on disk already.
    AlreadyExists,
    /// It will be pushed.
    Preparing,
    /// Bytes leave.
    Pushing {
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The registry has the layer now.
    Pushed,
    /// The registry had the layer already.
    LayerAlreadyExists,
    /// The registry took the layer from another of its repositories, named here.
    Mounted(String),
    /// A sentence for people.
    Message(String),
}

impl ProgressEvent {
    /// An event about one layer, named by its short digest.
    pub fn layer(layer: impl Into<String>, phase: Phase) -> Self {
        Self {
            layer: Some(layer.into()),
            phase,
        }
    }

    /// A sentence about the whole operation.
    pub fn message(text: impl Into<String>) -> Self {
        Self {
            layer: None,
            phase: Phase::Message(text.into()),
        }
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: ProgressEvent) {}
}
