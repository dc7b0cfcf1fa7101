//! What is typed after flags of `build`: `--secret`, `--ssh`, `--output`, `--build-context` and their
//! like. Pure: nothing is read here.

use std::path::{Path, PathBuf};

use orc_base::{Error, Result};
use orc_host::image_build::ContextSource;

use crate::cli::parse::mount::absolute;

/// Where the bytes of a secret come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretFrom {
    /// A file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// A variable of this name when there is one, else a file of this name.
    Either(String),
}

/// What becomes of an image that was built, besides that it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// It stays here, under further names, and is sent to their registries when `push`.
    Image {
        /// Further names.
        names: Vec<String>,
        /// To their registries, too.
        push: bool,
    },
    /// Its files, in a directory.
    Local(PathBuf),
    /// Its files, as a tar archive.
    Tar(Target),
    /// The image as an archive: the OCI layout and Docker's own format in one.
    Archive(Target),
    /// Nothing but results for later builds.
    Nothing,
}

/// Where an archive is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A file, whole or not at all.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// `key=value` of a row such as `type=local,dest=out`; a value with commas stands in quotes.
pub(crate) fn fields(text: &str) -> Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    for field in split(text)? {
        let (key, value) = field.split_once('=').unwrap_or((&field, ""));
        if key.is_empty() {
            return Err(Error::invalid(format!("`{text}`: a field has no name")));
        }
        fields.push((key.trim().to_ascii_lowercase(), value.to_owned()));
    }
    Ok(fields)
}

/// One row of RFC 4180.
fn split(text: &str) -> Result<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                fields.last_mut().expect("never empty").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().expect("never empty").push(other),
        }
    }
    match quoted {
        true => Err(Error::invalid(format!("`{text}`: a quote is not closed"))),
        false => Ok(fields),
    }
}

/// `--secret id=NAME[,src=FILE|,env=VARIABLE]`
pub(crate) fn secret(text: &str, directory: &Path) -> Result<(String, SecretFrom)> {
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for (key, value) in fields(text)? {
        match key.as_str() {
            "id" => id = Some(value),
            "source" | "src" => file = Some(value),
            "env" => variable = Some(value),
            "type" => kind = Some(value),
            _ => {
                return Err(Error::invalid(format!(
                    "`--secret {text}`: unknown field `{key}`: use id, src, env or type"
                )));
            }
        }
    }
    let id = id
        .filter(|id| !id.is_empty())
        .ok_or_else(|| Error::invalid(format!("`--secret {text}`: `id=` is missing")))?;
    match kind.as_deref() {
        None | Some("file") => {}
        Some("env") => variable = variable.or(file.take()),
        Some(other) => {
            return Err(Error::invalid(format!(
                "`--secret {text}`: `type={other}` is neither file nor env"
            )));
        }
    }
    let from = match (file, variable) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid(format!(
                "`--secret {text}`: use one of src and env"
            )));
        }
        (Some(file), None) => SecretFrom::File(absolute(&file, directory)),
        (None, Some(variable)) => SecretFrom::Variable(variable),
        (None, None) if kind.as_deref() == Some("file") => {
            SecretFrom::File(absolute(&id, directory))
        }
        (None, None) if kind.as_deref() == Some("env") => SecretFrom::Variable(id.clone()),
        (None, None) => SecretFrom::Either(id.clone()),
    };
    Ok((id, from))
}

/// `--ssh default|ID[=SOCKET]`: the id and the agent's socket; none is `$SSH_AUTH_SOCK`.
pub(crate) fn ssh(text: &str, directory: &Path) -> Result<(String, Option<PathBuf>)> {
    let (id, socket) = match text.split_once('=') {
        Some((id, socket)) => (id, Some(socket)),
        None => (text, None),
    };
    if id.is_empty() {
        return Err(Error::invalid(format!(
            "`--ssh {text}`: use default or ID=SOCKET"
        )));
    }
    let socket = socket.filter(|socket| !socket.is_empty());
    if socket.is_some_and(|socket| socket.contains(',')) {
        return Err(Error::unsupported(format!(
            "`--ssh {text}`: several keys are not supported: add them to an ssh-agent and name its socket"
        )));
    }
    Ok((id.into(), socket.map(|socket| absolute(socket, directory))))
}

/// `--build-context NAME=WHERE`
pub(crate) fn context(text: &str, directory: &Path) -> Result<(String, ContextSource)> {
    let (name, place) = text
        .split_once('=')
        .filter(|(name, place)| !name.is_empty() && !place.is_empty())
        .ok_or_else(|| {
            Error::invalid(format!(
                "`--build-context {text}`: use NAME=PATH, NAME=URL or NAME=docker-image://IMAGE"
            ))
        })?;
    Ok((name.into(), place_of(place, directory)?))
}

/// A context by what is typed for it. A directory is not looked at yet.
pub(crate) fn place_of(place: &str, directory: &Path) -> Result<ContextSource> {
    if let Some(image) = place.strip_prefix("docker-image://") {
        return Ok(ContextSource::Image(image.into()));
    }
    if let Some(layout) = place.strip_prefix("oci-layout://") {
        let name = layout.rfind('/').map_or(0, |slash| slash + 1);
        let version = layout[name..].find(['@', ':']).map(|at| name + at);
        let (path, version) = layout.split_at(version.unwrap_or(layout.len()));
        return Ok(ContextSource::Layout {
            path: absolute(path, directory),
            version: version.into(),
        });
    }
    if place.starts_with("target:") {
        return Err(Error::unsupported(
            "`target:` contexts are bake's: name a stage in the Dockerfile",
        ));
    }
    Ok(match is_remote(place) {
        true => ContextSource::Remote(place.into()),
        false => ContextSource::Directory {
            path: absolute(place, directory),
            identity: None,
        },
    })
}

/// Whether a context is fetched: what BuildKit takes for an address.
pub(crate) fn is_remote(place: &str) -> bool {
    [
        "http://",
        "https://",
        "git://",
        "ssh://",
        "git@",
        "github.com/",
    ]
    .iter()
    .any(|prefix| place.starts_with(prefix))
}

/// `-o DIR`, `-o -`, `-o type=local,dest=DIR` and so on.
pub(crate) fn output(text: &str, directory: &Path) -> Result<Output> {
    if text == "-" {
        return Ok(Output::Tar(Target::Stdout));
    }
    if !text.contains('=') {
        return Ok(Output::Local(absolute(text, directory)));
    }
    let (mut kind, mut destination, mut names, mut push) = (None, None, Vec::new(), false);
    for (key, value) in fields(text)? {
        match key.as_str() {
            "type" => kind = Some(value),
            "dest" => destination = Some(value),
            "name" => {
                names = value
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect();
            }
            "push" => push = is_true(&value),
            // Said to the build itself, or true of every image here.
            "compression"
            | "oci-mediatypes"
            | "store"
            | "unpack"
            | "tar"
            | "force-compression"
            | "compression-level"
            | "rewrite-timestamp"
            | "dangling-name-prefix"
            | "name-canonical" => {}
            _ => {
                return Err(Error::invalid(format!(
                    "`--output {text}`: unknown field `{key}`"
                )));
            }
        }
    }
    let target = |destination: Option<String>| match destination.as_deref() {
        None | Some("-") => Target::Stdout,
        Some(path) => Target::File(absolute(path, directory)),
    };
    match kind.as_deref() {
        Some("image") => Ok(Output::Image { names, push }),
        Some("registry") => Ok(Output::Image { names, push: true }),
        Some("local") => match destination {
            Some(path) => Ok(Output::Local(absolute(&path, directory))),
            None => Err(Error::invalid(format!(
                "`--output {text}`: `dest=` is missing"
            ))),
        },
        Some("tar") => Ok(Output::Tar(target(destination))),
        Some("docker") if destination.is_none() => Ok(Output::Image { names, push: false }),
        Some("oci" | "docker") => Ok(Output::Archive(target(destination))),
        Some("cacheonly") => Ok(Output::Nothing),
        Some(other) => Err(Error::invalid(format!(
            "`--output {text}`: `type={other}` is none of image, registry, local, tar, oci, docker and cacheonly"
        ))),
        None => Err(Error::invalid(format!(
            "`--output {text}`: `type=` is missing"
        ))),
    }
}

/// How new layers are compressed, when an output says so.
pub(crate) fn compression(outputs: &[String]) -> Result<Option<String>> {
    for text in outputs.iter().filter(|text| text.contains('=')) {
        for (key, value) in fields(text)? {
            if key == "compression" {
                return match value.as_str() {
                    "gzip" | "zstd" | "uncompressed" => Ok(Some(value)),
                    other => Err(Error::unsupported(format!(
                        "`--output {text}`: `compression={other}`: use gzip, zstd or uncompressed"
                    ))),
                };
            }
        }
    }
    Ok(None)
}

fn is_true(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "0" | "false" | "no")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "/here";

    fn here() -> &'static Path {
        Path::new(HERE)
    }

    #[test]
    fn secrets() {
        let secret = |text| secret(text, here()).map_err(|error| error.to_string());
        assert_eq!(
            secret("id=key,src=./k"),
            Ok(("key".into(), SecretFrom::File("/here/k".into())))
        );
        assert_eq!(
            secret("id=key,env=KEY"),
            Ok(("key".into(), SecretFrom::Variable("KEY".into())))
        );
        assert_eq!(
            secret("type=env,id=KEY"),
            Ok(("KEY".into(), SecretFrom::Variable("KEY".into())))
        );
        assert_eq!(
            secret("id=KEY"),
            Ok(("KEY".into(), SecretFrom::Either("KEY".into())))
        );
        assert_eq!(
            secret(r#"id=key,"src=/a,b""#),
            Ok(("key".into(), SecretFrom::File("/a,b".into())))
        );
        for bad in [
            "src=x",
            "id=a,src=b,env=c",
            "id=a,type=x",
            "id=a,x=y",
            "\"id=a",
        ] {
            let error = secret(bad).unwrap_err();
            assert!(error.contains(bad), "{error}");
        }
    }

    #[test]
    fn agents() {
        assert_eq!(ssh("default", here()).unwrap(), ("default".into(), None));
        assert_eq!(
            ssh("github=/run/agent", here()).unwrap(),
            ("github".into(), Some("/run/agent".into()))
        );
        assert!(ssh("=x", here()).is_err());
        assert!(ssh("a=k1,k2", here()).is_err());
    }

    #[test]
    fn contexts() {
        let context = |text| context(text, here()).map(|(_, source)| source);
        let directory = ContextSource::Directory {
            path: "/here/app".into(),
            identity: None,
        };
        assert_eq!(context("app=app").unwrap(), directory);
        assert_eq!(
            context("base=docker-image://alpine:3").unwrap(),
            ContextSource::Image("alpine:3".into())
        );
        assert_eq!(
            context("base=oci-layout://out/x:v1").unwrap(),
            ContextSource::Layout {
                path: "/here/out/x".into(),
                version: ":v1".into()
            }
        );
        assert_eq!(
            context("src=https://example.com/a.git#main").unwrap(),
            ContextSource::Remote("https://example.com/a.git#main".into())
        );
        for bad in ["app", "=x", "app=", "app=target:x"] {
            assert!(context(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn outputs() {
        let output = |text| output(text, here()).map_err(|error| error.to_string());
        assert_eq!(output("out"), Ok(Output::Local("/here/out".into())));
        assert_eq!(output("-"), Ok(Output::Tar(Target::Stdout)));
        assert_eq!(
            output("type=tar,dest=/x.tar"),
            Ok(Output::Tar(Target::File("/x.tar".into())))
        );
        assert_eq!(output("type=oci"), Ok(Output::Archive(Target::Stdout)));
        assert_eq!(
            output(r#"type=image,"name=a:1,b",push=true,compression=zstd"#),
            Ok(Output::Image {
                names: vec!["a:1".into(), "b".into()],
                push: true
            })
        );
        assert_eq!(
            output("type=docker"),
            Ok(Output::Image {
                names: Vec::new(),
                push: false
            })
        );
        for bad in ["type=local", "type=x", "dest=x", "type=tar,what=1"] {
            assert!(output(bad).unwrap_err().contains(bad));
        }
        let zstd = ["type=image,compression=zstd".to_owned()];
        assert_eq!(compression(&zstd).unwrap().as_deref(), Some("zstd"));
        assert!(compression(&["type=image,compression=estargz".to_owned()]).is_err());
    }
}
