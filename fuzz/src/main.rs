//! The fuzz targets behind libFuzzer. `$USHER_FUZZ_TARGET` says which; `cargo xtask fuzz` builds this and runs it.
#![no_main]

use std::panic;
use std::sync::OnceLock;
use std::thread;

use libfuzzer_sys::fuzz_target;

type Target = fn(&[u8]);

static TARGET: OnceLock<Target> = OnceLock::new();

fn target() -> Target {
    let name = std::env::var("USHER_FUZZ_TARGET").unwrap_or_default();
    match name.as_str() {
        "manifest" => api::fuzzing::manifest,
        "layer" => runtime::fuzzing::layer,
        "registry_documents" => runtime::fuzzing::registry_documents,
        "registry_replies" => runtime::fuzzing::registry_replies,
        "shim_frames" => shim::fuzzing::frames,
        "shim_client" => shim::fuzzing::client,
        "shim_answers" => runtime::fuzzing::shim_answers,
        "http_answer" => node::fuzzing::http_answer,
        "grpc_answer" => node::fuzzing::grpc_answer,
        "websocket_frames" => server::fuzzing::websocket_frames,
        "spdy_frames" => server::fuzzing::spdy_frames,
        "protobuf_body" => server::fuzzing::protobuf_body,
        _ => panic!("USHER_FUZZ_TARGET={name:?} is no target"),
    }
}

/// Nothing that a target does leads to another machine, or to another program of this one.
fn set_up() {
    // A panic in a cell is told again by the thread that has the input to write down.
    let abort = panic::take_hook();
    panic::set_hook(Box::new(move |panic| match thread::current().name() {
        Some(runtime::fuzzing::CELL_THREAD) => eprintln!("{panic}"),
        _ => abort(panic),
    }));
    runtime::fuzzing::leave_network().expect("fuzzing needs root, for a network and file systems of its own");
    TARGET.get_or_init(target);
}

fuzz_target!(init: set_up(), |data: &[u8]| TARGET.get().expect("set up")(data));
