//! The config of an image: what to run and how, and of which layers it is made.
//!
//! Reads and writes the JSON of the OCI image specification with Docker's additions (health check,
//! shell, triggers). Foreign text: bounded, `null` is the same as absent, unknown keys are ignored,
//! and what could never run (a NUL in a word, more layers than the kernel stacks) is refused here.
//! The digest of these bytes is the id of the image, so they are kept as they came.

use std::collections::BTreeMap;
use std::time::Duration;

use orc_base::{Error, Result, Time};

use crate::digest::Digest;

/// The most bytes a config may have.
pub const MAX_CONFIG_BYTES: u64 = 8 << 20;
/// The most layers an image may have: what overlayfs stacks (`OVL_MAX_STACK` in fs/overlayfs).
pub const MAX_LAYERS: usize = 500;
const MAX_HISTORY: usize = 10_000;
const MAX_WORDS: usize = 100_000;
/// The most characters of serde's words that a message repeats.
const MAX_MESSAGE: usize = 200;

/// How a container of the image starts when nobody says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// The program and its first arguments.
    pub entrypoint: Option<Vec<String>>,
    /// The program, or the arguments that follow the entrypoint.
    pub cmd: Option<Vec<String>>,
    /// `user`, `uid`, `user:group` or `uid:gid`; root when empty.
    pub user: String,
    /// Where it starts; `/` when empty.
    pub working_dir: String,
    /// `80/tcp` each, in order.
    pub exposed_ports: Vec<String>,
    /// Paths that get a volume of their own, in order.
    pub volumes: Vec<String>,
    /// Names and values for people and tools; they never steer the engine.
    pub labels: BTreeMap<String, String>,
    /// What stops it, such as `SIGQUIT`.
    pub stop_signal: Option<String>,
    /// How to ask whether it is well.
    pub healthcheck: Option<Healthcheck>,
    /// The shell of the shell forms.
    pub shell: Option<Vec<String>>,
    /// Instructions for a build on top of this image.
    pub on_build: Vec<String>,
}

/// How to ask a container whether it is well; none of the times means the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", "…"]`, or empty to inherit.
    pub test: Vec<String>,
    /// Between two questions.
    pub interval: Option<Duration>,
    /// How long an answer may take.
    pub timeout: Option<Duration>,
    /// How long failures do not count after the start.
    pub start_period: Option<Duration>,
    /// Between two questions during the start period.
    pub start_interval: Option<Duration>,
    /// How many failures in a row make it unhealthy.
    pub retries: Option<u32>,
}

/// One line of `history`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// When it was made.
    pub created: Option<Time>,
    /// Who made it.
    pub author: String,
    /// The instruction that made it.
    pub created_by: String,
    /// What its maker said about it.
    pub comment: String,
    /// Whether it changed the config only.
    pub empty_layer: bool,
}

/// All that a config says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFile {
    /// When the image was made.
    pub created: Option<Time>,
    /// Who made it.
    pub author: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// `v7`, `v8`, …, or empty.
    pub variant: String,
    /// How a container starts.
    pub config: ImageConfig,
    /// The digests of the uncompressed layers, lowest first.
    pub diff_ids: Vec<Digest>,
    /// How the layers came to be, lowest first.
    pub history: Vec<History>,
}

impl ConfigFile {
    /// Reads the config of an image.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > MAX_CONFIG_BYTES {
            return Err(Error::exhausted(format!(
                "the image config is larger than {MAX_CONFIG_BYTES} bytes"
            )));
        }
        let wire: wire::File = serde_json::from_slice(bytes).map_err(|error| not_valid(&error))?;
        let file = wire.into_config()?;
        file.check()?;
        Ok(file)
    }

    /// The same as bytes; equal configs have equal bytes.
    pub fn render(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(&wire::File::from_config(self))?)
    }

    fn check(&self) -> Result<()> {
        if self.diff_ids.len() > MAX_LAYERS {
            return Err(Error::exhausted(format!(
                "the image has {} layers, but the kernel stacks at most {MAX_LAYERS}",
                self.diff_ids.len()
            )));
        }
        if self.history.len() > MAX_HISTORY {
            return Err(Error::exhausted(format!(
                "the image config has more than {MAX_HISTORY} lines of history"
            )));
        }
        self.config.check()
    }
}

/// What is wrong, without all of the foreign text that serde repeats: it may be megabytes long.
fn not_valid(error: &serde_json::Error) -> Error {
    let text: Vec<char> = error.to_string().chars().collect();
    let half = MAX_MESSAGE / 2;
    let shown: String = match text.len() > MAX_MESSAGE {
        // The end says where it is.
        true => [&text[..half], &['…'], &text[text.len() - half..]].concat(),
        false => text,
    }
    .iter()
    .collect();
    Error::invalid(format!("the image config is not valid: {shown}"))
}

impl ImageConfig {
    /// Refuses what no process could be started with.
    pub(crate) fn check(&self) -> Result<()> {
        let lists = [Some(&self.env), self.entrypoint.as_ref(), self.cmd.as_ref()];
        let more = [
            Some(&self.volumes),
            self.shell.as_ref(),
            Some(&self.on_build),
        ];
        let words = || lists.into_iter().chain(more).flatten().flatten();
        let texts = words().chain([&self.user, &self.working_dir]);
        if words().count() > MAX_WORDS {
            return Err(Error::exhausted(format!(
                "the image config has more than {MAX_WORDS} words"
            )));
        }
        for text in texts {
            if text.contains('\0') {
                return Err(Error::invalid(format!(
                    "the image config has a NUL byte in `{}`",
                    text.escape_default().take(80).collect::<String>()
                )));
            }
        }
        Ok(())
    }
}

/// The JSON as it is written. Times, numbers and lists are as lenient as Docker's.
mod wire {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use serde::{Deserialize, Serialize};

    use orc_base::{Error, Time};

    use super::{ConfigFile, Healthcheck, History, ImageConfig};
    use crate::digest::Digest;

    type Set = Option<BTreeMap<String, Empty>>;

    /// `{}` whatever stood there.
    #[derive(Default)]
    pub(super) struct Empty;

    impl Serialize for Empty {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeMap;
            serializer.serialize_map(Some(0))?.end()
        }
    }

    impl<'de> Deserialize<'de> for Empty {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
        }
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct File {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        author: Option<String>,
        #[serde(default)]
        architecture: Option<String>,
        #[serde(default)]
        os: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        variant: Option<String>,
        #[serde(default)]
        config: Option<Config>,
        rootfs: Rootfs,
        #[serde(default)]
        history: Option<Vec<Line>>,
    }

    #[derive(Serialize, Deserialize)]
    struct Rootfs {
        #[serde(rename = "type", default)]
        kind: Option<String>,
        #[serde(default)]
        diff_ids: Option<Vec<Digest>>,
    }

    #[derive(Default, Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Config {
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        exposed_ports: Set,
        #[serde(skip_serializing_if = "Option::is_none")]
        env: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        entrypoint: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cmd: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        healthcheck: Option<Health>,
        #[serde(skip_serializing_if = "Option::is_none")]
        volumes: Set,
        #[serde(skip_serializing_if = "Option::is_none")]
        working_dir: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        on_build: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        labels: Option<BTreeMap<String, Option<String>>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        stop_signal: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        shell: Option<Vec<String>>,
    }

    #[derive(Default, Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Health {
        #[serde(skip_serializing_if = "Option::is_none")]
        test: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        interval: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        start_period: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        start_interval: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retries: Option<i64>,
    }

    #[derive(Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Line {
        #[serde(skip_serializing_if = "Option::is_none")]
        created: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        author: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        created_by: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        empty_layer: Option<bool>,
    }

    impl File {
        pub(super) fn into_config(self) -> orc_base::Result<ConfigFile> {
            if let Some(kind) = self.rootfs.kind.as_deref().filter(|kind| *kind != "layers") {
                return Err(Error::unsupported(format!(
                    "the image has a root file system of type `{}`, only `layers` is known",
                    kind.escape_default().take(80).collect::<String>()
                )));
            }
            let history = self.history.unwrap_or_default();
            Ok(ConfigFile {
                created: time(self.created.as_deref()),
                author: self.author.unwrap_or_default(),
                architecture: self.architecture.unwrap_or_default(),
                os: self.os.unwrap_or_default(),
                variant: self.variant.unwrap_or_default(),
                config: self.config.unwrap_or_default().into_config(),
                diff_ids: self.rootfs.diff_ids.unwrap_or_default(),
                history: history.into_iter().map(Line::into_history).collect(),
            })
        }

        pub(super) fn from_config(file: &ConfigFile) -> Self {
            Self {
                created: file.created.map(|time| time.to_string()),
                author: text(&file.author),
                architecture: Some(file.architecture.clone()),
                os: Some(file.os.clone()),
                variant: text(&file.variant),
                config: Some(Config::from_config(&file.config)),
                rootfs: Rootfs {
                    kind: Some("layers".into()),
                    diff_ids: Some(file.diff_ids.clone()),
                },
                history: Some(file.history.iter().map(Line::from_history).collect()),
            }
        }
    }

    impl Config {
        fn into_config(self) -> ImageConfig {
            ImageConfig {
                env: self.env.unwrap_or_default(),
                entrypoint: self.entrypoint.filter(|words| !words.is_empty()),
                cmd: self.cmd.filter(|words| !words.is_empty()),
                user: self.user.unwrap_or_default(),
                working_dir: self.working_dir.unwrap_or_default(),
                exposed_ports: self.exposed_ports.unwrap_or_default().into_keys().collect(),
                volumes: self.volumes.unwrap_or_default().into_keys().collect(),
                labels: self
                    .labels
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(name, value)| (name, value.unwrap_or_default()))
                    .collect(),
                stop_signal: self.stop_signal.filter(|signal| !signal.is_empty()),
                healthcheck: self.healthcheck.map(Health::into_healthcheck),
                shell: self.shell.filter(|words| !words.is_empty()),
                on_build: self.on_build.unwrap_or_default(),
            }
        }

        fn from_config(config: &ImageConfig) -> Self {
            let labels = |labels: &BTreeMap<String, String>| {
                labels
                    .iter()
                    .map(|(name, value)| (name.clone(), Some(value.clone())))
                    .collect()
            };
            Self {
                user: text(&config.user),
                exposed_ports: set(&config.exposed_ports),
                env: list(&config.env),
                entrypoint: config.entrypoint.clone(),
                cmd: config.cmd.clone(),
                healthcheck: config.healthcheck.as_ref().map(Health::from_healthcheck),
                volumes: set(&config.volumes),
                working_dir: text(&config.working_dir),
                on_build: list(&config.on_build),
                labels: (!config.labels.is_empty()).then(|| labels(&config.labels)),
                stop_signal: config.stop_signal.clone(),
                shell: config.shell.clone(),
            }
        }
    }

    impl Health {
        fn into_healthcheck(self) -> Healthcheck {
            Healthcheck {
                test: self.test.unwrap_or_default(),
                interval: duration(self.interval),
                timeout: duration(self.timeout),
                start_period: duration(self.start_period),
                start_interval: duration(self.start_interval),
                retries: self
                    .retries
                    .and_then(|count| u32::try_from(count).ok())
                    .filter(|count| *count > 0),
            }
        }

        fn from_healthcheck(check: &Healthcheck) -> Self {
            Self {
                test: list(&check.test),
                interval: nanos(check.interval),
                timeout: nanos(check.timeout),
                start_period: nanos(check.start_period),
                start_interval: nanos(check.start_interval),
                retries: check.retries.map(i64::from),
            }
        }
    }

    impl Line {
        fn into_history(self) -> History {
            History {
                created: time(self.created.as_deref()),
                author: self.author.unwrap_or_default(),
                created_by: self.created_by.unwrap_or_default(),
                comment: self.comment.unwrap_or_default(),
                empty_layer: self.empty_layer.unwrap_or_default(),
            }
        }

        fn from_history(line: &History) -> Self {
            Self {
                created: line.created.map(|time| time.to_string()),
                author: text(&line.author),
                created_by: text(&line.created_by),
                comment: text(&line.comment),
                empty_layer: line.empty_layer.then_some(true),
            }
        }
    }

    /// Go's zero time and what is no time at all mean that nobody knows.
    fn time(text: Option<&str>) -> Option<Time> {
        text.and_then(|text| text.parse().ok())
    }

    fn duration(nanos: Option<i64>) -> Option<Duration> {
        nanos
            .and_then(|nanos| u64::try_from(nanos).ok())
            .filter(|nanos| *nanos > 0)
            .map(Duration::from_nanos)
    }

    fn nanos(duration: Option<Duration>) -> Option<i64> {
        duration.map(|duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }

    fn text(text: &str) -> Option<String> {
        (!text.is_empty()).then(|| text.into())
    }

    fn list(words: &[String]) -> Option<Vec<String>> {
        (!words.is_empty()).then(|| words.to_vec())
    }

    fn set(words: &[String]) -> Set {
        (!words.is_empty()).then(|| words.iter().map(|word| (word.clone(), Empty)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = r#"{
        "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05.6Z",
        "config": {
            "User": "1000:1000", "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
            "Env": ["PATH=/bin", "A=b c"], "Entrypoint": ["/e"], "Cmd": ["a", "b"],
            "Volumes": {"/data": {}}, "WorkingDir": "/app", "Labels": {"k": "v"},
            "StopSignal": "SIGQUIT", "Shell": ["/bin/sh", "-c"], "OnBuild": ["RUN x"],
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5000000000, "Retries": 3}
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
        "history": [{"created_by": "COPY x /", "created": "2026-01-02T03:04:05Z"}, {"empty_layer": true}]
    }"#;

    #[test]
    fn reads_what_docker_writes_and_writes_it_back() {
        let file = ConfigFile::parse(REAL.as_bytes()).unwrap();
        assert_eq!(file.config.exposed_ports, ["53/udp", "80/tcp"]);
        assert_eq!(file.config.cmd.as_deref().unwrap(), ["a", "b"]);
        assert_eq!(file.config.labels["k"], "v");
        assert_eq!(file.created.unwrap().to_string(), "2026-01-02T03:04:05.6Z");
        let health = file.config.healthcheck.as_ref().unwrap();
        assert_eq!(health.interval, Some(Duration::from_secs(5)));
        assert_eq!((health.retries, health.timeout), (Some(3), None));
        assert!(file.history[1].empty_layer);
        assert_eq!(ConfigFile::parse(&file.render().unwrap()).unwrap(), file);
        assert_eq!(file.render().unwrap(), file.clone().render().unwrap());
    }

    /// Found by fuzzing: a config that is one long string came back whole in the message.
    #[test]
    fn a_message_does_not_repeat_the_config() {
        let long = format!("\"{}\"", "x".repeat(1 << 20));
        let error = ConfigFile::parse(long.as_bytes()).unwrap_err().to_string();
        assert!(error.len() < 400, "{} bytes", error.len());
        assert!(error.ends_with("at line 1 column 1048578"), "{error}");
    }

    #[test]
    fn null_is_absent() {
        let text = r#"{"created":"0001-01-01T00:00:00Z","config":{"Cmd":null,"Env":null,"Entrypoint":[],"Volumes":null,
            "Labels":null,"Healthcheck":null},"rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let file = ConfigFile::parse(text.as_bytes()).unwrap();
        assert_eq!(file, ConfigFile::default());
        assert!(ConfigFile::parse(br#"{"config":null,"rootfs":{}}"#).is_ok());
    }

    #[test]
    fn refuses_what_is_no_config() {
        let layers = vec![format!("{:?}", Digest::of(b"").as_str()); MAX_LAYERS + 1].join(",");
        let many = format!(r#"{{"rootfs":{{"diff_ids":[{layers}]}}}}"#);
        let deep = "[".repeat(100_000);
        for bad in [
            "",
            "null",
            "[]",
            "{}",
            "<html>",
            r#"{"rootfs":null}"#,
            r#"{"rootfs":{"diff_ids":["sha256:../../x"]}}"#,
            r#"{"rootfs":{"diff_ids":[1]}}"#,
            r#"{"rootfs":{"diff_ids":{}}}"#,
            r#"{"rootfs":{"type":"layers"},"config":{"Env":"A=b"}}"#,
            r#"{"rootfs":{"type":"layers"},"config":{"Cmd":["a\u0000b"]}}"#,
            r#"{"rootfs":{"type":"magic"}}"#,
            r#"{"rootfs":{},"history":[null]}"#,
            &many,
            &deep,
        ] {
            let error = ConfigFile::parse(bad.as_bytes()).unwrap_err();
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
