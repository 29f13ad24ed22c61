//! The embedded runtime with real containers, each test on a machine of its own as far as network and mounts go. Needs root.
#![allow(clippy::wildcard_enum_match_arm, clippy::single_match, reason = "a test waits for one kind of event and passes over the others")]
#![allow(clippy::async_yields_async, clippy::let_and_return, reason = "the task is awaited later, while the test goes on")]

mod ends;
mod engine;
mod execs;
mod lives;
mod pods;
mod streams;
mod support;
mod targets;
