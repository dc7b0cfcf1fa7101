//! `/etc/resolv.conf`: the host's is read, the container's is written (resolv.conf(5)).

use std::net::IpAddr;
use std::path::Path;

use orc_base::{Error, Result};

use crate::address::shown;

/// The longest file that is read.
pub(crate) const FILE_LIMIT: u64 = 256 << 10;
/// The most servers, search domains and options that are taken from it.
const LIST_LIMIT: usize = 32;

/// How names are looked up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolver {
    /// Whom to ask, in order.
    pub nameservers: Vec<IpAddr>,
    /// Domains that names without one are tried in.
    pub search: Vec<String>,
    /// Words such as `ndots:2`.
    pub options: Vec<String>,
}

impl Resolver {
    /// Reads a host's configuration; a file that is not there says nothing.
    pub fn read(path: &Path) -> Result<Self> {
        match orc_base::fs::read_limited(path, FILE_LIMIT) {
            Ok(bytes) => Ok(Self::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == orc_base::Kind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Takes what it understands and leaves the rest, as the C library does.
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line
                .split(['#', ';'])
                .next()
                .unwrap_or_default()
                .split_ascii_whitespace();
            let key = words.next().unwrap_or_default();
            let words = words.map(str::to_owned);
            match key {
                "nameserver" => resolver
                    .nameservers
                    .extend(words.take(1).filter_map(|word| word.parse::<IpAddr>().ok())),
                // The last of these lines counts.
                "search" | "domain" => resolver.search = words.collect(),
                "options" => resolver.options.extend(words),
                _ => {}
            }
        }
        resolver.nameservers.truncate(LIST_LIMIT);
        resolver.search.truncate(LIST_LIMIT);
        resolver.options.truncate(LIST_LIMIT);
        resolver
    }
}

/// Writes a container's `/etc/resolv.conf`.
///
/// `ndots:0` is added unless the options say otherwise: names are first tried as they are, so that
/// the name of a container is one question.
pub fn resolv_conf(resolver: &Resolver) -> Result<String> {
    let mut text = String::new();
    for server in &resolver.nameservers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    for domain in &resolver.search {
        check_word("search domain", domain)?;
    }
    // A single `.` means that there are to be none.
    let search: Vec<&str> = resolver
        .search
        .iter()
        .map(String::as_str)
        .filter(|domain| *domain != ".")
        .collect();
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    for option in &resolver.options {
        check_word("resolver option", option)?;
    }
    let mut options: Vec<&str> = resolver.options.iter().map(String::as_str).collect();
    if !options.iter().any(|option| option.starts_with("ndots:")) {
        options.push("ndots:0");
    }
    text.push_str(&format!("options {}\n", options.join(" ")));
    Ok(text)
}

/// Writes a container's `/etc/hosts`: the loopback, its own name at its addresses, and what was
/// asked for.
pub fn hosts_file(
    hostname: &str,
    addresses: &[IpAddr],
    extra: &[(String, IpAddr)],
) -> Result<String> {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for (name, address) in extra {
        check_word("host name", name)?;
        text.push_str(&format!("{address}\t{name}\n"));
    }
    check_word("host name", hostname)?;
    // With a domain, the short name is good too: `web.example` is also `web`.
    let names = match hostname.split_once('.') {
        Some((short, _)) if !short.is_empty() => format!("{hostname} {short}"),
        _ => hostname.to_owned(),
    };
    for address in addresses {
        text.push_str(&format!("{address}\t{names}\n"));
    }
    Ok(text)
}

/// Refuses what would be more than one word of one line.
fn check_word(what: &str, word: &str) -> Result<()> {
    let valid = (1..=255).contains(&word.len())
        && word
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '#' | ';'));
    if valid {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{}` is not a {what}: it must be one word of printable ASCII characters",
        shown(word)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_c_library_reads() {
        let text = "# made by dhcp\nnameserver 192.0.2.53 # first\nnameserver ::1\nnameserver nonsense\n\
                    domain old.example\nsearch a.example b.example\noptions edns0 ndots:2\nlookup file\n";
        let resolver = Resolver::parse(text);
        let servers: [IpAddr; 2] = ["192.0.2.53".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(resolver.nameservers, servers);
        assert_eq!(resolver.search, ["a.example", "b.example"]);
        assert_eq!(resolver.options, ["edns0", "ndots:2"]);
        let missing = Resolver::read(Path::new("/no/such/file")).unwrap();
        assert_eq!(missing, Resolver::default());
        let endless = "nameserver 192.0.2.1\n".repeat(1000);
        assert_eq!(Resolver::parse(&endless).nameservers.len(), LIST_LIMIT);
    }

    #[test]
    fn writes_exact_lines() {
        let mut resolver = Resolver {
            nameservers: vec!["172.17.0.1".parse().unwrap()],
            search: vec!["a.example".into()],
            options: vec!["edns0".into()],
        };
        assert_eq!(
            resolv_conf(&resolver).unwrap(),
            "nameserver 172.17.0.1\nsearch a.example\noptions edns0 ndots:0\n"
        );
        resolver.search = vec![".".into()];
        resolver.options = vec!["ndots:3".into()];
        assert_eq!(
            resolv_conf(&resolver).unwrap(),
            "nameserver 172.17.0.1\noptions ndots:3\n"
        );
        let hosts = hosts_file(
            "web.example",
            &["172.17.0.2".parse().unwrap()],
            &[("db".into(), "192.0.2.7".parse().unwrap())],
        )
        .unwrap();
        let ending = "ff02::2\tip6-allrouters\n192.0.2.7\tdb\n172.17.0.2\tweb.example web\n";
        assert!(hosts.ends_with(ending), "{hosts}");
        assert!(hosts.starts_with("127.0.0.1\tlocalhost\n"));
    }

    #[test]
    fn lines_cannot_be_smuggled_in() {
        for bad in [
            "",
            "a b",
            "a\nnameserver 192.0.2.66",
            "a\t",
            "a#",
            "é",
            "a\0",
        ] {
            let resolver = |search: &[&str], options: &[&str]| Resolver {
                nameservers: vec![],
                search: search.iter().map(ToString::to_string).collect(),
                options: options.iter().map(ToString::to_string).collect(),
            };
            assert!(resolv_conf(&resolver(&[bad], &[])).is_err(), "{bad:?}");
            assert!(resolv_conf(&resolver(&[], &[bad])).is_err(), "{bad:?}");
            assert!(hosts_file(bad, &[], &[]).is_err(), "{bad:?}");
            let extra = [(bad.to_owned(), IpAddr::from([192, 0, 2, 1]))];
            assert!(hosts_file("web", &[], &extra).is_err(), "{bad:?}");
        }
    }
}
