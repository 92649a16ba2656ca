//! `vsctl`, the operator command line of the switch. Everything is in the library beside it.

use std::io::{BufWriter, IsTerminal, stderr, stdout};
use std::process::ExitCode;

fn main() -> ExitCode {
    let terminal = stdout().is_terminal();
    let mut out = BufWriter::new(stdout().lock());
    let code = cli::run(std::env::args_os(), terminal, &mut out, &mut stderr());
    ExitCode::from(code)
}
