//! The demonstration runs to its end: two guests, a controller, a file between them.

use tests::run;

#[test]
fn the_demonstration_shows_what_it_says() {
    let told = run(&[env!("CARGO_BIN_EXE_demo")]).expect_success();
    for word in [
        "16 MiB",
        "block",
        "table=0",
        "bridge br0, table 0",
        "nothing was left behind",
    ] {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
}
