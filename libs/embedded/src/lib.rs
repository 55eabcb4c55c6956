//! The embedded engine: event log and store on SQLite.
