//! The role that reads the log and delivers.
