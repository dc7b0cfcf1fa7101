//! What instructions do to the config of an image, and the line each leaves in its history.
//!
//! Pure, on instructions whose variables are expanded. `RUN`, `COPY`, `ADD` and `ARG` change no config;
//! they are the planner's. `commit` and `import` use the same through [`apply_changes`].

use orc_base::{Error, Result, units};

use crate::config::{Healthcheck, ImageConfig};
use crate::dockerfile::ast::{Command, Kind, Pair};
use crate::dockerfile::environment::{Environment, MAX_VARIABLES};
use crate::dockerfile::expand::Expander;
use crate::dockerfile::{parse, paths, ports};

/// The shell of the shell forms when an image names none.
pub const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A config that instructions change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The config.
    pub config: ImageConfig,
    /// Who made the image: `MAINTAINER`.
    pub author: String,
    /// Whether a `CMD` came since the config was taken over: an `ENTRYPOINT` after it leaves it.
    pub command_set: bool,
}

impl Metadata {
    /// Applies an instruction; returns its line of the history, if it has one. Errors: a value that
    /// means nothing, such as a port of 70000.
    pub fn apply(&mut self, kind: &Kind) -> Result<Option<String>> {
        let config = &mut self.config;
        Ok(Some(match kind {
            Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Arg(_) => return Ok(None),
            Kind::Cmd(command) => {
                let words = wrapped(config, command);
                self.command_set = true;
                let line = format!("CMD {}", quoted(&words));
                config.cmd = Some(words).filter(|words| !words.is_empty());
                line
            }
            Kind::Entrypoint(command) => {
                let words = wrapped(config, command);
                let line = format!("ENTRYPOINT {}", quoted(&words));
                config.entrypoint = Some(words).filter(|words| !words.is_empty());
                if !self.command_set {
                    // The base's arguments were meant for the base's program.
                    config.cmd = None;
                }
                line
            }
            Kind::Env(pairs) => {
                for pair in pairs {
                    set_env(&mut config.env, &pair.name, &pair.value)?;
                }
                format!("ENV {}", shown(pairs))
            }
            Kind::Label(pairs) => {
                let pair = |pair: &Pair| (pair.name.clone(), pair.value.clone());
                config.labels.extend(pairs.iter().map(pair));
                format!("LABEL {}", shown(pairs))
            }
            Kind::Expose(words) => {
                let mut exposed = Vec::new();
                for word in words {
                    exposed.extend(ports::read(word)?.exposed);
                }
                insert(&mut config.exposed_ports, &exposed);
                format!("EXPOSE [{}]", exposed.join(" "))
            }
            Kind::Healthcheck(check) => {
                config.healthcheck = Some(check.clone());
                format!("HEALTHCHECK {}", shown_check(check))
            }
            Kind::Maintainer(author) => {
                self.author.clone_from(author);
                format!("MAINTAINER {author}")
            }
            Kind::OnBuild(trigger) => {
                config.on_build.push(trigger.clone());
                return Ok(None);
            }
            Kind::Shell(words) => {
                config.shell = Some(words.clone());
                format!("SHELL [{}]", words.join(" "))
            }
            Kind::StopSignal(signal) => {
                check_signal(signal)?;
                config.stop_signal = Some(signal.clone());
                format!("STOPSIGNAL {signal}")
            }
            Kind::User(user) => {
                if user.contains(char::is_whitespace) {
                    return Err(Error::invalid(format!(
                        "`{user}` is no user: write user, uid, user:group or uid:gid"
                    )));
                }
                config.user.clone_from(user);
                format!("USER {user}")
            }
            Kind::Volume(paths) => {
                if paths.iter().any(|path| path.trim().is_empty()) {
                    return Err(Error::invalid("the path of a VOLUME is empty"));
                }
                insert(&mut config.volumes, paths);
                format!("VOLUME [{}]", paths.join(" "))
            }
            Kind::Workdir(path) => {
                config.working_dir = paths::absolute(&config.working_dir, path);
                format!("WORKDIR {}", config.working_dir)
            }
        }))
    }
}

/// Applies one line of `--change`. Errors: see [`apply_changes`].
pub fn apply_change(config: &mut ImageConfig, line: &str) -> Result<()> {
    apply_changes(config, &[line])
}

/// Applies lines of `commit --change` and `import --change`: one instruction each, which may change
/// nothing but the config; variables are those of the config's environment. Errors: `Invalid` with the
/// line that is not understood.
pub fn apply_changes<T: AsRef<str>>(config: &mut ImageConfig, lines: &[T]) -> Result<()> {
    let mut metadata = Metadata {
        config: config.clone(),
        ..Metadata::default()
    };
    for line in lines {
        let line = line.as_ref();
        change(&mut metadata, line).map_err(|error| {
            let shown = line.trim().chars().take(200);
            let shown: String = shown.flat_map(char::escape_debug).collect();
            Error::new(
                error.kind(),
                format!("`{shown}` is not a valid change command: {error}"),
            )
        })?;
    }
    *config = metadata.config;
    Ok(())
}

fn change(metadata: &mut Metadata, line: &str) -> Result<()> {
    let instruction = parse::instruction(line)?;
    match instruction.kind {
        Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Arg(_) | Kind::Maintainer(_) => {
            return Err(Error::invalid(
                "use CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME or WORKDIR",
            ));
        }
        _ => {}
    }
    let environment = Environment::from_lines(&metadata.config.env);
    let kind = Expander::new('\\', &environment).kind(&instruction.kind)?;
    metadata.apply(&kind)?;
    metadata.config.check()
}

/// The words of a command: the shell form is one line for the image's shell.
pub(crate) fn wrapped(config: &ImageConfig, command: &Command) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(line) => {
            let shell = config.shell.clone();
            let mut words = shell.unwrap_or_else(|| SHELL.map(String::from).to_vec());
            words.push(line.clone());
            words
        }
    }
}

/// Gives a variable a value; it keeps its place when it has one. Errors: a name that is none.
pub(crate) fn set_env(env: &mut Vec<String>, name: &str, value: &str) -> Result<()> {
    if name.is_empty() || name.contains('=') {
        return Err(Error::invalid(format!(
            "`{name}` cannot be the name of a variable"
        )));
    }
    let line = format!("{name}={value}");
    let same = |line: &&mut String| {
        let (other, _) = line.split_once('=').unwrap_or((line, ""));
        other == name
    };
    let full = env.len() >= MAX_VARIABLES;
    match env.iter_mut().find(same) {
        Some(old) => *old = line,
        None if full => {
            return Err(Error::exhausted(format!(
                "there are more than {MAX_VARIABLES} variables"
            )));
        }
        None => env.push(line),
    }
    Ok(())
}

/// Adds to a list that is in order and has nothing twice.
fn insert(list: &mut Vec<String>, more: &[String]) {
    list.extend(more.iter().cloned());
    list.sort();
    list.dedup();
}

fn shown(pairs: &[Pair]) -> String {
    let pair = |pair: &Pair| format!("{}={}", pair.name, pair.value);
    pairs.iter().map(pair).collect::<Vec<_>>().join(" ")
}

/// Words as Go's `%q` prints a list: `["a" "b"]`.
fn quoted(words: &[String]) -> String {
    let word = |word: &String| {
        let escaped = word.chars().map(|c| match c {
            '"' => "\\\"".into(),
            '\\' => "\\\\".into(),
            '\n' => "\\n".into(),
            '\r' => "\\r".into(),
            '\t' => "\\t".into(),
            c if c.is_ascii_control() => format!("\\x{:02x}", c as u32),
            c if c.is_control() => format!("\\u{:04x}", c as u32),
            c => c.to_string(),
        });
        format!("\"{}\"", escaped.collect::<String>())
    };
    let words: Vec<String> = words.iter().map(word).collect();
    format!("[{}]", words.join(" "))
}

/// A health check as Go's `%+v` prints it.
fn shown_check(check: &Healthcheck) -> String {
    let time = |time: Option<_>| units::format_duration(time.unwrap_or_default());
    format!(
        "{{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        check.test.join(" "),
        time(check.interval),
        time(check.timeout),
        time(check.start_period),
        time(check.start_interval),
        check.retries.unwrap_or_default()
    )
}

/// Names of signal(7), and `RTMIN` and `RTMAX` with what is added or taken away.
const SIGNALS: [&str; 34] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

fn check_signal(signal: &str) -> Result<()> {
    let upper = signal.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = |text: &str| text.parse::<u8>().ok();
    let real_time = |base: &str, sign: char| match name.strip_prefix(base) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix(sign)
            .and_then(number)
            .is_some_and(|offset| offset <= 30),
        None => false,
    };
    let known = SIGNALS.contains(&name)
        || number(signal).is_some_and(|number| (1..=64).contains(&number))
        || real_time("RTMIN", '+')
        || real_time("RTMAX", '-');
    match known {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "`{signal}` is no signal such as SIGTERM, QUIT or 9"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_commit_and_import() {
        let mut config = ImageConfig {
            cmd: Some(vec!["old".into()]),
            env: vec!["HOME=/h".into()],
            ..ImageConfig::default()
        };
        apply_changes(
            &mut config,
            &[
                "entrypoint /run me",
                r#"CMD ["sh", "-c", "echo hi"]"#,
                "ENV A=1 B=\"two words\" C=x\\ y D=$HOME",
                "ENV A 3 4",
                "EXPOSE 80 53/UDP 8000-8001",
                "LABEL a=b \"c d\"=e",
                "USER 1000:1000",
                "VOLUME /data /more",
                "WORKDIR $HOME",
                "WORKDIR b/../c",
                "ONBUILD RUN x",
                "HEALTHCHECK --interval=5s --retries=2 CMD curl -f http://localhost/",
                "STOPSIGNAL SIGRTMIN+3",
            ],
        )
        .unwrap();
        assert_eq!(config.cmd.unwrap(), ["sh", "-c", "echo hi"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "/run me"]);
        assert_eq!(
            config.env,
            ["HOME=/h", "A=3 4", "B=two words", "C=x y", "D=/h"]
        );
        let ports = ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"];
        assert_eq!(config.exposed_ports, ports);
        assert_eq!(config.labels["c d"], "e");
        assert_eq!(config.volumes, ["/data", "/more"]);
        assert_eq!((&*config.user, &*config.working_dir), ("1000:1000", "/h/c"));
        assert_eq!(config.on_build, ["RUN x"]);
        assert_eq!(config.stop_signal.as_deref(), Some("SIGRTMIN+3"));
        let check = config.healthcheck.unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "curl -f http://localhost/"]);
    }

    #[test]
    fn an_entrypoint_drops_the_arguments_of_the_old_one() {
        let mut config = ImageConfig {
            cmd: Some(vec!["old".into()]),
            ..ImageConfig::default()
        };
        apply_change(&mut config, "ENTRYPOINT [\"x\"]").unwrap();
        assert_eq!(config.cmd, None);
    }

    #[test]
    fn refuses_and_shows_what_it_does_not_understand() {
        for bad in [
            "",
            "CMD",
            "RUN x",
            "COPY a b",
            "FROM a",
            "ARG a",
            "MAINTAINER a",
            "ENV A",
            "ENV =x",
            "ENV A='x",
            "EXPOSE http",
            "EXPOSE 0",
            "EXPOSE 70000",
            "EXPOSE 80/xyz",
            "EXPOSE 9-8",
            "USER a b",
            "LABEL a",
            "HEALTHCHECK curl",
            "HEALTHCHECK --every=5s CMD x",
            "HEALTHCHECK --retries=x CMD x",
            "SHELL sh",
            "VOLUME [\"\"]",
            "STOPSIGNAL 65",
            "STOPSIGNAL RTMIN+31",
            "USER a\nUSER b",
            "ENV A=${B:?}",
        ] {
            let before = ImageConfig::default();
            let mut config = before.clone();
            let error = apply_changes(&mut config, &["USER x", bad]).unwrap_err();
            assert!(error.to_string().contains("change command"), "{error}");
            assert_eq!(config, before, "nothing is changed by half");
        }
    }
}
