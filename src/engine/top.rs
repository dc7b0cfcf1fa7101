//! The processes of a container in the columns of `ps -ef`.
//!
//! Read from the machine's own procfs; a process that ends meanwhile is left out.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use orc_base::{Result, Time};
use orc_host::container::Top;

/// The most bytes of one file in procfs, and of the machine's passwd.
const MAX_FILE: u64 = 1 << 20;
/// The unit of times in procfs, the same on all architectures that orc is built for (time(7)).
const USER_HZ: u64 = 100;
const TITLES: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];

/// Looks at processes.
pub(crate) fn top(pids: &[i32], now: Time) -> Result<Top> {
    let machine = Machine::look(now);
    let mut pids = pids.to_vec();
    pids.sort_unstable();
    let rows = pids.into_iter().filter_map(|pid| row(pid, &machine));
    Ok(Top {
        titles: TITLES.map(String::from).into(),
        processes: rows.collect(),
    })
}

/// What a row depends on besides its process.
struct Machine {
    users: HashMap<u32, String>,
    ticks_per_second: u64,
    booted: Time,
    now: Time,
}

impl Machine {
    fn look(now: Time) -> Self {
        let passwd = read(Path::new("/etc/passwd")).unwrap_or_default();
        let uptime = read(Path::new("/proc/uptime")).unwrap_or_default();
        let up = uptime
            .split_whitespace()
            .next()
            .and_then(|secs| secs.parse().ok())
            .unwrap_or(0.0);
        let booted = now.nanos().saturating_sub((up * 1e9) as i64);
        Self {
            users: users(&passwd),
            ticks_per_second: USER_HZ,
            booted: Time::from_nanos(booted),
            now,
        }
    }
}

fn users(passwd: &str) -> HashMap<u32, String> {
    passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
        })
        .collect()
}

fn row(pid: i32, machine: &Machine) -> Option<Vec<String>> {
    let directory = Path::new("/proc").join(pid.to_string());
    let stat = read(&directory.join("stat"))?;
    let status = read(&directory.join("status"))?;
    let command = read(&directory.join("cmdline"))?;
    let uid = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()?;
    format_row(pid, uid, &stat, &command, machine)
}

/// Pure: a row from the texts of procfs (proc_pid_stat(5)).
fn format_row(
    pid: i32,
    uid: u32,
    stat: &str,
    command: &str,
    machine: &Machine,
) -> Option<Vec<String>> {
    // The name is in parentheses and may contain anything.
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let parent = fields.get(1)?;
    let terminal = terminal(number(4)?);
    let ticks = machine.ticks_per_second;
    let used = Duration::from_millis((number(11)? + number(12)?) * 1000 / ticks);
    let since_boot = Duration::from_millis(number(19)? * 1000 / ticks);
    let started = machine.booted.plus(since_boot);
    let alive = machine.now.since(started).as_millis().max(1);
    let share = used.as_millis() * 100 / alive;
    let command = match command.trim_end_matches('\0') {
        "" => format!("[{name}]"),
        command => command.replace('\0', " "),
    };
    Some(vec![
        machine
            .users
            .get(&uid)
            .cloned()
            .unwrap_or_else(|| uid.to_string()),
        pid.to_string(),
        (*parent).to_owned(),
        share.min(99).to_string(),
        start_text(started, machine.now),
        terminal,
        clock_text(used),
        command,
    ])
}

fn terminal(number: u64) -> String {
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00);
    match major {
        0 => "?".into(),
        136..=143 => format!("pts/{}", (major - 136) << 8 | minor),
        4 => format!("tty{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

/// The time of day, or the date when it is more than a day ago.
fn start_text(started: Time, now: Time) -> String {
    let text = started.to_string();
    match now.since(started) < Duration::from_secs(86_400) {
        true => text[11..16].to_owned(),
        false => text[5..10].to_owned(),
    }
}

fn clock_text(duration: Duration) -> String {
    let secs = duration.as_secs();
    format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
}

fn read(path: &Path) -> Option<String> {
    let bytes = orc_base::fs::read_limited(path, MAX_FILE).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_what_ps_shows() {
        let machine = Machine {
            users: users("root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/:\n"),
            ticks_per_second: 100,
            booted: "2026-01-01T00:00:00Z".parse().unwrap(),
            now: "2026-01-01T01:00:00Z".parse().unwrap(),
        };
        let stat = "42 (a) b) S 7 42 42 34817 0 0 0 0 0 0 6000 1000 0 0 20 0 1 0 180000 0 0";
        let row = format_row(42, 33, stat, "nginx\0-g\0", &machine).unwrap();
        assert_eq!(
            row,
            [
                "www", "42", "7", "3", "00:30", "pts/1", "00:01:10", "nginx -g"
            ]
        );
        let kernel = format_row(42, 5, stat, "", &machine).unwrap();
        assert_eq!((kernel[0].as_str(), kernel[7].as_str()), ("5", "[a) b]"));
        assert!(format_row(42, 0, "torn", "", &machine).is_none());
    }

    #[test]
    fn looks_at_this_very_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let now = orc_base::Clock::now(&orc_base::clock::SystemClock);
        let seen = top(&[pid, i32::MAX], now).unwrap();
        assert_eq!(seen.processes.len(), 1);
        assert_eq!(seen.processes[0][1], pid.to_string());
        assert_eq!(seen.titles.len(), seen.processes[0].len());
    }
}
