//! In-memory ports, a simulated clock and scripted receivers for tests.
