//! Finds the here-documents that a line announces: `<<EOF`, `<<-EOF`, `3<<"EOF"`.
//!
//! Only what is a word of its own counts: `1<<2` inside quotes or in `$((…))` is none, nor is `<<<x`.

use orc_base::Result;

use crate::dockerfile::ast::Heredoc;
use crate::dockerfile::environment::Environment;
use crate::dockerfile::words::{Quotes, Words};

/// All that a line announces, without their text. A line that is no row of words has none.
pub(crate) fn announced(line: &str) -> Result<Vec<Heredoc>> {
    let words = Words {
        quotes: Quotes::Keep,
        keep_escapes: true,
        keep_unset: true,
        ..Words::new('\\')
    };
    let Ok(expanded) = words.expand(line, &Environment::default()) else {
        return Ok(Vec::new());
    };
    let announced = expanded.words.iter().map(|word| parse(word));
    Ok(announced
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

/// The here-document that one word announces.
pub(crate) fn parse(word: &str) -> Result<Option<Heredoc>> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = rest.strip_prefix("<<") else {
        return Ok(None);
    };
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, rest.trim_start()),
    };
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let plain = Words {
        keep_unset: true,
        ..Words::new('\\')
    };
    let quoted = Words {
        quotes: Quotes::Keep,
        ..plain
    };
    let environment = Environment::default();
    let [name] = &plain.expand(rest, &environment)?.words[..] else {
        return Ok(None);
    };
    let raw = quoted.expand(rest, &environment)?.text;
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Ok(Some(Heredoc {
        name: name.clone(),
        expand: quotes(name) == quotes(&raw),
        chomp,
        text: String::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_announces_one() {
        let names = |line: &str| -> Vec<String> {
            let found = announced(line).unwrap();
            let show = |doc: &Heredoc| {
                let dash = if doc.chomp { "-" } else { "" };
                let quoted = if doc.expand { "" } else { "'" };
                format!("{dash}{quoted}{}", doc.name)
            };
            found.iter().map(show).collect()
        };
        for (line, wanted) in [
            ("RUN <<EOF", vec!["EOF"]),
            ("RUN cat <<A 3<<-B >x", vec!["A", "-B"]),
            ("COPY <<'A' <<\"B c\" <<D\\E /x", vec!["'A", "'B c", "DE"]),
            ("RUN cat << EOF", vec!["EOF"]),
            ("RUN cat <<<EOF", vec![]),
            ("RUN echo \"<<EOF\" '<<X' $((1<<2))", vec![]),
            ("RUN a<<EOF", vec![]),
            ("RUN cat <<", vec![]),
            ("RUN echo 'x <<EOF", vec![]),
        ] {
            assert_eq!(names(line), wanted, "{line}");
        }
    }
}
