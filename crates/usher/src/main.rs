//! The one binary: command line, configuration, wiring. It decides nothing about pods.
//!
//! The same file is also the shim of every pod: with `shim` as first argument it becomes that small process before anything else
//! exists, no thread, no allocator traffic, no runtime (see the crate `shim`).

use std::process::ExitCode;

mod cli;
mod commands;
mod configuration;
mod duration;
mod environment;
mod follow;
mod heaps;
mod manifest;
mod node_options;
mod otlp;
mod progress;
mod story;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "shim") {
        return shim::monitor::main(arguments);
    }
    heaps::limit();
    cli::main()
}
