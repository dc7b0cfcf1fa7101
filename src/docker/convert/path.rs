//! Reads a JSON body, and says which member is wrong when one is.
//!
//! serde gives a line and a column; [`member_at`] walks the text once more to that place and keeps
//! track of where it is. Depth is bounded by serde_json, size by whoever read the body.

use orc_base::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// Reads `text` as a `T`.
pub(crate) fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    if text.trim_ascii_start().starts_with(b"[") {
        return Err(Error::invalid("the body is a list: send a JSON object"));
    }
    serde_json::from_slice(text).map_err(|error| {
        let full = error.to_string();
        let reason = full
            .rsplit_once(" at line ")
            .map_or(full.as_str(), |(reason, _)| reason);
        let place = format!("line {} column {}", error.line(), error.column());
        Error::invalid(match error.classify() {
            Category::Data => match member_at(text, error.line(), error.column()) {
                member if member.is_empty() => format!("the body is wrong: {reason}"),
                member => format!("`{member}` is wrong: {reason}"),
            },
            Category::Eof => format!("the body ends too early: {reason} at {place}"),
            _ => format!("the body is not JSON: {reason} at {place}"),
        })
    })
}

enum Level {
    Object(Option<String>),
    Array(usize),
}

/// The path of the member that the given place belongs to: `HostConfig.Binds[2]`.
fn member_at(text: &[u8], line: usize, column: usize) -> String {
    let start = match line {
        0 | 1 => 0,
        _ => text
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .nth(line - 2)
            .map_or(0, |(index, _)| index + 1),
    };
    // A bracket at the column itself opens a level that is not part of the path.
    let end = (start + column).min(text.len());
    let end = end - usize::from(text[..end].ends_with(b"{") || text[..end].ends_with(b"["));
    let mut levels: Vec<Level> = Vec::new();
    let mut last_string = String::new();
    let mut index = 0;
    while index < end {
        match text[index] {
            b'{' => levels.push(Level::Object(None)),
            b'[' => levels.push(Level::Array(0)),
            b'}' | b']' => drop(levels.pop()),
            b':' => {
                if let Some(Level::Object(key)) = levels.last_mut() {
                    *key = Some(std::mem::take(&mut last_string));
                }
            }
            b',' => match levels.last_mut() {
                Some(Level::Object(key)) => *key = None,
                Some(Level::Array(item)) => *item += 1,
                None => {}
            },
            b'"' => {
                let length = string_length(&text[index + 1..]);
                let content = &text[index + 1..index + 1 + length];
                last_string = String::from_utf8_lossy(content).into_owned();
                index += length + 1;
            }
            _ => {}
        }
        index += 1;
    }
    shown(&levels)
}

/// How many bytes lie before the closing quote.
fn string_length(text: &[u8]) -> usize {
    let mut index = 0;
    while index < text.len() && text[index] != b'"' {
        index += if text[index] == b'\\' { 2 } else { 1 };
    }
    index.min(text.len())
}

fn shown(levels: &[Level]) -> String {
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Object(None) => {}
            Level::Object(Some(key)) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.extend(key.chars().take(80).flat_map(char::escape_debug));
            }
            Level::Array(item) => path.push_str(&format!("[{item}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::container::Config;

    fn refusal(text: &str) -> String {
        decode::<Config>(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_member_is_named() {
        for (text, member) in [
            (r#"{"Tty":"yes"}"#, "`Tty`"),
            (
                r#"{"Tty":true,"HostConfig":{"Memory":"64m"}}"#,
                "`HostConfig.Memory`",
            ),
            (
                "{\n \"Image\": \"a\\\"b\",\n \"HostConfig\": {\"Binds\": [\"a\", {}]}}",
                "`HostConfig.Binds[1]`",
            ),
            (
                r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":80}]}}}"#,
                "`HostConfig.PortBindings.80/tcp[0].HostPort`",
            ),
            (r#"{"Env":{"A":"b"}}"#, "`Env`"),
            (r#"{"Labels":["a"]}"#, "`Labels`"),
        ] {
            assert!(refusal(text).contains(member), "{text}: {}", refusal(text));
        }
        assert!(refusal("[]").contains("JSON object"), "{}", refusal("[]"));
        assert!(refusal("nonsense").contains("not JSON"));
        assert!(refusal(r#"{"Tty""#).contains("too early"));
        assert!(refusal("").contains("too early"));
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!(r#"{{"X":{}"#, "[".repeat(1_000_000));
        assert!(refusal(&deep).contains("recursion"), "{}", refusal(&deep));
    }
}
