//! The main process.

#![expect(unsafe_code, reason = "waiting for signals is not in the standard library")]

use std::mem::MaybeUninit;
use std::process::ExitCode;
use std::time::Duration;

use crate::report::report;
use crate::{grpc, http, reverse, udp};

/// How the main process behaves.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    term_delay: Duration,
    ignore_term: bool,
    exit_after: Option<Duration>,
    exit_code: u8,
    term_code: u8,
    http: Option<u16>,
    grpc: Option<u16>,
    udp: Option<u16>,
    reverse: Vec<String>,
    fail_after: Option<Duration>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        fn number<T: std::str::FromStr>(name: &str, value: Option<&String>) -> Result<T, String> {
            value.and_then(|value| value.parse().ok()).ok_or_else(|| format!("{name} wants a number"))
        }
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--ignore-term" => options.ignore_term = true,
                "--term-delay" => options.term_delay = Duration::from_millis(number(name, arguments.next())?),
                "--exit-after" => options.exit_after = Some(Duration::from_millis(number(name, arguments.next())?)),
                "--fail-after" => options.fail_after = Some(Duration::from_millis(number(name, arguments.next())?)),
                "--exit-code" => options.exit_code = number(name, arguments.next())?,
                "--term-code" => options.term_code = number(name, arguments.next())?,
                "--grpc" => options.grpc = Some(number(name, arguments.next())?),
                "--udp" => options.udp = Some(number(name, arguments.next())?),
                "--reverse" => options.reverse.push(arguments.next().ok_or("--reverse wants HOST:PORT")?.clone()),
                "--http" => options.http = Some(number(name, arguments.next())?),
                other => return Err(format!("{other:?} is no option of `tapp run`")),
            }
        }
        Ok(options)
    }
}

/// Runs until a stop signal, or the time that was given.
pub(crate) fn run(options: &Options) -> ExitCode {
    let signals = block_all_signals();
    report("main: start");
    if let Some(port) = options.http
        && let Err(error) = http::serve(port, options.fail_after)
    {
        report(&format!("main: cannot serve: {error}"));
    }
    if let Some(port) = options.grpc
        && let Err(error) = grpc::serve(port, options.fail_after)
    {
        report(&format!("main: cannot serve: {error}"));
    }
    if let Some(port) = options.udp
        && let Err(error) = udp::serve(port)
    {
        report(&format!("main: cannot serve: {error}"));
    }
    for address in &options.reverse {
        if let Err(error) = reverse::serve(address) {
            report(&format!("main: cannot serve: {error}"));
        }
    }
    if let Some(after) = options.exit_after {
        let code = options.exit_code;
        std::thread::spawn(move || {
            std::thread::sleep(after);
            end(code);
        });
    }
    let mut is_stopping = false;
    loop {
        let signal = wait_for(&signals);
        if matches!(signal, libc::SIGCHLD | libc::SIGPIPE | libc::SIGWINCH | libc::SIGURG) {
            continue;
        }
        report(&format!("main: signal {signal} ({})", name(signal)));
        if !options.ignore_term && !is_stopping {
            is_stopping = true;
            let (delay, code) = (options.term_delay, options.term_code);
            std::thread::spawn(move || {
                std::thread::sleep(delay);
                end(code);
            });
        }
    }
}

fn end(code: u8) -> ! {
    report(&format!("main: exit {code}"));
    std::process::exit(i32::from(code))
}

fn block_all_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the set that it is given; `sigprocmask` reads it.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        let set = set.assume_init();
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        set
    }
}

fn wait_for(signals: &libc::sigset_t) -> i32 {
    let mut signal = 0;
    // SAFETY: both pointers are valid for the call.
    unsafe { libc::sigwait(signals, &raw mut signal) };
    signal
}

/// As Go prints a signal.
const fn name(signal: i32) -> &'static str {
    match signal {
        libc::SIGHUP => "Hangup",
        libc::SIGINT => "Interrupt",
        libc::SIGQUIT => "Quit",
        libc::SIGUSR1 => "User defined signal 1",
        libc::SIGUSR2 => "User defined signal 2",
        libc::SIGTERM => "Terminated",
        _ => "other",
    }
}
