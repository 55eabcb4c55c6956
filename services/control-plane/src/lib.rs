//! The API role: gRPC and REST over one set of services.
