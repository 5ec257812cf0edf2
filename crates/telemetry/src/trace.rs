//! Exports spans by OTLP. A `traceparent` (W3C Trace Context) names a span's parent. The
//! `traceparent` comes with a call, and the call's events store it.

use std::{collections::HashMap, sync::OnceLock, time::SystemTime};

use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator as _,
    trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
    tonic_types::transport::{Certificate, ClientTlsConfig},
};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider, Span},
};

const TRACEPARENT: &str = "traceparent";

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The reason for which the export of spans cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The exporter cannot be built.
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
    /// The process exports spans already.
    #[error("traces are exported already")]
    Twice,
}

/// The export of spans, until [`Export::finish`].
#[derive(Debug)]
pub struct Export(SdkTracerProvider);

impl Export {
    /// Starts the export for the whole process, to a collector's gRPC endpoint such as
    /// `http://127.0.0.1:4317`. The exporter uses the runtime of the caller. An `https` endpoint shows
    /// a certificate of the authorities in `ca`, in PEM, or else of those of the system.
    ///
    /// Spans wait in a bounded queue, and a full queue drops spans. `OTEL_TRACES_SAMPLER` decides
    /// which spans exist. By default, a call without a trace is sampled, and any other call follows
    /// its parent.
    ///
    /// # Errors
    /// - [`Error::Exporter`] when the endpoint is malformed.
    /// - [`Error::Twice`] when the process exports spans already.
    pub fn start(endpoint: &str, ca: Option<Vec<u8>>) -> Result<Self, Error> {
        let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
        if endpoint.starts_with("https:") {
            let tls = ClientTlsConfig::new();
            exporter = exporter.with_tls_config(match ca {
                None => tls.with_enabled_roots(),
                Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            });
        }
        let exporter = exporter.build()?;
        // The builder reads OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
        let resource = match std::env::var_os("OTEL_SERVICE_NAME") {
            Some(_) => Resource::builder(),
            None => Resource::builder().with_service_name("orderlog"),
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer("orderlog");
        TRACER.set(tracer).map_err(|_| Error::Twice)?;
        Ok(Self(provider))
    }

    /// Exports the queued spans and ends the export. Blocks the thread.
    ///
    /// # Errors
    /// [`OTelSdkError`](opentelemetry_sdk::error::OTelSdkError) when the export fails.
    pub fn finish(self) -> Result<(), opentelemetry_sdk::error::OTelSdkError> {
        self.0.shutdown()
    }
}

/// The span of a call in progress.
#[derive(Debug)]
pub struct Call(Span);

impl Call {
    /// Begins the span of a call, in the trace of `traceparent` or in a new one. Returns `None`
    /// without an export.
    #[must_use]
    pub fn begin(method: &'static str, traceparent: Option<&str>) -> Option<Self> {
        let tracer = TRACER.get()?;
        let parent = traceparent.map(context).unwrap_or_default();
        let builder = tracer.span_builder(method).with_kind(SpanKind::Server);
        let builder = builder.with_attributes([KeyValue::new("rpc.system", "grpc")]);
        Some(Self(builder.start_with_context(tracer, &parent)))
    }

    /// Returns the `traceparent` for the call's events, so that later spans join the call's trace.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let span = self.0.span_context().clone();
        let mut carrier = HashMap::new();
        let context = Context::new().with_remote_span_context(span);
        TraceContextPropagator::new().inject_context(&context, &mut carrier);
        carrier.remove(TRACEPARENT).unwrap_or_default()
    }

    /// Ends the span with the call's status. `is_fault` sets the span's status to error.
    pub fn end(mut self, status: &'static str, is_fault: bool) {
        self.0
            .set_attribute(KeyValue::new("rpc.grpc.status_code", status));
        if is_fault {
            self.0.set_status(Status::error(status));
        }
        self.0.end();
    }
}

/// Records a span of work on an event, in the trace of the call that appended the event.
pub fn record(
    name: &'static str,
    traceparent: &str,
    (began, ended): (SystemTime, SystemTime),
    attributes: &[KeyValue],
) {
    let Some(tracer) = TRACER.get() else { return };
    let parent = context(traceparent);
    let builder = tracer.span_builder(name).with_start_time(began);
    let builder = builder.with_attributes(attributes.iter().cloned());
    let mut span = builder.start_with_context(tracer, &parent);
    span.end_with_timestamp(ended);
}

/// Returns whether the process exports spans. Callers skip the collection of span data otherwise.
#[must_use]
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// Makes the span attribute of an event's position.
#[must_use]
pub fn position(position: u64) -> KeyValue {
    KeyValue::new("orderlog.position", position.cast_signed())
}

fn context(traceparent: &str) -> Context {
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
}
