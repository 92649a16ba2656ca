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
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if let Some(flag) = lacks(&processor) {
        eprintln!(
            "vswitchd: this processor lacks {flag}: this program was built for x86-64-v3; \
             take another -C target-cpu in .cargo/config.toml and build it anew"
        );
        return ExitCode::FAILURE;
    }
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

/// What this program was built to use (.cargo/config.toml) and the first processor does not have,
/// going by `/proc/cpuinfo`: else it would end at some instruction without a word.
fn lacks(cpuinfo: &str) -> Option<&'static str> {
    let needed: &[&str] = match cfg!(target_feature = "avx2") {
        true => &["avx2", "bmi1", "bmi2", "fma", "f16c", "movbe", "abm"],
        false => &[],
    };
    let line = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    let has = |flag: &&str| line.split_ascii_whitespace().any(|known| known == *flag);
    needed.iter().find(|flag| !has(flag)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_processor_is_told_apart() {
        let all = "processor : 0\nflags : fpu abm avx2 bmi1 bmi2 f16c fma movbe\n";
        assert_eq!((lacks(all), lacks("")), (None, None));
        assert_eq!(lacks(&all.replace(" bmi2", "")), Some("bmi2"));
    }
}
