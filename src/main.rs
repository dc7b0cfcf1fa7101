//! orc: runs containers, and projects of several, on an engine of its own.
//!
//! This is the whole program: the command line (`cli`, `ui`), the daemon it talks to (`daemon`), and
//! the launcher that the daemon starts containers through. Which of them it is stands in the first
//! word, and the launcher is looked for before anything else is set up: it and the monitors it forks
//! have to stay small.
//!
//! The allocator is the system's: a process has only one, and mimalloc makes four more MiB of a process
//! its own as soon as it starts (measured), where a monitor as a whole has a seventh of one.

mod cli;
mod daemon;
mod ui;

fn main() {
    let words: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "launcher") {
        std::process::exit(orc_runtime::run_launcher());
    }
    cli::command::main(&words)
}
