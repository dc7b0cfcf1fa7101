//! Configs that are wrong in every way, in images that are right otherwise (HAZARDS U11): through a
//! pull and through a load.

use std::time::{Duration, Instant};

use orc_base::Result;

use crate::config::MAX_CONFIG_BYTES;
use crate::digest::Digest;
use crate::testing::tape;
use crate::unpack::tests::readers::{Machine, load_docker_as, pull_as};

/// What must become of a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Taken,
    Refused,
}

fn configs(diff_id: &Digest) -> Vec<(String, Wanted)> {
    let architecture = crate::platform::Platform::host().architecture;
    let rootfs = format!(r#""rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}"#);
    let with =
        |more: &str| format!(r#"{{"os":"linux","architecture":"{architecture}",{rootfs}{more}}}"#);
    let rootfs_of =
        |text: &str| format!(r#"{{"os":"linux","architecture":"{architecture}","rootfs":{text}}}"#);
    let many = |item: &str| vec![item; 100_000].join(",");
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let mut all = Vec::new();
    for taken in [
        "",
        r#","history":null"#,
        r#","history":[]"#,
        r#","history":[{}]"#,
        r#","history":[{"empty_layer":null,"created":null}]"#,
        r#","config":null"#,
        r#","config":{}"#,
        r#","config":{"Env":null,"Cmd":null,"Labels":null,"Volumes":null,"Healthcheck":null}"#,
        r#","created":"0001-01-01T00:00:00Z""#,
        r#","created":"when it was made""#,
        r#","unknown":{"a":[1,2,3]}"#,
    ] {
        all.push((with(taken), Wanted::Taken));
    }
    // Passed over without going into it.
    all.push((
        with(&format!(r#","unknown":{}"#, nested(100_000))),
        Wanted::Taken,
    ));
    for refused in [
        r#","config":"run""#.to_owned(),
        r#","config":{"Env":"A=b"}"#.into(),
        r#","config":{"Env":[1]}"#.into(),
        r#","config":{"Cmd":{"a":1}}"#.into(),
        r#","config":{"Cmd":["a\u0000b"]}"#.into(),
        r#","config":{"User":1000}"#.into(),
        r#","config":{"Labels":["a=b"]}"#.into(),
        r#","history":{}"#.into(),
        r#","history":"long""#.into(),
        r#","history":[1]"#.into(),
        format!(r#","history":[{}]"#, many("{}")),
        format!(r#","config":{{"Cmd":[{}]}}"#, many(r#""word","word""#)),
        format!(r#","config":{{"Env":{}}}"#, nested(1_000)),
        format!(r#","author":"{}""#, "x".repeat(MAX_CONFIG_BYTES as usize)),
    ] {
        all.push((with(&refused), Wanted::Refused));
    }
    for rootfs in [
        "null".to_owned(),
        "[]".into(),
        r#""layers""#.into(),
        "{}".into(),
        r#"{"type":"layers"}"#.into(),
        r#"{"type":"layers","diff_ids":null}"#.into(),
        r#"{"type":"layers","diff_ids":[]}"#.into(),
        r#"{"type":"layers","diff_ids":{}}"#.into(),
        r#"{"type":"layers","diff_ids":[null]}"#.into(),
        r#"{"type":"layers","diff_ids":["sha256:../../x"]}"#.into(),
        format!(
            r#"{{"type":"layers","diff_ids":["{}"]}}"#,
            Digest::of(b"another")
        ),
        format!(r#"{{"type":"layers","diff_ids":["{diff_id}","{diff_id}"]}}"#),
        format!(r#"{{"type":"layers+windows","diff_ids":["{diff_id}"]}}"#),
        format!(r#"{{"diff_ids":[{}]}}"#, many(&format!("\"{diff_id}\""))),
    ] {
        all.push((rootfs_of(&rootfs), Wanted::Refused));
    }
    for text in [
        "",
        "{}",
        "null",
        "[]",
        "1",
        "\"x\"",
        "{",
        "\u{feff}{}",
        "\0",
    ] {
        all.push((text.into(), Wanted::Refused));
    }
    all
}

type Reader = fn(&Machine, &[u8], &[Vec<u8>]) -> Result<Vec<std::path::PathBuf>>;

#[test]
fn malformed_configs_are_refused_in_one_line() {
    let machine = Machine::new();
    let layer = tape().file("f", b"x").end();
    let readers: [(&str, Reader); 2] = [("pull", pull_as), ("load", load_docker_as)];
    for (config, wanted) in configs(&Digest::of(&layer)) {
        for (name, feed) in readers {
            let start = Instant::now();
            let outcome = feed(&machine, config.as_bytes(), std::slice::from_ref(&layer));
            let shown = &config[..config.len().min(200)];
            assert!(start.elapsed() < Duration::from_secs(10), "{name}: {shown}");
            assert_eq!(
                outcome.is_ok(),
                wanted == Wanted::Taken,
                "{name}: {shown}: {outcome:?}"
            );
            if let Err(error) = outcome {
                let text = error.to_string();
                assert!(
                    !text.contains('\n') && text.len() < 1_000,
                    "{name}: {shown}: {text}"
                );
            }
            machine.forget();
        }
    }
    machine.takes_a_good_one();
}
