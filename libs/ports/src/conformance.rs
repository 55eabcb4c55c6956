//! The contracts of the ports as code: one function a number. Every adapter runs them; each takes a fixture that makes the adapter and can restart it.
