//! Start-up and shutdown, task groups, clock, configuration, telemetry.
