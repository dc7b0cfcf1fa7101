//! Projects that are small on disk and would be large in memory, or never end. `src/compose/tests/bombs.rs`
//! loads them; `tests/e2e/bombs.rs` gives them to the whole program and measures what it takes.

use std::fmt::Write as _;

/// A project that has to be refused.
pub(crate) struct Bomb {
    pub(crate) name: &'static str,
    /// Names and texts; the first one is `compose.yaml`.
    pub(crate) files: Vec<(String, String)>,
    /// The end of the first line of what is said.
    pub(crate) refusal: &'static str,
}

const VALUES: &str = "the project has more than 64000 values";
const ALIASED: &str = "excessive aliasing: the project has more than 64000 values";
const DEEP: &str = "recursion limit exceeded: more than 200 values are nested in one another";
const TEXT: &str = "the project has more than 16 MiB of text";

/// All of them.
pub(crate) fn all() -> Vec<Bomb> {
    let mut bombs = of_aliases();
    bombs.extend(of_size());
    bombs.extend(of_variables());
    bombs.extend(of_services());
    bombs.extend(of_files());
    bombs
}

fn alone(name: &'static str, text: String, refusal: &'static str) -> Bomb {
    Bomb {
        name,
        files: vec![("compose.yaml".to_owned(), text)],
        refusal,
    }
}

/// `count` items of a list.
fn items(item: &str, count: usize) -> String {
    vec![item; count].join(",")
}

/// A line for each number.
fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, index| {
        writeln!(text, "{}", line(index)).expect("memory takes all");
        text
    })
}

fn of_aliases() -> Vec<Bomb> {
    let ladder = lines(9, |level| {
        let below = items(&format!("*a{level}"), 9);
        format!("x-{0}: &a{0} [{below}]", level + 1)
    });
    let keys = lines(5_000, |index| format!("  k{index}: v"));
    let (much, long) = (items("x", 5_000), "x".repeat(1 << 20));
    let (many, some) = (items("*a", 5_000), items("*a", 1_000));
    vec![
        alone(
            "aliases of aliases",
            format!("x-0: &a0 [{}]\n{ladder}", items("x", 9)),
            ALIASED,
        ),
        alone(
            "many aliases of a long list",
            format!("x-a: &a [{much}]\nx-b: [{many}]\n"),
            ALIASED,
        ),
        alone(
            "many aliases of a long text",
            format!("x-a: &a {long}\nx-b: [{some}]\n"),
            "excessive aliasing: the project has more than 16 MiB of text",
        ),
        alone(
            "many merges of a large mapping",
            format!("x-a: &a\n{keys}x-b: {{<<: [{many}]}}\n"),
            ALIASED,
        ),
        alone(
            "an alias inside its own anchor",
            "x-a: &a [*a]\n".to_owned(),
            "cycle: this alias is inside its own anchor",
        ),
    ]
}

fn of_size() -> Vec<Bomb> {
    let keys = lines(300_000, |index| format!("  k{index}: v"));
    let services = lines(100_000, |index| format!("  s{index}: {{image: x}}"));
    let unknown = lines(50_000, |index| format!("    key{index}: v"));
    let mut bombs = vec![
        alone(
            "many items",
            format!("x-a: [{}]\n", items("x", 300_000)),
            VALUES,
        ),
        alone("many keys", format!("x-a:\n{keys}"), VALUES),
        alone("many services", format!("services:\n{services}"), VALUES),
        alone(
            "many documents",
            "a: 1\n---\n".repeat(300_000),
            "more than 1000 documents in one file",
        ),
        alone(
            "many mistakes",
            format!("services:\n  a:\n{unknown}"),
            "services.a: additional properties 'key0' not allowed: keys of your own begin with `x-`",
        ),
    ];
    let opens = [
        ("nested lists", "[", DEEP),
        ("nested mappings", "{a: ", DEEP),
        ("nested items", "- ", DEEP),
    ];
    for (name, open, refusal) in opens {
        let text = format!("x-a:\n  {}", open.repeat(100_000));
        bombs.push(alone(name, text, refusal));
    }
    bombs
}

fn of_variables() -> Vec<Bomb> {
    let with = |name, text: String, env: String, refusal| Bomb {
        name,
        files: vec![("compose.yaml".to_owned(), text), (".env".to_owned(), env)],
        refusal,
    };
    let plain = || "services: {a: {image: x}}\n".to_owned();
    let doubling = lines(60, |level| {
        format!("A{}=${{A{level}}}${{A{level}}}", level + 1)
    });
    let long = format!("A={}\n", "x".repeat(1 << 20));
    let (opened, closed) = ("${A:-".repeat(10_000), "}".repeat(10_000));
    let readers = lines(1_000, |index| {
        format!("  s{index}: {{image: x, env_file: a.env}}")
    });
    vec![
        with(
            "variables of variables",
            plain(),
            format!("A0=xxxxxxxxxxxxxxxx\n{doubling}"),
            "the value grows beyond 4 MiB",
        ),
        with(
            "many uses of a long variable",
            format!("x-a: [{}]\n", items("$A", 10_000)),
            long.clone(),
            TEXT,
        ),
        alone(
            "nested variables",
            format!("x-a: \"{opened}x{closed}\"\n"),
            "more than 64 variables are nested in one another",
        ),
        Bomb {
            name: "a long env_file for many services",
            files: vec![
                ("compose.yaml".to_owned(), format!("services:\n{readers}")),
                ("a.env".to_owned(), long),
            ],
            refusal: TEXT,
        },
    ]
}

fn of_services() -> Vec<Bomb> {
    let chain = lines(5_000, |index| {
        format!("  s{index}: {{extends: s{}}}", index + 1)
    });
    let fan = lines(5_000, |index| format!("  s{index}: {{extends: base}}"));
    let much = items("x", 5_000);
    let ranges = items("'1-12000'", 100);
    vec![
        alone(
            "extends in a long row",
            format!("services:\n{chain}  s5000: {{image: x}}\n"),
            "more than 100 services extend one another",
        ),
        alone(
            "many services extend a large one",
            format!("services:\n{fan}  base: {{image: x, command: [{much}]}}\n"),
            VALUES,
        ),
        alone(
            "extends in a circle",
            "services: {a: {extends: b}, b: {extends: a}}\n".to_owned(),
            "circular reference in extends: a -> b -> a",
        ),
        alone(
            "all ports",
            "services: {a: {image: x, ports: ['1-65535:1-65535', '1-65535']}}\n".to_owned(),
            "more than 12000 ports: `network_mode: host` needs none published",
        ),
        alone(
            "many ranges of ports",
            format!("services: {{a: {{image: x, ports: [{ranges}]}}}}\n"),
            VALUES,
        ),
    ]
}

fn of_files() -> Vec<Bomb> {
    let named = |index: usize| match index {
        0 => "compose.yaml".to_owned(),
        index => format!("f{index}.yaml"),
    };
    let chain = (0..200).map(|index| (named(index), format!("include: [f{}.yaml]\n", index + 1)));
    let tree = (0..40).flat_map(|level: usize| {
        let text = format!("include: [a{0}.yaml, b{0}.yaml]\n", level + 1);
        let names = match level {
            0 => vec![named(0)],
            level => vec![format!("a{level}.yaml"), format!("b{level}.yaml")],
        };
        names.into_iter().map(move |name| (name, text.clone()))
    });
    let large = format!("x-a: {}\n", "x".repeat(7 << 20));
    let of_large = (0..5).map(|index| (format!("f{index}.yaml"), large.clone()));
    let includes = "include: [f0.yaml, f1.yaml, f2.yaml, f3.yaml, f4.yaml]\n".to_owned();
    vec![
        Bomb {
            name: "includes in a long row",
            files: chain.collect(),
            refusal: "more than 50 files include one another",
        },
        Bomb {
            name: "includes of two, each of two",
            files: tree.collect(),
            refusal: "more than 1000 Compose files",
        },
        alone(
            "an include of itself",
            "include: [compose.yaml]\n".to_owned(),
            "include cycle detected: compose.yaml includes compose.yaml",
        ),
        Bomb {
            name: "includes of large files",
            files: std::iter::once((named(0), includes))
                .chain(of_large)
                .collect(),
            refusal: TEXT,
        },
    ]
}
