//! Which files below the path of a rule count.
//!
//! What its own `ignore`, the ignore file of its build context, or habit (repositories, what editors
//! leave for a moment) names is left out; of the rest, all or what `include` names counts.

use std::path::{Path, PathBuf};

use orc_base::{Context, Kind, Result, fs};
use orc_compose::watch::rule::Rule;
use orc_image::dockerfile::ignore::{self, Ignore};

/// What nobody wants sent: Git's directory, and what JetBrains' editors, Emacs and Vim write beside a
/// file while they save it. The same as docker compose's.
const ALWAYS: [&str; 11] = [
    "**/.git",
    "**/.idea",
    "**/*___jb_old___",
    "**/*___jb_tmp___",
    "**/.#*",
    "**/4913",
    "**/*~",
    "**/.*.swp",
    "**/.*.swx",
    "**/.*.swo",
    "**/.*.swn",
];

/// The patterns of one rule.
pub(crate) struct Patterns {
    root: PathBuf,
    /// Those of the rule and of [`ALWAYS`], seen from `root`.
    ignore: Ignore,
    include: Option<Ignore>,
    /// A build context and its ignore file.
    context: Option<(PathBuf, Ignore)>,
}

impl Patterns {
    /// Reads the rule, and the ignore file of its build context from the disk.
    pub(crate) fn of(rule: &Rule) -> Result<Self> {
        let ignored: Vec<String> = ALWAYS
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .chain(rule.ignore.iter().cloned())
            .collect();
        let about = || format!("watch of service {}: {}", rule.service, rule.path.display());
        let context = match &rule.context {
            Some(context) => ignore_file(&context.directory, &context.dockerfile)?
                .map(|ignore| (context.directory.clone(), ignore)),
            None => None,
        };
        Ok(Self {
            root: rule.path.clone(),
            ignore: Ignore::from_patterns(&ignored).context(about)?,
            include: match rule.include.is_empty() {
                true => None,
                false => Some(Ignore::from_patterns(&rule.include).context(about)?),
            },
            context,
        })
    }

    /// Whether something at `below`, seen from the rule's path, counts.
    pub(crate) fn counts(&self, below: &Path) -> bool {
        let Some(name) = self.name(below) else {
            return false;
        };
        let included = self.include.as_ref().is_none_or(|some| some.excludes(name));
        included && !self.ignore.excludes(name) && !self.is_left_out_of_context(below)
    }

    /// Whether something below the directory at `below` may count.
    pub(crate) fn may_enter(&self, below: &Path) -> bool {
        let Some(name) = below.to_str() else {
            return false;
        };
        let own = !self.ignore.excludes(name) || self.ignore.may_contain_included(name);
        own && match self.in_context(below) {
            Some((name, ignore)) => !ignore.excludes(&name) || ignore.may_contain_included(&name),
            None => true,
        }
    }

    /// Whether nothing can ever count.
    pub(crate) fn leave_out_all(&self) -> bool {
        match self.root.is_dir() {
            true => !self.may_enter(Path::new("")),
            false => !self.counts(Path::new("")),
        }
    }

    /// What the patterns of the rule itself are held against: a file is seen from its directory.
    fn name<'p>(&'p self, below: &'p Path) -> Option<&'p str> {
        match below.as_os_str().is_empty() {
            true => self.root.file_name()?.to_str(),
            false => below.to_str(),
        }
    }

    fn is_left_out_of_context(&self, below: &Path) -> bool {
        self.in_context(below)
            .is_some_and(|(name, ignore)| ignore.excludes(&name))
    }

    /// The path seen from the build context, and that one's patterns.
    fn in_context(&self, below: &Path) -> Option<(String, &Ignore)> {
        let (directory, ignore) = self.context.as_ref()?;
        let whole = self.root.join(below);
        let inside = whole.strip_prefix(directory).ok()?.to_str()?;
        Some((inside.trim_end_matches('/').to_owned(), ignore))
    }
}

/// What there is to say about a rule before anything changes: why it does nothing, or not yet.
pub(crate) fn remark(rule: &Rule) -> Result<Option<String>> {
    let say = |text: &str| {
        let (service, path, action) = (&rule.service, rule.path.display(), rule.action.as_str());
        Some(format!("watch of {service}: {path} ({action}): {text}"))
    };
    Ok(if Patterns::of(rule)?.leave_out_all() {
        say(
            "nothing counts: `ignore`, `include` or the ignore file of the build context leaves out all of it",
        )
    } else if !rule.path.exists() {
        say("it is not there; it counts as soon as it is")
    } else {
        None
    })
}

/// The ignore file of a context: the Dockerfile's own, or everyone's.
fn ignore_file(directory: &Path, dockerfile: &str) -> Result<Option<Ignore>> {
    for name in ignore::names(dockerfile) {
        let path = directory.join(name);
        let bytes = match fs::read_limited(&path, ignore::MAX_BYTES as u64) {
            Err(error) if error.kind() == Kind::NotFound => continue,
            other => other?,
        };
        let text = String::from_utf8_lossy(&bytes);
        return Ignore::parse(&text)
            .map(Some)
            .context(|| path.display().to_string());
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use orc_compose::model::develop::WatchAction;
    use orc_compose::watch::rule;

    use super::*;

    fn rule(path: &Path, ignore: &[&str], include: &[&str]) -> Rule {
        let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Rule {
            service: "web".into(),
            path: path.to_owned(),
            action: WatchAction::Sync,
            target: Some("/app".into()),
            exec: None,
            initial_sync: false,
            ignore: all(ignore),
            include: all(include),
            context: None,
            plans: Vec::new(),
        }
    }

    fn check(patterns: &Patterns, expected: &[(&str, bool)]) {
        for (below, counts) in expected {
            assert_eq!(patterns.counts(Path::new(below)), *counts, "{below}");
        }
    }

    #[test]
    fn what_is_ignored_and_what_habit_leaves_out() {
        let patterns = Patterns::of(&rule(
            Path::new("/p/src"),
            &["node_modules/", "*.log", "!keep.log"],
            &[],
        ))
        .unwrap();
        check(
            &patterns,
            &[
                ("app.py", true),
                ("node_modules", false),
                ("node_modules/x/y.js", false),
                ("deep/node_modules/x", true),
                ("x.log", false),
                ("keep.log", true),
                ("deep/x.log", true),
                ("deep/.git/HEAD", false),
                (".app.py.swp", false),
                ("app.py~", false),
                ("deep/4913", false),
                (".#app.py", false),
                (".gitignore", true),
            ],
        );
        assert!(!patterns.may_enter(Path::new("node_modules")));
        assert!(!patterns.may_enter(Path::new(".git")));
        assert!(patterns.may_enter(Path::new("deep")) && patterns.may_enter(Path::new("")));
    }

    #[test]
    fn only_what_is_included() {
        let patterns =
            Patterns::of(&rule(Path::new("/p"), &["test/"], &["**/*.py", "static"])).unwrap();
        check(
            &patterns,
            &[
                ("app.py", true),
                ("deep/er/app.py", true),
                ("README.md", false),
                ("static/a/b.css", true),
                ("test/app.py", false),
                ("deep", false),
            ],
        );
        assert!(patterns.may_enter(Path::new("deep")));
        let file = Patterns::of(&rule(Path::new("/p/app.py"), &[], &["*.py"])).unwrap();
        assert!(file.counts(Path::new("")));
        let file = Patterns::of(&rule(Path::new("/p/app.py"), &["app.*"], &[])).unwrap();
        assert!(!file.counts(Path::new("")) && file.leave_out_all());
    }

    #[test]
    fn the_build_context_has_its_say() {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path().join("web");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join(".dockerignore"), "tmp\n*\n!src\n").unwrap();
        let with = |path: &Path, dockerfile: &str| {
            let mut rule = rule(path, &[], &[]);
            rule.context = Some(rule::Context {
                directory: context.clone(),
                dockerfile: dockerfile.into(),
            });
            Patterns::of(&rule).unwrap()
        };
        let whole = with(&context, "Dockerfile");
        check(
            &whole,
            &[("src/a", true), ("tmp/a", false), ("other", false)],
        );
        // Seen from above and from below the context.
        let above = with(dir.path(), "Dockerfile");
        check(
            &above,
            &[
                ("web/src/a", true),
                ("web/other", false),
                ("elsewhere", true),
            ],
        );
        assert!(!above.may_enter(Path::new("web/tmp")) && above.may_enter(Path::new("web")));
        assert!(with(&context.join("tmp"), "Dockerfile").leave_out_all());
        assert!(!with(&context.join("src"), "Dockerfile").leave_out_all());
        // The Dockerfile's own ignore file comes first.
        std::fs::write(context.join("dev.dockerignore"), "src\n").unwrap();
        let mut hidden = rule(&context.join("tmp"), &[], &[]);
        hidden.context = Some(rule::Context {
            directory: context.clone(),
            dockerfile: "Dockerfile".into(),
        });
        let said = remark(&hidden).unwrap().unwrap();
        assert!(said.contains("(sync): nothing counts"), "{said}");
        let said = remark(&rule(&context.join("later"), &[], &[])).unwrap();
        assert!(said.is_some_and(|said| said.contains("not there")));
        assert_eq!(remark(&rule(&context, &[], &[])).unwrap(), None);
        check(&with(&context, "dev"), &[("src/a", false), ("other", true)]);
        std::fs::write(context.join("bad.dockerignore"), "[a\n").unwrap();
        let mut bad = rule(&context, &[], &[]);
        bad.context = Some(rule::Context {
            directory: context.clone(),
            dockerfile: "bad".into(),
        });
        assert!(Patterns::of(&bad).is_err());
    }
}
