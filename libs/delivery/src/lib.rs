//! The delivery engine: a pure state machine of lanes, retries, breakers and verdicts.
