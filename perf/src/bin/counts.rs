//! Counts the instructions of the packet path and compares them with those that are kept.
//!
//! `counts` ends with an error if one is off by more than allowed; `counts --renew` keeps what was
//! counted, after a change that is meant to be.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;
use perf::counts::record::Record;
use perf::counts::{callgrind, cases};

/// Counts instructions by callgrind.
#[derive(Debug, Parser)]
struct Arguments {
    /// Keep what is counted.
    #[arg(long)]
    renew: bool,
    /// Where counts are kept.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.json"))]
    file: PathBuf,
    /// Run the cases and tell which: what is done under callgrind.
    #[arg(long, hide = true)]
    run: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.run {
        println!("{}", serde_json::to_string(&cases::run()?)?);
        return Ok(());
    }
    let now = Record::new(callgrind::count("--run")?);
    let kept = match arguments.renew && !arguments.file.exists() {
        true => Record::default(),
        false => Record::read(&arguments.file)?,
    };
    let (text, alike) = kept.compare(&now);
    print!("{text}");
    if arguments.renew {
        return now.write(&arguments.file);
    }
    ensure!(
        alike,
        "counts are off; if that is wanted: make counts OPTIONS=--renew"
    );
    Ok(())
}
