//! Spans in OTLP's JSON: ids as hexadecimal digits, 64-bit numbers as text, enums as numbers.

use chronicle::Life;
use chronicle::trace::{TraceSpan, Value as Attribute};
use serde_json::{Value, json};

/// `SPAN_KIND_INTERNAL`
const INTERNAL: u8 = 1;
/// `STATUS_CODE_ERROR`
const ERROR: u8 = 2;

/// An `ExportTraceServiceRequest` with spans of one pod.
pub(super) fn request(life: &Life, node: &str, trace: [u8; 16], spans: &[TraceSpan]) -> Value {
    let text = |name: &str, value: &str| json!({ "key": name, "value": { "stringValue": value } });
    let resource = [
        text("service.name", "usher"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("k8s.node.name", node),
        text("k8s.namespace.name", &life.namespace),
        text("k8s.pod.name", &life.name),
        text("k8s.pod.uid", &life.uid),
    ];
    let spans: Vec<Value> = spans.iter().map(|span| one(trace, span)).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": { "name": "usher", "version": env!("CARGO_PKG_VERSION") }, "spans": spans }],
    }] })
}

fn one(trace: [u8; 16], span: &TraceSpan) -> Value {
    let attributes: Vec<Value> = span
        .attributes
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Attribute::Text(text) => json!({ "stringValue": text }),
                Attribute::Number(number) => json!({ "intValue": number.to_string() }),
            };
            json!({ "key": name, "value": value })
        })
        .collect();
    let status = span.error.as_ref().map_or_else(|| json!({}), |error| json!({ "code": ERROR, "message": error }));
    json!({
        "traceId": hex(&trace),
        "spanId": hex(&span.id),
        "parentSpanId": span.parent.map_or_else(String::new, |parent| hex(&parent)),
        "name": span.name,
        "kind": INTERNAL,
        "startTimeUnixNano": span.start_nanos.to_string(),
        "endTimeUnixNano": span.end_nanos.to_string(),
        "attributes": attributes,
        "status": status,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
