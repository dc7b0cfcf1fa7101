//! `-e`, `--env-file`, `--label`, `--label-file` and everything else that reads `KEY=value`.

use std::collections::BTreeMap;

use orc_base::{Error, Result};

/// The most that is read of one file of variables or labels.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 20;

/// `-e NAME=value` as it is, `-e NAME` with the value it has here; without one the name alone, which
/// takes it from the image's.
pub(crate) fn variable(text: &str, here: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let name = text.split('=').next().unwrap_or_default();
    if name.is_empty() {
        return Err(Error::invalid(format!(
            "`{text}` has no name: use NAME=value or NAME"
        )));
    }
    match text.contains('=') {
        true => Ok(text.to_owned()),
        false => Ok(here(text).map_or_else(|| text.to_owned(), |value| format!("{text}={value}"))),
    }
}

/// The lines of a file of variables: no quotes and no expansion, `#` at the start of a line is a
/// comment, and a name alone is passed on when it has a value here.
pub(crate) fn variables(
    file: &str,
    text: &str,
    here: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>> {
    let mut variables = Vec::new();
    for (number, line) in lines(text) {
        let (name, value) = line
            .split_once('=')
            .map_or((line, None), |(name, value)| (name, Some(value)));
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(Error::invalid(format!(
                "{file}:{number}: `{name}` is not the name of a variable"
            )));
        }
        match (value, here(name)) {
            (Some(value), _) => variables.push(format!("{name}={value}")),
            (None, Some(value)) => variables.push(format!("{name}={value}")),
            (None, None) => {}
        }
    }
    Ok(variables)
}

/// The lines of a file of labels.
pub(crate) fn label_lines(file: &str, text: &str) -> Result<Vec<String>> {
    let labels = lines(text).map(|(number, line)| match line.starts_with('=') {
        true => Err(Error::invalid(format!(
            "{file}:{number}: `{line}` has no key"
        ))),
        false => Ok(line.to_owned()),
    });
    labels.collect()
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_start()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// `key=value` pairs as a map; a key alone has an empty value. Later ones win.
pub(crate) fn pairs<'a>(
    what: &str,
    texts: impl IntoIterator<Item = &'a String>,
) -> Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        match key.is_empty() {
            true => Err(Error::invalid(format!(
                "`{text}` is not a {what}: use KEY=value"
            ))),
            false => Ok((key.to_owned(), value.to_owned())),
        }
    };
    texts.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn variables_take_values_from_here() {
        assert_eq!(variable("A=b=c", &here).unwrap(), "A=b=c");
        assert_eq!(variable("A=", &here).unwrap(), "A=");
        assert_eq!(variable("HOME", &here).unwrap(), "HOME=/root");
        assert_eq!(variable("NOPE", &here).unwrap(), "NOPE");
        assert!(variable("=x", &here).is_err());
        assert!(variable("", &here).is_err());
    }

    #[test]
    fn files_of_variables() {
        let text = "\u{feff}# comment\n\nA=1\n  B=two words # kept\nHOME\nNOPE\n";
        assert_eq!(
            variables("x.env", text, &here).unwrap(),
            ["A=1", "B=two words # kept", "HOME=/root"]
        );
        let error = variables("x.env", "A=1\nB C=2", &here).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.env:2: `B C` is not the name of a variable"
        );
    }

    #[test]
    fn maps() {
        let texts = ["a=1".to_owned(), "b".to_owned(), "a=2".to_owned()];
        let map = pairs("label", &texts).unwrap();
        assert_eq!(map["a"], "2");
        assert_eq!(map["b"], "");
        assert!(pairs("label", &["=x".to_owned()]).is_err());
        assert!(label_lines("l", "a=1\n=2").is_err());
    }
}
