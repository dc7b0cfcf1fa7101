//! The engine with real containers: the contract of every host, and what only an engine can show.
//!
//! A program of its own, because it is also the launcher. It runs in network and mount namespaces
//! made for it, on directories and a cgroup parent that are gone afterwards; it needs root and a
//! static busybox.

mod bed;
mod cases;

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Says that the namespaces are made.
const INSIDE: &str = "ORC_ENGINE_TEST_INSIDE";

fn main() {
    let args: Vec<_> = std::env::args_os().collect();
    if args.get(1).is_some_and(|arg| arg == "launcher") {
        std::process::exit(orc_runtime::run_launcher());
    }
    if std::env::var_os(INSIDE).is_none() {
        let error = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "--"])
            .args(&args)
            .env(INSIDE, "1")
            .exec();
        panic!("unshare of util-linux is needed: {error}");
    }
    let wanted: Vec<String> = args[1..]
        .iter()
        .filter_map(|arg| arg.to_str())
        .filter(|arg| !arg.starts_with('-'))
        .map(str::to_owned)
        .collect();
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(
        up.is_ok_and(|status| status.success()),
        "ip of iproute2 is needed"
    );
    let failed = cases::run(&wanted);
    std::process::exit(i32::from(failed > 0));
}
