use std::net::SocketAddr;

use http::Uri;

use super::{Error, ServeFlags, Sources};

/// What operators see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// Where Prometheus finds the metrics; none: nothing is measured.
    pub metrics: Option<Metrics>,
    /// Who collects traces, by OTLP over gRPC; none: there are no traces.
    pub collector: Option<String>,
    /// How the log is written.
    pub log: LogFormat,
}

/// Where the metrics are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// The address to serve them on.
    pub listen: SocketAddr,
    /// Whether somebody has said so. Else another node of this machine may have it already.
    pub wanted: bool,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object in each line, for machines.
    Json,
}

impl Sources<'_> {
    /// `lacking`: what would have to be set for others to reach it.
    pub(super) fn telemetry(
        &self,
        flags: &ServeFlags,
        lacking: Option<&str>,
    ) -> Result<Telemetry, Error> {
        let at = SocketAddr::from(([127, 0, 0, 1], 9464));
        let metrics = self.address("metrics-listen", flags.metrics_listen.clone(), at)?;
        let collector = self.find(
            "otlp-endpoint",
            flags.otlp_endpoint.clone(),
            None,
            |value| {
                let url: Uri = value.parse().ok()?;
                let is_http = matches!(url.scheme_str(), Some("http" | "https"));
                is_http.then(|| Some(value.to_owned()))
            },
            "must be a URL such as http://127.0.0.1:4317",
        )?;
        let log = self.find(
            "log-format",
            flags.log_format.clone(),
            LogFormat::Text,
            |value| match value {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            },
            "must be text or json",
        )?;
        Ok(Telemetry {
            metrics: Some(Metrics {
                wanted: metrics.given.is_some(),
                listen: metrics.within(lacking)?,
            }),
            collector: collector.value,
            log: log.value,
        })
    }
}
