//! Instructions of the packet path, counted by callgrind: what a change costs, whatever else the
//! machine does. Used by the `counts` bench program.
//!
//! How. The program runs itself once under valgrind, which counts while it is in [`cases::counted`]
//! and writes its count down before each [`cases::case_over`]. All that is drawn elsewhere (secrets
//! of hashes, packets, flows) is the same in each run, and the C library is kept from choosing
//! its functions by the CPU, so the counts are the same on each machine with the same compiler.
//! Only lookups among masks that share hash tables differ by a thousandth: which of equals comes
//! first there is drawn.
//!
//! Why not one of the frameworks: they install a program of their own beside the library, in the
//! very same version, and keep the counts below `target/`, not in the tree.

pub mod callgrind;
pub mod cases;
pub mod record;
