//! One EAL for all unit tests of this crate, in ordinary memory.

use std::sync::OnceLock;

use crate::{Eal, EalConfig, Pools, PoolsConfig};

/// Starts EAL at the first call.
pub(crate) fn eal() -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| {
        let args = vec!["--no-huge".to_string()];
        Eal::start(EalConfig {
            memory_mib: 1024,
            args,
            ..EalConfig::default()
        })
        .unwrap()
    })
}

/// Pools of a test's own, so that it can count their buffers.
pub(crate) fn pools() -> Pools {
    let config = PoolsConfig {
        worker_cpus: vec![0],
        small: 1024,
        large: 32,
    };
    Pools::new(eal(), &config).unwrap()
}
