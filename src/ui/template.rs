//! Reads the subset of Go's templates that people give to `--format`.
//!
//! Actions: `{{.A.B}}`, pipes, parentheses, `if`, `else`, `range`, `with`, variables, `{{- -}}` and
//! comments. What they mean on data is in `render.rs`. The size of a template and the depth of its
//! blocks and parentheses are bounded; anything else is refused with the place it stands at.

use orc_base::{Error, Result};
use serde_json::Value;

/// The longest template.
const MAX_BYTES: usize = 64 << 10;
/// The deepest nesting of blocks and parentheses.
const MAX_DEPTH: usize = 32;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// Printed as it is.
    Text(String),
    /// `{{pipe}}`.
    Print(Pipe),
    /// `{{$name := pipe}}`.
    Set(String, Pipe),
    /// `{{if}}`, `{{with}}`, `{{range}}` … `{{else}}` … `{{end}}`.
    Block {
        /// Which of them.
        kind: Block,
        /// `$key` and `$value` of `{{range $key, $value := …}}`; one is the value's.
        names: Vec<String>,
        /// What it is about.
        pipe: Pipe,
        /// When it is true, or for each item.
        body: Vec<Node>,
        /// When it is not, or there are no items.
        otherwise: Vec<Node>,
    },
}

/// The kinds of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    /// Shows its body when the value is true.
    If,
    /// The same, with the value as `.`.
    With,
    /// Shows its body for each item.
    Range,
}

/// Calls whose results are the last arguments of the next ones.
pub(crate) type Pipe = Vec<Call>;

/// A term, or a function and its arguments.
pub(crate) type Call = Vec<Term>;

/// The smallest parts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Term {
    /// `.A.B`, or `.`.
    Field(Vec<String>),
    /// `$name.A`; the name is empty for `$`.
    Variable(String, Vec<String>),
    /// `"text"`, `1`, `true`.
    Literal(Value),
    /// The name of a function.
    Function(String),
    /// `(pipe).A`.
    Sub(Pipe, Vec<String>),
}

/// Reads a template.
pub(crate) fn parse(source: &str) -> Result<Vec<Node>> {
    if source.len() > MAX_BYTES {
        return Err(Error::exhausted(format!(
            "the template is longer than {MAX_BYTES} bytes"
        )));
    }
    let mut parser = Parser {
        pieces: pieces(source)?.into_iter(),
    };
    let (nodes, end) = parser.nodes(0)?;
    match end {
        End::Input => Ok(nodes),
        End::Otherwise(_) => Err(wrong("`{{else}}` without `{{if}}`")),
        End::Closed => Err(wrong("`{{end}}` without `{{if}}` or `{{range}}`")),
    }
}

fn wrong(what: impl std::fmt::Display) -> Error {
    Error::invalid(format!("the template is wrong: {what}"))
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// Cuts a template into text and actions, white space trimmed as `{{-` and `-}}` say.
fn pieces(source: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = source;
    let mut trim = false;
    loop {
        let (text, action) = match rest.split_once("{{") {
            Some((text, action)) => (text, Some(action)),
            None => (rest, None),
        };
        let text = if trim { text.trim_start() } else { text };
        let Some(action) = action else {
            pieces.push(Piece::Text(text.to_owned()));
            return Ok(pieces);
        };
        let (action, trim_before) = match action.strip_prefix("- ") {
            Some(action) => (action, true),
            None => (action, false),
        };
        let text = if trim_before { text.trim_end() } else { text };
        pieces.push(Piece::Text(text.to_owned()));
        let (tokens, after, trim_after) = action_tokens(action)?;
        if let Some(tokens) = tokens {
            pieces.push(Piece::Action(tokens));
        }
        (rest, trim) = (after, trim_after);
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// `.A.B`, `$x.y`; the flag says that it follows a parenthesis at once.
    Path(String, bool),
    Text(String),
    Number(i64),
    Sign(&'static str),
}

/// The tokens up to `}}` (none for a comment), the rest, and whether white space is trimmed there.
fn action_tokens(source: &str) -> Result<(Option<Vec<Token>>, &str, bool)> {
    if let Some(comment) = source.strip_prefix("/*") {
        let (_, after) = comment
            .split_once("*/")
            .ok_or_else(|| wrong("a comment has no `*/`"))?;
        let (trim, after) = match after.strip_prefix(" -}}") {
            Some(after) => (true, Some(after)),
            None => (false, after.strip_prefix("}}")),
        };
        let after = after.ok_or_else(|| wrong("a comment does not end in `*/}}`"))?;
        return Ok((None, after, trim));
    }
    let mut tokens = Vec::new();
    let mut rest = source;
    loop {
        let trimmed = rest.trim_start();
        let spaced = trimmed.len() != rest.len();
        rest = trimmed;
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok((Some(tokens), after, false));
        }
        if let Some(after) = rest.strip_prefix("-}}") {
            return Ok((Some(tokens), after, true));
        }
        let after_parenthesis = !spaced && tokens.last() == Some(&Token::Sign(")"));
        let (token, after) = token(rest, after_parenthesis)?;
        tokens.push(token);
        rest = after;
    }
}

fn token(source: &str, after_parenthesis: bool) -> Result<(Token, &str)> {
    for sign in [":=", "(", ")", "|", ",", "="] {
        if let Some(after) = source.strip_prefix(sign) {
            return Ok((Token::Sign(sign), after));
        }
    }
    let Some(first) = source.chars().next() else {
        return Err(wrong("`{{` has no `}}`"));
    };
    match first {
        '"' => quoted(source),
        '`' => {
            let (text, after) = source[1..]
                .split_once('`')
                .ok_or_else(|| wrong("a text has no closing quote"))?;
            Ok((Token::Text(text.to_owned()), after))
        }
        '.' | '$' => {
            let end = word_end(&source[1..], ".") + 1;
            Ok((
                Token::Path(source[..end].to_owned(), after_parenthesis),
                &source[end..],
            ))
        }
        '-' | '0'..='9' => {
            let end = source[1..]
                .find(|c: char| !c.is_ascii_digit())
                .map_or(source.len(), |end| end + 1);
            let number = source[..end]
                .parse()
                .map_err(|_| wrong(format!("`{}` is not a number", &source[..end])))?;
            Ok((Token::Number(number), &source[end..]))
        }
        c if c.is_alphabetic() || c == '_' => {
            let end = word_end(source, "");
            Ok((Token::Word(source[..end].to_owned()), &source[end..]))
        }
        c => Err(wrong(format!("`{}` is not understood", c.escape_default()))),
    }
}

fn word_end(source: &str, also: &str) -> usize {
    source
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || also.contains(c)))
        .unwrap_or(source.len())
}

/// A text in double quotes, with the escapes it shares with JSON.
fn quoted(source: &str) -> Result<(Token, &str)> {
    let mut escaped = false;
    for (index, c) in source.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                let text = serde_json::from_str(&source[..=index]).map_err(|_| {
                    wrong(format!(
                        "{} has an escape that is not understood",
                        &source[..=index]
                    ))
                })?;
                return Ok((Token::Text(text), &source[index + 1..]));
            }
            _ => {}
        }
    }
    Err(wrong("a text has no closing quote"))
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
}

/// What ended a list of nodes. An `else` may carry an `if` of its own.
enum End {
    Input,
    Closed,
    Otherwise(Vec<Token>),
}

impl Parser {
    fn nodes(&mut self, depth: usize) -> Result<(Vec<Node>, End)> {
        if depth > MAX_DEPTH {
            return Err(wrong(format!(
                "blocks are nested more than {MAX_DEPTH} deep"
            )));
        }
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let tokens = match piece {
                Piece::Text(text) if text.is_empty() => continue,
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            match tokens.first() {
                Some(Token::Word(word)) if word == "end" => return Ok((nodes, End::Closed)),
                Some(Token::Word(word)) if word == "else" => {
                    return Ok((nodes, End::Otherwise(tokens[1..].to_vec())));
                }
                Some(Token::Word(word)) if block(word).is_some() => {
                    nodes.push(self.block(&tokens, depth)?);
                }
                _ => nodes.push(plain(&tokens)?),
            }
        }
        Ok((nodes, End::Input))
    }

    fn block(&mut self, tokens: &[Token], depth: usize) -> Result<Node> {
        let kind = match tokens.first() {
            Some(Token::Word(word)) => block(word),
            _ => None,
        };
        let kind = kind.ok_or_else(|| wrong("`{{else}}` takes nothing or an `if`"))?;
        let (names, rest) = names(&tokens[1..]);
        let pipe = pipe(rest)?;
        let (body, end) = self.nodes(depth + 1)?;
        let otherwise = match end {
            End::Input => return Err(wrong("a block has no `{{end}}`")),
            End::Closed => Vec::new(),
            End::Otherwise(tokens) if tokens.is_empty() => match self.nodes(depth + 1)? {
                (otherwise, End::Closed) => otherwise,
                _ => return Err(wrong("`{{else}}` has no `{{end}}`")),
            },
            End::Otherwise(tokens) => vec![self.block(&tokens, depth + 1)?],
        };
        Ok(Node::Block {
            kind,
            names,
            pipe,
            body,
            otherwise,
        })
    }
}

fn block(word: &str) -> Option<Block> {
    match word {
        "if" => Some(Block::If),
        "with" => Some(Block::With),
        "range" => Some(Block::Range),
        _ => None,
    }
}

fn plain(tokens: &[Token]) -> Result<Node> {
    match names(tokens) {
        (names, rest) if names.len() == 1 => Ok(Node::Set(names[0].clone(), pipe(rest)?)),
        _ => Ok(Node::Print(pipe(tokens)?)),
    }
}

/// `$a :=` or `$a, $b :=` at the start.
fn names(tokens: &[Token]) -> (Vec<String>, &[Token]) {
    let name = |token: &Token| match token {
        Token::Path(path, _) => path.strip_prefix('$').map(str::to_owned),
        _ => None,
    };
    match tokens {
        [a, Token::Sign(":=" | "="), rest @ ..] if name(a).is_some() => {
            (name(a).into_iter().collect(), rest)
        }
        [a, Token::Sign(","), b, Token::Sign(":="), rest @ ..]
            if name(a).is_some() && name(b).is_some() =>
        {
            (name(a).into_iter().chain(name(b)).collect(), rest)
        }
        _ => (Vec::new(), tokens),
    }
}

fn pipe(tokens: &[Token]) -> Result<Pipe> {
    let mut tokens = tokens.iter().peekable();
    let pipe = calls(&mut tokens, 0)?;
    match tokens.next() {
        None => Ok(pipe),
        Some(_) => Err(wrong("a `)` or `,` too many")),
    }
}

type Tokens<'a> = std::iter::Peekable<std::slice::Iter<'a, Token>>;

fn calls(tokens: &mut Tokens<'_>, depth: usize) -> Result<Pipe> {
    if depth > MAX_DEPTH {
        return Err(wrong(format!(
            "parentheses are nested more than {MAX_DEPTH} deep"
        )));
    }
    let mut pipe = Vec::new();
    loop {
        let mut call = Vec::new();
        while let Some(term) = term(tokens, depth)? {
            call.push(term);
        }
        if call.is_empty() {
            return Err(wrong("an action is empty"));
        }
        pipe.push(call);
        if tokens.next_if_eq(&&Token::Sign("|")).is_none() {
            return Ok(pipe);
        }
    }
}

fn term(tokens: &mut Tokens<'_>, depth: usize) -> Result<Option<Term>> {
    let Some(token) = tokens.next_if(|token| !matches!(token, Token::Sign(sign) if *sign != "("))
    else {
        return Ok(None);
    };
    Ok(Some(match token {
        Token::Word(word) => match word.as_str() {
            "true" => Term::Literal(Value::Bool(true)),
            "false" => Term::Literal(Value::Bool(false)),
            "nil" => Term::Literal(Value::Null),
            _ => Term::Function(word.clone()),
        },
        Token::Path(path, _) => match path.strip_prefix('$') {
            None => Term::Field(fields(path)),
            Some(rest) => {
                let (name, path) = rest.split_once('.').unwrap_or((rest, ""));
                Term::Variable(name.to_owned(), fields(path))
            }
        },
        Token::Text(text) => Term::Literal(Value::String(text.clone())),
        Token::Number(number) => Term::Literal(Value::from(*number)),
        Token::Sign(_) => {
            let pipe = calls(tokens, depth + 1)?;
            if tokens.next_if_eq(&&Token::Sign(")")).is_none() {
                return Err(wrong("a `(` has no `)`"));
            }
            match tokens
                .next_if(|token| matches!(token, Token::Path(path, true) if path.starts_with('.')))
            {
                Some(Token::Path(path, _)) => Term::Sub(pipe, fields(path)),
                _ => Term::Sub(pipe, Vec::new()),
            }
        }
    }))
}

fn fields(path: &str) -> Vec<String> {
    path.split('.')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paths_pipes_and_parentheses() {
        let nodes = parse("a {{.A.B}} {{(index .C \"k\").D | json}}").unwrap();
        assert_eq!(
            nodes,
            vec![
                Node::Text("a ".into()),
                Node::Print(vec![vec![Term::Field(vec!["A".into(), "B".into()])]]),
                Node::Text(" ".into()),
                Node::Print(vec![
                    vec![Term::Sub(
                        vec![vec![
                            Term::Function("index".into()),
                            Term::Field(vec!["C".into()]),
                            Term::Literal("k".into()),
                        ]],
                        vec!["D".into()],
                    )],
                    vec![Term::Function("json".into())],
                ]),
            ]
        );
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        let deep = format!("{{{{{}.}}}}", "(".repeat(100));
        let blocks = "{{if .}}".repeat(100);
        for bad in [
            "{{",
            "{{.A",
            "{{end}}",
            "{{else}}",
            "{{if .A}}",
            "{{}}",
            "{{.A | }}",
            "{{(.A}}",
            "{{.A)}}",
            "{{\"x}}",
            "{{#}}",
            "{{/* x }}",
            "{{if .}}{{else}}{{else}}{{end}}",
            &deep,
            &blocks,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
