//! The traits that roles talk through, with numbered contracts and conformance suites.
