//! The switch daemon: reads its command line and runs [`vswitch::control::daemon`]. See
//! docs/vswitchd.md.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use vswitch::control::daemon::{self, Options};

/// A userspace virtual switch.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file; without it the switch runs on a built-in default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where sockets live, instead of what the configuration says.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Level of logs, instead of what the configuration says: off, error, warn, info, debug,
    /// trace, also as MODULE=LEVEL, separated by commas.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Use ordinary memory even where hugepages would do.
    #[arg(long)]
    no_huge: bool,
    /// Check the configuration and end.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        config: arguments.config,
        run_dir: arguments.run_dir,
        log_level: arguments.log_level,
        no_huge: arguments.no_huge,
        check: arguments.check,
    };
    match daemon::run(options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vswitchd: {error:#}");
            ExitCode::FAILURE
        }
    }
}
