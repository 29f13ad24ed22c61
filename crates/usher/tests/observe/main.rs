//! What a served machine shows of its pods to others: metrics, the page, and traces.

mod browser;
mod metrics;
mod page;
mod prometheus_text;
#[path = "../support/registry.rs"]
mod registry;
mod served;
#[path = "../support/mod.rs"]
mod support;
mod traces;
mod waiting;
