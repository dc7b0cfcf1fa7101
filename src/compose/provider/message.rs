//! What a provider says: a JSON object a line, `{"type": "info", "message": "…"}`.

use orc_base::{Error, Result};
use serde::Deserialize;

/// More of a line is not shown in messages.
const MAX_SHOWN: usize = 200;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// How far it is.
    Info(String),
    /// It failed.
    Error(String),
    /// For whoever wrote it.
    Debug(String),
    /// A variable, which gets the service's name before its own.
    Variable(String, String),
    /// A variable that keeps its name.
    RawVariable(String, String),
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
}

impl Message {
    /// `None` for an empty line.
    pub(crate) fn parse(line: &str) -> Result<Option<Self>> {
        if line.trim().is_empty() {
            return Ok(None);
        }
        let Ok(Line { kind, message }) = serde_json::from_str(line) else {
            return Err(not_understood(
                line,
                "a JSON object with `type` and `message`",
            ));
        };
        let variable = |text: &str| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !text.contains('\0') => {
                Ok((name.to_owned(), value.to_owned()))
            }
            _ => Err(not_understood(line, "`NAME=value` in a variable's message")),
        };
        Ok(Some(match kind.as_str() {
            "info" => Self::Info(first_line(&message)),
            "error" => Self::Error(message.trim().to_owned()),
            "debug" => Self::Debug(message),
            "setenv" => variable(&message).map(|(name, value)| Self::Variable(name, value))?,
            "rawsetenv" => {
                variable(&message).map(|(name, value)| Self::RawVariable(name, value))?
            }
            _ => {
                return Err(not_understood(
                    line,
                    "the type info, error, debug, setenv or rawsetenv",
                ));
            }
        }))
    }
}

fn first_line(text: &str) -> String {
    text.trim().lines().next().unwrap_or_default().to_owned()
}

fn not_understood(line: &str, wanted: &str) -> Error {
    let shown: String = line.chars().take(MAX_SHOWN).collect();
    let more = match shown.len() < line.len() {
        true => "…",
        false => "",
    };
    Error::invalid(format!(
        "it printed what is no answer of a provider, `{}{more}`: {wanted} is expected",
        shown.escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages() {
        let parse = |line: &str| Message::parse(line).unwrap().unwrap();
        assert_eq!(
            parse(r#"{"type":"info","message":"pulling 25%\nmore"}"#),
            Message::Info("pulling 25%".into())
        );
        assert_eq!(
            parse(r#" {"type": "setenv", "message": "URL=http://x/?a=b", "more": 1}"#),
            Message::Variable("URL".into(), "http://x/?a=b".into())
        );
        assert_eq!(
            parse(r#"{"type":"rawsetenv","message":"KEY="}"#),
            Message::RawVariable("KEY".into(), String::new())
        );
        assert_eq!(
            parse(r#"{"type":"error","message":"no quota\nask"}"#),
            Message::Error("no quota\nask".into())
        );
        assert_eq!(Message::parse("  \r").unwrap(), None);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (line, expected) in [
            ("hello", "a JSON object with `type` and `message`"),
            ("{}", "a JSON object with `type` and `message`"),
            (r#"{"type":"setenv","message":"URL"}"#, "`NAME=value`"),
            (r#"{"type":"setenv","message":"=x"}"#, "`NAME=value`"),
            (
                r#"{"type":"rawsetenv","message":"A=\u0000"}"#,
                "`NAME=value`",
            ),
            (
                r#"{"type":"setEnv","message":"A=b"}"#,
                "the type info, error, debug",
            ),
        ] {
            let error = Message::parse(line).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
        let long = Message::parse(&"é".repeat(5_000)).unwrap_err().to_string();
        assert!(long.len() < 1_000 && long.contains('…'), "{long}");
    }
}
