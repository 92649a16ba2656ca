//! The judge at work: packets flow through all three contenders, and the report has its columns.
//! No rate is judged: other tests run meanwhile.

use perf::judge::contender::Kind;
use perf::judge::report::{Report, write_document};
use tests::{binary, folder, run};

#[test]
fn packets_flow_through_all_three_and_the_report_tells_of_them() {
    let folder = folder();
    let json = folder.path().join("report.json");
    let (judge, json_word) = (binary("judge"), json.display().to_string());
    let words = [
        judge.to_str().expect("text"),
        "--quick",
        "--json",
        &json_word,
    ];
    let output = run(&[&words[..], &["port-forward-1", "meter-1k"]].concat());
    let told = format!("{}{}", output.stdout, output.stderr);
    assert!(output.status.success(), "{told}");

    let header = output.stdout.lines().next().expect("a header");
    for column in [
        "scenario", "vswitch", "OVS-DPDK", "testpmd", "/ OVS", "cycles",
    ] {
        assert!(header.contains(column), "{column}: {header}");
    }
    let report = Report::read(&json).expect("a report");
    let names: Vec<&str> = report.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["port-forward-1", "meter-1k"], "{told}");
    for row in &report.rows {
        for kind in Kind::ALL {
            let value = row.value(kind).expect("a rate");
            assert!(value > 0.0, "{} of {}: {told}", kind.name(), row.name);
        }
        for kind in [Kind::Ours, Kind::Ovs] {
            let shares = row.of(kind).median(|sample| sample.delivered);
            let share = shares.expect("a switch counts what it delivers");
            assert!(
                (share - 1.0).abs() < 0.1,
                "{}: {share}: {told}",
                kind.name()
            );
            assert!(
                row.cycles(kind).is_some_and(|cycles| cycles > 0.0),
                "{told}"
            );
        }
        let missed = row.verdicts.iter().any(|verdict| !verdict.is_met());
        assert_eq!(missed, !row.is_met(), "{told}");
    }

    let page = folder.path().join("performance.md");
    std::fs::write(&page, PAGE).expect("room for a page");
    write_document(&report, folder.path()).expect("a document");
    let page = std::fs::read_to_string(&page).expect("a page");
    assert!(page.contains("| port-forward-1 | Mpps |"), "{page}");
    assert!(
        page.ends_with("after\n") && page.starts_with("before\n"),
        "{page}"
    );
    assert!(folder.path().join("forwarding.svg").exists());
}

const PAGE: &str =
    "before\n<!-- made by `make bench` from here -->\nold\n<!-- to here -->\nafter\n";
