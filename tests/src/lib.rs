//! The whole switch under test: text cases, foreign tools, network namespaces and QEMU guests.
