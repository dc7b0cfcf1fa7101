//! Between our standard streams and those of a container or an exec.
//!
//! Output is written as it comes. Input goes the other way until it ends (then the program sees the
//! end, too) or the detach keys were typed. A terminal is in raw mode meanwhile, its size follows
//! ours, and signals go to the program where nobody types them into a terminal.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::StreamExt;
use orc_base::{Context, Error, Result};
use orc_host::Host;
use orc_host::stream::{Attached, Output, TerminalSize};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::parse::detach::{DetachKeys, Typed};
use crate::ui::{out, terminal};

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The program's output did.
    Output,
    /// The detach keys were typed.
    Detached,
}

/// Which of our streams take part.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    /// Send what is typed.
    pub(crate) stdin: bool,
    /// Show standard output.
    pub(crate) stdout: bool,
    /// Show standard error.
    pub(crate) stderr: bool,
    /// There is a terminal between.
    pub(crate) tty: bool,
    /// What leaves it, when there is a terminal.
    pub(crate) detach: DetachKeys,
}

/// How many bytes are read of what is typed at once.
const INPUT_BYTES: usize = 16 << 10;
/// How often a terminal that is not there yet is told its size.
const SIZE_TRIES: u32 = 10;

/// Refuses a terminal whose input does not come from one, as Docker does: before anything is made.
pub(crate) fn check(wishes: &Wishes) -> Result<()> {
    match wishes.tty && wishes.stdin && !terminal::stdin_is_terminal() {
        true => Err(Error::invalid(
            "the input is not a terminal: leave out `-t`, or type the command in a terminal",
        )),
        false => Ok(()),
    }
}

/// Puts our terminal into raw mode when a terminal is asked for.
pub(crate) fn prepare(wishes: &Wishes) -> Result<Option<terminal::Raw>> {
    check(wishes)?;
    match wishes.tty && wishes.stdin {
        true => terminal::Raw::enter().map(Some),
        false => Ok(None),
    }
}

/// Carries bytes both ways; `beside` goes on meanwhile.
pub(crate) async fn carry(
    attached: Attached,
    wishes: Wishes,
    beside: impl Future<Output = ()>,
) -> Result<Ended> {
    let Attached {
        input, mut output, ..
    } = attached;
    let show = (wishes.stdout, wishes.stderr);
    let mut input = pin!(feed(input, wishes));
    let mut beside = pin!(beside);
    let (mut fed, mut alone) = (false, false);
    loop {
        tokio::select! {
            chunk = output.next() => match chunk {
                None => return Ok(Ended::Output),
                Some(chunk) => {
                    let chunk = chunk.context(|| "read the output")?;
                    match chunk.output {
                        Output::Stdout if show.0 => out::bytes(&chunk.bytes),
                        Output::Stderr if show.1 => out::error_bytes(&chunk.bytes),
                        _ => {}
                    }
                }
            },
            end = &mut input, if !fed => match end {
                Some(()) => {
                    // Docker's words; the line feed leaves the program's last line alone.
                    out::note("\r\nread escape sequence\r");
                    return Ok(Ended::Detached);
                }
                None => fed = true,
            },
            () = &mut beside, if !alone => alone = true,
        }
    }
}

/// Sends what is typed. `Some` when the detach keys were; `None` at its end, or when the program
/// takes no more.
async fn feed(input: Option<Pin<Box<dyn AsyncWrite + Send>>>, mut wishes: Wishes) -> Option<()> {
    let Some(mut input) = input.filter(|_| wishes.stdin) else {
        return std::future::pending().await;
    };
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; INPUT_BYTES];
    loop {
        let count = stdin.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            let _ = input.shutdown().await;
            return None;
        }
        let (bytes, detach) = match wishes.tty {
            false => (buffer[..count].to_vec(), false),
            true => match wishes.detach.look(&buffer[..count]) {
                Typed::Pass(bytes) => (bytes, false),
                Typed::Detach(bytes) => (bytes, true),
            },
        };
        let sent = async {
            input.write_all(&bytes).await?;
            input.flush().await
        };
        if sent.await.is_err() {
            return None;
        }
        if detach {
            return Some(());
        }
    }
}

/// Tells the terminal of a container its size now and whenever ours changes.
pub(crate) async fn follow_container_size(host: &dyn Host, name: &str) {
    follow_size(|size| host.resize_container(name, size)).await;
}

/// Tells the terminal of an exec its size now and whenever ours changes.
pub(crate) async fn follow_exec_size(host: &dyn Host, exec: &str) {
    follow_size(|size| host.resize_exec(exec, size)).await;
}

async fn follow_size<F: Future<Output = Result<()>>>(resize: impl Fn(TerminalSize) -> F) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else {
        return;
    };
    loop {
        if let Some(size) = terminal::size() {
            for attempt in 1..=SIZE_TRIES {
                if resize(size).await.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10) * attempt).await;
            }
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

/// Signals that are passed on to a program without a terminal.
static PROXIED: [(SignalKind, &str); 6] = [
    (SignalKind::interrupt(), "SIGINT"),
    (SignalKind::terminate(), "SIGTERM"),
    (SignalKind::hangup(), "SIGHUP"),
    (SignalKind::quit(), "SIGQUIT"),
    (SignalKind::user_defined1(), "SIGUSR1"),
    (SignalKind::user_defined2(), "SIGUSR2"),
];

/// What signals to us mean while we take part in a container: in raw mode those that would end us put
/// the terminal back before; else they are passed on to the container's first process when `proxy`
/// says so. They are caught from the moment this is called, not from when it is first polled.
pub(crate) fn signals<'a>(
    host: &'a dyn Host,
    name: &'a str,
    raw: bool,
    proxy: bool,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    match (raw, proxy) {
        (true, _) => Box::pin(leave_on_signals()),
        (false, true) => Box::pin(proxy_signals(host, name)),
        (false, false) => Box::pin(std::future::pending()),
    }
}

/// Ends this process as a signal would, with the terminal as it was before.
pub(crate) fn leave_on_signals() -> impl Future<Output = ()> {
    let signal = end_signal();
    async move { out::exit(128 + signal.await) }
}

/// The number of the first signal that would end this process, from now on.
pub(crate) fn end_signal() -> impl Future<Output = i32> {
    let ends = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ];
    let caught = ends.map(|kind| (signal(kind), kind.as_raw_value()));
    async move {
        let each = caught.map(|(listener, number)| {
            Box::pin(async move {
                if let Ok(mut listener) = listener
                    && listener.recv().await.is_some()
                {
                    return number;
                }
                std::future::pending().await
            })
        });
        futures_util::future::select_all(each).await.0
    }
}

fn proxy_signals<'a>(host: &'a dyn Host, name: &'a str) -> impl Future<Output = ()> + 'a {
    let caught = PROXIED.map(|(kind, signal_name)| (signal(kind), signal_name));
    async move {
        let each = caught.map(|(listener, signal_name)| async move {
            if let Ok(mut listener) = listener {
                while listener.recv().await.is_some() {
                    // A program that has just ended takes no signals, and that is no news.
                    let _ = host.kill_container(name, Some(signal_name)).await;
                }
            }
        });
        futures_util::future::join_all(each).await;
    }
}

#[cfg(test)]
mod tests {
    use orc_host::stream::Chunk;

    use super::*;

    fn wishes() -> Wishes {
        Wishes {
            stdin: false,
            stdout: false,
            stderr: false,
            tty: false,
            detach: DetachKeys::default(),
        }
    }

    #[tokio::test]
    async fn ends_with_the_output() {
        let chunks = vec![Ok(Chunk {
            output: Output::Stdout,
            bytes: "x".into(),
        })];
        let attached = Attached {
            input: None,
            output: Box::pin(futures_util::stream::iter(chunks)),
            terminal: false,
        };
        let ended = carry(attached, wishes(), std::future::pending()).await;
        assert_eq!(ended.unwrap(), Ended::Output);
    }

    #[tokio::test]
    async fn an_error_in_the_output_is_an_error() {
        let attached = Attached {
            input: None,
            output: Box::pin(futures_util::stream::iter(vec![Err(Error::unavailable(
                "gone",
            ))])),
            terminal: false,
        };
        let ended = carry(attached, wishes(), async {}).await;
        assert_eq!(ended.unwrap_err().to_string(), "read the output: gone");
    }
}
