//! Checks of the tree itself. Each failure says what to do about it.

mod docs;
mod edges;
mod names;
mod sizes;
mod tree;
