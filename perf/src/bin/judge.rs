//! Measures how fast packets are forwarded, beside Open vSwitch on DPDK and dpdk-testpmd.
//!
//! Prints a line for each scenario, whether what is wanted of it is met, and what casts doubt on
//! the figures. A ratio that is missed is no failure of the program; it ends with an error if
//! something could not be measured.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use perf::judge::contender::Kind;
use perf::judge::measure::{Plan, Samples, ovs_mpps, profile, rounds};
use perf::judge::report::{Report, Row, header, line, write_document};
use perf::judge::scenario::{Scenario, Wanted};
use perf::judge::scenarios;

/// Measures forwarding beside OVS-DPDK and testpmd.
#[derive(Debug, Parser)]
struct Arguments {
    /// Scenarios or families of them; all if left out.
    scenarios: Vec<String>,
    /// Say which there are.
    #[arg(long)]
    list: bool,
    /// Rounds, each of all three.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only one of them: vswitch, OVS-DPDK or testpmd.
    #[arg(long)]
    only: Option<String>,
    /// One short round: to see that it works.
    #[arg(long)]
    quick: bool,
    /// Write the results to a file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write chart and document into this folder.
    #[arg(long)]
    documents: Option<PathBuf>,
    /// Add the results in a file, of what is not measured now.
    #[arg(long)]
    with: Option<PathBuf>,
    /// Measure nothing: take the results from a file.
    #[arg(long)]
    from: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.list {
        let growth = scenarios::growth();
        for scenario in scenarios::all().iter().chain(&growth) {
            println!("{:22} {}", scenario.name, scenario.about);
        }
        return Ok(());
    }
    let (mut report, failures) = match &arguments.from {
        Some(path) => (show(Report::read(path)?), Vec::new()),
        None => measure(&arguments)?,
    };
    if let Some(path) = &arguments.with {
        report.add(Report::read(path)?, &names());
    }
    if let Some(path) = &arguments.json {
        report.write(path)?;
    }
    if let Some(folder) = &arguments.documents {
        write_document(&report, folder)?;
    }
    ensure!(failures.is_empty(), "not measured: {}", failures.join(", "));
    Ok(())
}

/// Names of all rows, in their order.
fn names() -> Vec<String> {
    let scenarios = scenarios::all().into_iter().chain(scenarios::growth());
    let names = |scenario: Scenario| {
        let figures = scenario.figures.into_iter();
        figures.map(move |figure| scenario.name.clone() + figure.suffix())
    };
    scenarios.flat_map(names).collect()
}

fn show(report: Report) -> Report {
    println!("{}", header());
    for row in &report.rows {
        println!("{}", line(row));
    }
    report
}

/// The results, and the names of scenarios that could not be measured.
fn measure(arguments: &Arguments) -> Result<(Report, Vec<String>)> {
    let scenarios = chosen(&arguments.scenarios)?;
    let only = arguments.only.as_deref().map(contender).transpose()?;
    let plan = match arguments.quick {
        true => Plan {
            rounds: 1,
            seconds: 0.5,
            only,
        },
        false => Plan {
            rounds: arguments.rounds,
            seconds: arguments.seconds,
            only,
        },
    };
    let mut report = Report::begin(plan);
    let (mut failures, mut port_forward) = (Vec::new(), None);
    println!("{}", header());
    for scenario in &scenarios {
        match guarded(|| rounds(scenario, plan)) {
            Ok(samples) => {
                let reference = reference(scenario, &report, &mut port_forward, plan)?;
                for row in rows(scenario, &samples, reference, plan) {
                    println!("{}", line(&row));
                    report.rows.push(row);
                }
            }
            Err(error) => {
                println!("{:18} not measured: {error:#}", scenario.name);
                failures.push(scenario.name.clone());
            }
        }
    }
    Ok((report, failures))
}

/// A row for each figure; the first that is missed says where our cycles go.
fn rows(
    scenario: &Scenario,
    samples: &[Samples; 3],
    reference: Option<f64>,
    plan: Plan,
) -> Vec<Row> {
    let judged = scenario.figures.iter();
    let mut rows: Vec<Row> = judged
        .map(|figure| Row::judge(scenario, *figure, samples, reference))
        .collect();
    let is_measured = plan.only.is_none_or(|only| only == Kind::Ours);
    let mut missed = rows.iter_mut().filter(|row| is_measured && !row.is_met());
    if let Some(missed) = missed.next() {
        let shares = guarded(|| profile(scenario, plan.seconds));
        missed.profile = shares.unwrap_or_else(|error| {
            eprintln!("{}: no profile: {error:#}", scenario.name);
            Vec::new()
        });
    }
    rows
}

/// What Open vSwitch does with one rule on the port, if the scenario is judged by that: from this
/// run, or else measured once.
fn reference(
    scenario: &Scenario,
    report: &Report,
    measured: &mut Option<f64>,
    plan: Plan,
) -> Result<Option<f64>> {
    let is_needed = |wanted: &Wanted| matches!(wanted, Wanted::OfOvsPortForward(_));
    if !scenario.wanted.iter().any(is_needed) {
        return Ok(None);
    }
    let row = report.rows.iter().find(|row| row.name == PORT_FORWARD);
    if let Some(row) = row {
        return Ok(row.value(Kind::Ovs));
    }
    if measured.is_none() {
        let scenarios = scenarios::named(PORT_FORWARD);
        let scenario = scenarios.first().context("it is one of them")?;
        *measured = Some(ovs_mpps(scenario, plan.seconds)?);
    }
    Ok(*measured)
}

/// The harness panics where a program does not do what it must; other scenarios go on.
fn guarded<T>(measure: impl FnOnce() -> Result<T>) -> Result<T> {
    let result = std::panic::catch_unwind(AssertUnwindSafe(measure));
    result.unwrap_or_else(|_| Err(anyhow!("a program failed, see above")))
}

fn contender(name: &str) -> Result<Kind> {
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    found.with_context(|| format!("no contender '{name}'"))
}

fn chosen(names: &[String]) -> Result<Vec<Scenario>> {
    if names.is_empty() {
        return Ok(scenarios::all());
    }
    let mut chosen = Vec::new();
    for name in names {
        let found = scenarios::named(name);
        ensure!(
            !found.is_empty(),
            "no scenario '{name}': --list shows which there are"
        );
        chosen.extend(found);
    }
    Ok(chosen)
}

const PORT_FORWARD: &str = "port-forward-1";
