//! The instructions of the packet path are those that are kept in the tree, and no hit is an atomic
//! operation, but for what workers share by their rules.

use std::env;
use std::path::Path;
use std::process::Command;

use perf::counts::record::Record;
use tests::target_dir;

#[test]
fn no_part_of_the_packet_path_costs_more_or_less_than_is_kept() {
    let target = target_dir();
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--release", "-p", "perf"])
        .args(["--bin", "counts", "--target-dir"])
        .arg(&target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    // What cargo tells a test of its package would have dependencies built anew.
    let of_package = |name: &String| name.starts_with("CARGO_") && name != "CARGO_HOME";
    let names = env::vars().map(|(name, _)| name).filter(of_package);
    for name in names {
        build.env_remove(name);
    }
    assert!(
        build.status().is_ok_and(|status| status.success()),
        "see above"
    );
    let program = target.join("release/counts").display().to_string();
    let output = tests::run(&[&program]);
    let (told, error) = (&output.stdout, &output.stderr);
    assert!(output.status.success(), "{error}\n{told}");
    let cases = told.lines().filter(|line| line.starts_with("path "));
    assert!(cases.count() > 5, "it compares nothing:\n{told}");

    // Those that have some: a meter's bucket, which all workers share; a copy of a packet; and two
    // for each batch that is tracked, to tell whoever frees connections that they are read.
    let kept = Record::read(Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/counts.json"
    )));
    let some = kept.unwrap().atomics;
    let some = some.iter().filter(|(_, count)| **count != 0.0);
    let names: Vec<&str> = some.map(|(name, _)| name.as_str()).collect();
    let wanted = [
        "path connections",
        "path meter",
        "path security groups",
        "path translated connections",
        "path two outputs",
    ];
    assert_eq!(names, wanted);
}
