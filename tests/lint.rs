//! `orc compose lint` and `orc compose graph` as they are typed: exit codes, streams, formats. They
//! ask no daemon, so these tests need none, and no root.

use std::path::Path;
use std::process::{Command, Output};

/// A directory that goes away with the test.
struct Home(std::path::PathBuf);

impl Home {
    fn new(name: &str, compose: &str) -> Self {
        let path = std::env::temp_dir().join(format!("orc-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("make a directory");
        std::fs::write(path.join("compose.yaml"), compose).expect("write the file");
        Self(path)
    }

    fn orc(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_orc"))
            .arg("compose")
            .args(arguments)
            .current_dir(&self.0)
            .env_clear()
            .env(
                "ORC_HOST",
                format!("unix://{}", self.0.join("no.sock").display()),
            )
            .output()
            .expect("orc runs")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn lint_exits_by_what_it_finds() {
    let home = Home::new("lint", "name: p\nservices: {a: {image: x}}\n");
    let found = home.orc(&["lint"]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    let said = text(&found.stdout);
    assert!(
        said.starts_with("compose.yaml:2:23: floating-tag: services.a.image: `x` has no tag"),
        "{said}"
    );
    let json = home.orc(&["lint", "--format", "json"]);
    assert_eq!(json.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(
        (&json[0]["line"], &json[0]["column"]),
        (&2.into(), &23.into())
    );

    std::fs::write(
        home.0.join("compose.yaml"),
        "services: {a: {image: 'x:1'}}\n",
    )
    .expect("write");
    let clean = home.orc(&["lint"]);
    assert_eq!(
        (clean.status.code(), text(&clean.stdout)),
        (Some(0), ""),
        "{clean:?}"
    );

    std::fs::write(home.0.join("compose.yaml"), "services: {a: {imgae: x}}\n").expect("write");
    let broken = home.orc(&["lint"]);
    assert_eq!((broken.status.code(), text(&broken.stdout)), (Some(1), ""));
    assert!(
        text(&broken.stderr).contains("did you mean `image`?"),
        "{broken:?}"
    );
}

#[test]
fn graph_draws_in_every_format() {
    let home = Home::new(
        "graph",
        "name: p\nservices: {a: {image: 'x:1', depends_on: [b]}, b: {image: 'y:1'}}\n",
    );
    for (format, start) in [
        ("text", "p\n└── a  x:1\n    └── b (started)  y:1\n"),
        ("dot", "digraph \"p\" {\n"),
        ("mermaid", "flowchart TD\n"),
        ("svg", "<svg xmlns="),
    ] {
        let drawn = home.orc(&["graph", "--format", format]);
        assert!(drawn.status.success(), "{drawn:?}");
        assert!(text(&drawn.stdout).starts_with(start), "{drawn:?}");
    }
    let written = home.orc(&["graph", "--format", "svg", "-o", "p.svg"]);
    assert!(
        written.status.success() && written.stdout.is_empty(),
        "{written:?}"
    );
    let file: &Path = &home.0.join("p.svg");
    assert!(
        std::fs::read_to_string(file)
            .expect("the drawing")
            .ends_with("</svg>\n")
    );
}
