//! Golden plans, as text.

use super::golden;

#[test]
fn plans() {
    let cases = golden::cases("plans", "dockerfile");
    assert!(cases.len() >= 15, "{} golden plans", cases.len());
    for path in cases {
        let text = std::fs::read_to_string(&path).unwrap();
        let options = std::fs::read_to_string(path.with_extension("options")).unwrap_or_default();
        let (wanted, plan) = golden::plan(&text, &golden::options(&options))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut shown = format!("{wanted}{plan}");
        for (number, line) in plan.config.history.iter().enumerate() {
            let empty = if line.empty_layer { " (empty)" } else { "" };
            let by = line.created_by.replace('\n', "\\n");
            shown.push_str(&format!("history {number}{empty} {by}\n"));
        }
        golden::check(&path.with_extension("plan"), &shown);
    }
}

#[test]
fn the_same_file_gives_the_same_plan_and_steps_come_after_what_they_need() {
    use crate::build::graph::{CopyFrom, Mount, Op};
    for path in golden::cases("plans", "dockerfile") {
        let text = std::fs::read_to_string(&path).unwrap();
        let options = std::fs::read_to_string(path.with_extension("options")).unwrap_or_default();
        let options = golden::options(&options);
        let (_, plan) = golden::plan(&text, &options).unwrap();
        assert_eq!(plan, golden::plan(&text, &options).unwrap().1);
        for (id, step) in plan.steps.iter().enumerate() {
            let needs: Vec<Option<usize>> = match &step.op {
                Op::Source(_) => vec![],
                Op::MakeDirectory { parent, .. } => vec![*parent],
                Op::Run(run) => {
                    let from = |mount: &Mount| match mount {
                        Mount::Bind { from, .. } | Mount::Cache { from, .. } => *from,
                        _ => None,
                    };
                    run.mounts.iter().map(from).chain([run.parent]).collect()
                }
                Op::Copy(copy) => {
                    let from = |from: &CopyFrom| match from {
                        CopyFrom::Tree { step, .. } => Some(*step),
                        _ => None,
                    };
                    copy.from.iter().map(from).chain([copy.parent]).collect()
                }
            };
            assert!(
                needs.into_iter().flatten().all(|need| need < id),
                "{}",
                path.display()
            );
            if let Some(line) = step.history {
                assert!(!plan.config.history[line].empty_layer, "{}", path.display());
            }
        }
    }
}
