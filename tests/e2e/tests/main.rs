//! End-to-end scenarios: the real binary, real receivers. One module an area of the specification.
