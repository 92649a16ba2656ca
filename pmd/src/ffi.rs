//! DPDK's declarations as bindgen found them, and the shim's. Private to this crate.
#![allow(
    clippy::all,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unsafe_op_in_unsafe_fn,
    unnecessary_transmutes,
    unused_imports
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
