//! The shim without the engine around it, for the tests of this crate.
//!
//! Does what the product's binary does first thing: hands over to the shim when the mode says so. It is never shipped.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(mode) if mode == shim::monitor::MODE => shim::monitor::main(args),
        Some(_) | None => ExitCode::FAILURE,
    }
}
