//! Words for hooks and probes, chained by `then`.

use std::io::Write as _;
use std::time::Duration;

use crate::report::report;

/// Performs a chain of words; returns the exit code of the last `code`, or 0.
pub(crate) fn perform(arguments: &[String]) -> Result<u8, String> {
    for words in arguments.split(|word| word == "then") {
        let Some((verb, rest)) = words.split_first() else { return Err("a word is missing beside `then`".to_owned()) };
        let text = rest.join(" ");
        match verb.as_str() {
            "say" => report(&format!("hook: {text} ")),
            "sleep" => {
                let millis = text.parse().map_err(|_| format!("sleep wants milliseconds, not {text:?}"))?;
                report("hook: sleep begins");
                std::thread::sleep(Duration::from_millis(millis));
                report("hook: sleep ends");
            }
            "out" => {
                let print = || -> std::io::Result<()> {
                    writeln!(std::io::stdout(), "{text}")?;
                    writeln!(std::io::stderr(), "err-{text}")
                };
                print().map_err(|error| error.to_string())?;
            }
            "flood" => flood(text.parse().map_err(|_| format!("flood wants a number of bytes, not {text:?}"))?)?,
            "code" => {
                let code = text.parse().map_err(|_| format!("code wants a number up to 255, not {text:?}"))?;
                report(&format!("hook: exit {code}"));
                return Ok(code);
            }
            other => return Err(format!("{other:?} is no word of tapp")),
        }
    }
    Ok(0)
}

/// Prints so many bytes, in lines of 100.
fn flood(bytes: u64) -> Result<(), String> {
    let line = [b'x'; 99].into_iter().chain([b'\n']).collect::<Vec<u8>>();
    let block = line.repeat(640);
    let mut out = std::io::stdout().lock();
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        out.write_all(&block[..part]).map_err(|error| error.to_string())?;
        left -= part as u64;
    }
    out.flush().map_err(|error| error.to_string())
}
