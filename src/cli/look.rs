//! Looking at running containers: `top`, `port` and `events`.

use clap::Args;
use futures_util::StreamExt;
use orc_base::Error;
use orc_host::event::Event;
use orc_host::network::Port;
use serde_json::json;

use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::{filter, time};
use crate::cli::session::Session;
use crate::ui::format::{Format, Row};
use crate::ui::table::Table;
use crate::ui::{escape, out, prefix};

/// Show the processes of a container
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// The container
    #[arg(value_name = "CONTAINER")]
    name: String,
    /// Options of ps; what is shown is `-ef`
    #[arg(
        value_name = "PS_OPTIONS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    options: Vec<String>,
}

impl Top {
    /// The columns of `ps -ef`.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let options = self.options.join(" ");
        if !matches!(options.as_str(), "" | "-ef") {
            return Err(Error::unsupported(format!(
                "`{options}` is not supported: the columns are those of `ps -ef`; where the image has a ps, `orc exec {} ps {options}` asks it",
                self.name
            ))
            .into());
        }
        let top = session.host().await?.top(&self.name).await?;
        out::bytes(table(&top).as_bytes());
        Ok(OK)
    }
}

/// Processes as a table.
pub(crate) fn table(top: &orc_host::container::Top) -> String {
    let titles: Vec<&str> = top.titles.iter().map(String::as_str).collect();
    let mut table = Table::new(&titles);
    for process in &top.processes {
        table.row(process.iter().cloned());
    }
    table.render()
}

/// Show where a container's ports are reachable
#[derive(Debug, Args)]
pub(crate) struct PortOf {
    /// The container
    #[arg(value_name = "CONTAINER")]
    name: String,
    /// One of its ports, such as 80/tcp
    port: Option<String>,
}

impl PortOf {
    /// A port that is not published is an error.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let wanted: Option<Port> = self.port.as_deref().map(str::parse).transpose()?;
        let container = session.host().await?.inspect_container(&self.name).await?;
        let mut published = container.published.clone();
        published.sort();
        let mut shown = false;
        for port in published
            .iter()
            .filter(|port| wanted.is_none_or(|wanted| wanted == port.port))
        {
            shown = true;
            let address = std::net::SocketAddr::new(port.host_ip, port.host_port);
            match wanted {
                Some(_) => out::line(&address.to_string()),
                None => out::line(&format!("{} -> {address}", port.port)),
            }
        }
        match wanted {
            Some(port) if !shown => Err(Error::not_found(format!(
                "the port {port} of {} is not published",
                container.name
            ))
            .into()),
            _ => Ok(OK),
        }
    }
}

/// Show what happens, as it happens
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only some: type=…, event=…, container=…, label=…
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// json, or a template such as '{{.Action}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// Begin with what happened from then on: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Events {
    /// Goes on until it is interrupted or `--until` is reached.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let now = session.now();
        let moment = |text: &Option<String>| {
            text.as_deref()
                .map(|text| time::moment(text, now))
                .transpose()
        };
        let wanted = filter::events(&self.filter, moment(&self.since)?, moment(&self.until)?)?;
        let format = match (&self.format, self.json) {
            (None, false) => None,
            (text, json) => Some(Format::parse(text.as_deref(), json)?),
        };
        let mut events = session.host().await?.events(wanted).await?;
        while let Some(event) = events.next().await {
            let event = event?;
            match &format {
                None => out::line(&escape::line(&sentence(&event))),
                Some(format) => format.print(&[], &[row(&event)])?,
            }
        }
        Ok(OK)
    }
}

/// An event as Docker prints it.
fn sentence(event: &Event) -> String {
    let attributes: Vec<String> = event
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let attributes = match attributes.is_empty() {
        true => String::new(),
        false => format!(" ({})", attributes.join(", ")),
    };
    let time = prefix::timestamp(event.time);
    format!(
        "{time} {} {} {}{attributes}",
        event.subject.as_str(),
        event.action,
        event.id
    )
}

fn row(event: &Event) -> Row {
    Row {
        labels: event.attributes.clone(),
        ..Row::default()
    }
    .with("Type", event.subject.as_str())
    .with("Action", event.action.clone())
    .with(
        "Actor",
        json!({"ID": event.id, "Attributes": event.attributes}),
    )
    .with("scope", "local")
    .with("time", event.time.secs())
    .with("timeNano", event.time.nanos())
}

#[cfg(test)]
mod tests {
    use orc_base::Time;
    use orc_host::event::Subject;

    use super::*;

    #[test]
    fn events_as_docker_prints_them() {
        let event = Event {
            time: Time::from_secs(1),
            subject: Subject::Container,
            action: "die".into(),
            id: "abc".into(),
            attributes: [
                ("exitCode".to_owned(), "0".to_owned()),
                ("name".to_owned(), "web".to_owned()),
            ]
            .into(),
        };
        assert_eq!(
            sentence(&event),
            "1970-01-01T00:00:01.000000000Z container die abc (exitCode=0, name=web)"
        );
        let json = Format::Json.render(&[], &[row(&event)]).unwrap();
        assert!(json.starts_with(r#"{"Type":"container","Action":"die","Actor":{"Attributes":{"exitCode":"0","name":"web"},"ID":"abc"}"#));
    }
}
