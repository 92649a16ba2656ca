//! The configuration reader: any text is a configuration or an error that names a place. What is
//! accepted can be edited, and the edit changes what it says it does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vswitch::control::config::{ConfigFile, difference};

fuzz_target!(|text: &str| {
    let file = match ConfigFile::without_file(text.to_owned()) {
        Ok(file) => file,
        Err(error) => {
            assert!(!error.message().is_empty());
            return;
        }
    };
    let Some(bridge) = file.config().bridges.first() else { return };
    let keys = vec![("name", Some("fuzz0".into())), ("type", Some("null".into()))];
    let Ok(edited) = file.add_port(&bridge.name, keys) else { return };
    assert_eq!(difference(file.config(), edited.config()).len(), 1);
    let undone = edited.remove_port(&bridge.name, "fuzz0").expect("as it was before");
    assert_eq!(undone.config(), file.config());
});
