//! What a container's program wrote, as lines of the past and, when wanted, of the future.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream;
use orc_base::{Error, Kind, Result};
use orc_host::stream::{Chunk, LogLine, LogOptions, Output, Stream};
use orc_runtime::log::{self, LogReader, Record};
use tokio::time::Instant;

use crate::cell::Cell;
use crate::core::{Core, blocking};
use crate::lifecycle::Phase;
use crate::lines::{self, Assembler};
use crate::tails::Tail;

/// How many lines more than wanted are read from the end: a line that is being written may have begun
/// before lines of the other output.
const CONTEXT_LINES: usize = 64;
/// How many records are read before others get their turn.
const BATCH: usize = 256;

/// Follows the records of one container's log until a run of it ends.
pub(crate) struct Follower {
    cell: Arc<Cell>,
    reader: LogReader,
    tail: Tail,
    /// The runs that had ended when this began.
    ends: u64,
    /// No more is waited for: what is there is the rest.
    draining: bool,
}

impl Follower {
    /// Follows from where `reader` is. Without `wait` it ends with what is there.
    pub(crate) fn new(core: &Core, cell: &Arc<Cell>, reader: LogReader, wait: bool) -> Self {
        let directory = core.store.log_dir(cell.id());
        Self {
            ends: cell.pulse().ends,
            tail: core.tails.watch(&directory),
            cell: cell.clone(),
            reader,
            draining: !wait,
        }
    }

    /// The next record; `None` when the run has ended and all it wrote was given out.
    pub(crate) async fn next(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some(record) = read(&mut self.reader)? {
                return Ok(Some(record));
            }
            if self.draining {
                return Ok(None);
            }
            let ends = self.ends;
            let over = self
                .cell
                .until(move |pulse| pulse.removed || pulse.ends > ends);
            let reader = &mut self.reader;
            tokio::select! {
                // The monitor has written everything before it tells of the end.
                _ = over => self.draining = true,
                found = self.tail.grown(|| read(reader).transpose()) => {
                    if let Some(found) = found {
                        return found.map(Some);
                    }
                }
            }
        }
    }
}

/// The next record. A damaged part of the log is skipped, and said so in the daemon's own log.
pub(crate) fn read(reader: &mut LogReader) -> Result<Option<Record>> {
    loop {
        match reader.next().transpose() {
            Err(error) if error.kind() == Kind::Invalid => tracing::warn!("{error}"),
            other => return other,
        }
    }
}

/// The output as it was read from now on, until the present or next run ends.
pub(crate) fn chunks(core: &Core, cell: &Arc<Cell>) -> Result<Stream<Chunk>> {
    let reader = LogReader::from_end(&core.store.log(cell.id()))?;
    let follower = Follower::new(core, cell, reader, true);
    Ok(Box::pin(stream::unfold(
        Some(follower),
        |follower| async move {
            let mut follower = follower?;
            match follower.next().await {
                Ok(Some(record)) => {
                    let chunk = Chunk {
                        output: output(record.stream),
                        bytes: record.bytes.into(),
                    };
                    Some((Ok(chunk), Some(follower)))
                }
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        },
    )))
}

/// The log as lines.
pub(crate) async fn lines(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    options: &LogOptions,
) -> Result<Stream<LogLine>> {
    if cell.record().spec.log.driver == "none" {
        return Err(Error::unsupported(
            "the log driver of this container is none: there is nothing to read",
        ));
    }
    let runs = matches!(cell.phase(), Phase::Running { .. } | Phase::Starting { .. });
    let path = core.store.log(cell.id());
    // Filters drop lines, so only without them the last lines of the log are the wanted ones.
    let unfiltered = options.since.is_none() && options.until.is_none() && options.only.is_none();
    let reader = match options.tail {
        Some(lines) if unfiltered => {
            let lines = lines.saturating_add(CONTEXT_LINES);
            blocking(move || LogReader::tail(&path, lines)).await?
        }
        _ => LogReader::from_start(&path),
    };
    let mut state = Lines {
        follower: Follower::new(core, cell, reader, options.follow && runs),
        assembler: Assembler::default(),
        ready: VecDeque::new(),
        deadline: options
            .until
            .filter(|_| options.follow)
            .map(|until| Instant::now() + until.since(core.now())),
        options: options.clone(),
        over: false,
    };
    if let Some(most) = options.tail {
        state = blocking(move || state.keep_last(most)).await?;
    }
    Ok(Box::pin(stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        match state.next().await {
            Ok(Some(line)) => Some((Ok(line), Some(state))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })))
}

struct Lines {
    follower: Follower,
    assembler: Assembler,
    ready: VecDeque<LogLine>,
    deadline: Option<Instant>,
    options: LogOptions,
    over: bool,
}

impl Lines {
    /// Reads all there is and keeps the last `most` wanted lines.
    fn keep_last(mut self, most: usize) -> Result<Self> {
        let mut tail = lines::Tail::new(Some(most));
        while let Some(record) = read(&mut self.follower.reader)? {
            self.take(&record);
            for line in self.ready.drain(..) {
                tail.push(line);
            }
        }
        if self.follower.draining {
            self.finish();
            for line in self.ready.drain(..) {
                tail.push(line);
            }
        }
        self.ready = tail.into_lines();
        Ok(self)
    }

    async fn next(&mut self) -> Result<Option<LogLine>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            if self.over {
                return Ok(None);
            }
            match self.record().await? {
                Some(record) => {
                    self.take(&record);
                    for _ in 0..BATCH {
                        match read(&mut self.follower.reader)? {
                            Some(record) => self.take(&record),
                            None => break,
                        }
                    }
                    tokio::task::yield_now().await;
                }
                None => self.finish(),
            }
        }
    }

    async fn record(&mut self) -> Result<Option<Record>> {
        match self.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, self.follower.next())
                .await
                .unwrap_or(Ok(None)),
            None => self.follower.next().await,
        }
    }

    fn take(&mut self, record: &Record) {
        let (options, ready) = (&self.options, &mut self.ready);
        self.assembler
            .push(output(record.stream), record.at, &record.bytes, |line| {
                if lines::wanted(options, &line) {
                    ready.push_back(line);
                }
            });
    }

    fn finish(&mut self) {
        self.over = true;
        for line in self.assembler.finish() {
            if lines::wanted(&self.options, &line) {
                self.ready.push_back(line);
            }
        }
    }
}

fn output(stream: log::Stream) -> Output {
    match stream {
        log::Stream::Stdout => Output::Stdout,
        log::Stream::Stderr => Output::Stderr,
    }
}
