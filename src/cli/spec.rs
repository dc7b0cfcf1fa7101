//! What the flags of `run` and `create` mean: a container to make. Pure but for the files that
//! `--env-file` and `--label-file` name, which come through a parameter.

use std::path::{Path, PathBuf};
use std::time::Duration;

use orc_base::{Context, Error, Result, units};
use orc_host::block_io::BlockIo;
use orc_host::container::{ContainerSpec, LogConfig, NetworkMode, Resources, RestartPolicy};
use orc_host::image::Healthcheck;
use orc_host::network::EndpointSpec;

use crate::cli::flags::CreateFlags;
use crate::cli::parse::{env, limits, mount, network, port, time};

/// What flags may refer to beside themselves.
pub(crate) struct Around<'a> {
    /// Where relative paths begin.
    pub(crate) directory: PathBuf,
    /// Environment variables.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file.
    pub(crate) read: &'a dyn Fn(&str) -> Result<String>,
}

/// The container that `flags` ask for. `attached`: someone will be at its standard input.
pub(crate) fn spec(
    flags: &CreateFlags,
    attached: bool,
    around: &Around<'_>,
) -> Result<ContainerSpec> {
    let (image, command) = flags
        .image_and_command
        .split_first()
        .ok_or_else(|| Error::invalid("name an image"))?;
    let (network_mode, networks) = networks(flags)?;
    refuse_others(flags)?;
    let security = limits::security(&flags.security_opt, around.read)?;
    let restart = flags
        .restart
        .as_deref()
        .map(limits::restart)
        .transpose()?
        .unwrap_or_default();
    if flags.rm && restart != RestartPolicy::No {
        return Err(Error::invalid(
            "`--rm` and `--restart` exclude each other: a removed container cannot start again",
        ));
    }
    let mut spec = ContainerSpec {
        image: image.clone(),
        platform: flags.platform.clone(),
        entrypoint: flags
            .entrypoint
            .as_ref()
            .map(|program| match program.is_empty() {
                true => Vec::new(),
                false => vec![program.clone()],
            }),
        command: (!command.is_empty()).then(|| command.to_vec()),
        env: variables(flags, around)?,
        working_dir: flags.workdir.clone(),
        user: flags.user.clone(),
        groups: flags.group_add.clone(),
        hostname: flags.hostname.clone(),
        domainname: flags.domainname.clone(),
        labels: labels(flags, around)?,
        annotations: env::pairs("annotation", &flags.annotation)?,
        tty: flags.tty,
        open_stdin: flags.interactive,
        stdin_once: flags.interactive && attached,
        stop_signal: flags.stop_signal.clone(),
        stop_timeout: time::timeout(flags.stop_timeout),
        healthcheck: healthcheck(flags)?,
        publish_all: flags.publish_all,
        network_mode,
        networks,
        dns: flags.dns.clone(),
        dns_search: flags.dns_search.clone(),
        dns_options: flags.dns_option.clone(),
        extra_hosts: flags
            .add_host
            .iter()
            .map(|text| network::add_host(text))
            .collect::<Result<_>>()?,
        restart,
        auto_remove: flags.rm,
        privileged: flags.privileged,
        read_only: flags.read_only,
        init: flags.init,
        cap_add: flags.cap_add.clone(),
        cap_drop: flags.cap_drop.clone(),
        no_new_privileges: security.no_new_privileges,
        seccomp_unconfined: security.seccomp_unconfined,
        seccomp_profile: security.seccomp_profile,
        resources: resources(flags)?,
        ulimits: flags
            .ulimit
            .iter()
            .map(|text| limits::ulimit(text))
            .collect::<Result<_>>()?,
        sysctls: env::pairs("kernel parameter", &flags.sysctl)?,
        devices: flags
            .device
            .iter()
            .map(|text| limits::device(text))
            .collect::<Result<_>>()?,
        device_rules: flags.device_cgroup_rule.clone(),
        api_socket: flags.use_api_socket,
        shm_bytes: limits::size("shm-size", flags.shm_size.as_deref())?,
        ipc: limits::namespace("ipc", flags.ipc.as_deref().unwrap_or_default())?,
        pid: limits::namespace("pid", flags.pid.as_deref().unwrap_or_default())?,
        uts: limits::namespace("uts", flags.uts.as_deref().unwrap_or_default())?,
        cgroup: limits::namespace("cgroupns", flags.cgroupns.as_deref().unwrap_or_default())?,
        oom_score_adj: flags.oom_score_adj,
        cgroup_parent: flags.cgroup_parent.clone(),
        log: LogConfig {
            driver: flags.log_driver.clone().unwrap_or_default(),
            options: env::pairs("log option", &flags.log_opt)?,
        },
        ..ContainerSpec::default()
    };
    add_storage(&mut spec, flags, &around.directory)?;
    add_ports(&mut spec, flags)?;
    Ok(spec)
}

fn variables(flags: &CreateFlags, around: &Around<'_>) -> Result<Vec<String>> {
    let mut variables = Vec::new();
    for file in &flags.env_file {
        variables.extend(env::variables(
            file,
            &(around.read)(file)?,
            around.variable,
        )?);
    }
    for text in &flags.env {
        variables.push(env::variable(text, around.variable)?);
    }
    Ok(variables)
}

fn labels(
    flags: &CreateFlags,
    around: &Around<'_>,
) -> Result<std::collections::BTreeMap<String, String>> {
    let mut lines = Vec::new();
    for file in &flags.label_file {
        lines.extend(env::label_lines(file, &(around.read)(file)?)?);
    }
    env::pairs("label", lines.iter().chain(&flags.label))
}

/// The addresses and aliases given beside `--network` are for the first network.
fn networks(flags: &CreateFlags) -> Result<(NetworkMode, Vec<EndpointSpec>)> {
    let (mode, mut networks) = network::networks(&flags.network)?;
    let lists = [&flags.network_alias, &flags.link_local_ip, &flags.link];
    let single = [&flags.ip, &flags.ip6, &flags.mac_address];
    let beside =
        lists.iter().any(|list| !list.is_empty()) || single.iter().any(|one| one.is_some());
    if !beside {
        return Ok((mode, networks));
    }
    if mode != NetworkMode::Networks {
        return Err(Error::invalid(
            "`--network-alias`, `--ip`, `--ip6`, `--link-local-ip`, `--link` and `--mac-address` need a network of orc's own",
        ));
    }
    if networks.is_empty() {
        networks.push(EndpointSpec {
            network: "bridge".into(),
            ..EndpointSpec::default()
        });
    }
    let first = &mut networks[0];
    first.aliases.extend(flags.network_alias.iter().cloned());
    if let Some(ip) = &flags.ip {
        first.ipv4 = Some(network::ipv4(ip)?);
    }
    if let Some(ip) = &flags.ip6 {
        first.ipv6 = Some(network::ipv6(ip)?);
    }
    for ip in &flags.link_local_ip {
        first.link_local.push(network::address(ip)?);
    }
    first
        .links
        .extend(flags.link.iter().map(|text| network::link(text)));
    first.mac = flags.mac_address.clone().or_else(|| first.mac.take());
    Ok((mode, networks))
}

fn add_storage(spec: &mut ContainerSpec, flags: &CreateFlags, directory: &Path) -> Result<()> {
    for text in &flags.volume {
        match mount::volume(text, directory)? {
            mount::Volume::Anonymous(target) => drop(spec.anonymous_volumes.insert(target)),
            mount::Volume::Mount(mount) => spec.mounts.push(mount),
        }
    }
    for text in &flags.mount {
        spec.mounts.push(mount::mount(text, directory)?);
    }
    for text in &flags.volumes_from {
        spec.volumes_from.push(mount::volumes_from(text)?);
    }
    for text in &flags.tmpfs {
        spec.mounts.push(mount::tmpfs(text)?);
    }
    let mut targets = std::collections::BTreeSet::new();
    let mounts = spec.mounts.iter().map(|mount| mount.target());
    for target in mounts.chain(spec.anonymous_volumes.iter().map(String::as_str)) {
        if !targets.insert(target.trim_end_matches('/')) {
            return Err(Error::invalid(format!(
                "two things are to be mounted on `{target}`: leave one of them out"
            )));
        }
    }
    Ok(())
}

fn add_ports(spec: &mut ContainerSpec, flags: &CreateFlags) -> Result<()> {
    for text in &flags.publish {
        spec.ports.extend(port::publish(text)?);
    }
    for text in &flags.expose {
        spec.exposed_ports.extend(port::expose(text)?);
    }
    spec.exposed_ports
        .extend(spec.ports.iter().map(|binding| binding.port));
    Ok(())
}

fn resources(flags: &CreateFlags) -> Result<Resources> {
    let shared = flags.limits.resources()?;
    let rates = |flag: &str, texts: &[String], rate: fn(&str) -> Option<u64>| {
        let read = |text: &String| limits::device_rate(flag, text, rate);
        texts.iter().map(read).collect::<Result<_>>()
    };
    let (bytes, number) = (limits::bytes_a_second, limits::number_a_second);
    Ok(Resources {
        memory_swappiness: flags
            .memory_swappiness
            .filter(|number| *number != -1)
            .map(limits::swappiness)
            .transpose()?,
        oom_kill_disable: flags.oom_kill_disable.then_some(true),
        block_io: BlockIo {
            weight: shared.block_io.weight,
            device_weights: flags
                .blkio_weight_device
                .iter()
                .map(|text| limits::device_weight(text))
                .collect::<Result<_>>()?,
            read_bytes: rates("device-read-bps", &flags.device_read_bps, bytes)?,
            write_bytes: rates("device-write-bps", &flags.device_write_bps, bytes)?,
            read_operations: rates("device-read-iops", &flags.device_read_iops, number)?,
            write_operations: rates("device-write-iops", &flags.device_write_iops, number)?,
        },
        ..shared
    })
}

/// Flags of which only one value means what orc does: the flag, what was typed, what is meant, and why
/// there is nothing else.
fn refuse_others(flags: &CreateFlags) -> Result<()> {
    let rows: [(&str, &Option<String>, &[&str], &str); 4] = [
        (
            "runtime",
            &flags.runtime,
            &["runc", "io.containerd.runc.v2", "orc"],
            "orc has one runtime, its own",
        ),
        (
            "isolation",
            &flags.isolation,
            &["default"],
            "there are others on Windows only",
        ),
        (
            "userns",
            &flags.userns,
            &["host"],
            "user namespaces are not built yet",
        ),
        (
            "volume-driver",
            &flags.volume_driver,
            &["local"],
            "there is no other driver than `local`",
        ),
    ];
    for (flag, typed, meant, why) in rows {
        let typed = typed.as_deref().unwrap_or_default();
        if !typed.is_empty() && !meant.contains(&typed) {
            return Err(Error::unsupported(format!(
                "`--{flag} {typed}` is not supported: {why}"
            )));
        }
    }
    flags.trust.check()
}

fn healthcheck(flags: &CreateFlags) -> Result<Option<Healthcheck>> {
    let duration = |flag: &str, text: &Option<String>| -> Result<Option<Duration>> {
        text.as_deref()
            .map(|text| units::parse_duration(text).context(|| format!("`--health-{flag}`")))
            .transpose()
    };
    let check = Healthcheck {
        test: match &flags.health_cmd {
            Some(line) => vec!["CMD-SHELL".into(), line.clone()],
            None => Vec::new(),
        },
        interval: duration("interval", &flags.health_interval)?,
        timeout: duration("timeout", &flags.health_timeout)?,
        start_period: duration("start-period", &flags.health_start_period)?,
        start_interval: duration("start-interval", &flags.health_start_interval)?,
        retries: flags.health_retries,
    };
    let asked = check != Healthcheck::default();
    match (flags.no_healthcheck, asked) {
        (true, true) => Err(Error::invalid(
            "`--no-healthcheck` and `--health-…` exclude each other",
        )),
        (true, false) => Ok(Some(Healthcheck {
            test: vec!["NONE".into()],
            ..Healthcheck::default()
        })),
        (false, true) => Ok(Some(check)),
        (false, false) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use orc_host::container::{Mount, NamespaceMode};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: CreateFlags,
    }

    fn read(line: &str) -> std::result::Result<ContainerSpec, String> {
        let words = std::iter::once("run").chain(line.split_whitespace());
        let flags = Line::try_parse_from(words)
            .map_err(|error| error.kind().to_string())?
            .flags;
        let around = Around {
            directory: "/here".into(),
            variable: &|name| (name == "HOME").then(|| "/root".into()),
            read: &|file| match file {
                "vars" => Ok("A=1\nHOME\n".into()),
                "profile.json" => Ok("{\"defaultAction\": \"SCMP_ACT_ALLOW\"}".into()),
                _ => Err(Error::not_found(format!(
                    "read {file}: no such file or directory"
                ))),
            },
        };
        spec(&flags, true, &around).map_err(|error| error.to_string())
    }

    /// Shows only what differs from a container nobody said anything about.
    fn shown(line: &str) -> String {
        match read(line) {
            Err(error) => format!("error: {error}"),
            Ok(spec) => {
                let default = serde_json::to_value(ContainerSpec::default()).unwrap();
                let spec = serde_json::to_value(spec).unwrap();
                let fields = spec
                    .as_object()
                    .unwrap()
                    .iter()
                    .filter(|(name, value)| default[*name] != **value);
                fields
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            }
        }
    }

    fn check(line: &str, expected: &str) {
        assert_eq!(shown(line), expected, "{line}");
    }

    #[test]
    fn flags_mean_what_docker_means() {
        check("busybox", r#"image="busybox""#);
        check(
            "busybox -d --rm x",
            r#"command=["-d","--rm","x"] image="busybox""#,
        );
        check(
            "-it --rm -w /x -u 1:2 -h me a:b sh -c true",
            concat!(
                r#"auto_remove=true command=["sh","-c","true"] hostname="me" image="a:b" open_stdin=true "#,
                r#"stdin_once=true tty=true user="1:2" working_dir="/x""#
            ),
        );
        check(
            "-e A=b -e HOME -e NOPE --env-file vars a",
            r#"env=["A=1","HOME=/root","A=b","HOME=/root","NOPE"] image="a""#,
        );
        check("--entrypoint= a", r#"entrypoint=[] image="a""#);
        check(
            "-p 127.0.0.1:80:8080/udp a",
            concat!(
                r#"exposed_ports=[{"number":8080,"protocol":"udp"}] image="a" "#,
                r#"ports=[{"host_ip":"127.0.0.1","host_ports":[80,80],"port":{"number":8080,"protocol":"udp"}}]"#
            ),
        );
        check(
            "--health-cmd true --health-interval=1s --health-retries 2 a",
            concat!(
                r#"healthcheck={"interval":{"nanos":0,"secs":1},"retries":2,"start_interval":null,"start_period":null,"#,
                r#""test":["CMD-SHELL","true"],"timeout":null} image="a""#
            ),
        );
        check(
            "--restart on-failure:2 --init --read-only -l a=b --cap-drop ALL a",
            r#"cap_drop=["ALL"] image="a" init=true labels={"a":"b"} read_only=true restart={"on-failure":{"max_retries":2}}"#,
        );
        check(
            "--security-opt no-new-privileges --sysctl net.core.somaxconn=9 --shm-size 1m --stop-timeout 3 a",
            concat!(
                r#"image="a" no_new_privileges=true shm_bytes=1048576 stop_timeout={"nanos":0,"secs":3} "#,
                r#"sysctls={"net.core.somaxconn":"9"}"#
            ),
        );
    }

    #[test]
    fn networks_and_namespaces() {
        let spec =
            read("--network front --network back --network-alias x --ip 10.0.0.2 --pid host a")
                .unwrap();
        assert_eq!(spec.networks.len(), 2);
        assert_eq!(spec.networks[0].aliases, ["x"]);
        assert_eq!(spec.networks[0].ipv4.unwrap().to_string(), "10.0.0.2");
        let six = read("--ip6 fd00::2 --link-local-ip 169.254.0.2 --link db:base a").unwrap();
        let first = &six.networks[0];
        assert_eq!(first.ipv6.unwrap().to_string(), "fd00::2");
        assert_eq!(first.link_local[0].to_string(), "169.254.0.2");
        assert_eq!(
            (&*first.links[0].peer, &*first.links[0].alias),
            ("db", "base")
        );
        assert!(read("--ip6 10.0.0.2 a").is_err());
        assert_eq!(spec.pid, NamespaceMode::Host);
        assert_eq!(
            read("--network none a").unwrap().network_mode,
            NetworkMode::None
        );
        assert_eq!(
            read("--network-alias x a").unwrap().networks[0].network,
            "bridge"
        );
    }

    #[test]
    fn storage_and_limits() {
        let spec = read("-v ./x:/a:ro -v data:/b -v /c --tmpfs /d -m 64m --cpus 0.5 --memory-swap -1 --pids-limit -1 a").unwrap();
        assert!(
            matches!(&spec.mounts[0], Mount::Bind { source, read_only: true, .. } if source == Path::new("/here/x"))
        );
        assert!(matches!(&spec.mounts[1], Mount::Volume { name, .. } if name == "data"));
        assert!(spec.anonymous_volumes.contains("/c"));
        assert_eq!(spec.resources.memory_bytes, Some(64 << 20));
        assert_eq!(spec.resources.nano_cpus, Some(500_000_000));
        assert_eq!(
            (spec.resources.memory_swap_bytes, spec.resources.pids),
            (Some(-1), Some(-1))
        );
    }

    #[test]
    fn limits_of_devices() {
        check(
            "--device-write-bps /dev/sda:1mb --device-read-bps /dev/sda:2k a",
            concat!(
                r#"image="a" resources={"block_io":{"device_weights":[],"read_bytes":[{"path":"/dev/sda","rate":2048}],"#,
                r#""read_operations":[],"weight":null,"write_bytes":[{"path":"/dev/sda","rate":1048576}],"write_operations":[]},"#,
                r#""cpu_period_us":null,"cpu_quota_us":null,"cpu_realtime_period_us":null,"cpu_realtime_runtime_us":null,"#,
                r#""cpu_shares":null,"cpuset_cpus":null,"cpuset_mems":null,"memory_bytes":null,"memory_reservation_bytes":null,"#,
                r#""memory_swap_bytes":null,"memory_swappiness":null,"nano_cpus":null,"oom_kill_disable":null,"pids":null}"#
            ),
        );
        let io = read(
            "--blkio-weight 300 --blkio-weight-device /dev/sda:20 --device-read-iops /dev/sda:9 \
             --device-write-iops /dev/sda:8 a",
        );
        let io = io.unwrap().resources.block_io;
        assert_eq!((io.weight, io.device_weights[0].weight), (Some(300), 20));
        assert_eq!(
            (io.read_operations[0].rate, io.write_operations[0].rate),
            (9, 8)
        );
        let others =
            "--memory-swappiness 0 --oom-kill-disable --cpu-rt-runtime 5 --cpu-rt-period 10 a";
        let others = read(others).unwrap().resources;
        assert_eq!(
            (others.memory_swappiness, others.oom_kill_disable),
            (Some(0), Some(true))
        );
        assert_eq!(
            (
                others.cpu_realtime_runtime_us,
                others.cpu_realtime_period_us
            ),
            (Some(5), Some(10))
        );
        assert_eq!(
            read("--memory-swappiness -1 --blkio-weight 0 a")
                .unwrap()
                .resources,
            Resources::default()
        );
    }

    #[test]
    fn what_others_have_and_what_is_always_so() {
        check(
            "--volumes-from data --volumes-from other:ro a",
            r#"image="a" volumes_from=[{"container":"data","read_only":false},{"container":"other","read_only":true}]"#,
        );
        check(
            "--security-opt seccomp=profile.json --use-api-socket a",
            r#"api_socket=true image="a" seccomp_profile="{\"defaultAction\":\"SCMP_ACT_ALLOW\"}""#,
        );
        check(
            "--runtime runc --isolation default --userns host --volume-driver local --disable-content-trust a",
            r#"image="a""#,
        );
        check(
            "--runtime nvidia a",
            "error: `--runtime nvidia` is not supported: orc has one runtime, its own",
        );
        let spec = read("--pid container:db --annotation a=b a").unwrap();
        assert_eq!(spec.pid, NamespaceMode::Container("db".into()));
        assert_eq!(spec.annotations["a"], "b");
        let words = ["run", "--device-cgroup-rule", "c 188:* rwm", "a"];
        assert_eq!(
            Line::try_parse_from(words)
                .unwrap()
                .flags
                .device_cgroup_rule,
            ["c 188:* rwm"]
        );
    }

    #[test]
    fn refusals() {
        for bad in [
            "",
            "--nope a",
            "--rm --restart always a",
            "-p 0 a",
            "-v x a",
            "-v /a:/x -v /b:/x/ a",
            "--ip 1.2.3 a",
            "--network host --ip 10.0.0.2 a",
            "--network host --network b a",
            "--env-file none a",
            "--cpus 0 a",
            "--cpus 1 --cpu-quota 5 a",
            "-m x a",
            "--no-healthcheck --health-cmd x a",
            "--pull sometimes a",
            "--ulimit x a",
            "--device x a",
            "--security-opt x a",
            "--restart sometimes a",
            "--mount type=bind a",
            "--tmpfs x a",
            "--shm-size x a",
            "--health-interval x a",
            "-e =x a",
            "--label =x a",
            "--add-host x a",
            "--pid x a",
            "--userns auto a",
            "--isolation hyperv a",
            "--volume-driver nfs a",
            "--disable-content-trust=false a",
            "--blkio-weight-device /dev/sda a",
            "--blkio-weight-device sda:10 a",
            "--device-read-bps /dev/sda:x a",
            "--device-read-iops /dev/sda:1k a",
            "--memory-swappiness 101 a",
            "--memory-swappiness -2 a",
            "--volumes-from :ro a",
            "--volumes-from x:what a",
            "--security-opt seccomp=none.json a",
            "--security-opt seccomp=vars a",
        ] {
            assert!(read(bad).is_err(), "{bad}: {}", shown(bad));
        }
    }
}
