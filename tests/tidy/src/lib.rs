//! Checks of the tree itself: dependency edges, sizes, generated files.

pub mod generate;
