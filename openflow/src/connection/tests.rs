//! Dialogues of one end, with bytes by hand, and of two ends with each other.
