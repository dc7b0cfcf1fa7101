//! Which operating system and processor an image is for, and which of several images fits best.
//!
//! Pure: an index's platforms in, a choice or the list of what there is out. The words are Go's
//! (`amd64`, `arm64`), normalised as containerd does, so that `x86_64` and `aarch64` work too.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use orc_base::{Error, Result};

const MAX_TEXT: usize = 128;
/// How many platforms an error names.
const MAX_NAMED: usize = 20;

/// An operating system and a processor: `linux/arm64/v8`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system, `linux`.
    pub os: String,
    /// The processor in Go's words, `amd64`.
    pub architecture: String,
    /// The processor's version, `v7`; empty when it makes no difference.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// What this machine runs.
    pub fn host() -> Self {
        let variant = match std::env::consts::ARCH {
            "arm" => "v7",
            _ => "",
        };
        Self::new("linux", std::env::consts::ARCH, variant)
    }

    /// Brings the usual other names into one form.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let (os, architecture) = (os.to_ascii_lowercase(), architecture.to_ascii_lowercase());
        let variant = variant.to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64" | "amd64", other) => ("amd64", other),
            ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
            ("aarch64" | "arm64", other) => ("arm64", other),
            ("i386" | "i486" | "i586" | "i686" | "x86" | "386", _) => ("386", ""),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            ("powerpc64" | "ppc64el", other) => ("ppc64le", other),
            (architecture, variant) => (architecture, variant),
        };
        Self {
            os,
            architecture: architecture.into(),
            variant: variant.into(),
        }
    }

    /// The same platform in the one form of [`Platform::new`], for what came from outside.
    pub fn normalised(&self) -> Self {
        Self::new(&self.os, &self.architecture, &self.variant)
    }

    /// Whether a program for `image` runs where this is wanted.
    pub fn accepts(&self, image: &Platform) -> bool {
        self.rank(image).is_some()
    }

    /// How well `image` fits; lower is better.
    fn rank(&self, image: &Platform) -> Option<usize> {
        let image = image.normalised();
        self.runs().iter().position(|wanted| *wanted == image)
    }

    /// What runs here, best first.
    fn runs(&self) -> Vec<Platform> {
        let own = self.normalised();
        let of = |architecture: &str, variant: &str| Self::new(&own.os, architecture, variant);
        match (own.architecture.as_str(), own.variant.as_str()) {
            ("arm", variant) => ["v8", "v7", "v6", "v5"]
                .iter()
                .skip_while(|version| **version != variant)
                .map(|version| of("arm", version))
                .collect(),
            ("amd64", "v2" | "v3" | "v4") => ["v4", "v3", "v2", ""]
                .iter()
                .skip_while(|version| **version != own.variant)
                .map(|version| of("amd64", version))
                .collect(),
            (architecture, "") => vec![of(architecture, "")],
            (architecture, variant) => vec![of(architecture, variant), of(architecture, "")],
        }
    }
}

/// Chooses among the platforms of an index the one that fits `wanted` best: its position.
///
/// Entries without a platform are taken only when there is nothing else to choose from.
pub fn choose(wanted: &Platform, offered: &[Option<Platform>]) -> Result<usize> {
    let best = offered
        .iter()
        .enumerate()
        .filter_map(|(index, platform)| Some((wanted.rank(platform.as_ref()?)?, index)))
        .min();
    if let Some((_, index)) = best {
        return Ok(index);
    }
    if let [None] = offered {
        return Ok(0);
    }
    Err(Error::not_found(format!(
        "there is no image for {wanted}; {}",
        list(offered)
    )))
}

fn list(offered: &[Option<Platform>]) -> String {
    let mut names: Vec<String> = offered
        .iter()
        .flatten()
        // Attestations and signatures stand beside images as platform `unknown/unknown`.
        .filter(|platform| platform.os != "unknown")
        .map(Platform::to_string)
        .collect();
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(MAX_NAMED);
    names.truncate(MAX_NAMED);
    match (names.is_empty(), more) {
        (true, _) => "the index names no platform".into(),
        (false, 0) => format!("there are {}", names.join(", ")),
        (false, more) => format!("there are {} and {more} more", names.join(", ")),
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Reads `os/architecture[/variant]`, or an architecture alone for Linux.
    fn from_str(text: &str) -> Result<Self> {
        let word = |part: &&str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        let valid = text.len() <= MAX_TEXT && parts.iter().all(word);
        match (valid, parts.as_slice()) {
            (true, ["linux"]) => Ok(Self::host()),
            (true, [architecture]) => Ok(Self::new("linux", architecture, "")),
            (true, [os, architecture]) => Ok(Self::new(os, architecture, "")),
            (true, [os, architecture, variant]) => Ok(Self::new(os, architecture, variant)),
            _ => Err(Error::invalid(format!(
                "`{}` is not a platform such as linux/amd64 or linux/arm/v7",
                text.chars()
                    .take(80)
                    .flat_map(char::escape_default)
                    .collect::<String>()
            ))),
        }
    }
}

/// Prints foreign words too, so what could break a line is escaped.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |text: &str| -> String {
            text.chars()
                .take(40)
                .flat_map(char::escape_default)
                .collect()
        };
        write!(f, "{}/{}", short(&self.os), short(&self.architecture))?;
        if !self.variant.is_empty() {
            write!(f, "/{}", short(&self.variant))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(wanted: &str, offered: &[&str]) -> String {
        let wanted: Platform = wanted.parse().unwrap();
        let offered: Vec<Option<Platform>> = offered
            .iter()
            .map(|text| (!text.is_empty()).then(|| text.parse().unwrap()))
            .collect();
        match choose(&wanted, &offered) {
            Ok(index) => index.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn chooses_what_runs_best() {
        for (wanted, offered, index) in [
            ("linux/amd64", &["linux/arm64", "linux/amd64"][..], "1"),
            ("linux/x86_64", &["windows/amd64", "linux/amd64/v1"], "1"),
            ("linux/amd64", &["linux/amd64/v3", "linux/amd64"], "1"),
            (
                "linux/amd64/v3",
                &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"],
                "1",
            ),
            ("linux/arm64", &["linux/arm/v7", "linux/arm64/v8"], "1"),
            (
                "linux/arm/v7",
                &["linux/arm/v5", "linux/arm/v8", "linux/arm/v6"],
                "2",
            ),
            ("arm64", &["linux/aarch64"], "0"),
            ("linux/amd64", &["linux/amd64", "linux/amd64"], "0"),
            ("linux/amd64", &[""], "0"),
        ] {
            assert_eq!(choice(wanted, offered), index, "{wanted} of {offered:?}");
        }
    }

    #[test]
    fn says_what_there_is() {
        assert_eq!(
            choice(
                "linux/s390x",
                &["linux/amd64", "unknown/unknown", "linux/arm/v6", ""]
            ),
            "there is no image for linux/s390x; there are linux/amd64, linux/arm/v6"
        );
        assert_eq!(
            choice("linux/amd64", &["linux/amd64/v3"]),
            "there is no image for linux/amd64; there are linux/amd64/v3"
        );
        assert_eq!(
            choice("linux/amd64", &["", ""]),
            "there is no image for linux/amd64; the index names no platform"
        );
        let many: Vec<String> = (0..500).map(|n| format!("linux/p{n:03}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(choice("linux/amd64", &many).ends_with("linux/p019 and 480 more"));
    }

    #[test]
    fn reads_platforms_and_refuses_others() {
        assert_eq!(
            "linux/ARM64/v8".parse::<Platform>().unwrap().to_string(),
            "linux/arm64"
        );
        assert_eq!(
            "linux/arm".parse::<Platform>().unwrap().to_string(),
            "linux/arm/v7"
        );
        assert_eq!("linux".parse::<Platform>().unwrap(), Platform::host());
        for bad in [
            "",
            "/",
            "linux/",
            "a/b/c/d",
            "linux/amd64\n",
            "../x",
            &"a".repeat(200),
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }
}
