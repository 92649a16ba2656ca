//! Displays that are shown again and again.

use std::io::Write;
use std::thread::sleep;

use serde_json::Value;

use crate::arguments::Watch;
use crate::failure::Failure;
use crate::output::Output;

/// Shows one reading; or, where that is asked for, every interval what has changed since the
/// reading before: in JSON each reading is a line of its own.
pub fn run<T>(
    watch: Watch,
    output: &mut Output<'_>,
    mut read: impl FnMut() -> Result<(Value, T), Failure>,
    mut print: impl FnMut(&mut dyn Write, Option<&T>, &T) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let (value, mut before) = read()?;
    let Some(interval) = watch.watch else {
        return output.answer(&value, |out| print(out, None, &before));
    };
    if output.json {
        output.line(&value)?;
    }
    let mut left = watch.count;
    while left != Some(0) {
        output.flush()?;
        sleep(interval);
        let (value, now) = read()?;
        if output.json {
            output.line(&value)?;
        } else {
            let clear = if output.terminal { CLEAR } else { "" };
            write!(output.out, "{clear}")?;
            print(output.out, Some(&before), &now)?;
            writeln!(output.out)?;
        }
        before = now;
        left = left.map(|left| left - 1);
    }
    Ok(())
}

/// Moves to the upper left corner and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";
