//! End-to-end scenarios against the real binary.
