//! Rings by a guest of ours.
