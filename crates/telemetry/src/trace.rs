//! Spans, for whoever collects them by OTLP. Their parent is named by a `traceparent` (W3C Trace
//! Context), as it comes with a call and stays in its events.

use std::{collections::HashMap, sync::OnceLock, time::SystemTime};

use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator as _,
    trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider, Span},
};

const TRACEPARENT: &str = "traceparent";

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Why spans are not exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The exporter cannot be made.
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
    /// They are already.
    #[error("traces are exported already")]
    Twice,
}

/// Exports spans, until it is told to finish.
#[derive(Debug)]
pub struct Export(SdkTracerProvider);

impl Export {
    /// Switches spans on, for the whole process: to a collector's gRPC endpoint, such as
    /// `http://127.0.0.1:4317`. They wait in a bounded queue; what does not fit is lost. Which ones
    /// are made, OpenTelemetry's own variables say (`OTEL_TRACES_SAMPLER`): those of calls that are
    /// sampled already, and all of those that come without a trace, unless told otherwise. Works on
    /// the runtime it is called on.
    ///
    /// # Errors
    /// The endpoint is none, or it is called twice.
    pub fn start(endpoint: &str) -> Result<Self, Error> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()?;
        // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are heeded.
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

    /// Exports what is left. Blocks.
    ///
    /// # Errors
    /// The collector does not take it.
    pub fn finish(self) -> Result<(), opentelemetry_sdk::error::OTelSdkError> {
        self.0.shutdown()
    }
}

/// A call that is under way.
#[derive(Debug)]
pub struct Call(Span);

impl Call {
    /// Begins the span of a call: in the trace it came with, or a new one. `None` while spans are
    /// off.
    #[must_use]
    pub fn begin(method: &'static str, traceparent: Option<&str>) -> Option<Self> {
        let tracer = TRACER.get()?;
        let parent = traceparent.map(context).unwrap_or_default();
        let builder = tracer.span_builder(method).with_kind(SpanKind::Server);
        let builder = builder.with_attributes([KeyValue::new("rpc.system", "grpc")]);
        Some(Self(builder.start_with_context(tracer, &parent)))
    }

    /// What its events carry, so that what is made of them belongs to it.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let span = self.0.span_context().clone();
        let mut carrier = HashMap::new();
        let context = Context::new().with_remote_span_context(span);
        TraceContextPropagator::new().inject_context(&context, &mut carrier);
        carrier.remove(TRACEPARENT).unwrap_or_default()
    }

    /// Ends it with its status, and whether that is a fault of the server.
    pub fn end(mut self, status: &'static str, is_fault: bool) {
        self.0
            .set_attribute(KeyValue::new("rpc.grpc.status_code", status));
        if is_fault {
            self.0.set_status(Status::error(status));
        }
        self.0.end();
    }
}

/// Records what was done about an event, from when until when, in the trace of the call that made it.
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

/// Whether anybody collects spans: who gathers what is only for them may ask first.
#[must_use]
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// The position of an event, as an attribute.
#[must_use]
pub fn position(position: u64) -> KeyValue {
    KeyValue::new("orderlog.position", position.cast_signed())
}

fn context(traceparent: &str) -> Context {
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
}
