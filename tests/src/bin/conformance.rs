//! `make conformance`: the OpenFlow 1.3 patterns of os-ken's switch test tool against vswitchd and
//! against Open vSwitch of the same machine. Ends with an error if vswitchd fails a pattern.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::conformance::{
    Category, Options, Pattern, Score, Target, all_patterns, run_alone, run_patterns,
};
use tests::target_dir;

const USAGE: &str = "\
conformance [OPTION]... [WHAT]...

  --settle SECONDS       pause between vswitchd's barrier reply and the packet (0)
  --peer-settle SECONDS  the same for Open vSwitch (0.2)
  --meter SECONDS        how long a meter is measured (10; the patterns' own is 30)
  --alone                without Open vSwitch
  --as-is                with the defects that the tool itself has
  WHAT                   action, set_field, match, group, meter, or what a file is about
";

/// What was asked for.
struct Request {
    settle_s: f64,
    peer_settle_s: f64,
    meter_s: u32,
    alone: bool,
    as_is: bool,
    what: Vec<String>,
}

fn main() -> ExitCode {
    let Some(request) = read_request() else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let (meters, others) = patterns(&request.what);
    let mut targets = vec![options(Target::Vswitchd, request.settle_s)];
    if !request.alone {
        targets.push(options(Target::OpenVswitch, request.peer_settle_s));
    }
    targets
        .iter_mut()
        .for_each(|options| options.mend = !request.as_is);
    let start = Instant::now();
    let mut scores = run_beside(&others, &targets);
    for (score, options) in scores.iter_mut().zip(&mut targets) {
        options.rate_s = Some(request.meter_s);
        let alone = run_beside(&meters, std::slice::from_ref(options));
        alone.into_iter().for_each(|more| score.extend(more));
    }
    let seconds = start.elapsed().as_secs();
    println!("\n{}\n{seconds} s", table(&scores));
    report(&targets, &scores)
}

fn read_request() -> Option<Request> {
    let mut request = Request {
        settle_s: 0.0,
        peer_settle_s: 0.2,
        meter_s: 10,
        alone: false,
        as_is: false,
        what: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--settle" => request.settle_s = words.next()?.parse().ok()?,
            "--peer-settle" => request.peer_settle_s = words.next()?.parse().ok()?,
            "--meter" => request.meter_s = words.next()?.parse().ok()?,
            "--alone" => request.alone = true,
            "--as-is" => request.as_is = true,
            option if option.starts_with('-') => return None,
            _ => request.what.push(word),
        }
    }
    Some(request)
}

/// The patterns asked for: those of meters, and the others.
fn patterns(what: &[String]) -> (Vec<Pattern>, Vec<Pattern>) {
    let wanted = |pattern: &Pattern| {
        let mut words = what.iter();
        what.is_empty()
            || words.any(|word| pattern.category.name() == word || pattern.file.contains(word))
    };
    let patterns: Vec<_> = all_patterns().into_iter().filter(wanted).collect();
    println!("{} patterns of os-ken's switch test tool", patterns.len());
    let is_meter = |pattern: &Pattern| pattern.category == Category::Meter;
    patterns.into_iter().partition(is_meter)
}

fn options(target: Target, settle_s: f64) -> Options {
    Options {
        target,
        settle_s,
        rate_s: None,
        packet_s: 3,
        pairs: PAIRS,
        mend: true,
    }
}

/// Runs patterns against several switches at a time, saying how far they are.
fn run_beside(patterns: &[Pattern], targets: &[Options]) -> Vec<Score> {
    if patterns.is_empty() {
        return vec![Score::default(); targets.len()];
    }
    let counts: Vec<_> = targets.iter().map(|_| AtomicUsize::new(0)).collect();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| tell_progress(patterns.len(), targets, &counts, &ended));
        let threads: Vec<_> = targets
            .iter()
            .zip(&counts)
            .map(|(options, count)| scope.spawn(|| run(patterns, options, count)))
            .collect();
        let scores = threads.into_iter().map(|thread| thread.join());
        let scores = scores.map(Result::unwrap_or_default).collect();
        ended.store(true, Ordering::Relaxed);
        scores
    })
}

fn run(patterns: &[Pattern], options: &Options, count: &AtomicUsize) -> Score {
    match patterns[0].category {
        Category::Meter => run_alone(patterns, options, count),
        _ => run_patterns(patterns, options, count),
    }
}

fn tell_progress(all: usize, targets: &[Options], counts: &[AtomicUsize], ended: &AtomicBool) {
    let mut told = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        if told.elapsed() < TELL_EVERY {
            continue;
        }
        told = Instant::now();
        let parts = targets.iter().zip(counts).map(|(options, count)| {
            let count = count.load(Ordering::Relaxed);
            format!("{} {count} of {all}", name(options.target))
        });
        println!("  {}", parts.collect::<Vec<_>>().join(", "));
    }
}

fn name(target: Target) -> &'static str {
    match target {
        Target::Vswitchd => "vswitchd",
        Target::OpenVswitch => "Open vSwitch",
    }
}

fn table(scores: &[Score]) -> String {
    let mut text = format!("{:<10} {:>8} {:>8}", "category", "patterns", "vswitchd");
    if scores.len() > 1 {
        text += " Open vSwitch";
    }
    text.push('\n');
    let rows = Category::ALL.map(|category| (category.name(), Some(category)));
    for (name, category) in rows.into_iter().chain([("all", None)]) {
        let (passed, all) = scores[0].passed(category);
        let _ = write!(text, "{name:<10} {all:>8} {passed:>8}");
        if let Some(peer) = scores.get(1) {
            let _ = write!(text, " {:>12}", peer.passed(category).0);
        }
        text.push('\n');
    }
    text
}

/// Says what vswitchd fails and where to read what each switch fails.
fn report(targets: &[Options], scores: &[Score]) -> ExitCode {
    let folder = target_dir().join("conformance");
    for (options, score) in targets.iter().zip(scores) {
        let failures = score.failures();
        let file = name(options.target).to_lowercase().replace(' ', "-");
        let path = folder.join(file + ".txt");
        if let Err(error) = write_lines(&path, &failures) {
            eprintln!("{}: {error}", path.display());
        }
        println!(
            "{} fails {}: {}",
            name(options.target),
            failures.len(),
            path.display()
        );
    }
    let failures = scores[0].failures();
    failures.iter().for_each(|line| println!("{line}"));
    match failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn write_lines(path: &Path, lines: &[String]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, lines.join("\n") + "\n")
}

/// Pairs of switches side by side, for each switch under test: they mostly wait.
const PAIRS: usize = 3;

/// How often to say how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);
