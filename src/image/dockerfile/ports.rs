//! The ports of `EXPOSE`: `80`, `53/udp`, `8000-8010/tcp`.
//!
//! An address or a port of the machine before it (`127.0.0.1:80:80`) means nothing here; as in
//! BuildKit it is passed over with a warning.

use orc_base::{Error, Result};

use crate::dockerfile::checks::Rule;

/// What one word of `EXPOSE` says.
pub(crate) struct Ports {
    /// `port/protocol` each.
    pub(crate) exposed: Vec<String>,
    /// What is surprising about it.
    pub(crate) warnings: Vec<(Rule, String)>,
}

/// Reads one word of `EXPOSE`. Errors: it is no port and no range.
pub(crate) fn read(word: &str) -> Result<Ports> {
    let wrong = || {
        Error::invalid(format!(
            "`{word}` is not a port such as 80, 53/udp or 8000-8010"
        ))
    };
    let mut warnings = Vec::new();
    let (before, port) = match word.rsplit_once(':') {
        Some((before, port)) => (Some(before), port),
        None => (None, word),
    };
    if before.is_some() {
        warnings.push((
            Rule::ExposeInvalidFormat,
            format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
            ),
        ));
    }
    let (range, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let lower = match protocol.to_ascii_lowercase() {
        empty if empty.is_empty() => "tcp".to_owned(),
        lower => lower,
    };
    if protocol.chars().any(char::is_uppercase) {
        let message =
            format!("Defined protocol '{word}' in EXPOSE instruction should be lowercase");
        warnings.push((Rule::ExposeProtoCasing, message));
    }
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| digits && *port > 0)
    };
    let (from, to) = number(from).zip(number(to)).ok_or_else(wrong)?;
    if from > to || !["tcp", "udp", "sctp"].contains(&lower.as_str()) {
        return Err(wrong());
    }
    let ports = (from..=to).map(|port| format!("{port}/{lower}"));
    Ok(Ports {
        exposed: ports.collect(),
        warnings,
    })
}
