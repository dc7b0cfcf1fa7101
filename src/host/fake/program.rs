//! What the fake host's containers run: the few programs that tests need, without processes.
//!
//! Pure: a command line becomes a [`Program`], which says what it prints and how it ends. `sh -c`
//! knows `echo … [>&2]`, `exit N`, `sleep N`, `true` and `false` separated by `;`.

use crate::stream::Output;

/// What a command line does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Program {
    /// What it prints at once.
    pub(crate) prints: Vec<(Output, String)>,
    /// How it ends.
    pub(crate) ends: Ends,
}

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// At once.
    With(i32),
    /// When it is killed.
    Never,
    /// When its input ends; until then it prints what it reads.
    WithInput,
}

impl Default for Ends {
    fn default() -> Self {
        Self::With(0)
    }
}

/// The program behind a command line; `None` when there is no such file in the image.
pub(crate) fn parse(args: &[String]) -> Option<Program> {
    let (name, args) = args.split_first()?;
    let name = name.rsplit('/').next().unwrap_or(name);
    if name != "sh" {
        return one(name, args);
    }
    let script = args.get(1).map_or("", String::as_str);
    let mut program = Program {
        // A shell without a script reads its input.
        ends: if args.is_empty() {
            Ends::WithInput
        } else {
            Ends::With(0)
        },
        ..Program::default()
    };
    for statement in script.split(';') {
        let mut words: Vec<String> = statement.split_whitespace().map(String::from).collect();
        let to_stderr = words.last().is_some_and(|word| word == ">&2");
        if to_stderr {
            words.pop();
        }
        let Some((name, args)) = words.split_first() else {
            continue;
        };
        if name == "exit" {
            let code = args.first().and_then(|code| code.parse().ok());
            program.ends = Ends::With(code.unwrap_or(0));
            return Some(program);
        }
        let step = one(name, args).unwrap_or(Program {
            prints: vec![(Output::Stderr, format!("sh: {name}: not found\n"))],
            ends: Ends::With(127),
        });
        program.prints.extend(
            step.prints
                .into_iter()
                .map(|(output, text)| match to_stderr {
                    true => (Output::Stderr, text),
                    false => (output, text),
                }),
        );
        program.ends = step.ends;
        if !matches!(step.ends, Ends::With(_)) {
            return Some(program);
        }
    }
    Some(program)
}

fn one(name: &str, args: &[String]) -> Option<Program> {
    let ends = match name {
        "true" | "echo" => Ends::With(0),
        "false" => Ends::With(1),
        "sleep" | "httpd" => Ends::Never,
        "cat" => Ends::WithInput,
        _ => return None,
    };
    let prints = match name {
        "echo" => vec![(Output::Stdout, format!("{}\n", args.join(" ")))],
        _ => Vec::new(),
    };
    Some(Program { prints, ends })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &[&str]) -> Option<Program> {
        parse(&line.iter().map(|word| word.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn knows_what_tests_run() {
        let program = run(&["sh", "-c", "echo out; echo err >&2; exit 7"]).unwrap();
        assert_eq!(
            program.prints,
            [
                (Output::Stdout, "out\n".into()),
                (Output::Stderr, "err\n".into())
            ]
        );
        assert_eq!(program.ends, Ends::With(7));
        assert_eq!(run(&["/bin/sleep", "9"]).unwrap().ends, Ends::Never);
        assert_eq!(run(&["sh", "-c", "nope"]).unwrap().ends, Ends::With(127));
        assert_eq!(run(&["/bin/nope"]), None);
    }
}
