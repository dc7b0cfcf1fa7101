//! Instructions of a Dockerfile that change the config of an image and nothing else.
//!
//! Pure. `import --change` takes these; each is one line, and one that is not understood is an error
//! that shows it.

use std::time::Duration;

use orc_base::{Error, Result, units};

use crate::config::{Healthcheck, ImageConfig};

const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Applies one instruction to `config`.
pub fn apply(config: &mut ImageConfig, line: &str) -> Result<()> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let instruction = word.to_ascii_uppercase();
    if rest.is_empty() {
        return Err(wrong(line, "it needs an argument"));
    }
    apply_one(config, &instruction, rest).map_err(|why| wrong(line, &why))
}

fn wrong(line: &str, why: &str) -> Error {
    let shown: String = line
        .chars()
        .take(200)
        .flat_map(char::escape_debug)
        .collect();
    Error::invalid(format!("`{shown}` is not a valid change command: {why}"))
}

fn apply_one(
    config: &mut ImageConfig,
    instruction: &str,
    rest: &str,
) -> std::result::Result<(), String> {
    match instruction {
        "CMD" => config.cmd = Some(command(config, rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(config, rest)),
        "ENV" => {
            for (name, value) in pairs(rest)? {
                set_env(&mut config.env, &name, &value);
            }
        }
        "LABEL" => config.labels.extend(pairs(rest)?),
        "EXPOSE" => expose(&mut config.exposed_ports, rest)?,
        "VOLUME" => {
            let paths = json(rest).map_or_else(|| words(rest), Ok)?;
            for path in paths {
                if path.is_empty() {
                    return Err("a volume needs a path".into());
                }
                insert(&mut config.volumes, path);
            }
        }
        "USER" => config.user = only(rest)?,
        "WORKDIR" => config.working_dir = working_dir(&config.working_dir, &only(rest)?),
        "STOPSIGNAL" => config.stop_signal = Some(only(rest)?),
        "SHELL" => {
            let shell = json(rest).filter(|words| !words.is_empty());
            config.shell = Some(shell.ok_or("write the shell as a JSON list")?);
        }
        "ONBUILD" => config.on_build.push(rest.into()),
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(config, rest)?),
        _ => {
            return Err(
                "use CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME or WORKDIR"
                    .into(),
            );
        }
    }
    Ok(())
}

/// The exec form, or the shell form wrapped into the image's shell.
fn command(config: &ImageConfig, rest: &str) -> Vec<String> {
    json(rest).unwrap_or_else(|| {
        let shell = config.shell.clone();
        let mut words = shell.unwrap_or_else(|| SHELL.map(String::from).to_vec());
        words.push(rest.into());
        words
    })
}

/// A JSON list of strings; anything else is the other form of the instruction.
fn json(rest: &str) -> Option<Vec<String>> {
    rest.starts_with('[')
        .then(|| serde_json::from_str(rest).ok())
        .flatten()
}

fn only(rest: &str) -> std::result::Result<String, String> {
    let mut words = words(rest)?;
    match (words.pop(), words.is_empty()) {
        (Some(word), true) if !word.is_empty() => Ok(word),
        _ => Err("it takes one argument".into()),
    }
}

/// `a=b "c=d e"`, or the old form `a b c`.
fn pairs(rest: &str) -> std::result::Result<Vec<(String, String)>, String> {
    let first = rest.split(char::is_whitespace).next().unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = rest
            .split_once(char::is_whitespace)
            .ok_or("write it as NAME=value")?;
        return Ok(vec![(name.into(), value.trim().into())]);
    }
    words(rest)?
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
            _ => Err("write it as NAME=value".into()),
        })
        .collect()
}

fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let line = format!("{name}={value}");
    let same = |line: &&mut String| line.split_once('=').is_some_and(|(other, _)| other == name);
    match env.iter_mut().find(same) {
        Some(old) => *old = line,
        None => env.push(line),
    }
}

fn expose(ports: &mut Vec<String>, rest: &str) -> std::result::Result<(), String> {
    for word in words(rest)? {
        let (range, protocol) = word.split_once('/').unwrap_or((&word, "tcp"));
        let protocol = protocol.to_ascii_lowercase();
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let known = ["tcp", "udp", "sctp"].contains(&protocol.as_str());
        let (Some(from), Some(to), true) = (port(from), port(to), known) else {
            return Err(format!(
                "`{word}` is not a port such as 80, 53/udp or 8000-8010"
            ));
        };
        if from > to {
            return Err(format!("`{word}` is a range that ends before it begins"));
        }
        for port in from..=to {
            insert(ports, format!("{port}/{protocol}"));
        }
    }
    Ok(())
}

fn insert(list: &mut Vec<String>, word: String) {
    if let Err(at) = list.binary_search(&word) {
        list.insert(at, word);
    }
}

/// A relative directory goes on from the last one.
fn working_dir(before: &str, path: &str) -> String {
    let joined = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{before}/{path}"),
    };
    let mut parts = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn healthcheck(config: &ImageConfig, rest: &str) -> std::result::Result<Healthcheck, String> {
    if rest.eq_ignore_ascii_case("none") {
        return Ok(Healthcheck {
            test: vec!["NONE".into()],
            ..Healthcheck::default()
        });
    }
    let mut check = Healthcheck::default();
    let mut rest = rest;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option
            .split_once(char::is_whitespace)
            .ok_or("the command is missing")?;
        set_option(&mut check, option)?;
        rest = after.trim_start();
    }
    let (kind, command) = rest
        .split_once(char::is_whitespace)
        .ok_or("write it as HEALTHCHECK CMD … or HEALTHCHECK NONE")?;
    if !kind.eq_ignore_ascii_case("cmd") {
        return Err("write it as HEALTHCHECK CMD … or HEALTHCHECK NONE".into());
    }
    let command = command.trim();
    let (word, words) = match (json(command), &config.shell) {
        (Some(words), _) => ("CMD", words),
        (None, _) => ("CMD-SHELL", vec![command.into()]),
    };
    check.test = std::iter::once(word.into()).chain(words).collect();
    Ok(check)
}

fn set_option(check: &mut Healthcheck, option: &str) -> std::result::Result<(), String> {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    let time = || -> std::result::Result<Option<Duration>, String> {
        let time = units::parse_duration(value).map_err(|error| error.to_string())?;
        Ok((!time.is_zero()).then_some(time))
    };
    match name {
        "interval" => check.interval = time()?,
        "timeout" => check.timeout = time()?,
        "start-period" => check.start_period = time()?,
        "start-interval" => check.start_interval = time()?,
        "retries" => {
            let retries = value
                .parse()
                .map_err(|_| format!("`{value}` is not a count"))?;
            check.retries = Some(retries).filter(|count| *count > 0);
        }
        _ => return Err(format!("`--{name}` is not an option of a health check")),
    }
    Ok(())
}

/// Words as a Dockerfile has them: quotes hold spaces together, a backslash takes away a meaning.
fn words(text: &str) -> std::result::Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => {
                let escaped = chars.next().ok_or("it ends in a backslash")?;
                word.get_or_insert_default().push(escaped);
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".into());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> ImageConfig {
        let mut config = ImageConfig::default();
        for line in lines {
            apply(&mut config, line).unwrap();
        }
        config
    }

    #[test]
    fn all_instructions() {
        let config = changed(&[
            r#"CMD ["sh", "-c", "echo hi"]"#,
            "entrypoint /run me",
            "ENV A=1 B=\"two words\" C=x\\ y",
            "ENV A 3 4",
            "EXPOSE 80 53/UDP 8000-8001",
            "LABEL a=b \"c d=e\"",
            "USER 1000:1000",
            "VOLUME /data /more",
            r#"VOLUME ["/with space"]"#,
            "WORKDIR /a",
            "WORKDIR b/../c",
            "ONBUILD RUN x",
            "HEALTHCHECK --interval=5s --retries=2 CMD curl -f http://localhost/",
            "STOPSIGNAL SIGQUIT",
        ]);
        assert_eq!(config.cmd.unwrap(), ["sh", "-c", "echo hi"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "/run me"]);
        assert_eq!(config.env, ["A=3 4", "B=two words", "C=x y"]);
        assert_eq!(
            config.exposed_ports,
            ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]
        );
        assert_eq!(config.labels["c d"], "e");
        assert_eq!(config.volumes, ["/data", "/more", "/with space"]);
        assert_eq!((&*config.user, &*config.working_dir), ("1000:1000", "/a/c"));
        assert_eq!(config.on_build, ["RUN x"]);
        assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
        let check = config.healthcheck.unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "curl -f http://localhost/"]);
        assert_eq!(check.interval, Some(Duration::from_secs(5)));
        assert_eq!((check.retries, check.timeout), (Some(2), None));
    }

    #[test]
    fn other_forms() {
        let config = changed(&[
            r#"SHELL ["/bin/bash", "-c"]"#,
            "CMD echo",
            r#"HEALTHCHECK --start-period=1m CMD ["true"]"#,
            "WORKDIR x",
        ]);
        assert_eq!(config.cmd.unwrap(), ["/bin/bash", "-c", "echo"]);
        let check = config.healthcheck.unwrap();
        assert_eq!(check.test, ["CMD", "true"]);
        assert_eq!(check.start_period, Some(Duration::from_secs(60)));
        assert_eq!(config.working_dir, "/x");
        let none = changed(&["HEALTHCHECK NONE"]).healthcheck.unwrap();
        assert_eq!(none.test, ["NONE"]);
    }

    #[test]
    fn refuses_and_shows_what_it_does_not_understand() {
        for bad in [
            "",
            "CMD",
            "RUN x",
            "COPY a b",
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
            "WORKDIR a\\",
        ] {
            let error = apply(&mut ImageConfig::default(), bad).unwrap_err();
            assert!(error.to_string().contains("change command"), "{error}");
        }
    }
}
