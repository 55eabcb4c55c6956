//! Generated protobuf code and its conversions to domain types.
