//! The operator command line: arguments to a request, its answer to text or JSON.
//!
//! `arguments` says what may be typed, `command` what it means. Flows, groups and meters are
//! OpenFlow 1.3 on `<run_dir>/<bridge>.mgmt` (`session`); everything else is a call on
//! `<run_dir>/vswitchd.sock` (`management`, described in `docs/management.md`). Nothing of the
//! switch itself is linked in.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;

// Its comments are help texts, where brackets are not links.
#[allow(rustdoc::broken_intra_doc_links)]
mod arguments;
mod command;
mod failure;
mod management;
mod output;
mod refusal;
mod session;
mod table;

use arguments::Arguments;
use output::Output;

/// Runs one command line, its first word being the program's name, and gives the exit code: 0 for
/// done, 1 for refused by the switch, 2 for wrong usage, 3 for a switch that cannot be reached.
/// What it has to say goes to `out`, why it fails to `errors`. `terminal` says that `out` is one,
/// so that a live display may clear it.
pub fn run(
    words: impl IntoIterator<Item = OsString>,
    terminal: bool,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> u8 {
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too; whether anybody reads them is not our business.
            let text = error.render();
            let _ = match error.use_stderr() {
                true => write!(errors, "{text}"),
                false => write!(out, "{text}").and_then(|()| out.flush()),
            };
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let mut output = Output {
        out,
        json: arguments.global.json,
        terminal,
    };
    let result = command::run(&arguments, &mut output).and_then(|()| output.flush());
    match result {
        Ok(()) => 0,
        Err(failure) => {
            // What came before the failure is to be seen before it.
            let _ = output.flush();
            if let Some(text) = failure.text() {
                let _ = writeln!(errors, "vsctl: {text}");
            }
            failure.exit_code()
        }
    }
}
