//! Files that are made to be too much.

use super::golden;
use crate::dockerfile::ast::Dockerfile;

fn refused(text: &str) -> String {
    let error = golden::plan(text, &golden::options(""))
        .unwrap_err()
        .to_string();
    error.lines().next().unwrap().to_owned()
}

#[test]
fn sizes() {
    let large = Dockerfile::parse("Dockerfile", &vec![b'#'; (1 << 20) + 1]).unwrap_err();
    assert_eq!(
        large.to_string(),
        "Dockerfile is larger than the limit of 1048576 bytes"
    );
    let many = format!("FROM a\n{}", "USER a\n".repeat(10_000));
    assert_eq!(
        refused(&many),
        "Dockerfile is larger than the limit of 10000 instructions"
    );
    let stages = "FROM scratch\n".repeat(1001);
    assert_eq!(
        refused(&stages),
        "Dockerfile is larger than the limit of 1000 stages"
    );
}

#[test]
fn variables_that_double() {
    let doubling = format!("FROM a\nENV A=aaaaaaaaaa\n{}", "ENV A=$A$A\n".repeat(40));
    assert!(
        refused(&doubling).contains("more than 1048576 bytes"),
        "{}",
        refused(&doubling)
    );
    let long = "x".repeat(500_000);
    let copied = format!("FROM a\nENV A={long}\n{}", "RUN true\n".repeat(500));
    assert!(refused(&copied).contains("more than 67108864 bytes of text"));
    let stages: String = (1..200)
        .map(|n| format!("FROM s{} AS s{n}\n", n - 1))
        .collect();
    let stages = format!("FROM scratch AS s0\nENV A={long}\n{stages}");
    assert!(refused(&stages).contains("more than 67108864 bytes of text"));
}

/// Each would take minutes if something in it were looked for in everything else.
#[test]
fn much_of_one_thing() {
    let many = |before: &str, each: &dyn Fn(usize) -> String| {
        let mut text = format!("FROM a\n{before}");
        for number in 0.. {
            let next = each(number);
            let lines = if next.starts_with("FROM") { 900 } else { 9_000 };
            let enough = next.ends_with('\n') && number == lines;
            if enough || text.len() + next.len() > 400_000 {
                return text;
            }
            text.push_str(&next);
        }
        text
    };
    let start = std::time::Instant::now();
    for (before, each, wanted) in [
        ("ENV", " a#=1", Some("more than 4096 variables")),
        ("ARG", " a#", Some("more than 4096 build arguments")),
        ("COPY", " --a#", Some("unknown flag --a0 for COPY")),
        ("RUN", " --mount=typ#=x", Some("unknown mount option typ0")),
        ("LABEL x=\"", "$a# ", Some("a double quote is not closed")),
        ("LABEL x=", "$a#", None),
        ("", "FROM --platform=$A# b\n", Some("is empty")),
        ("", "COPY --from=image# a b\n", None),
    ] {
        let text = many(before, &|number| each.replace('#', &number.to_string()));
        let result = golden::plan(&text, &golden::options(""));
        match (wanted, result) {
            (Some(wanted), Err(error)) => assert!(error.to_string().contains(wanted), "{error}"),
            (None, Ok((_, plan))) => assert!(plan.warnings.len() <= 210),
            (wanted, result) => panic!("{before} {wanted:?} {:?}", result.map(|_| ())),
        }
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn not_text() {
    for (bytes, wanted) in [
        (
            &b"FROM a\n\nRUN \xff\n"[..],
            "Dockerfile:3: the text is not UTF-8",
        ),
        (b"FROM a\nRUN \0\n", "Dockerfile:2: there is a NUL byte"),
        (
            b"",
            "Dockerfile: the Dockerfile is empty, it needs at least FROM",
        ),
        (
            b"# only\n\n",
            "Dockerfile: the Dockerfile is empty, it needs at least FROM",
        ),
        (
            b"ARG A\n",
            "Dockerfile: there is no FROM: a build starts from an image or from scratch",
        ),
    ] {
        let error = Dockerfile::parse("Dockerfile", bytes).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn mistakes_are_told_together_but_not_without_end() {
    let text = format!("FROM a\n{}", "COYP a b\n".repeat(100));
    let error = golden::plan(&text, &golden::options(""))
        .unwrap_err()
        .to_string();
    assert_eq!(error.matches("did you mean COPY?").count(), 20);
    assert!(error.ends_with("and 80 more"));
}

/// Cuts and garbles golden files everywhere: there is an answer to each, and never a panic.
#[test]
fn garbled_files_are_refused_or_planned() {
    let mut seed = 1u64;
    let mut random = |below: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below.max(1)
    };
    let parts = [
        "<<", "<<EOF", "EOF", "\\", "\n", "${", "}", "$", "\"", "'", "[", "]", "--", "=", ",", "#",
        "ONBUILD ", "FROM ", "COPY ", "RUN ", "--from=", "--mount=", "`", "é", "\r\n", "\t", ":-",
        "//", "**", "ARG A=$A", " ",
    ];
    let paths = golden::cases("plans", "dockerfile").into_iter();
    for path in paths.chain(golden::cases("instructions", "dockerfile")) {
        let text: Vec<char> = std::fs::read_to_string(&path).unwrap().chars().collect();
        for _ in 0..60 {
            let mut garbled = text.clone();
            for _ in 0..=random(4) {
                let at = random(garbled.len());
                let part = parts[random(parts.len())].chars();
                let end = (at + random(6)).min(garbled.len());
                garbled.splice(at..end, part);
            }
            garbled.truncate(random(garbled.len() * 3));
            let garbled: String = garbled.into_iter().collect();
            drop(golden::plan(&garbled, &golden::options("")));
        }
    }
}
