//! Moves packets: workers, execution of programs, sending.
